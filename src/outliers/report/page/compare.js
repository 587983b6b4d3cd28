// Several reports side by side. The results of each lie in the page, compressed; nothing is drawn but from them. Prompt and corpus are
// each report's first.

const onPrompt = (r, point) => (r.prompts.length ? whole(r.activations(r.prompts[0].name, point)) : []);
const onCorpus = (r, point) => (r.corpora.length ? whole(r.activations(r.corpora[0].name, point)) : []);
const attended = (r) => (r.corpora.length ? whole(r.attention(r.corpora[0].name)) : []);
const lifeOf = (r) => (r.prompts.length ? r.life(r.prompts[0].name) : null);
const onLog = "log scale";
// Of each curve its name, what it is of, its values by layer, and whether on a log scale.
const CURVES = {
  max_median: ["largest / median", `|x| of the layer output, prompt, ${onLog}`, (r) => onPrompt(r, "resid_out").map(ratioOf), true],
  max: ["largest", `|x| of the layer output, prompt, ${onLog}`, (r) => onPrompt(r, "resid_out").map((l) => l.max), true],
  median: ["median", `|x| of the layer output, prompt, ${onLog}`, (r) => onPrompt(r, "resid_out").map((l) => l.median), true],
  down_in: ["largest of the down input", `|x| of down_in, prompt, ${onLog}`, (r) => onPrompt(r, "down_in").map((l) => l.max), true],
  kurtosis: ["kurtosis", `Pearson's, of the layer output, corpus, ${onLog}`,
    (r) => onCorpus(r, "resid_out").map((l) => l.kurtosis_pearson), true],
  weights: ["score of down_proj", `largest max/mean of |W| over rows and columns, ${onLog}`,
    (r) => r.weights.map((l) => l.modules.down?.score ?? null), true],
  top_key: ["share of the top key", "accumulated score of a sequence's largest key over its tokens, corpus",
    (r) => attended(r).map((l) => (finite(l.top3_mean[0]) ? l.top3_mean[0] / r.corpora[0].tokens_per_sequence : null)), false],
  sink_rate: ["sink rate", "mean over heads, corpus",
    (r) => attended(r).map((l) => (l.nonfinite ? null : l.heads.reduce((sum, h) => sum + h.sink_rate, 0) / l.heads.length)), false],
};
const state = new State({ curve: "max_median", theme: "system" });
state.read((key, value) => (key === "curve" ? value in CURVES : ["system", "light", "dark"].includes(value)));

const depth = (layer, r) => (layer === null ? null : (layer + 0.5) / r.model.layers);
const swatch = (model) => {
  const mark = el("i", { class: "swatch", "aria-hidden": "true" });
  mark.style.background = `var(--${model.colour})`;
  return mark;
};
const nameCell = (model) => el("span", { class: "named" }, swatch(model), model.label);
const untold = () => el("span", { title: CANNOT }, "?");
/** undefined: not measured; null: none, or not told of. */
const cell = (value, r, show, none = show) =>
  (value === undefined ? NOT_MEASURED : value === null ? (r.first ? untold() : none(null)) : show(value));
const layerCell = (layer, r) => cell(layer, r, (l) => `${l} (${percent(depth(l, r))})`, () => "none");
const sortedDepth = (layer, r) => (layer === undefined ? null : depth(layer, r));
const ofModel = (key, text, show, more = {}) => ({ key, text, number: true, show: (row) => show(row[key], row.model.results), ...more });

function summaryTable(models) {
  const rows = models.map((model) => {
    const r = model.results, life = lifeOf(r), { alignment, sink_rate: sink } = r.summary;
    const measured = (name) => r.run.measures.includes(name);
    const peak = onPrompt(r, "resid_out").length ? peakOf(r, r.prompts[0].name) : undefined;
    return {
      model, label: model.label, parameters: r.model.parameters, layers: r.model.layers, born: life?.born_layer,
      removed: life?.removed_layer, peak: life?.peak_layer, max: peak === undefined ? undefined : peak?.max ?? null,
      medians: peak === undefined ? undefined : ratioOf(peak),
      sink: measured("attention") ? sink : undefined, weight: measured("alignment") ? alignment.outlier_layers?.share : undefined,
      every: measured("alignment") ? alignment.weight_activation : undefined,
      attention: measured("alignment") ? alignment.activation_attention : undefined,
    };
  });
  const byDepth = (key) => ({ value: (row) => sortedDepth(row[key], row.model.results) });
  const aligned = (path) => models[0].results.sentence(`summary.alignment.${path}`);
  dataTable($("summary"), {
    caption: "summary of the models", rows, sort: ["order", false], limit: 100,
    columns: [
      { key: "label", text: "model", show: (row) => nameCell(row.model) },
      { key: "parameters", text: "parameters", number: true, show: (row) => count(row.parameters) },
      { key: "layers", text: "layers", number: true },
      ofModel("born", "born in", layerCell, { ...byDepth("born"), help: "layer, and its middle as a share of the depth" }),
      ofModel("peak", "largest in", layerCell, byDepth("peak")), ofModel("removed", "removed in", layerCell, byDepth("removed")),
      ofModel("max", "largest |x|", (v, r) => cell(v, r, number)),
      ofModel("medians", "× median", (v, r) => cell(v, r, number, () => "none")),
      ofModel("sink", "sink rate", (v, r) => cell(v, r, percent)),
      ofModel("weight", "W = x", (v, r) => cell(v, r, percent), { help: aligned("outlier_layers.share") }),
      ofModel("every", "W = x, all", (v, r) => cell(v, r, percent), { help: aligned("weight_activation") }),
      ofModel("attention", "x = attn", (v, r) => cell(v, r, percent), { help: aligned("activation_attention") }),
    ],
  });
}

function curves(models) {
  $("layer-controls").append(picker(state, "curve", "curve", Object.entries(CURVES).map(([key, [text]]) => [key, text])));
  state.watch(["curve"], () => {
    const [text, hint, of, log] = CURVES[state.get("curve")];
    const shown = models.map((model) => ({ model, values: of(model.results) }));
    const without = shown.filter(({ values }) => !values.length);
    $("curve-title").textContent = text[0].toUpperCase() + text.slice(1);
    const missing = without.length ? ` Of ${without.map(({ model }) => model.label).join(", ")} it was ${NOT_MEASURED}.` : "";
    $("curve-hint").textContent = `${hint}.${missing}`;
    const most = (values) => number(values.filter(finite).reduce((a, b) => Math.max(a, b), 0));
    lineChart($("curves"), {
      log, height: 340, yTitle: text, xTitle: "depth: share of the layers", yFormat: log ? undefined : percent,
      series: shown.filter(({ values }) => values.length).map(({ model, values }) => ({
        name: model.label, colour: model.colour, dashed: model.dashed, values, width: 2.25,
        x: values.map((_, l) => (l + 0.5) / values.length),
      })),
      describe: () => `${text} over relative depth: ${shown.map(({ model, values }) =>
        `${model.label} ${values.length ? `up to ${most(values)}` : NOT_MEASURED}`).join("; ")}.`,
    });
  });
}

/** Channels with massive activations on the report's prompt: [{channel, layers, first, last, max}]. */
function massiveChannels(r) {
  const found = new Map();
  for (const layer of onPrompt(r, "resid_out").slice(0, r.told)) {
    for (const m of layer.massive) {
      const known = found.get(m.channel) ?? { channel: m.channel, first: layer.layer, max: 0 };
      found.set(m.channel, { ...known, last: layer.layer, max: Math.max(known.max, Math.abs(m.value ?? 0)) });
    }
  }
  return [...found.values()];
}

function placesTables(models) {
  const of = (list) => models.flatMap((model) => list(model.results).map((row) => ({ model, label: model.label, ...row })));
  const filters = models.length > 1 ? [{ key: "label", text: "model", options: models.map((m) => m.label) }] : [];
  const name = { key: "label", text: "model", show: (row) => nameCell(row.model) };
  const without = models.filter((m) => !lifeOf(m.results)).map((m) => m.label).join(", ");
  for (const id of ["channels", "tokens"]) if (without) $(id).before(el("p", { class: "hint" }, `${without}: ${NOT_MEASURED}.`));
  dataTable($("channels"), {
    caption: "massive channels", rows: of(massiveChannels), sort: ["max", true], limit: 12, filters,
    columns: [
      name, { key: "channel", text: "channel", number: true, show: (row) => String(row.channel) },
      { key: "max", text: "largest", number: true, show: (row) => number(row.max) },
      { key: "first", text: "layers", number: true, show: (row) => `${row.first}–${row.last}` },
    ],
    empty: "no channel is massive in any of them",
  });
  dataTable($("tokens"), {
    caption: "massive tokens", rows: of((r) => lifeOf(r)?.massive_tokens ?? []), sort: ["label", false], limit: 12, filters,
    search: (row) => `${row.text} ${words(row.class)}`,
    columns: [
      name, { key: "token", text: "at", number: true }, { key: "text", text: "token", show: (row) => token(short(row.text, 20)) },
      { key: "class", text: "class", show: (row) => words(row.class) },
      { key: "first_layer", text: "layers", number: true, show: (row) => `${row.first_layer}–${row.last_layer}` },
    ],
    empty: "no token is massive in any of them",
  });
}

function room(models, points) {
  const { fp16_max: fp16, fp8_e4m3_max: e4m3, int8_zero_step: zero } = models[0].results.criteria;
  $("headroom-intro").append(` Above 100 % it overflows; an int8 step of more than ${limit(zero)} medians rounds a median value to zero.`);
  const rows = models.flatMap((model) => points.map((point) => (
    { model, label: model.label, point, ...(model.results.summary.headroom[point] ?? {}) })));
  const measured = (row) => row.point in row.model.results.summary.headroom;
  const share = (row, value) => {
    if (!measured(row)) return NOT_MEASURED;
    const bar = el("i");
    bar.style.width = `${Math.min(100, 100 * (value ?? 0))}%`;
    return el("span", { class: value > 1 ? "room over" : "room" }, el("span", { class: "room-bar", "aria-hidden": "true" }, bar),
      finite(value) ? percent(value) : "none");
  };
  const where = (row) => {
    if (row.layer === undefined) return measured(row) ? "none" : NOT_MEASURED;
    const ends = row.nonfinite ? `; not finite from ${row.model.results.first?.layer} on` : "";
    return `${row.layer}${row.input ? ` (${row.input})` : ""}${ends}`;
  };
  dataTable($("room"), {
    caption: "head-room", rows, sort: ["of_fp16_max", true], limit: 40,
    columns: [
      { key: "label", text: "model", show: (row) => nameCell(row.model) },
      { key: "point", text: "point", show: (row) => POINTS[row.point] },
      { key: "max", text: "largest |x|", number: true,
        show: (row) => cell(measured(row) ? row.max ?? null : undefined, row.model.results, number) },
      { key: "layer", text: "in layer", number: true, show: where },
      { key: "of_fp16_max", text: "of float16", number: true, help: `largest float16: ${limit(fp16)}`,
        show: (row) => share(row, row.of_fp16_max) },
      { key: "of_fp8_e4m3_max", text: "of e4m3", number: true, help: `largest e4m3: ${limit(e4m3)}`,
        show: (row) => share(row, row.of_fp8_e4m3_max) },
      { key: "int8_step_over_median", text: "int8 step, medians", number: true,
        show: (row) => (finite(row.int8_step_over_median) ? number(row.int8_step_over_median) : "none") },
    ],
  });
}

function method(models) {
  if (models.some((m) => m.results.images)) {
    $("images-said").textContent = "Of models of images, the prompt is the first image and the corpus all of them.";
  }
  const same = (text, of) => {
    const values = [...new Set(models.map((m) => of(m.results)))];
    return values.length > 1 ? `${text} (${values.map((v) => short(String(v), 40)).join("; ")})` : null;
  };
  const prompts = (r) => r.prompts.map(({ source }) => source.trim()).join("; "), corpora = (r, of) => r.corpora.map(of).join("; ");
  const differ = [
    same("prompt", prompts), same("corpus", (r) => corpora(r, (c) => c.source)),
    same("tokens of a window", (r) => corpora(r, (c) => c.tokens_per_sequence)),
    same("sequences", (r) => corpora(r, (c) => c.sequences)), same("BOS", (r) => r.run.bos), same("dtype", (r) => r.run.dtype),
    same("measures", (r) => r.run.measures.join(", ")),
  ].filter(Boolean);
  $("differences").append(el("p", { class: "card" }, differ.length ? `The reports were not made alike; they differ in ${differ.join(", ")}.`
    : "All reports were made with the same prompt, corpus, window, BOS policy and dtype."));
  const time = ({ seconds: s }) => s.forward + s.statistics + s.load;
  const size = ({ model }) => model.results.corpora.reduce((sum, c) => sum + c.sequences * c.tokens_per_sequence, 0);
  dataTable($("runs"), {
    caption: "runs", rows: models.map((model) => ({ model, label: model.label, ...model.results.run })), sort: ["order", false], limit: 100,
    columns: [
      { key: "label", text: "model", show: (row) => nameCell(row.model) },
      { key: "version", text: "program", show: (row) => `${row.version} (${row.commit})` },
      { key: "device", text: "on", show: (row) => `${row.device}, ${row.dtype}` }, { key: "bos", text: "BOS" },
      { key: "corpus", text: "corpus", value: size, show: (row) => row.model.results.corpora.map((c) =>
        `${c.source}: ${count(c.sequences)} × ${count(c.tokens_per_sequence)}`).join("; ") || "none" },
      { key: "forward", text: "time", number: true, value: time, show: (row) => seconds(time(row)) },
      { key: "peak_host_bytes", text: "peak memory", number: true, show: (row) => bytes(row.peak_host_bytes) },
      { key: "file", text: "results", fixed: true,
        show: (row) => el("button", { type: "button", class: "link", onclick: () => save(row.model) }, "save results.json") },
    ],
  });
  showDefinitions($("definitions"), models[0].results.json.definitions);
}
function save(model) {
  const blob = new Blob([JSON.stringify(JSON.parse(model.text), null, 1)], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(blob), download: `${model.label.replace(/[^\w.-]+/g, "-")}.results.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function start() {
  startTheme(state, $("theme"));
  const { models: labels, shown } = parseBlock("models");
  const models = await Promise.all(labels.map(async ({ label }, i) => {
    const text = new TextDecoder().decode(await inflateBlock(`results-${i}`));  // as it is, to be saved
    return {
      label, colour: colourAt(INPUT_COLOURS, i), dashed: i >= INPUT_COLOURS.length, order: i, text, results: new Report(parseReport(text)),
    };
  }));
  summaryTable(models);
  curves(models);
  placesTables(models);
  room(models, shown.points);
  method(models);
  startNavigation();
  document.documentElement.dataset.ready = "all";
}
start();
