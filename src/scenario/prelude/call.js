// Call (sections 5 to 7 of the VoxEngine reference).
(function (host, shared) {
  const { Unit, log } = shared;
  const calls = new Map();

  class Call extends Unit {
    #number;
    #facts;
    #state;
    #customData = '';

    /** `facts`: isIncoming, callerid, displayName, number, clientType. */
    constructor(number, facts) {
      super(number);
      this.#number = number;
      this.#facts = facts;
      this.#state = facts.isIncoming ? 'ALERTING' : 'PROGRESSING';
    }

    /** Takes an event into account and tells who is to hear of it. */
    static prepare(call, event, payload) {
      payload.call = call;
      payload.name = event;
      payload.id = call.id();
      let list;
      switch (event) {
        case 'Call.Connected':
          list = call.#enter('CONNECTED');
          break;
        case 'Call.Disconnected':
        case 'Call.Failed':
          shared.endSound(call);
          list = call.#enter('TERMINATED');
          list = shared.concludeDetector?.(call, 'CALL_ENDED', 0, list) ?? list;
          break;
        case 'Call.AudioIdentificationResult':
          list = shared.concludeDetector?.(call, payload.audioType, payload.confidence);
          break;
        case 'Call.PlaybackFinished':
          shared.endSound(call);
          break;
      }
      return Unit.collect(call, event, payload, list);
    }

    state() {
      return this.#state;
    }

    toString() {
      return `Call ${this.#number} (${this.#state})`;
    }

    incoming() {
      return this.#facts.isIncoming;
    }

    callerid() {
      return this.#facts.callerid;
    }

    displayName() {
      return this.#facts.displayName;
    }

    number() {
      return this.#facts.number;
    }

    clientType() {
      return this.#facts.clientType;
    }

    customData(value) {
      if (value !== undefined) {
        this.#customData = String(value);
        host.callCustomData(this.#number, this.#customData);
      }
      return this.#customData;
    }

    answer(extraHeaders, parameters) {
      if (this.#isOver('answer') || !this.#facts.isIncoming) return;
      host.answer(this.#number, extraHeaders, parameters?.displayName);
    }

    answerDirect(peerCall, extraHeaders, parameters) {
      this.answer(extraHeaders, parameters);
    }

    ring(extraHeaders) {
      if (!this.#isOver('ring')) host.ring(this.#number, extraHeaders);
    }

    startEarlyMedia(extraHeaders) {
      if (!this.#isOver('startEarlyMedia')) host.startEarlyMedia(this.#number, extraHeaders);
    }

    reject(code, extraHeaders) {
      if (!this.#isOver('reject')) host.reject(this.#number, Number(code), extraHeaders);
    }

    decline(code, extraHeaders) {
      this.reject(code, extraHeaders);
    }

    hangup(extraHeaders) {
      if (!this.#isOver('hangup')) host.hangup(this.#number, extraHeaders);
    }

    say(text, parameters, options) {
      if (!this.#isOver('say')) this.#play(shared.speech(text, parameters, options), false);
    }

    startPlayback(url, parameters) {
      if (!this.#isOver('startPlayback')) {
        this.#play(shared.urlSound(url, parameters), shared.isLooped(parameters));
      }
    }

    stopPlayback() {
      if (this.#isOver('stopPlayback')) return;
      shared.endSound(this);
      host.stopPlayback(this.#number);
    }

    playProgressTone(country) {
      if (!this.#isOver('playProgressTone')) host.progressTone(this.#number, String(country));
    }

    record(parameters) {
      if (this.#isOver('record')) return;
      const { transcribe, stereo, hd_audio, recordNamePrefix, expire } = parameters ?? {};
      if (transcribe) {
        host.failRecording(this.#number, 'Transcription is not available on this gateway');
        return;
      }
      host.record(this.#number, Boolean(stereo), Boolean(hd_audio), recordNamePrefix, expire);
    }

    handleTones(doHandle = true, types = 0) {
      if (this.#isOver('handleTones')) return;
      const hears = (type) => Boolean(doHandle) && (types === 0 || types === type);
      host.handleTones(this.#number, hears(1), hears(2), hears(3));
    }

    sendDigits(digits) {
      if (!this.#isOver('sendDigits')) host.sendDigits(this.#number, String(digits));
    }

    sendMessage(text) {
      if (this.#isOver('sendMessage')) return;
      if (!host.sendMessage(this.#number, String(text))) {
        throw new Error('sendMessage: the text is longer than 8192 bytes');
      }
    }

    sendInfo(mimeType, body, headers) {
      if (this.#isOver('sendInfo')) return;
      if (!host.sendInfo(this.#number, String(mimeType), String(body), headers)) {
        throw new Error('sendInfo: the body is longer than 8192 bytes');
      }
    }

    /** With SDP its direction (`a=sendonly` and so on) is what counts: media passes through us. */
    reInvite(headers, mimeType = 'application/sdp', body = '') {
      if (this.#isOver('reInvite')) return;
      if (!host.reInvite(this.#number, String(mimeType), String(body), headers)) {
        throw new Error('reInvite: the body is longer than 8192 bytes');
      }
    }

    // The gateway answers re-INVITEs itself, so no request of the peer is ever pending.
    acceptReInvite() {}

    rejectReInvite() {}

    detectProgressTone() {
      log('detectProgressTone is not supported: ToneDetected will not fire');
    }

    detectVoicemailTone() {
      log('detectVoicemailTone is not supported: ToneDetected will not fire');
    }

    detectVoicemailPrompt() {
      log('detectVoicemailPrompt is not supported: ToneDetected will not fire');
    }

    #play(sound, isLooped) {
      shared.beginSound(this);
      if (sound.error === undefined) host.playback(this.#number, sound, isLooped);
      else host.failPlayback(this.#number, sound.error);
    }

    #enter(newState) {
      const oldState = this.#state;
      if (oldState === newState) return undefined;
      this.#state = newState;
      const name = 'Call.StateChanged';
      const payload = { call: this, name, id: this.id(), oldState, newState };
      return Unit.collect(this, name, payload, undefined);
    }

    #isOver(method) {
      if (this.#state !== 'TERMINATED') return false;
      log(`call ${this.#number}: ${method} has no effect, the call has ended`);
      return true;
    }
  }

  shared.Call = Call;

  shared.addCall = (number, facts) => {
    const call = new Call(number, facts);
    calls.set(number, call);
    return call;
  };

  shared.prepareCall = (number, event, payload) => {
    const call = calls.get(number);
    return call && Call.prepare(call, event, payload);
  };
})
