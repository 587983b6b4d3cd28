// The arrays that come with the page: one zlib stream; #arrays-index says what lies where (docs/page.md).

class Arrays {
  /** prefix: of an input's arrays, "prompt." */
  constructor(buffer, all, prefix) {
    this.buffer = buffer;
    this.all = all;
    this.index = Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith(prefix))
      .map(([name, spec]) => [name.slice(prefix.length), spec]));
  }
  static async open() { return new Arrays((await inflateBlock("arrays")).buffer, parseBlock("arrays-index"), ""); }
  /** The arrays of one input, by their names without its. */
  of(input) { return new Arrays(this.buffer, this.all, `${input}.`); }
  has(name) { return Boolean(this.index[name]); }
  /** Layer l of a [L, ...] array. */
  layer(name, l) {
    const spec = this.index[name], n = spec.shape.slice(1).reduce((a, b) => a * b, 1);
    return new Float32Array(this.buffer, spec.values + 4 * n * l, n);
  }
  /** One row [B] of layer l of a bucketed array: the values and the channels they stand in. */
  row(name, l, r) {
    const spec = this.index[name], [, rows, buckets] = spec.shape, at = (l * rows + r) * buckets;
    const values = new Float32Array(this.buffer, spec.values + 4 * at, buckets);
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
    return new Float32Array(this.buffer, spec.values + 4 * at, 1)[0];
  }
  /** Attention probabilities of layer l: (query, key) -> probability. head: a number or "mean". */
  probabilities(l, head) {
    const mean = head === "mean", spec = this.index[mean ? "probs_mean" : "probs"];
    if (!spec) return null;
    const P = spec.shape.at(-1), size = spec.causal ? (P * (P + 1)) / 2 : P * P, map = mean ? l : l * spec.shape[1] + head;
    const raw = new Uint16Array(this.buffer, spec.values + 2 * size * map, size);
    const share = (n) => (n === 65535 ? NaN : n / 65534);
    if (!spec.causal) return (q, k) => share(raw[q * P + k]);
    return (q, k) => (k > q ? 0 : share(raw[(q * (q + 1)) / 2 + k]));
  }
}
