// Click to call: does nothing by itself; a web page steers it over its access URL.
//
// Shows a session as a switchboard: any number of calls, dialled, joined, parted and hung up by
// whoever has the URL, with the state of all of them in every answer.
//
// Try it: start rule 6, then, with the media_session_access_url of the answer,
//   curl -d '{"command":"dial","number":"7001"}' "$URL"
//   curl -d '{"command":"dial","number":"7002"}' "$URL"
//   curl -d '{"command":"join","calls":[1,2]}' "$URL"         also: part
//   curl -d '{"command":"digits","call":2,"digits":"12#"}' "$URL"
//   curl -d '{"command":"hangup","call":1}' "$URL"
//   curl -d '{"command":"end"}' "$URL"
// A session without calls ends after a minute.

const CALLER_ID = ""; // "": what the trunk's configuration says

const calls = []; // { call, info }; callers know them as 1, 2, ...

VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  try {
    if (e.content) obey(JSON.parse(e.content));
  } catch (error) {
    return { error: error.message };
  }
  return { calls: calls.map(({ info }) => info) };
});

function obey(order) {
  switch (order.command) {
    case "dial":
      return dial(String(order.number || ""));
    case "join":
      return VoxEngine.sendMediaBetween(...pair(order));
    case "part":
      return VoxEngine.stopMediaBetween(...pair(order));
    case "digits":
      return find(order.call).sendDigits(String(order.digits || ""));
    case "say":
      return find(order.call).say(String(order.text || ""));
    case "hangup":
      return find(order.call).hangup();
    case "end":
      return VoxEngine.terminate();
    default:
      throw new Error("unknown command: dial, join, part, digits, say, hangup, end");
  }
}

function dial(number) {
  if (!/^\+?\d+$/.test(number)) throw new Error("number must be digits");
  const call = VoxEngine.callPSTN(number, CALLER_ID);
  const info = { number, state: "calling", tones: "" };
  calls.push({ call, info });
  call.handleTones(true);
  call.addEventListener(CallEvents.Ringing, () => (info.state = "ringing"));
  call.addEventListener(CallEvents.Connected, () => (info.state = "connected"));
  call.addEventListener(CallEvents.Failed, (e) => (info.state = `${e.code} ${e.reason}`));
  call.addEventListener(CallEvents.Disconnected, () => (info.state = "ended"));
  call.addEventListener(CallEvents.ToneReceived, (e) => {
    info.tones = (info.tones + e.tone).slice(-50);
  });
}

function pair(order) {
  const [first, second] = order.calls || [];
  return [find(first), find(second)];
}

function find(number) {
  const entry = calls[number - 1];
  if (!entry) throw new Error(`no call ${number}`);
  return entry.call;
}
