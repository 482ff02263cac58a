// Dials the number of its custom data; the access URL has it re-INVITE, and keeps what happens.

const seen = [];
const call = VoxEngine.callPSTN(VoxEngine.customData(), "100");
for (const name of ["Connected", "Failed", "Disconnected", "OnHold", "OffHold", "ReInviteReceived",
  "ReInviteAccepted", "ReInviteRejected"]) {
  call.addEventListener(CallEvents[name], (e) => seen.push({
    name, code: e.code ?? e.internalCode, reason: e.reason, body: e.body, headers: e.headers,
  }));
}

VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  const { command, type, text } = e.method === "POST" ? JSON.parse(e.content) : {};
  if (command === "change") call.reInvite({ "X-Why": "test" }, type ?? "application/sdp", text);
  if (command === "end") VoxEngine.terminate();
  return { state: call.state(), seen };
});
