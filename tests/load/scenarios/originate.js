// Calls the number in its custom data; hangs up when it is answered.

VoxEngine.addEventListener(AppEvents.Started, () => {
  const call = VoxEngine.callPSTN(VoxEngine.customData(), "load");
  call.addEventListener(CallEvents.Connected, VoxEngine.terminate);
  call.addEventListener(CallEvents.Failed, VoxEngine.terminate);
});
