// AMD (section 24 of the reference): who answered a call, told by the cadence of what is said.
(function (host, shared) {
  const { Listeners, Unit, log } = shared;

  const COMPLETE = 'AMD.Events.DetectionComplete';
  const ERROR = 'AMD.Events.DetectionError';
  const MODELS = {
    BR: 'br', CL: 'cl', CO: 'colombia', KZ: 'kz', MX: 'mx', RU: 'ru', PH: 'ph', PE: 'pe', US: 'us',
    EU_GENERAL: 'eu_general',
  };
  const MOST_TIMEOUT = 20_000;

  // Detectors by the number of the call that they listen to.
  const attached = new Map();

  /** A confidence from 0 to 100, also where it was given as a part of 1. */
  const confidenceOf = (value, usual) => {
    const number = Number(value);
    if (!(number > 0)) return usual;
    return Math.min(Math.round(number <= 1 ? number * 100 : number), 100);
  };

  class AnsweringMachineDetector {
    #id = host.nextObject();
    #listeners = new Listeners();
    #thresholds;
    #waiting = [];
    #end = null;

    constructor(parameters) {
      const { model, timeout, thresholds } = parameters ?? {};
      this.model = model;
      const ms = Number(timeout ?? 6500);
      this.timeout = ms >= 0 ? Math.min(ms, MOST_TIMEOUT) : 6500;
      this.#thresholds = thresholds ?? {};
      if (model !== undefined) {
        log(`AMD: model "${model}" is not here; the cadence of the greeting is judged instead`);
      }
    }

    id() {
      return String(this.#id);
    }

    addEventListener(event, callback) {
      this.#listeners.add(event, callback);
    }

    removeEventListener(event, callback) {
      this.#listeners.remove(event, callback);
    }

    /** Comes to what DetectionComplete carries. */
    detect() {
      if (this.#end) return this.#end.error ? Promise.reject(this.#end) : Promise.resolve(this.#end);
      if (!this.call) {
        return Promise.reject(new Error('AMD.detect: the detector is not attached to a call'));
      }
      return new Promise((resolve, reject) => {
        this.#waiting.push(resolve, reject);
      });
    }

    static attach(detector, call) {
      if (detector.call) {
        log('AMD: the detector listens to another call already');
        return;
      }
      const number = Unit.number(call);
      const { human, voicemail } = detector.#thresholds;
      detector.call = call;
      attached.set(number, detector);
      host.detectAnswer(number, detector.timeout, confidenceOf(human, 60),
        confidenceOf(voicemail, 70));
    }

    /** The end of a detection; who is to hear of it is added to the list. */
    static complete(detector, resultClass, confidence, list) {
      const { call } = detector;
      const payload = {
        name: COMPLETE, amd: detector, call, callId: call.id(), resultClass, resultSubtype: 'NONE',
        confidence,
      };
      attached.delete(Unit.number(call));
      detector.#end = payload;
      for (let i = 0; i < detector.#waiting.length; i += 2) detector.#waiting[i](payload);
      detector.#waiting = [];
      return detector.#listeners.collect(COMPLETE, payload, list);
    }
  }

  /** `amd` of callPSTN and the like, and a target of sendMediaTo. Whether it is one of ours. */
  shared.attachDetector = (detector, call) => {
    if (!(detector instanceof AnsweringMachineDetector)) return false;
    AnsweringMachineDetector.attach(detector, call);
    return true;
  };

  /** A verdict on a call came, or its end. */
  shared.concludeDetector = (call, resultClass, confidence, list) => {
    const detector = attached.get(Unit.number(call));
    if (!detector) return list;
    return AnsweringMachineDetector.complete(detector, resultClass, confidence, list);
  };

  shared.define('AMD', Object.freeze({
    create: (parameters) => new AnsweringMachineDetector(parameters),
    Events: Object.freeze({ DetectionComplete: COMPLETE, DetectionError: ERROR }),
    ResultClass: Object.freeze({
      VOICEMAIL: 'VOICEMAIL', HUMAN: 'HUMAN', TIMEOUT: 'TIMEOUT', CALL_ENDED: 'CALL_ENDED',
    }),
    ResultSubtype: Object.freeze({ MIMIC: 'MIMIC', NONE: 'NONE' }),
    Model: Object.freeze(MODELS),
  }));
})
