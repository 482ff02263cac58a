// Net (section 21.2 of the reference): HTTP requests of a script.
(function (host, shared) {
  const callbacks = new Map();
  const LONGEST_S = 90;
  const LONGEST_CONNECT_S = 6;

  class HttpRequestOptions {}

  const headersOf = (headers) => {
    if (!headers) return [];
    if (!Array.isArray(headers)) return Object.entries(headers);
    return headers.map((line) => {
      const text = String(line);
      const colon = text.indexOf(':');
      return colon < 0 ? [text.trim(), ''] : [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
    });
  };

  const formOf = (params) => Object.entries(params)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&');

  const has = (headers, name) => headers.some(([key]) => key.toLowerCase() === name);
  const seconds = (value, most) => (value > 0 && value < most ? Number(value) : most);

  /** Starts a request; `undefined` when there are too many. */
  const start = (url, options = {}) => {
    const method = String(options?.method ?? 'GET').toUpperCase();
    const headers = headersOf(options?.headers);
    let target = String(url);
    let body = options?.postData;
    if (options?.params && Object.keys(options.params).length > 0) {
      const form = formOf(options.params);
      if (method === 'POST' && (body === undefined || body === null)) {
        body = form;
        if (!has(headers, 'content-type')) {
          headers.push(['Content-Type', 'application/x-www-form-urlencoded']);
        }
      } else {
        const [base, fragment] = target.split('#');
        const joint = base.includes('?') ? '&' : '?';
        target = `${base}${joint}${form}${fragment === undefined ? '' : `#${fragment}`}`;
      }
    }
    if (!['POST', 'PUT', 'PATCH'].includes(method)) body = undefined;
    if (!has(headers, 'user-agent')) headers.push(['User-Agent', 'VoxEngine/1.0']);
    if (options?.enableSystemLog && body !== undefined) shared.log(`${method} ${target}: ${body}`);
    const connectTimeout = seconds(options?.connectionTimeout, LONGEST_CONNECT_S);
    const timeout = seconds(options?.timeout, LONGEST_S);
    const request = { url: target, method, headers, body, connectTimeout, timeout };
    return host.httpRequest(request, Boolean(options?.rawOutput));
  };

  const tooMany = () => new Error('Exceeded the HTTP connection count limit!');

  const Net = {
    HttpRequestOptions,

    httpRequest(url, callback, options) {
      const request = start(url, options);
      if (request === undefined) throw tooMany();
      callbacks.set(request, { callback: callback ?? (() => {}), isActive: true });
    },

    httpRequestAsync: (url, options) => new Promise((resolve, reject) => {
      const request = start(url, options);
      if (request === undefined) reject(tooMany());
      else callbacks.set(request, { callback: resolve, isActive: true });
    }),
  };
  for (const name of ['sendMail', 'sendMailAsync']) shared.refuse(Net, name, `Net.${name}`);
  shared.define('Net', Net);

  shared.prepareHttp = (request, result) => {
    const entry = callbacks.get(request);
    callbacks.delete(request);
    return entry && [entry, result];
  };
})
