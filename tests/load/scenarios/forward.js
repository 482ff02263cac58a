// Forwards a call to where the route leads, with its caller id, and joins the two.

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  VoxEngine.easyProcess(e.call, VoxEngine.callPSTN(e.destination, e.callerid));
});
