// Transfers of a call (sections 5 and 13 of the reference).
(function (host, shared) {
  const { Call, Unit, log } = shared;

  const isOver = (call, method) => {
    if (call.state() !== 'TERMINATED') return false;
    log(`call ${call.id()}: ${method} has no effect, the call has ended`);
    return true;
  };

  const methods = {
    handleBlindTransfer(handle) {
      if (isOver(this, 'handleBlindTransfer')) return;
      host.handleBlindTransfer(Unit.number(this), Boolean(handle));
    },

    notifyBlindTransferSuccess() {
      if (isOver(this, 'notifyBlindTransferSuccess')) return;
      host.notifyTransfer(Unit.number(this), 200, 'OK');
    },

    notifyBlindTransferFailed(code, reason) {
      if (isOver(this, 'notifyBlindTransferFailed')) return;
      const status = Number(code);
      const isFailure = status >= 300 && status < 700;
      host.notifyTransfer(Unit.number(this), isFailure ? status : 603, String(reason ?? ''));
    },

    transferTo(parameters) {
      if (isOver(this, 'transferTo')) return;
      const { to, call, headers } = parameters ?? {};
      const other = call === undefined || call === null ? undefined : Unit.number(call);
      if (other === undefined && (call || to === undefined || to === null)) {
        throw new TypeError('transferTo: { to } or { call } is expected');
      }
      host.transferTo(Unit.number(this), String(to ?? ''), other ?? 0, headers);
    },
  };

  for (const name of Object.keys(methods)) {
    Object.defineProperty(Call.prototype, name, {
      value: methods[name], writable: true, configurable: true,
    });
  }
})
