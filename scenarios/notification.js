// Notification: calls a number, says something and has it confirmed with a key.
//
// Shows retries, repeats, keys with a time-out, and an outcome that stands in the call history
// (custom_data) and is answered by the access URL while the session runs.
//
// Try it: start rule 2 with script_custom_data=7002 (confirms), 7001 (never does), 7003 (busy), or
// with JSON: {"number":"7002","text":"Your order has arrived.","attempts":1}

const PROMPTS = "file:prompts/"; // in the vendor's cloud: where you put the files, https://...
const CALLER_ID = ""; // "": what the trunk's configuration says
const REPEATS = 3; // how often the message is spoken before we give up
const KEY_WAIT_MS = 5000;
const RETRY_AFTER_MS = 30000; // a session without calls lives for 60 s
const WORTH_A_RETRY = [408, 480, 486, 503];
const CONFIRMED = "confirmed";

let order = {};
let outcome = "starting";

VoxEngine.addEventListener(AppEvents.Started, () => {
  const data = VoxEngine.customData();
  try {
    order = data.startsWith("{") ? JSON.parse(data) : { number: data };
  } catch (e) {
    Logger.write(e.message);
  }
  if (!order.number) return finish("custom data must be a number or JSON with one");
  attempt(order.attempts || 2);
});

VoxEngine.addEventListener(AppEvents.HttpRequest, () => ({ number: order.number, outcome }));

function attempt(left) {
  outcome = "calling";
  const call = VoxEngine.callPSTN(String(order.number), CALLER_ID);
  call.addEventListener(CallEvents.Failed, (e) => {
    const reason = `not reached: ${e.code} ${e.reason}`;
    if (left <= 1 || !WORTH_A_RETRY.includes(e.code)) return finish(reason);
    outcome = reason;
    setTimeout(() => attempt(left - 1), RETRY_AFTER_MS);
  });
  call.addEventListener(CallEvents.Connected, () => talk(call));
  call.addEventListener(CallEvents.Disconnected, () => {
    finish(outcome === CONFIRMED ? outcome : "hung up without confirming");
  });
}

async function talk(call) {
  outcome = "speaking";
  call.handleTones(true);
  for (let time = 0; time < REPEATS; time++) {
    if (order.text) call.say(order.text);
    else call.startPlayback(PROMPTS + "notification.wav");
    await playbackFinished(call);
    call.startPlayback(PROMPTS + "press-one.wav");
    if ((await key(call)) === "1") {
      outcome = CONFIRMED; // however the call ends from here on
      call.startPlayback(PROMPTS + "thanks.wav");
      await playbackFinished(call);
      return finish(outcome);
    }
  }
  finish("not confirmed");
}

/** Resolves when the call has played what it plays; never, if it ends before. */
function playbackFinished(call) {
  return new Promise((resolve) => {
    call.addEventListener(CallEvents.PlaybackFinished, function once(e) {
      call.removeEventListener(CallEvents.PlaybackFinished, once);
      if (e.error) Logger.write(`playback: ${e.error}`);
      resolve();
    });
  });
}

/** The first key from now on, which cuts the prompt short; "" some seconds after its end. */
function key(call) {
  return new Promise((resolve) => {
    let timer;
    const done = (tone) => {
      clearTimeout(timer);
      call.removeEventListener(CallEvents.ToneReceived, pressed);
      call.removeEventListener(CallEvents.PlaybackFinished, finished);
      call.stopPlayback();
      resolve(tone);
    };
    const pressed = (e) => done(e.tone);
    const finished = () => (timer = setTimeout(() => done(""), KEY_WAIT_MS));
    call.addEventListener(CallEvents.ToneReceived, pressed);
    call.addEventListener(CallEvents.PlaybackFinished, finished);
  });
}

function finish(text) {
  outcome = text;
  Logger.write(text);
  VoxEngine.customData(`${order.number || ""} ${text}`);
  VoxEngine.terminate();
}
