// Bytes, text and time (section 2 of the reference).
(function (host, shared) {
  const { define } = shared;
  const rested = (value) => {
    host.rest();
    return value;
  };

  define('base64_encode', (data) => host.base64Encode(rested(data)));
  define('base64_decode', (data) => host.base64Decode(rested(String(data))));
  define('bytes2hex', (data, toUpperCase = false) => {
    const text = host.hexEncode(rested(data));
    return toUpperCase ? text.toUpperCase() : text;
  });
  define('hex2bytes', (data) => host.hexDecode(rested(String(data))));
  define('bytes2str', (data, encoding = 'utf-8') => host.decode(rested(data), String(encoding)));
  define('str2bytes', (data, encoding = 'utf-8') => host.encode(rested(String(data)), String(encoding)));
  define('uuidgen', () => host.uuid());

  define('getLocalTime', (timezone, date = new Date()) =>
    new Date(host.localTime(String(timezone), Number(date))));

  define('levenshtein_distance', (a, b) => {
    const left = String(a);
    const right = String(b);
    let row = Array.from({ length: right.length + 1 }, (_, i) => i);
    for (let i = 1; i <= left.length; i++) {
      const next = [i];
      for (let j = 1; j <= right.length; j++) {
        const cost = left[i - 1] === right[j - 1] ? 0 : 1;
        next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + cost);
      }
      row = next;
    }
    return row[right.length];
  });
})
