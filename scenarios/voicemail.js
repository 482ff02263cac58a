// Voicemail: answers, asks for a message and records it.
//
// Shows recording after a tone until the caller hangs up, presses #, falls silent or has spoken
// for two minutes. Where the message is stands in the call history (custom_data, records).
//
// Try it: call 101 and speak. The file is under data/recordings, its URL in the history:
//   branchline history

const PROMPTS = "file:prompts/"; // in the vendor's cloud: where you put the files, https://...
const LONGEST_MS = 120000;
const SILENCE_MS = 5000;

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  const { call } = e;
  call.addEventListener(CallEvents.Connected, () => greet(call));
  call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
  call.answer();
});

function greet(call) {
  const prompts = ["leave-message.wav", "beep.wav"];
  const next = () => {
    const prompt = prompts.shift();
    if (prompt) call.startPlayback(PROMPTS + prompt);
    else takeMessage(call);
  };
  call.addEventListener(CallEvents.PlaybackFinished, next);
  next();
}

function takeMessage(call) {
  const end = (why) => {
    Logger.write(`message ends: ${why}`);
    call.hangup();
  };
  call.addEventListener(CallEvents.RecordStarted, (e) => {
    VoxEngine.customData(`message from ${call.callerid()}: ${e.url}`);
  });
  call.addEventListener(CallEvents.RecordError, (e) => end(e.error));
  call.record({ recordNamePrefix: "voicemail" });

  call.handleTones(true);
  call.addEventListener(CallEvents.ToneReceived, (e) => {
    if (e.tone === "#") end("#");
  });
  setTimeout(() => end("limit"), LONGEST_MS);

  // A phone that sends nothing any more; and a caller who says nothing any more, where the
  // platform listens for voices.
  call.addEventListener(CallEvents.RtpStopped, () => end("no more audio"));
  let silence = setTimeout(() => end("silence"), SILENCE_MS);
  call.addEventListener(CallEvents.MicStatusChange, (e) => {
    clearTimeout(silence);
    if (!e.active) silence = setTimeout(() => end("silence"), SILENCE_MS);
  });
  try {
    call.handleMicStatus(true);
  } catch (e) {
    clearTimeout(silence); // nobody listens for voices here
  }
}
