// Conference and Endpoint (section 19 of the reference).
(function (host, shared) {
  const { Unit, VoxEngine, define } = shared;
  const conferences = new Map();
  const MOST_ENDPOINTS = 100;

  define('ConferenceEvents', Object.freeze({
    Started: 'Conference.Started',
    Stopped: 'Conference.Stopped',
    ConferenceError: 'Conference.Error',
    EndpointAdded: 'Conference.EndpointAdded',
    EndpointUpdated: 'Conference.EndpointUpdated',
    EndpointRemoved: 'Conference.EndpointRemoved',
    EndpointManaged: 'Conference.EndpointManaged',
  }));
  define('ConferenceDirection', Object.freeze({ SEND: 0, RECEIVE: 1, BOTH: 2 }));
  define('ConferenceMode', Object.freeze({ MIX: 0, FORWARD: 1 }));

  /** The name of an enum's member, given as name or as number. */
  const memberOf = (names, value, fallback) => {
    if (value === undefined || value === null) return fallback;
    const name = typeof value === 'number' ? names[value] : String(value).toUpperCase();
    return names.includes(name) ? name : undefined;
  };

  /** A call that was added, and how. */
  class Endpoint {
    #id;
    #facts;

    /** `facts`: call, conference, mode, direction, displayName. */
    constructor(facts) {
      this.#id = String(host.nextObject());
      this.#facts = facts;
    }

    id() {
      return this.#id;
    }

    getDirection() {
      return this.#facts.direction;
    }

    getMode() {
      return this.#facts.mode;
    }

    getCall() {
      const { call } = this.#facts;
      return call.state() === 'TERMINATED' ? undefined : call;
    }

    setDisplayName(displayName) {
      this.#facts.displayName = String(displayName);
      this.#facts.tell('Updated', this);
    }

    // What an endpoint receives is the mix, whatever it asks for.
    manageEndpoint() {
      this.#facts.tell('Managed', this);
      return Promise.resolve();
    }
  }

  class Conference extends Unit {
    #number;
    #endpoints = new Map();
    #isOver = false;

    constructor(number) {
      super(number);
      this.#number = number;
    }

    static prepare(conference, event, payload) {
      payload.conference = conference;
      payload.name = event;
      const endpoint = conference.#endpoints.get(payload.endpointId);
      if (endpoint) {
        payload.endpoint = endpoint;
        payload.mode = endpoint.getMode();
        payload.direction = endpoint.getDirection();
      }
      if (event === 'Conference.EndpointRemoved') conference.#endpoints.delete(payload.endpointId);
      if (event === 'Conference.Stopped') conferences.delete(conference.#number);
      return Unit.collect(conference, event, payload, undefined);
    }

    stop() {
      if (this.#isOver) return;
      this.#isOver = true;
      host.stopConference(this.#number);
    }

    getList() {
      return Array.from(this.#endpoints.values());
    }

    get(id) {
      return this.#endpoints.get(String(id));
    }

    add(parameters) {
      const { call, mode, direction, displayName } = parameters ?? {};
      if (Unit.number(call) === undefined) throw new TypeError('add: { call } is expected');
      const way = memberOf(['SEND', 'RECEIVE', 'BOTH'], direction, 'BOTH');
      const how = memberOf(['MIX', 'FORWARD'], mode, 'MIX');
      const facts = { call, mode: how, direction: way, displayName: displayName ?? '' };
      facts.tell = (change, endpoint) => {
        if (!this.#isOver) host.endpointChanged(this.#number, change, endpoint.id());
      };
      const endpoint = new Endpoint(facts);
      if (this.#isOver || how !== 'MIX' || way === undefined
          || this.#endpoints.size >= MOST_ENDPOINTS) {
        host.endpointRefused(this.#number, endpoint.id(), how === 'FORWARD'
          ? 'FORWARD endpoints are not available on this gateway'
          : 'the endpoint cannot be added');
        return endpoint;
      }
      this.#endpoints.set(endpoint.id(), endpoint);
      if (way !== 'RECEIVE') call.sendMediaTo(this);
      if (way !== 'SEND') this.sendMediaTo(call);
      const remove = () => facts.tell('Removed', endpoint);
      call.addEventListener('Call.Disconnected', remove);
      call.addEventListener('Call.Failed', remove);
      facts.tell('Added', endpoint);
      return endpoint;
    }
  }

  const methods = {
    createConference(parameters) {
      const number = host.nextObject();
      const conference = new Conference(number);
      conferences.set(number, conference);
      host.createConference(number, Boolean(parameters?.hd_audio));
      return conference;
    },

    destroyConference(conference) {
      if (!(conference instanceof Conference)) {
        throw new TypeError('destroyConference: the argument is not a conference');
      }
      conference.stop();
    },
  };
  Object.assign(VoxEngine, methods);

  shared.prepareConference = (number, event, payload) => {
    const conference = conferences.get(number);
    return conference && Conference.prepare(conference, event, payload);
  };
})
