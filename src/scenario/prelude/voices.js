// VoiceList and Language (section 16 of the reference): any name is a voice; the gateway chooses
// a local one by provider, locale and gender.
(function (host, shared) {
  const { define } = shared;
  const voices = new WeakSet();
  const LOCALE = /^([a-z]{2,3}(?:_[A-Z0-9]{2,4})?)_(.+)$/;

  shared.isVoice = (value) => typeof value === 'object' && value !== null && voices.has(value);
  shared.voiceText = ({ provider, locale, name }) =>
    `${provider}.${locale === undefined ? name : `${locale}_${name}`}`;

  const voice = (provider, constant) => {
    const [, locale, name] = LOCALE.exec(constant) ?? [undefined, undefined, constant];
    const gender = /(Female|Male)$/.exec(name)?.[1].toLowerCase();
    const made = Object.freeze(gender
      ? { provider, locale, name, gender } : { provider, locale, name });
    voices.add(made);
    return made;
  };

  const provider = (path) => new Proxy(Object.freeze({}), {
    get(_, key) {
      if (typeof key === 'symbol' || key === 'toJSON') return undefined;
      if (key === 'Neural') return provider(`${path}.Neural`);
      if (key === 'createBrandVoice') return (name) => voice(path, String(name));
      return voice(path, key);
    },
    has: () => true,
  });

  const names = (value) => new Proxy(Object.freeze({}), {
    get: (_, key) => (typeof key === 'symbol' || key === 'toJSON' ? undefined : value(key)),
    has: () => true,
  });

  define('VoiceList', names(provider));
  // Older constants: the words of the name are country, language and gender.
  define('Language', names((key) => key));
  define('Premium', names((key) => key));
})
