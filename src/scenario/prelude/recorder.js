// Recorder (section 18 of the reference): records the mix of what is sent to it.
(function (host, shared) {
  const { Unit, VoxEngine, define, log } = shared;
  const recorders = new Map();

  define('RecorderEvents', Object.freeze({
    Started: 'Recorder.Started',
    Stopped: 'Recorder.Stopped',
    RecorderError: 'Recorder.Error',
  }));

  class Recorder extends Unit {
    #number;
    #isOver = false;

    constructor(number) {
      super(number);
      this.#number = number;
    }

    static prepare(recorder, event, payload) {
      payload.recorder = recorder;
      payload.name = event;
      if (event !== 'Recorder.Started') {
        recorder.#isOver = true;
        recorders.delete(recorder.#number);
      }
      return Unit.collect(recorder, event, payload, undefined);
    }

    mute(doMute) {
      if (!this.#isOver) host.muteRecorder(this.#number, Boolean(doMute));
    }

    stop() {
      if (this.#isOver) return;
      this.#isOver = true;
      host.stopRecorder(this.#number);
    }
  }

  /** With parameters, or in the older form with a name and `secure`. */
  VoxEngine.createRecorder = (parameters, isSecure) => {
    const isObject = typeof parameters === 'object' && parameters !== null;
    const { name, secure, hd_audio, recordNamePrefix, expire, transcribe } = isObject
      ? parameters : { name: parameters, secure: isSecure };
    const number = host.nextObject();
    const recorder = new Recorder(number);
    recorders.set(number, recorder);
    if (transcribe) {
      host.failRecorder(number, 'Transcription is not available on this gateway');
      return recorder;
    }
    if (secure) log('createRecorder: secure has no effect, the URL is not guessable');
    host.createRecorder(number, Boolean(hd_audio), name, recordNamePrefix, expire);
    return recorder;
  };

  shared.prepareRecorder = (number, event, payload) => {
    const recorder = recorders.get(number);
    return recorder && Recorder.prepare(recorder, event, payload);
  };
})
