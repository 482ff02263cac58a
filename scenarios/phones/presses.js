// A person who picks up, talks and presses 1 now and then: number 7002 of the shipped
// configuration.

const PATIENCE_MS = 120000; // nobody listens to this for longer

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  const { call } = e;
  const talk = () => call.startPlayback("file:prompts/phone-second.wav");
  call.addEventListener(CallEvents.Connected, () => {
    talk();
    setInterval(() => call.sendDigits("1"), 2500);
  });
  call.addEventListener(CallEvents.PlaybackFinished, () => setTimeout(talk, 500));
  call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
  call.ring();
  setTimeout(() => call.answer(), 500);
  setTimeout(() => call.hangup(), PATIENCE_MS);
});
