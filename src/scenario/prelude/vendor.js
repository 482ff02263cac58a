// A namespace that this gateway does not have: any constant of it can be named, and whoever calls
// or constructs something is told that it is not there (section 0 of the reference).
(function (host, shared) {
  const missing = (path) => {
    const refuse = () => {
      throw new Error(`${path} is not available on this gateway`);
    };
    return new Proxy(function () {}, {
      get(_, key) {
        if (key === Symbol.toPrimitive || key === 'toString' || key === 'toJSON') return () => path;
        return typeof key === 'symbol' || key === 'then' ? undefined : missing(`${path}.${key}`);
      },
      set: () => true,
      apply: refuse,
      construct: refuse,
    });
  };
  shared.define(shared.missing, missing(shared.missing));
})
