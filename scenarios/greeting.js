// Greeting: answers a call, offers a menu, forwards to a user or takes a message.
//
// Shows an inbound call, a menu with a second chance, forwarding with a ringing tone, and what to
// do when the user is busy, does not answer or has no phone registered.
//
// Try it: set USER to a [[user]] of yours with a phone registered, and call 100.

const PROMPTS = "file:prompts/"; // in the vendor's cloud: where you put the files, https://...
const USER = "alice";
const CHANCES = 3;
const KEY_WAIT_MS = 5000;
const MESSAGE_MS = 60000;

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  const caller = e.call;
  caller.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
  caller.addEventListener(CallEvents.Connected, () => menu(caller, 1));
  caller.answer();
});

function menu(caller, chance) {
  caller.handleTones(true);
  let timer;
  const choose = (then) => {
    clearTimeout(timer);
    caller.removeEventListener(CallEvents.ToneReceived);
    caller.removeEventListener(CallEvents.PlaybackFinished);
    caller.stopPlayback();
    then(caller);
  };
  const again = () => choose(chance < CHANCES ? (c) => menu(c, chance + 1) : takeMessage);
  caller.addEventListener(CallEvents.ToneReceived, (e) => {
    if (e.tone === "1") choose(forward);
    else if (e.tone === "2") choose(takeMessage);
    else again();
  });
  caller.addEventListener(CallEvents.PlaybackFinished, () => {
    timer = setTimeout(again, KEY_WAIT_MS);
  });
  caller.startPlayback(PROMPTS + "greeting.wav");
}

function forward(caller) {
  caller.handleTones(false); // keys go through to the user from here on
  caller.playProgressTone("US");
  const user = VoxEngine.callUser({
    username: USER,
    callerid: caller.callerid(),
    displayName: caller.displayName(),
    extraHeaders: { "VI-CallTimeout": "20" },
  });
  user.addEventListener(CallEvents.AudioStarted, () => user.sendMediaTo(caller));
  user.addEventListener(CallEvents.Connected, () => {
    caller.stopPlayback();
    VoxEngine.sendMediaBetween(caller, user);
  });
  user.addEventListener(CallEvents.Failed, (e) => {
    Logger.write(`${USER}: ${e.code} ${e.reason}`);
    caller.stopPlayback();
    takeMessage(caller);
  });
  user.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
}

function takeMessage(caller) {
  const prompts = ["leave-message.wav", "beep.wav"];
  const next = () => {
    const prompt = prompts.shift();
    if (prompt) return caller.startPlayback(PROMPTS + prompt);
    caller.record({ recordNamePrefix: "greeting" });
    setTimeout(() => caller.hangup(), MESSAGE_MS);
  };
  caller.addEventListener(CallEvents.PlaybackFinished, next);
  caller.addEventListener(CallEvents.RecordStarted, (e) => {
    VoxEngine.customData(`message from ${caller.callerid()}: ${e.url}`);
  });
  next();
}
