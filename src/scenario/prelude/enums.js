// Constants: modules, events and DTMF types (sections 2, 3, 6, 9, 15 and 18 of the reference).
(function (host, shared) {
  const { define } = shared;
  const prefixed = (prefix, names) => Object.freeze(
    Object.fromEntries(names.map((name) => [name, `${prefix}.${name}`])));

  define('Modules', Object.freeze(Object.fromEntries(['ACD', 'AI', 'ApplicationStorage', 'ASR',
    'Avatar', 'Conference', 'ElevenLabs', 'Gemini', 'IVR', 'OpenAI', 'PushService', 'Recorder',
    'SmartQueue', 'StreamingAgent', 'Ultravox', 'Cartesia', 'Yandex', 'VoximplantAPI', 'CallList',
    'Player', 'WebSocket', 'AMD', 'PhoneNumber', 'Deepgram', 'Google', 'VoxTTS', 'MCP', 'Silero',
    'Pipecat', 'Inworld', 'XAI'].map((name) => [name, name.toLowerCase()]))));

  define('AppEvents', Object.freeze({
    ...prefixed('Application', ['Started', 'CallAlerting', 'HttpRequest', 'Terminating', 'Terminated']),
    WebSocket: 'AppEvents.NewWebSocketConnection',
    NewWebSocketFailed: 'Application.OnNewWebSocketFailed',
  }));

  define('CallEvents', Object.freeze({
    ...prefixed('Call', ['Ringing', 'AudioStarted', 'Connected', 'Disconnected', 'Failed',
      'Forwarding', 'StateChanged', 'PlaybackReady', 'PlaybackStarted', 'PlaybackFinished',
      'ToneReceived', 'ToneDetected', 'RecordStarted', 'RecordStopped', 'RecordError', 'OnHold',
      'OffHold', 'ReInviteReceived', 'ReInviteAccepted', 'ReInviteRejected', 'InfoReceived',
      'MessageReceived', 'MicStatusChange', 'BlindTransferRequested', 'TransferComplete',
      'TransferFailed', 'FirstAudioPacketReceived', 'FirstVideoPacketReceived', 'RtpStopped',
      'RtpResumed', 'AudioQualityDetected', 'BeepDetectionComplete', 'BeepDetectionError',
      'AudioIdentificationStarted', 'AudioIdentificationStopped', 'AudioIdentificationError',
      'AudioIdentificationResult', 'Statistics', 'PushSent']),
    VideoTrackCreated: 'Call.Video.TrackCreated',
  }));

  define('PlayerEvents', Object.freeze({
    ...prefixed('Player', ['Created', 'PlaybackReady', 'Started', 'Stopped', 'PlaybackFinished',
      'Error', 'PlaybackMarkerReached']),
    PlaybackBuffering: 'Player.Buffering',
  }));

  define('DTMFType', Object.freeze({ ALL: 0, TELEPHONE_EVENT: 1, IN_BAND: 2, SIP_INFO: 3 }));
  define('URLPlayerRequestMethod', Object.freeze({ GET: 'GET', POST: 'POST' }));
  define('CallAudioQuality', Object.freeze({ HD: 'HD', Standard: 'Standard' }));
  define('RecordExpireTime', Object.freeze({
    DEFAULT: '', THREEMONTHS: '', SIXMONTHS: '-6m', ONEYEAR: '-1y', TWOYEARS: '-2y',
    THREEYEARS: '-3y', FIVEYEARS: '-5y',
  }));
})
