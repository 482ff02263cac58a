// What a call can be listened to for (section 5 of the reference): beeps and, ours, fax tones.
(function (host, shared) {
  const { Call, Unit, log } = shared;

  const isOver = (call, method) => {
    if (call.state() !== 'TERMINATED') return false;
    log(`call ${call.id()}: ${method} has no effect, the call has ended`);
    return true;
  };

  const MOST_FREQUENCIES = 8;

  const methods = {
    enableBeepDetection(parameters) {
      if (isOver(this, 'enableBeepDetection')) return;
      const { frequencies, timeout } = parameters ?? {};
      const hertz = Array.from(frequencies ?? [], Number)
        .filter((value) => value >= 300 && value <= 2400);
      if (hertz.length > MOST_FREQUENCIES) {
        log(`enableBeepDetection: only the first ${MOST_FREQUENCIES} frequencies count`);
      }
      const ms = Number(timeout ?? 0);
      host.detectBeep(Unit.number(this), hertz.slice(0, MOST_FREQUENCIES), ms > 0 ? ms : 0);
    },

    disableBeepDetection() {
      if (!isOver(this, 'disableBeepDetection')) host.stopBeepDetection(Unit.number(this));
    },

    /** Not in the reference: ToneDetected comes with `FaxTone` "CNG" or "CED". */
    detectFaxTone() {
      if (!isOver(this, 'detectFaxTone')) host.detectFax(Unit.number(this));
    },
  };

  for (const name of Object.keys(methods)) {
    Object.defineProperty(Call.prototype, name, {
      value: methods[name], writable: true, configurable: true,
    });
  }
})
