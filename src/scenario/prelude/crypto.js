// Crypto (section 21.4 of the reference) and its older global names.
(function (host, shared) {
  const { define } = shared;
  const textOf = (data) => {
    host.rest();
    return Array.isArray(data) ? data.join('') : String(data);
  };

  const Crypto = {
    md5: (data) => host.md5(textOf(data)),
    sha1: (data) => host.sha1(textOf(data)),
    sha256: (data) => host.sha256(textOf(data)),
    hmac_sha256: (key, data) => host.hmacSha256(textOf(key), textOf(data)),
  };
  define('Crypto', Crypto);
  define('md5', Crypto.md5);
  define('sha1', Crypto.sha1);
  define('sha256', Crypto.sha256);
})
