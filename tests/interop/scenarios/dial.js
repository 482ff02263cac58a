// Dials what its custom data says and keeps what happens, for whoever asks the access URL.
//
//   {"number":"2001"} or {"user":"alice"} or {"uri":"sip:1@127.0.0.2:5060"}; beside it
//   "play", "record", "hangup_ms"

const seen = [];
const order = JSON.parse(VoxEngine.customData());
let call;

VoxEngine.addEventListener(AppEvents.Started, () => {
  const { user, uri, headers } = order;
  if (user) call = VoxEngine.callUser({ username: user, callerid: "100" });
  else if (uri) call = VoxEngine.callSIP(uri, { callerid: "100", headers });
  else call = VoxEngine.callPSTN(order.number, "100");
  for (const name of ["Ringing", "AudioStarted", "Connected", "Failed", "Disconnected",
    "ToneReceived", "PlaybackStarted", "PlaybackFinished", "RecordStarted", "OnHold", "OffHold"]) {
    call.addEventListener(CallEvents[name], (e) => seen.push({
      name, code: e.code, reason: e.reason, tone: e.tone, error: e.error, headers: e.headers,
      internalCode: e.internalCode,
    }));
  }
  call.handleTones(true);
  call.addEventListener(CallEvents.Connected, () => {
    if (order.record) call.record({ stereo: true, recordNamePrefix: "dial" });
    if (order.play) call.startPlayback(order.play, { loop: true });
    if (order.hangup_ms) setTimeout(() => call.hangup(), order.hangup_ms);
  });
});

VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  const { command, text } = e.method === "POST" ? JSON.parse(e.content) : {};
  if (command === "hangup") call.hangup();
  if (command === "digits") call.sendDigits(text);
  if (command === "say") call.say(text);
  if (command === "end") VoxEngine.terminate();
  return { state: call.state(), seen };
});
