// CallEvents (section 6 of the reference): all that can be listened to, also what never fires here.
(function (host, shared) {
  const events = {};
  for (const name of ['Ringing', 'AudioStarted', 'Connected', 'Disconnected', 'Failed', 'Forwarding',
    'StateChanged', 'PlaybackReady', 'PlaybackStarted', 'PlaybackFinished', 'ToneReceived',
    'ToneDetected', 'RecordStarted', 'RecordStopped', 'RecordError', 'OnHold', 'OffHold',
    'ReInviteReceived', 'ReInviteAccepted', 'ReInviteRejected', 'InfoReceived', 'MessageReceived',
    'MicStatusChange', 'BlindTransferRequested', 'TransferComplete', 'TransferFailed',
    'FirstAudioPacketReceived', 'FirstVideoPacketReceived', 'RtpStopped', 'RtpResumed',
    'AudioQualityDetected', 'BeepDetectionComplete', 'BeepDetectionError',
    'AudioIdentificationStarted', 'AudioIdentificationStopped', 'AudioIdentificationError',
    'AudioIdentificationResult', 'Statistics', 'PushSent']) {
    events[name] = `Call.${name}`;
  }
  events.VideoTrackCreated = 'Call.Video.TrackCreated';
  shared.define('CallEvents', Object.freeze(events));
})
