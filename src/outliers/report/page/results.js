// What the pages ask of results.json (schema outliers-results/2): the one file that knows how it is laid out.
// What was not measured is an empty list or null.

/** Definitions of what was measured on an input stand below this path. */
const INPUT = "layers[].inputs.*.";

class Report {
  constructor(json) {
    this.json = json;
    this.model = json.model;
    this.run = json.run;
    this.criteria = json.criteria;
    this.summary = json.summary;
    this.images = json.images ?? null;
    this.inputs = json.inputs;
    this.prompts = json.inputs.filter((input) => input.kind === "prompt");
    this.corpora = json.inputs.filter((input) => input.kind === "corpus");
    /** summary.first_nonfinite, or null; from its layer on nothing but weights is told. */
    this.first = json.summary.first_nonfinite ?? null;
    this.told = this.first?.layer ?? json.model.layers;
    this.weights = json.layers[0].weights ? json.layers.map(({ layer, weights }) => ({ layer, ...weights })) : [];
  }
  input(name) { return this.inputs.find((input) => input.name === name) ?? null; }
  /** What an input is called: its name; of images what it is. */
  title(name) {
    const input = this.input(name);
    if (!this.images || !input) return name;
    if (input.kind === "corpus") return "all images";
    return input === this.prompts[0] ? "first image" : input.source;
  }
  /** The same within a sentence: "the prompt", "prompt2". */
  the(name) {
    const title = this.title(name), input = this.input(name), further = this.prompts.indexOf(input) > 0 || this.corpora.indexOf(input) > 0;
    return further || (this.images && input?.kind === "corpus") ? title : `the ${title}`;
  }
  /** A measurement of an input, an object a layer with the layer's number. */
  part(name, part) {
    const layers = this.json.layers.map(({ layer, inputs }) => ({ layer, ...inputs[name]?.[part] }));
    return this.json.layers[0].inputs[name]?.[part] ? layers : [];
  }
  activations(name, point) { return this.part(name, point); }
  attention(name) { return this.part(name, "attention"); }
  norms(name) { return this.part(name, "norms"); }
  /** What a prompt tells of an outlier's life; null where that was not measured. */
  life(name) { return this.summary.lives.find((life) => life.input === name) ?? null; }
  /** A prompt's life cycle; null where it was not measured. */
  lifecycle(name) { return this.json.lifecycle?.prompts.find((life) => life.input === name) ?? null; }
  /** Numbers by layer that measures give: [{name, title, definition, source, heads}]. */
  get values() {
    const path = `${INPUT}values.`;
    return Object.entries(this.json.definitions).filter(([at, d]) => at.startsWith(path) && ["[]", "[H]"].includes(d.shape))
      .map(([at, d]) => ({ name: at.slice(path.length), ...d, heads: d.shape === "[H]" }));
  }
  /** Of one input, [layer][0 or head], null where there is none; null where no layer has any. */
  valuesOf(name, value) {
    const n = value.heads ? this.model.heads : 1;
    const rows = this.json.layers.map(({ layer, inputs }) => (layer < this.told && inputs[name]?.values?.[value.name]) || []);
    if (!rows.some((row) => row.length)) return null;
    return rows.map((row) => Array.from({ length: n }, (_, i) => row[i] ?? null));
  }
  /** The definition of a field by its path with its source; "" for an unknown one. */
  clause(path) {
    const { definition = "", source = "" } = this.json.definitions[path] ?? {};
    return `${definition}${source ? ` (${source})` : ""}`;
  }
  /** The same as a sentence. */
  sentence(path) {
    const text = this.clause(path);
    return text && `${text[0].toUpperCase()}${text.slice(1)}.`;
  }
  /** "above 100 and above 1,000 medians of its layer" */
  massiveWords() {
    const { massive_above: above, massive_ratio: ratio } = this.criteria;
    return `above ${limit(above)} and above ${limit(ratio)} medians of its layer`;
  }
}

// In two parts, so that a search for the words finds the pages that say them, and not all.
const CANNOT = "cannot " + "be told";
const NOT_MEASURED = "not measured";

/** Layers of activations or attention, with nothing in those where values are NaN or infinite: what is left of them is no measurement. */
const whole = (layers) => layers.map((l) => (!l.nonfinite ? l : {
  layer: l.layer, max: null, median: null, mean: null, kurtosis_pearson: null, top3_mean: [], top: [], massive: [], massive_count: 0,
  top_keys: [], heads: l.heads?.map((h) => ({ ...h, sink_rate: null, outlier_share: null })), nonfinite: l.nonfinite,
}));
/** The layer of the prompt's largest value, of those that are told of; null where there is none. */
function peakOf(report, name) {
  const layers = report.activations(name, "resid_out"), peak = report.life(name)?.peak_layer ?? null;
  if (peak !== null && layers.length) return layers[peak];
  return layers.slice(0, report.told).reduce((a, b) => (a === null || b.max > a.max ? b : a), null);
}
const ratioOf = (layer) => (layer && layer.median > 0 && finite(layer.max) ? layer.max / layer.median : null);
// In a layer of experts a neuron is one of an expert.
const ofExpert = ({ expert }) => (expert === undefined ? "" : expert === "shared" ? " of the shared expert" : ` of expert ${expert}`);

/** What measured points are called, and what they are. */
const POINTS = { resid_out: "layer output", down_in: "down input" };

// Colours by place: of projections in the order in which the program shows them, of classes of tokens in its order.
const MODULE_COLOURS = ["s1", "s4", "s2", "s7", "s6", "s5", "s3"];
const CLASS_COLOURS = ["s1", "s3", "s4", "s7", "s1", "s3", "s7"];
const INPUT_COLOURS = ["s1", "s2", "s4", "s3", "s5", "s6", "s7"];
const colourAt = (colours, place) => colours[Math.max(0, place) % colours.length];
