// Voice activity of a call (section 5 of the reference).
(function (host, shared) {
  const { Call, Unit, log } = shared;
  const listening = new WeakSet();

  const methods = {
    handleMicStatus(handle) {
      if (this.state() === 'TERMINATED') {
        log(`call ${this.id()}: handleMicStatus has no effect, the call has ended`);
        return;
      }
      const isOn = Boolean(handle);
      if (isOn) listening.add(this);
      else listening.delete(this);
      host.handleMicStatus(Unit.number(this), isOn);
    },

    vad() {
      return listening.has(this);
    },
  };

  for (const name of Object.keys(methods)) {
    Object.defineProperty(Call.prototype, name, {
      value: methods[name], writable: true, configurable: true,
    });
  }
})
