// What the other files lean on: globals that appear when they are first touched, and guards
// around the built-ins that run long without asking whether they may.
(function (host, shared) {
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const { apply } = Reflect;

  shared.log = (text) => host.log(text);

  // Names that a file defines on first use, with their accessors.
  const pending = new Map();

  /** Makes a global that scripts may replace, unless a script has made its own already. */
  shared.define = (name, value) => {
    const accessor = pending.get(name);
    if (accessor) {
      pending.delete(name);
      if (getOwnPropertyDescriptor(globalThis, name)?.get !== accessor) return;
    }
    defineProperty(globalThis, name, { value, writable: true, configurable: true });
  };

  /** Globals that `file` defines when a script first touches one of them. */
  shared.lazy = (file, names) => {
    for (const name of names) {
      // Getter and setter in one, since there are many of them.
      const accessor = function (value) {
        if (arguments.length > 0) {
          defineProperty(globalThis, name, { value, writable: true, configurable: true });
          return undefined;
        }
        host.load(file);
        return globalThis[name];
      };
      pending.set(name, accessor);
      defineProperty(globalThis, name, { get: accessor, set: accessor, configurable: true });
    }
  };

  /** A member of the API that is not there: calling it says so. */
  shared.refuse = (object, name, text) => {
    const refused = () => {
      throw new Error(`${text} is not available on this gateway`);
    };
    defineProperty(object, name, { value: refused, writable: true, configurable: true });
  };

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

  // A dense array has fewer elements than the heap has room for; a sparse one claims up to 2^32.
  const { longestArray, longestSearch } = host;
  const checkLength = (array) => {
    if (array?.length > longestArray) throw new RangeError('Invalid array length');
  };
  for (const name of ['copyWithin', 'fill', 'flat', 'join', 'reverse', 'shift', 'slice', 'sort',
    'splice', 'toLocaleString', 'toReversed', 'toSorted', 'toSpliced', 'unshift', 'with']) {
    replace(Array.prototype, name, checkLength);
  }
  replace(Array.prototype, 'concat', (array, values) => {
    checkLength(array);
    for (let i = 0; i < values.length; i++) {
      if (typeof values[i] === 'object') checkLength(values[i]);
    }
  });

  // Searching a long text for a long needle takes the product of their lengths.
  const checkSearch = (text, values) => {
    const needle = values[0];
    if (typeof needle === 'string' && needle.length > 64
        && needle.length * String(text).length > longestSearch) {
      throw new RangeError('Invalid string length');
    }
  };
  for (const name of ['includes', 'indexOf', 'lastIndexOf', 'replace', 'replaceAll', 'split']) {
    replace(String.prototype, name, checkSearch);
  }
})
