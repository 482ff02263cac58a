// Player (section 15 of the reference): URL, speech and tone script players.
(function (host, shared) {
  const { Unit } = shared;
  const players = new Map();

  class Player extends Unit {
    #number;
    #isOver = false;

    constructor(number) {
      super(number);
      this.#number = number;
    }

    static prepare(player, event, payload) {
      payload.player = player;
      payload.name = event;
      if (event === 'Player.PlaybackFinished' || event === 'Player.Stopped') player.#end();
      return Unit.collect(player, event, payload, undefined);
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

    addMarker(offset) {
      if (!this.#isOver) host.addMarker(this.#number, Number(offset) || 0);
    }

    #end() {
      this.#isOver = true;
      shared.endSound(this);
      players.delete(this.#number);
    }
  }

  const create = (sound, isLooped, isPaused) => {
    const number = host.nextObject();
    const player = new Player(number);
    shared.beginSound(player);
    players.set(number, player);
    if (sound.error === undefined) host.createPlayer(number, sound, isLooped, isPaused);
    else host.failPlayer(number, sound.error);
    return player;
  };

  const isPaused = (parameters) => Boolean(parameters?.onPause);

  shared.player = {
    createURLPlayer: (request, parameters) =>
      create(shared.urlSound(request), shared.isLooped(parameters), isPaused(parameters)),

    createTTSPlayer: (text, parameters, options) => {
      const sound = shared.speech(text, parameters, options);
      const own = typeof parameters === 'object' && !shared.isVoice?.(parameters) ? parameters : null;
      return create(sound, Boolean(own?.loop), isPaused(own));
    },

    createToneScriptPlayer: (script, parameters) =>
      create({ tone: String(script) }, shared.isLooped(parameters), isPaused(parameters)),
  };

  shared.preparePlayer = (number, event, payload) => {
    const player = players.get(number);
    return player && Player.prepare(player, event, payload);
  };
})
