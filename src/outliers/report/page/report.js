// The explorer of one report: what is chosen, and what all sections share.

const R = new Report(parseBlock("results"));
const INDEX = parseBlock("index");
const L = R.model.layers, H = R.model.heads, IMAGES = R.images;
const FIRST = R.first, TOLD = R.told;
const POINT_HELP = { resid_out: "the residual stream after the layer", down_in: "what down_proj reads: act(gate) × up" };
/** Projections, in the order in which they are coloured. */
const MODULES = INDEX.modules.filter((m) => R.weights.some((w) => w.modules[m]));
const moduleColour = (name) => colourAt(MODULE_COLOURS, INDEX.modules.indexOf(name));
const classColour = (name) => colourAt(CLASS_COLOURS, INDEX.classes.indexOf(name));
/** Inputs whose activations were measured. */
const MEASURED = R.inputs.filter(({ name }) => R.activations(name, "resid_out").length || R.activations(name, "down_in").length);
/** What stands in interventions/ beside the report, or null. */
const INTERVENTIONS = parseBlock("interventions-data");
const names = (inputs) => inputs.map(({ name }) => name);
const titles = (inputs) => inputs.map(({ name }) => [name, R.title(name)]);

const firstPrompt = R.prompts[0]?.name ?? "", firstCorpus = R.corpora[0]?.name ?? "";
function startLayer() {
  const life = R.life(firstPrompt);
  return life?.found ? life.born_layer : FIRST ? FIRST.layer : Math.min(L - 1, Math.max(0, L >> 1));
}
const state = new State({
  layer: startLayer(), prompt: firstPrompt, corpus: firstCorpus, point: "resid_out", batch: MEASURED[0]?.name ?? "", view: "3d",
  height: "linear", head: "mean", measure: "sink_rate", module: MODULES[0] ?? "", column: -1, token: 0, theme: "system", flow: "born",
  run: INTERVENTIONS ? startRun(new Interventions(INTERVENTIONS)) : "all", number: "max",
});
const among = (list) => (value) => list.includes(value);
const below = (n) => (value) => Number.isInteger(value) && value >= 0 && value < n;
const longest = Math.max(1, ...R.prompts.map(({ tokens }) => tokens.length));
const CHECKS = {
  layer: below(L), prompt: among(names(R.prompts)), corpus: among(names(R.corpora)), point: among(INDEX.points),
  batch: among(names(MEASURED)), view: among(["3d", "flat"]), height: among(["linear", "log"]),
  head: (v) => v === "mean" || below(H)(Number(v)), measure: among(["sink_rate", "outlier_share"]), module: among(MODULES),
  column: Number.isInteger, token: below(longest), theme: among(["system", "light", "dark"]),
  flow: among(["born", "spread", "removed"]), number: (v) => v in STATES,
  run: (v) => INTERVENTIONS !== null && new Interventions(INTERVENTIONS).choices.some(([name]) => name === v),
};
const check = (key, value) => CHECKS[key](value);
state.read(check);
addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return;
  const before = { ...state.values };
  state.values = { ...state.defaults };
  state.read(check);
  const now = state.values;
  state.values = before;
  state.set(now);
});

// ---- what is chosen
const chosenLayer = () => state.get("layer");
const goTo = (layer, more = {}) => state.set({ layer, ...more });
const pickLayer = (layer) => goTo(layer);
/** The chosen prompt: texts and classes of as many tokens as the page shows, and how many it has. */
const prompt = () => R.input(state.get("prompt"));
const corpus = () => R.input(state.get("corpus"));
const tokenCount = () => prompt().tokens_per_sequence;
const shownTokens = () => prompt().tokens.length;
/** Another prompt may be shorter. */
const chosenToken = () => Math.min(state.get("token"), shownTokens() - 1);
const thePrompt = () => R.the(state.get("prompt"));
const capital = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
const life = () => R.life(state.get("prompt"));
const promptPoint = (point) => R.activations(state.get("prompt"), point);
const isMassiveToken = (l, point, t) => Boolean(promptPoint(point)[l]?.massive.some((m) => m.token === t));

// ---- what is shown of it
const layerButton = (layer, text) =>
  el("button", { type: "button", class: "link", onclick: () => goTo(layer) }, text ?? `layer ${layer}`);
/** Text in which "layer 12" can be followed. */
function withLayers(text) {
  const parts = text.split(/\b(layers? )(\d+)\b/);
  const nodes = [];
  for (let i = 0; i < parts.length; ++i) {
    if (i % 3 === 0) { if (parts[i]) nodes.push(parts[i]); continue; }
    const layer = Number(parts[i + 1]);
    nodes.push(parts[i], layer < L ? layerButton(layer, parts[i + 1]) : parts[i + 1]);
    ++i;
  }
  return nodes;
}
/** Where a prompt's outlier is born and removed, and where values stop being finite. */
const marks = (told = life()) => [
  { at: told?.born_layer ?? null, text: "born" }, { at: told?.removed_layer ?? null, text: "removed" },
  { at: FIRST?.layer ?? null, text: "not finite" },
].filter(({ at }) => at !== null);
/** A mean, where all is finite. */
const meanOf = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** Names of the chosen prompt and corpus in texts; of models of images what these are. */
function startNames() {
  if (IMAGES) for (const span of document.querySelectorAll(".of-text")) span.remove();
  state.watch(["prompt", "corpus"], () => {
    for (const span of document.querySelectorAll("[data-batch]")) span.textContent = R.title(state.get(span.dataset.batch));
    for (const span of document.querySelectorAll("[data-the]")) span.textContent = R.the(state.get(span.dataset.the));
  });
}

// ---- the bar at the top
function startBar() {
  startTheme(state, $("theme"));
  const input = $("layer");
  input.max = L - 1;
  const choose = (l) => { if (Number.isInteger(l)) goTo(Math.max(0, Math.min(L - 1, l))); };
  input.addEventListener("change", () => { choose(Number(input.value)); input.value = chosenLayer(); });
  $("layer-down").addEventListener("click", () => choose(chosenLayer() - 1));
  $("layer-up").addEventListener("click", () => choose(chosenLayer() + 1));
  state.watch(["layer"], () => { input.value = chosenLayer(); });
  const pickers = [["prompt", R.prompts], ["corpus", R.corpora]].filter(([, inputs]) => inputs.length > 1);
  // What is measured on a prompt goes with the prompt.
  let before = state.get("prompt");
  state.watch(["prompt"], () => {
    if (state.get("batch") === before && names(MEASURED).includes(state.get("prompt"))) state.set({ batch: state.get("prompt") });
    before = state.get("prompt");
  });
  for (const [key, inputs] of pickers) {
    // Names are short; what they stand for is in the list.
    const options = inputs.map(({ name, source }) => [name, IMAGES ? R.title(name) : `${name}: ${short(source.trim(), 40)}`]);
    $("inputs").append(picker(state, key, IMAGES && key === "prompt" ? "image" : key, options));
  }
  showPart("inputs", pickers.length > 0);
}
