// What the other files lean on: globals that appear when they are first touched, and guards
// around the built-ins that run long without asking whether they may.
(function (host, shared) {
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const { apply } = Reflect;

  shared.log = (text) => host.log(text);

  // Names that a file defines on first use, with their accessors.
  const pending = new Map();

  /** Makes a global that scripts may replace, unless a script has made its own already. */
  const define = (name, value) => {
    const accessor = pending.get(name);
    if (accessor) {
      pending.delete(name);
      if (getOwnPropertyDescriptor(globalThis, name)?.get !== accessor) return;
    }
    defineProperty(globalThis, name, { value, writable: true, configurable: true });
  };
  shared.define = define;

  /** A global that `make` defines when a script first touches it. */
  const lazy = (name, make) => {
    // Getter and setter in one.
    const accessor = function (value) {
      if (arguments.length > 0) {
        defineProperty(globalThis, name, { value, writable: true, configurable: true });
        return undefined;
      }
      make();
      return globalThis[name];
    };
    pending.set(name, accessor);
    defineProperty(globalThis, name, { get: accessor, set: accessor, configurable: true });
  };

  /** A member of the API that is not there: calling it says so. */
  const refuse = (object, name, text) => {
    const value = () => {
      throw new Error(`${text} is not available on this gateway`);
    };
    defineProperty(object, name, { value, writable: true, configurable: true });
  };
  shared.refuse = refuse;

  const replace = (prototype, name, check) => {
    const original = prototype[name];
    const guarded = {
      [name](...values) {
        check(this, values);
        return apply(original, this, values);
      },
    }[name];
    defineProperty(guarded, 'length', { value: original.length, configurable: true });
    defineProperty(prototype, name, { value: guarded, writable: true, configurable: true });
  };

  // QuickJS asks once in 10,000 steps whether it may go on, and what works on much at a time takes
  // milliseconds for a step.
  const rest = (length) => {
    if (length > 4096) host.rest();
  };

  // A dense array has fewer elements than the heap has room for; a sparse one claims up to 2^32.
  const checkLength = (array) => {
    const length = array?.length;
    if (length > host.longestArray) throw new RangeError('Invalid array length');
    rest(length);
  };
  const checkLengths = (array, values) => {
    checkLength(array);
    for (let i = 0; i < values.length; i++) {
      if (typeof values[i] === 'object') checkLength(values[i]);
    }
  };

  // Searching a long text for a long needle takes the product of their lengths.
  const checkSearch = (text, values) => {
    const needle = values[0];
    // `repeat` and the like make a long text of a short one.
    rest(typeof needle === 'number' ? needle : text?.length);
    if (typeof needle === 'string' && needle.length > 64
        && needle.length * String(text).length > host.longestSearch) {
      throw new RangeError('Invalid string length');
    }
  };

  const linked = new Set();
  const once = (names, link) => {
    for (let i = 0; i < names.length; i++) {
      if (!linked.has(names[i])) {
        linked.add(names[i]);
        link(names[i]);
      }
    }
  };

  /** Makes what the scripts mention: see `mentions.rs`. */
  shared.link = (mentions) => {
    const { globals } = mentions;
    for (let i = 0; i < globals.length; i += 2) {
      once([globals[i + 1]], (name) => lazy(name, () => host.load(globals[i])));
    }
    once(mentions.files, (name) => host.load(name));
    once(mentions.missing, (name) => lazy(name, () => {
      shared.missing = name;
      host.load('vendor');
    }));
    once(mentions.refusedOfEngine, (name) => refuse(shared.VoxEngine, name, `VoxEngine.${name}`));
    once(mentions.refusedOfCall, (name) => refuse(shared.Call.prototype, name, `call.${name}`));
    once(mentions.guardedOfArray, (name) => {
      replace(Array.prototype, name, name === 'concat' ? checkLengths : checkLength);
    });
    once(mentions.guardedOfString, (name) => replace(String.prototype, name, checkSearch));
  };
})
