// Constants: modules, player events, DTMF types and the like (sections 2, 9, 15 and 18 of the
// reference).
(function (host, shared) {
  const { define } = shared;

  define('Modules', Object.freeze(Object.fromEntries(['ACD', 'AI', 'ApplicationStorage', 'ASR',
    'Avatar', 'Conference', 'ElevenLabs', 'Gemini', 'IVR', 'OpenAI', 'PushService', 'Recorder',
    'SmartQueue', 'StreamingAgent', 'Ultravox', 'Cartesia', 'Yandex', 'VoximplantAPI', 'CallList',
    'Player', 'WebSocket', 'AMD', 'PhoneNumber', 'Deepgram', 'Google', 'VoxTTS', 'MCP', 'Silero',
    'Pipecat', 'Inworld', 'XAI'].map((name) => [name, name.toLowerCase()]))));

  define('PlayerEvents', Object.freeze({
    Created: 'Player.Created',
    PlaybackReady: 'Player.PlaybackReady',
    Started: 'Player.Started',
    Stopped: 'Player.Stopped',
    PlaybackFinished: 'Player.PlaybackFinished',
    Error: 'Player.Error',
    PlaybackMarkerReached: 'Player.PlaybackMarkerReached',
    PlaybackBuffering: 'Player.Buffering',
  }));

  define('SequencePlayerEvents', Object.freeze(Object.fromEntries(['Created', 'PlaybackReady',
    'Started', 'Stopped', 'PlaybackFinished', 'Error', 'PlaybackMarkerReached']
    .map((name) => [name, `SequencePlayer.${name}`]))));

  define('DTMFType', Object.freeze({ ALL: 0, TELEPHONE_EVENT: 1, IN_BAND: 2, SIP_INFO: 3 }));
  define('URLPlayerRequestMethod', Object.freeze({ GET: 'GET', POST: 'POST' }));
  define('CallAudioQuality', Object.freeze({ HD: 'HD', Standard: 'Standard' }));
  define('RecordExpireTime', Object.freeze({
    DEFAULT: '', THREEMONTHS: '', SIXMONTHS: '-6m', ONEYEAR: '-1y', TWOYEARS: '-2y',
    THREEYEARS: '-3y', FIVEYEARS: '-5y',
  }));
})
