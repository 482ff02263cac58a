// Listeners, and what calls and players have in common.
(function (host, shared) {
  /** Handlers by event, in the order in which they were added; one added twice runs twice. */
  class Listeners {
    #entries = new Map();

    add(event, callback) {
      if (event === undefined || event === null) {
        shared.log(`addEventListener: there is no event "${event}"`);
        return;
      }
      const key = String(event);
      const entry = { callback, isActive: true };
      const entries = this.#entries.get(key);
      if (entries) entries.push(entry);
      else this.#entries.set(key, [entry]);
    }

    /** Without a callback: all handlers of the event. */
    remove(event, callback) {
      const key = String(event);
      const kept = [];
      for (const entry of this.#entries.get(key) ?? []) {
        if (callback === undefined || entry.callback === callback) entry.isActive = false;
        else kept.push(entry);
      }
      if (kept.length > 0) this.#entries.set(key, kept);
      else this.#entries.delete(key);
    }

    /** Appends each handler with the event that it is to get, as the runtime calls them. */
    collect(event, payload, into) {
      const entries = this.#entries.get(event);
      if (!entries) return into;
      const list = into ?? [];
      for (let i = 0; i < entries.length; i++) list.push(entries[i], payload);
      return list;
    }
  }
  shared.Listeners = Listeners;

  /** What sends or hears audio. */
  class Unit {
    #number;
    #listeners = null;

    constructor(number) {
      this.#number = number;
    }

    static number(unit) {
      return typeof unit === 'object' && unit !== null && #number in unit ? unit.#number : undefined;
    }

    static collect(unit, event, payload, into) {
      return unit.#listeners ? unit.#listeners.collect(event, payload, into) : into;
    }

    id() {
      return String(this.#number);
    }

    addEventListener(event, callback) {
      this.#listeners ??= new Listeners();
      this.#listeners.add(event, callback);
    }

    removeEventListener(event, callback) {
      this.#listeners?.remove(event, callback);
    }

    sendMediaTo(unit) {
      if (shared.attachDetector?.(unit, this)) return;
      const to = Unit.number(unit);
      if (to === undefined) throw new TypeError('sendMediaTo: the argument is not a media unit');
      host.sendMediaTo(this.#number, to);
    }

    stopMediaTo(unit) {
      const to = Unit.number(unit);
      if (to === undefined) throw new TypeError('stopMediaTo: the argument is not a media unit');
      host.stopMediaTo(this.#number, to);
    }
  }
  shared.Unit = Unit;

  // Units that play a sound: players, and calls with say or startPlayback.
  const sounding = new Set();

  shared.beginSound = (unit) => {
    if (!sounding.has(unit) && sounding.size >= host.players) {
      throw new Error('Exceeded the media player count limit!');
    }
    sounding.add(unit);
  };

  shared.endSound = (unit) => {
    sounding.delete(unit);
  };

  const RATES = { 'x-slow': 0.5, slow: 0.75, medium: 1, fast: 1.25, 'x-fast': 1.5 };
  const LONGEST_TEXT = 1500;

  const rateOf = (options) => {
    if (!options) return 1;
    const speed = Number(options.speed);
    if (speed >= 0.1 && speed <= 3) return speed;
    return RATES[options.rate] ?? 1;
  };

  const isParameters = (value) => typeof value === 'object' && value !== null
    && !shared.isVoice?.(value);

  const voiceOf = (value) => {
    if (typeof value === 'string' && value !== '') return value;
    const voice = shared.isVoice?.(value) ? shared.voiceText(value) : undefined;
    if (voice === undefined) shared.log('say: unknown voice, the default one is used');
    return voice ?? '';
  };

  /** `text` with parameters, or in the older form with a voice and TTS options. */
  shared.speech = (text, parameters, options) => {
    const isObject = isParameters(parameters);
    const voice = isObject
      ? parameters.voice ?? parameters.language ?? parameters.lang
      : parameters;
    const words = String(text);
    return {
      text: words,
      voice: voice === undefined || voice === null ? 'Amazon.en_US_Joanna' : voiceOf(voice),
      rate: rateOf(isObject ? parameters.ttsOptions : options),
      error: words.length > LONGEST_TEXT
        ? `The text is longer than ${LONGEST_TEXT} characters` : undefined,
    };
  };

  /** A URL, or a request object. */
  shared.urlSound = (request, parameters) => {
    const progressive = Boolean(parameters?.progressivePlayback);
    if (typeof request !== 'object' || request === null) {
      return { url: String(request), method: 'GET', headers: [], progressive };
    }
    const { body } = request;
    return {
      url: String(request.url),
      method: String(request.method ?? 'GET').toUpperCase(),
      headers: Array.from(request.headers ?? [], ({ name, value }) => [name, value]),
      body: body?.text,
      base64: body?.binary,
      progressive,
    };
  };

  shared.isLooped = (parameters) => (typeof parameters === 'object' && parameters !== null
    ? Boolean(parameters.loop) : Boolean(parameters));
})
