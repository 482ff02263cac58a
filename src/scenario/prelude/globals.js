// Timers, logs and the names that every script finds.
(function (host, shared) {
  const { define, log } = shared;
  const timers = new Map();

  const addTimer = (callback, milliseconds, isRepeated) => {
    if (typeof callback !== 'function') throw new TypeError('the timer has no function to call');
    // Without a pause, a callback that sets itself again would leave no time to anybody.
    const least = isRepeated ? 100 : 1;
    const delay = Math.max(Number(milliseconds) || 0, least);
    const id = host.addTimer(delay, isRepeated);
    if (id === undefined) throw new Error('Exceeded the timer count limit!');
    timers.set(id, { callback, isActive: true, isRepeated });
    return id;
  };

  const clearTimer = (id) => {
    const timer = timers.get(id);
    if (timer) {
      timer.isActive = false;
      timers.delete(id);
      host.clearTimer(id);
    }
  };

  shared.prepareTimer = (id) => {
    const timer = timers.get(id);
    if (!timer) return undefined;
    if (!timer.isRepeated) timers.delete(id);
    return [timer, undefined];
  };

  define('setTimeout', (callback, milliseconds) => addTimer(callback, milliseconds, false));
  define('setInterval', (callback, milliseconds) => addTimer(callback, milliseconds, true));
  define('clearTimeout', clearTimer);
  define('clearInterval', clearTimer);
  define('require', () => {});
  // Compiled in the global scope, never in the caller's.
  define('eval', (text) => (typeof text === 'string' ? host.evaluate(text) : text));
  shared.NativeFunction = Function;

  const textOf = (value) => {
    if (typeof value !== 'object' || value === null) return String(value);
    if (value instanceof Error) return `${value}\n${value.stack ?? ''}`.trimEnd();
    try {
      return JSON.stringify(value) ?? String(value);
    } catch {
      return String(value);
    }
  };
  const print = (...values) => log(values.map(textOf).join(' '));

  define('trace', print);
  define('console', { log: print, info: print, warn: print, error: print, debug: print });
  define('Logger', {
    write: (message) => log(textOf(message)),
    hideTones: (isHidden) => host.hideTones(Boolean(isHidden)),
  });
})
