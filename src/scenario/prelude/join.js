// Helpers that join two legs (sections 4.3 and 20 of the reference), made of the public API only,
// so that a method that a script replaces is replaced here too.
(function (host, shared) {
  const { VoxEngine } = shared;
  const CallAlerting = 'Application.CallAlerting';

  const easyProcess = (call1, call2, onEstablished, direct = false) => {
    let isEstablished = false;
    let isClosed = false;
    if (!direct) VoxEngine.sendMediaBetween(call1, call2);

    call2.addEventListener('Call.Ringing', () => call1.ring());
    call2.addEventListener('Call.AudioStarted', (e) => call1.startEarlyMedia(null, e.scheme));
    call2.addEventListener('Call.Connected', (e) => {
      const parameters = { displayName: call2.displayName(), scheme: e.scheme };
      if (direct) call1.answerDirect(call2, e.headers, parameters);
      else call1.answer(e.headers, parameters);
    });
    call1.addEventListener('Call.Connected', () => {
      if (isEstablished) return;
      isEstablished = true;
      onEstablished?.(call1, call2);
    });

    const close = () => {
      if (isClosed) return;
      isClosed = true;
      VoxEngine.terminate();
    };
    const pass = (from, to) => {
      from.addEventListener('Call.MessageReceived', (e) => to.sendMessage(e.text));
      from.addEventListener('Call.InfoReceived', (e) => to.sendInfo(e.mimeType, e.body, e.headers));
      from.addEventListener('Call.ReInviteReceived', (e) => {
        if (from.clientType() === 'pstn' || typeof to.reInvite !== 'function') {
          if (e.mimeType === 'application/json') from.acceptReInvite(e.headers, e.mimeType, e.body);
        } else {
          to.reInvite(e.headers, e.mimeType, e.body);
        }
      });
      from.addEventListener('Call.ReInviteAccepted', (e) => {
        if (to.clientType() !== 'pstn') to.acceptReInvite(e.headers, e.mimeType, e.body);
      });
      from.addEventListener('Call.ReInviteRejected', (e) => {
        if (to.clientType() !== 'pstn') to.rejectReInvite(e.headers, { code: e.code, reason: e.reason });
      });
      from.addEventListener('Call.Disconnected', close);
    };
    pass(call1, call2);
    pass(call2, call1);
    call1.addEventListener('Call.Failed', close);
    call2.addEventListener('Call.Failed', (e) => {
      // The caller hears why, instead of a session that just ends.
      if (!isClosed && call1.state() === 'ALERTING') {
        call1.reject(e.code >= 400 && e.code < 700 ? e.code : 480);
      }
      close();
    });
  };

  const forward = (dial, onEstablished, direct) => {
    VoxEngine.addEventListener(CallAlerting, (e) => {
      VoxEngine.easyProcess(e.call, dial(e), onEstablished, direct);
    });
  };

  shared.join = {
    easyProcess,

    forwardCallToPSTN(numberTransform, onEstablished, options) {
      forward((e) => VoxEngine.callPSTN(
        numberTransform ? numberTransform(e.destination) : e.destination,
        options?.callerid ?? e.callerid, options), onEstablished, false);
    },

    forwardCallToUser(onEstablished, video) {
      forward((e) => VoxEngine.callUser({
        username: e.destination, callerid: e.callerid, displayName: e.displayName,
        extraHeaders: e.headers, video,
      }), onEstablished, false);
    },

    forwardCallToUserDirect(onEstablished) {
      forward((e) => VoxEngine.callUserDirect(e.call, e.destination, {
        callerid: e.callerid, displayName: e.displayName, extraHeaders: e.headers,
      }), onEstablished, true);
    },

    forwardCallToSIP(onEstablished, video) {
      forward((e) => VoxEngine.callSIP(e.toURI, {
        callerid: e.callerid, displayName: e.displayName, headers: e.headers, video,
      }), onEstablished, false);
    },

    playSoundAndHangup(fileURL) {
      VoxEngine.addEventListener(CallAlerting, ({ call }) => {
        const end = () => VoxEngine.terminate();
        call.addEventListener('Call.Connected', () => call.startPlayback(fileURL));
        call.addEventListener('Call.PlaybackFinished', end);
        call.addEventListener('Call.Failed', end);
        call.addEventListener('Call.Disconnected', end);
        call.answer();
      });
    },
  };
})
