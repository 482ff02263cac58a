// A line that is busy: number 7003 of the shipped configuration.

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
  e.call.reject(486);
});
