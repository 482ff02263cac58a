// What an inbound call meets, by the number it dialled; see numbers below.

const numbers = {
  // Picks up, plays a prompt over and over, records both directions, keeps the keys.
  800: (call) => {
    call.handleTones(true);
    call.addEventListener(CallEvents.Connected, () => {
      call.record({ stereo: true, recordNamePrefix: "inbound" });
      call.startPlayback("file:prompts/phone-hello.wav", { loop: true });
    });
    call.answer({ "X-Answered-By": "800" });
  },
  801: (call) => call.reject(486, { "X-Why": "busy" }),
  802: (call) => {
    call.startEarlyMedia();
    call.startPlayback("file:prompts/phone-hello.wav", { loop: true });
    setTimeout(() => call.answer(), 700);
  },
  803: (call) => call.ring(),
  804: (call) => {
    call.addEventListener(CallEvents.Connected, () => setTimeout(() => call.hangup(), 300));
    call.answer();
  },
  805: (call) => {
    call.addEventListener(CallEvents.Connected, () => call.sendMediaTo(call));
    call.answer();
  },
  // Throws while the call is there: the call goes on.
  806: (call) => {
    call.addEventListener(CallEvents.Connected, () => {
      setTimeout(() => call.hangup(), 500);
      undefinedFunction();
    });
    call.answer();
  },
};

VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  e.call.addEventListener(CallEvents.Disconnected, (d) => {
    VoxEngine.customData(`${e.destination} from ${e.callerid}: ${d.internalCode}${keys}`);
    VoxEngine.terminate();
  });
  keys = "";
  e.call.addEventListener(CallEvents.ToneReceived, (t) => (keys += ` ${t.tone}`));
  numbers[e.destination](e.call);
});

VoxEngine.addEventListener(AppEvents.HttpRequest, () => ({ keys }));
