// Dials a number and keeps what its sound tells: digits, beeps, fax tones, who answered.

const seen = [];
const { number } = JSON.parse(VoxEngine.customData());
const amd = AMD.create({ timeout: 8000 });
const call = VoxEngine.callPSTN(number, "100", { amd });
call.handleTones(true, DTMFType.IN_BAND);
call.enableBeepDetection({ timeout: 12000 });
call.detectFaxTone();
call.handleMicStatus(true);
for (const name of ["Connected", "Disconnected", "ToneReceived", "BeepDetectionComplete",
  "ToneDetected", "MicStatusChange"]) {
  call.addEventListener(CallEvents[name], ({ tone, frequencies, timeout, FaxTone, active }) =>
    seen.push({ name, tone, frequencies, timeout, FaxTone, active }));
}
amd.addEventListener(AMD.Events.DetectionComplete, ({ resultClass, confidence }) =>
  seen.push({ name: "DetectionComplete", resultClass, confidence }));

VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  const { command } = e.method === "POST" ? JSON.parse(e.content) : {};
  if (command === "hangup") call.hangup();
  if (command === "end") VoxEngine.terminate();
  return { seen };
});
