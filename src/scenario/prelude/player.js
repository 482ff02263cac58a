// Player and SequencePlayer (section 15 of the reference): URLs, speech, tone scripts.
(function (host, shared) {
  const { Unit } = shared;
  const players = new Map();

  class Player extends Unit {
    #number;
    #isSequence;
    #isOver = false;

    constructor(number, isSequence) {
      super(number);
      this.#number = number;
      this.#isSequence = isSequence;
    }

    static prepare(player, event, payload) {
      const name = player.#isSequence ? `Sequence${event}` : event;
      payload[player.#isSequence ? 'sequencePlayer' : 'player'] = player;
      payload.name = name;
      if (event === 'Player.PlaybackFinished' || event === 'Player.Stopped') player.#end();
      return Unit.collect(player, name, payload, undefined);
    }

    pause() {
      if (!this.#isOver) host.pausePlayer(this.#number);
    }

    resume() {
      if (!this.#isOver) host.resumePlayer(this.#number);
    }

    stop() {
      if (this.#isOver) return;
      host.stopPlayer(this.#number);
      this.#isOver = true;
      shared.endSound(this);
    }

    addMarker(offset, segment) {
      const part = this.#isSequence ? Number(segment) || 0 : 0;
      if (!this.#isOver) host.addMarker(this.#number, part, Number(offset) || 0);
    }

    #end() {
      this.#isOver = true;
      shared.endSound(this);
      players.delete(this.#number);
    }
  }

  const make = (isSequence) => {
    const number = host.nextObject();
    const player = new Player(number, isSequence);
    shared.beginSound(player);
    players.set(number, player);
    return [number, player];
  };

  const create = (sound, isLooped, isPaused) => {
    const [number, player] = make(false);
    if (sound.error === undefined) host.createPlayer(number, sound, isLooped, isPaused);
    else host.failPlayer(number, sound.error);
    return player;
  };

  const LONGEST_SEQUENCE = 64;

  const isPaused = (parameters) => Boolean(parameters?.onPause);

  shared.player = {
    createURLPlayer: (request, parameters) =>
      create(shared.urlSound(request, parameters), shared.isLooped(parameters),
        isPaused(parameters)),

    createTTSPlayer: (text, parameters, options) => {
      const sound = shared.speech(text, parameters, options);
      const own = typeof parameters === 'object' && !shared.isVoice?.(parameters) ? parameters : null;
      return create(sound, Boolean(own?.loop), isPaused(own));
    },

    createToneScriptPlayer: (script, parameters) =>
      create({ tone: String(script) }, shared.isLooped(parameters), isPaused(parameters)),

    createSequencePlayer: (parameters) => {
      const segments = Array.from(parameters?.segments ?? []);
      if (segments.length > LONGEST_SEQUENCE) {
        throw new Error(`createSequencePlayer: more than ${LONGEST_SEQUENCE} segments`);
      }
      const sounds = segments.map((segment) => (segment?.url === undefined
        ? shared.speech(segment?.text ?? '', segment?.parameters)
        : shared.urlSound(segment.url, segment.parameters)));
      const [number, player] = make(true);
      host.createSequence(number, sounds);
      return player;
    },
  };

  shared.preparePlayer = (number, event, payload) => {
    const player = players.get(number);
    return player && Player.prepare(player, event, payload);
  };
})
