// VoxEngine (section 4 of the reference): the session, calls, and what makes players.
(function (host, shared) {
  const { Unit, addCall, log } = shared;
  const listeners = new shared.Listeners();
  let customData = host.customData;

  const isObject = (value) => typeof value === 'object' && value !== null;
  const textOf = (value) => (value === undefined || value === null ? '' : String(value));

  /** A caller id as the API allows it: without white space. */
  const calleridOf = (value) => {
    const text = textOf(value);
    const clean = text.replace(/\s+/g, '');
    if (clean !== text) log(`callerid "${text}" holds white space: "${clean}" is used`);
    return clean;
  };

  const newCall = (clientType, number, callerid, displayName) => {
    const object = host.nextObject();
    const facts = { isIncoming: false, callerid, displayName, number, clientType };
    return [object, addCall(object, facts)];
  };

  /** An answering machine detector among the parameters. */
  const attach = (parameters, call) => {
    if (parameters?.amd) shared.attachDetector?.(parameters.amd, call);
  };

  const VoxEngine = {
    addEventListener(event, callback) {
      listeners.add(event, callback);
      if (event === 'Application.HttpRequest') host.hearHttpRequests();
    },

    removeEventListener(event, callback) {
      listeners.remove(event, callback);
    },

    customData(value) {
      if (value !== undefined) {
        customData = String(value);
        host.setCustomData(customData);
      }
      return customData;
    },

    terminate() {
      host.terminate();
    },

    getSecretValue(name) {
      return host.secret(String(name));
    },

    callPSTN(number, callerid, parameters) {
      const to = textOf(number);
      const from = calleridOf(callerid);
      const [object, call] = newCall('pstn', to, from, '');
      // `headers` as of callSIP: the cloud has none here, but its trunks are not yours.
      host.callPstn(object, to, from || undefined, Boolean(parameters?.followDiversion),
        parameters?.headers);
      attach(parameters, call);
      return call;
    },

    callSIP(to, parameters, displayName, password, authUser, extraHeaders, video, outProxy) {
      let options = parameters;
      if (!isObject(parameters)) {
        options = isObject(displayName)
          ? { ...displayName, callerid: parameters }
          : { callerid: parameters, displayName, password, authUser, headers: extraHeaders, outProxy };
      }
      const callerid = calleridOf(options.callerid);
      const uri = textOf(to);
      const [object, call] = newCall('sip', uri, callerid, textOf(options.displayName));
      host.callSip(object, uri, callerid || undefined, options);
      attach(options, call);
      return call;
    },

    callUser(parameters, callerid, displayName, extraHeaders) {
      const options = isObject(parameters)
        ? parameters : { username: parameters, callerid, displayName, extraHeaders };
      const username = textOf(options.username);
      const from = calleridOf(options.callerid);
      const [object, call] = newCall('user', username, from, textOf(options.displayName));
      host.callUser(object, username, from, options.displayName, options.extraHeaders);
      attach(options, call);
      return call;
    },

    callUserDirect(incomingCall, username, parameters, displayName, extraHeaders) {
      log('callUserDirect: media goes through the gateway');
      const options = isObject(parameters)
        ? parameters : { callerid: parameters, displayName, extraHeaders };
      return VoxEngine.callUser({ ...options, username });
    },

    sendMediaBetween(unit1, unit2) {
      unit1.sendMediaTo(unit2);
      unit2.sendMediaTo(unit1);
    },

    stopMediaBetween(unit1, unit2) {
      unit1.stopMediaTo(unit2);
      unit2.stopMediaTo(unit1);
    },
  };

  const deferred = (file, names) => {
    for (const name of names) {
      VoxEngine[name] = (...values) => {
        host.load(file);
        return shared[file][name](...values);
      };
    }
  };
  deferred('join', ['easyProcess', 'forwardCallToPSTN', 'forwardCallToSIP', 'forwardCallToUser',
    'forwardCallToUserDirect', 'playSoundAndHangup']);
  deferred('player', ['createURLPlayer', 'createTTSPlayer', 'createToneScriptPlayer',
    'createSequencePlayer']);

  shared.VoxEngine = VoxEngine;
  shared.define('VoxEngine', VoxEngine);

  shared.prepareApp = (event, payload) => {
    payload.name = event;
    return listeners.collect(event, payload, undefined);
  };

  shared.prepareAlerting = (object, clientType, payload) => {
    const { callerid, displayName, destination } = payload;
    const facts = { isIncoming: true, callerid, displayName, number: destination, clientType };
    payload.call = addCall(object, facts);
    return shared.prepareApp('Application.CallAlerting', payload);
  };

  /** Whether a value can be answered with as JSON, and what a promise comes to. */
  shared.awaitAnswer = (promise, settle) => {
    promise.then((value) => settle(true, value), (reason) => settle(false, reason));
  };
})
