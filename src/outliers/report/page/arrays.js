// The arrays that come with the page: one zlib stream; #arrays-index says what lies where (docs/page.md).

const HALVES = (() => {
  // All 65,536 values of IEEE binary16.
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; ++h) {
    const sign = h & 0x8000 ? -1 : 1, exponent = (h >> 10) & 31, fraction = h & 1023;
    table[h] = sign * (exponent === 31 ? (fraction ? NaN : Infinity) : exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  }
  return table;
})();

class Arrays {
  constructor(buffer, index) {
    this.buffer = buffer;
    this.index = index;
  }
  static async open() { return new Arrays((await inflateBlock("arrays")).buffer, parseBlock("arrays-index")); }
  has(name) { return Boolean(this.index[name]); }
  /** Layer l of a [L, ...] array of halves, each layer with its own scale. */
  layer(name, l) {
    const spec = this.index[name], n = spec.shape.slice(1).reduce((a, b) => a * b, 1);
    const raw = new Uint16Array(this.buffer, spec.values + 2 * n * l, n);
    return Float32Array.from(raw, (h) => HALVES[h] * spec.scale[l]);
  }
  /** One row [B] of layer l of a bucketed array: the values and the channels they stand in. */
  row(name, l, r) {
    const spec = this.index[name], [, rows, buckets] = spec.shape, at = (l * rows + r) * buckets;
    const raw = new Uint16Array(this.buffer, spec.values + 2 * at, buckets);
    const values = Float32Array.from(raw, (h) => HALVES[h] * spec.scale[l]);
    if (spec.places === null) return { values, channels: Array.from({ length: buckets }, (_, b) => b) };
    const places = new Uint16Array(this.buffer, spec.places + 2 * at, buckets);
    return { values, channels: Array.from(places, (p, b) => b * spec.bucket + p) };
  }
  /** The value at a channel, or NaN where the page holds only its bucket's larger neighbour. */
  value(name, l, r, channel) {
    const spec = this.index[name];
    if (!spec || r >= spec.shape[1] || channel >= spec.channels) return NaN;
    const bucket = Math.floor(channel / spec.bucket), at = (l * spec.shape[1] + r) * spec.shape[2] + bucket;
    if (spec.places !== null && bucket * spec.bucket + new Uint16Array(this.buffer, spec.places + 2 * at, 1)[0] !== channel) return NaN;
    return HALVES[new Uint16Array(this.buffer, spec.values + 2 * at, 1)[0]] * spec.scale[l];
  }
  /** Attention probabilities of layer l: (query, key) -> probability. head: a number or "mean". */
  probabilities(l, head) {
    const mean = head === "mean", spec = this.index[mean ? "probs_mean" : "probs"];
    if (!spec) return null;
    const P = spec.shape.at(-1), size = spec.causal ? (P * (P + 1)) / 2 : P * P, map = mean ? l : l * spec.shape[1] + head;
    const raw = new Uint16Array(this.buffer, spec.values + 2 * size * map, size);
    if (!spec.causal) return (q, k) => raw[q * P + k] / 65535;
    return (q, k) => (k > q ? 0 : raw[(q * (q + 1)) / 2 + k] / 65535);
  }
}
