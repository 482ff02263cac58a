// A phone that rings and is never answered: number 7004 of the shipped configuration.

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
  e.call.ring();
});
