// What the interop table's calls meet: `numbers` for a call that comes in, custom data such as
// {"user":"alice"} or {"number":"2001"} (beside it "play", "record") for one that goes out.
//
// All that happens is kept for whoever asks the access URL; a POST of {"command":...} steers. A
// call that came in puts the access URL into the custom data, where /status shows it.

const seen = [];
const calls = {};
const roles = [];
const TONE = "file:prompts/phone-hello.wav";
let keys = "";

function watch(name, call) {
  calls[name] = call;
  for (const event of Object.values(CallEvents)) {
    call.addEventListener(event, (e) => seen.push({
      call: name, name: event.replace("Call.", ""), code: e.code ?? e.internalCode,
      reason: e.reason, tone: e.tone, type: e.type, to: e.transferTo, role: e.role,
      mimeType: e.mimeType, body: e.body,
    }));
  }
  call.handleTones(true);
  // A session may end at once after this: its row in the history tells.
  call.addEventListener(CallEvents.TransferComplete, (e) => {
    roles.push(`${name} ${e.role}`);
    VoxEngine.customData(`transfer complete: ${roles.join(", ")}`);
  });
  call.addEventListener(CallEvents.ToneReceived, (e) => { if (name === "a") keys += e.tone; });
}

const record = (name) => calls[name].record({ stereo: true, recordNamePrefix: name });

const numbers = {
  800: (call) => {
    call.addEventListener(CallEvents.Connected, () => {
      record("a");
      call.startPlayback(TONE, { loop: true });
    });
    call.answer();
  },
  801: (call) => call.reject(486),
  // Early media until it is told to answer.
  802: (call) => {
    call.addEventListener(CallEvents.Connected, () => record("a"));
    call.startEarlyMedia();
    call.startPlayback(TONE, { loop: true });
  },
  803: (call) => call.ring(),
  // Says nothing: what is heard is keys.
  805: (call) => {
    call.addEventListener(CallEvents.Connected, () => record("a"));
    call.answer();
  },
  // The script carries out a blind transfer itself.
  806: (call) => {
    call.handleBlindTransfer(true);
    call.addEventListener(CallEvents.Connected, () => call.startPlayback(TONE, { loop: true }));
    call.addEventListener(CallEvents.BlindTransferRequested, (e) => {
      dial("b", isNaN(e.transferTo) ? { user: e.transferTo } : { number: e.transferTo });
      calls.b.addEventListener(CallEvents.Connected, () => {
        call.notifyBlindTransferSuccess();
        calls.b.startPlayback(TONE, { loop: true });
      });
      calls.b.addEventListener(CallEvents.Failed, (failed) =>
        call.notifyBlindTransferFailed(failed.code, failed.reason));
    });
    call.answer();
  },
};

VoxEngine.addEventListener(AppEvents.Started, (started) => {
  const order = VoxEngine.customData();
  if (!order) return VoxEngine.customData(started.accessURL);
  dial("a", JSON.parse(order));
});

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  watch("a", e.call);
  const meets = numbers[e.destination];
  if (meets) return meets(e.call);
  // A user's name, or a number of a trunk: the two are glued as a PBX does it.
  dial("b", isNaN(e.destination) ? { user: e.destination } : { number: e.destination });
  VoxEngine.easyProcess(e.call, calls.b);
});

function dial(name, { user, number, uri, play, record: records, headers }) {
  const callerid = "100";
  if (user) watch(name, VoxEngine.callUser({ username: user, callerid, extraHeaders: headers }));
  else if (uri) watch(name, VoxEngine.callSIP(uri, { callerid, headers }));
  else watch(name, VoxEngine.callPSTN(number, callerid));
  calls[name].addEventListener(CallEvents.Connected, () => {
    if (records) record(name);
    if (play) calls[name].startPlayback(TONE, { loop: true });
  });
}

const commands = {
  answer: (call) => call.answer(),
  dial: (_, { name, order }) => dial(name, order),
  digits: (call, { text }) => call.sendDigits(text),
  end: () => VoxEngine.terminate(),
  hangup: (call) => call.hangup(),
  info: (call, { mimeType, body }) => call.sendInfo(mimeType, body),
  join: (call, { with: other }) => VoxEngine.sendMediaBetween(call, calls[other]),
  reinvite: (call, { mimeType, body }) => call.reInvite({}, mimeType, body),
  transfer: (call, { to, with: other }) => call.transferTo({ to, call: calls[other] }),
};

VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.method === "POST") {
    const order = JSON.parse(e.content);
    commands[order.command](calls[order.call || "a"], order);
  }
  return { seen, keys, states: Object.entries(calls).map(([name, call]) => [name, call.state()]) };
});
