// Callback: calls one person, then another, and joins the two.
//
// Shows outgoing calls, a recorded prompt, ringing while the second phone rings, joining, keys,
// recording, and a session that is watched and steered over its access URL.
//
// Try it: start rule 1 with script_custom_data=7001:7002, or 7001:7002:record to record each leg
// (left: what it hears, right: what it says); with the media_session_access_url of the answer,
//   curl "$URL"                                   answers the state as JSON
//   curl -d '{"command":"hangup"}' "$URL"         ends both calls; "record" records from now on

const PROMPTS = "file:prompts/"; // in the vendor's cloud: where you put the files, https://...
const CALLER_ID = ""; // "": what the trunk's configuration says

const state = { stage: "starting", a: "", b: "", tones: [], records: [] };
const legs = {};
let records = false;

VoxEngine.addEventListener(AppEvents.Started, () => {
  const [first, second, option] = VoxEngine.customData().split(":");
  if (!first || !second) return finish("custom data must be A:B");
  records = option === "record";
  callFirst(first, second);
});

function callFirst(number, other) {
  state.stage = "calling a";
  const a = dial("a", number);
  a.addEventListener(CallEvents.Failed, (e) => finish(`a failed: ${e.code} ${e.reason}`));
  a.addEventListener(CallEvents.Connected, () => {
    state.stage = "prompt";
    a.startPlayback(PROMPTS + "callback.wav");
    // A prompt that can't be played (e.error) is no reason not to connect.
    afterPlayback(a, () => callSecond(a, other));
  });
}

function callSecond(a, number) {
  state.stage = "calling b";
  a.playProgressTone("US");
  const b = dial("b", number);
  b.addEventListener(CallEvents.AudioStarted, () => b.sendMediaTo(a)); // its own ringing, if any
  b.addEventListener(CallEvents.Failed, (e) => {
    state.stage = "b failed";
    state.b = `${e.code} ${e.reason}`;
    a.say(`Sorry, ${APOLOGIES[e.code] || "the call can not be connected"}. Goodbye.`);
    afterPlayback(a, () => finish(`b failed: ${e.code} ${e.reason}`));
  });
  b.addEventListener(CallEvents.Connected, () => {
    a.stopPlayback();
    VoxEngine.sendMediaBetween(a, b);
    state.stage = "joined";
  });
}

const APOLOGIES = { 408: "nobody answers", 480: "nobody answers", 486: "the line is busy" };

/** A leg with what all legs have: state, keys, recording, and the end of everything with it. */
function dial(name, number) {
  const leg = VoxEngine.callPSTN(number, CALLER_ID);
  legs[name] = leg;
  state[name] = "calling";
  leg.addEventListener(CallEvents.Ringing, () => (state[name] = "ringing"));
  leg.addEventListener(CallEvents.Connected, () => {
    state[name] = "connected";
    leg.handleTones(true);
    if (records) record(name);
  });
  leg.addEventListener(CallEvents.ToneReceived, (e) => {
    if (state.tones.length < 100) state.tones.push({ leg: name, tone: e.tone });
  });
  leg.addEventListener(CallEvents.RecordStarted, (e) => {
    state.records.push({ leg: name, url: e.url });
  });
  leg.addEventListener(CallEvents.Disconnected, () => finish(`${name} hung up`));
  return leg;
}

function record(name) {
  legs[name].record({ stereo: true, recordNamePrefix: name });
}

function afterPlayback(call, then) {
  call.addEventListener(CallEvents.PlaybackFinished, function once(e) {
    call.removeEventListener(CallEvents.PlaybackFinished, once);
    if (e.error) Logger.write(`playback: ${e.error}`);
    then();
  });
}

VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.content) {
    const error = obey(e.content);
    if (error) return { error };
  }
  return state;
});

function obey(content) {
  let command;
  try {
    command = JSON.parse(content).command;
  } catch (e) {
    return 'send JSON such as {"command":"hangup"}';
  }
  if (command === "hangup") finish("hung up over HTTP");
  else if (command === "record") {
    records = true;
    for (const name in legs) if (state[name] === "connected") record(name);
  } else return `unknown command ${command}: hangup, record`;
}

/** Ends the session and with it the calls; the outcome stands in the history's custom_data. */
function finish(outcome) {
  if (state.stage === "ended") return;
  state.stage = "ended";
  state.outcome = outcome;
  Logger.write(outcome);
  VoxEngine.customData(`${VoxEngine.customData()} ${outcome}`);
  VoxEngine.terminate();
}
