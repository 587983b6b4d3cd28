// Several reports side by side. Each results.json lies in the page, compressed; nothing is drawn but from them.

const CURVES = {
  max_median: ["largest / median", "|x| of the layer output, prompt, log scale", (r) => whole(r.activations.prompt.resid_out).map(ratioOf), true],
  max: ["largest", "|x| of the layer output, prompt, log scale", (r) => whole(r.activations.prompt.resid_out).map((l) => l.max), true],
  median: ["median", "|x| of the layer output, prompt, log scale", (r) => whole(r.activations.prompt.resid_out).map((l) => l.median), true],
  down_in: ["largest of the down input", "|x| of down_in, prompt, log scale", (r) => whole(r.activations.prompt.down_in).map((l) => l.max), true],
  kurtosis: ["kurtosis", "Pearson's, of the layer output, corpus, log scale", (r) => whole(r.activations.corpus.resid_out).map((l) => l.kurtosis_pearson), true],
  weights: ["score of down_proj", "largest max/mean of |W| over rows and columns, log scale", (r) => r.weights.map((l) => l.modules.down?.score ?? null), true],
  top_key: ["share of the top key", "accumulated score of a sequence's largest key over its tokens, corpus", (r) => whole(r.attention.corpus).map((l) => (finite(l.top3_mean[0]) ? l.top3_mean[0] / r.run.tokens_per_sequence : null)), false],
  sink_rate: ["sink rate", "mean over heads, corpus", (r) => whole(r.attention.corpus).map((l) => (l.nonfinite ? null : l.heads.reduce((sum, h) => sum + h.sink_rate, 0) / l.heads.length)), false],
};
const POINTS = { resid_out: "layer output", down_in: "down input" };
const state = new State({ curve: "max_median", theme: "system" });
state.read((key, value) => (key === "curve" ? value in CURVES : ["system", "light", "dark"].includes(value)));

const depth = (layer, r) => (layer === null ? null : (layer + 0.5) / r.model.layers);
const swatch = (model) => { const i = el("i", { class: "swatch", "aria-hidden": "true" }); i.style.background = `var(--${model.colour})`; return i; };
const nameCell = (model) => el("span", { class: "named" }, swatch(model), model.label);
const untold = () => el("span", { title: CANNOT }, "?");
const layerAt = (layer, r) => (layer === null ? (firstOf(r) ? untold() : "none") : `${layer} (${percent(depth(layer, r))})`);
const orCannot = (value, r, show) => (value === null && firstOf(r) ? untold() : show(value));

function summaryTable(models) {
  const rows = models.map((model) => {
    const r = model.results, s = r.summary, peak = peakOf(r);
    return { model, label: model.label, family: r.model.family, parameters: r.model.parameters, layers: r.model.layers, born: s.born_layer, removed: s.removed_layer, peak: s.peak_layer, max: peak?.max ?? null, medians: ratioOf(peak),
      sink: sinkRate(r), weight: s.alignment.weight_activation, attention: s.alignment.activation_attention };
  });
  dataTable($("summary"), {
    caption: "summary of the models", rows, sort: ["order", false], limit: 100,
    columns: [
      { key: "label", text: "model", show: (row) => nameCell(row.model) }, { key: "parameters", text: "parameters", number: true, show: (row) => count(row.parameters) }, { key: "layers", text: "layers", number: true },
      { key: "born", text: "born in", number: true, help: "layer, and its middle as a share of the depth", value: (row) => depth(row.born, row.model.results), show: (row) => layerAt(row.born, row.model.results) },
      { key: "peak", text: "largest in", number: true, value: (row) => depth(row.peak, row.model.results), show: (row) => layerAt(row.peak, row.model.results) },
      { key: "removed", text: "removed in", number: true, value: (row) => depth(row.removed, row.model.results), show: (row) => layerAt(row.removed, row.model.results) },
      { key: "max", text: "largest |x|", number: true, show: (row) => orCannot(row.max, row.model.results, number) }, { key: "medians", text: "× median", number: true, show: (row) => orCannot(row.medians, row.model.results, (v) => (v === null ? "none" : number(v))) },
      { key: "sink", text: "sink rate", number: true, show: (row) => orCannot(row.sink, row.model.results, percent) },
      { key: "weight", text: "W = x", number: true, help: "alignment of weights and activations: share of layers whose top down column is the top down_in channel", show: (row) => orCannot(row.weight, row.model.results, percent) },
      { key: "attention", text: "x = attn", number: true, help: "alignment of activations and attention: share of outlier keys that are outlier tokens", show: (row) => orCannot(row.attention, row.model.results, percent) },
    ],
  });
}

function curves(models) {
  $("layer-controls").append(picker(state, "curve", "curve", Object.entries(CURVES).map(([key, [text]]) => [key, text])));
  state.watch(["curve"], () => {
    const [text, hint, of, log] = CURVES[state.get("curve")];
    $("curve-title").textContent = text[0].toUpperCase() + text.slice(1);
    $("curve-hint").textContent = `${hint}.`;
    $("curves").parentElement.querySelector("details.numbers")?.remove();
    lineChart($("curves"), {
      log, height: 340, yTitle: text, xTitle: "depth: share of the layers", yFormat: log ? undefined : percent,
      series: models.map((model) => { const values = of(model.results); return { name: model.label, colour: model.colour, dashed: model.dashed, values, x: values.map((_, l) => (l + 0.5) / values.length), width: 2.25 }; }),
      describe: () => `${text} over relative depth: ${models.map((model) => `${model.label} up to ${number(of(model.results).filter(finite).reduce((a, b) => Math.max(a, b), 0))}`).join("; ")}.`,
    });
  });
}

function placesTables(models) {
  const channels = [], tokens = [];
  for (const model of models) {
    const r = model.results, found = new Map();
    for (const layer of r.activations.prompt.resid_out.slice(0, toldLayers(r))) {
      for (const m of layer.massive) {
        const known = found.get(m.channel) ?? { model, label: model.label, channel: m.channel, layers: new Set(), first: layer.layer, max: 0 };
        known.layers.add(layer.layer);
        known.last = layer.layer;
        known.max = Math.max(known.max, Math.abs(m.value ?? 0));
        found.set(m.channel, known);
      }
    }
    for (const c of found.values()) channels.push({ ...c, layers: c.layers.size });
    for (const t of r.summary.massive_tokens) tokens.push({ model, label: model.label, ...t });
  }
  dataTable($("channels"), {
    caption: "massive channels", rows: channels, sort: ["max", true], limit: 12, filters: models.length > 1 ? [{ key: "label", text: "model", options: models.map((m) => m.label) }] : [],
    columns: [{ key: "label", text: "model", show: (row) => nameCell(row.model) }, { key: "channel", text: "channel", number: true, show: (row) => String(row.channel) }, { key: "max", text: "largest", number: true, show: (row) => number(row.max) }, { key: "first", text: "layers", number: true, show: (row) => `${row.first}–${row.last}` }],
    empty: "no channel is massive in any of them",
  });
  dataTable($("tokens"), {
    caption: "massive tokens", rows: tokens, sort: ["label", false], limit: 12, filters: models.length > 1 ? [{ key: "label", text: "model", options: models.map((m) => m.label) }] : [], search: (row) => `${row.text} ${words(row.class)}`,
    columns: [{ key: "label", text: "model", show: (row) => nameCell(row.model) }, { key: "token", text: "at", number: true }, { key: "text", text: "token", show: (row) => token(short(row.text, 20)) }, { key: "class", text: "class", show: (row) => words(row.class) }, { key: "first_layer", text: "layers", number: true, show: (row) => `${row.first_layer}–${row.last_layer}` }],
    empty: "no token is massive in any of them",
  });
}

function room(models) {
  const rows = models.flatMap((model) => Object.keys(POINTS).map((point) => ({ model, label: model.label, point, ...(model.results.summary.headroom[point] ?? {}) })));
  const share = (value) => { const bar = el("i"); bar.style.width = `${Math.min(100, 100 * (value ?? 0))}%`; return el("span", { class: value > 1 ? "room over" : "room" }, el("span", { class: "room-bar", "aria-hidden": "true" }, bar), finite(value) ? percent(value) : "none"); };
  dataTable($("room"), {
    caption: "head-room", rows, sort: ["of_fp16_max", true], limit: 40,
    columns: [
      { key: "label", text: "model", show: (row) => nameCell(row.model) }, { key: "point", text: "point", show: (row) => POINTS[row.point] }, { key: "max", text: "largest |x|", number: true, show: (row) => orCannot(row.max ?? null, row.model.results, number) },
      { key: "layer", text: "in layer", number: true, show: (row) => (row.layer === undefined ? "none" : `${row.layer}${row.batch ? ` (${row.batch})` : ""}`) + (row.nonfinite ? `; not finite from ${firstOf(row.model.results)?.layer} on` : "") },
      { key: "of_fp16_max", text: "of float16", number: true, help: "largest float16: 65504", show: (row) => share(row.of_fp16_max) }, { key: "of_fp8_e4m3_max", text: "of e4m3", number: true, help: "largest e4m3: 448", show: (row) => share(row.of_fp8_e4m3_max) },
      { key: "int8_step_over_median", text: "int8 step, medians", number: true, show: (row) => (finite(row.int8_step_over_median) ? number(row.int8_step_over_median) : "none") },
    ],
  });
}

function method(models) {
  if (models.some((m) => m.results.images)) $("images-said").textContent = "Of models of images, the prompt is the first image and the corpus all of them.";
  const same = (text, of) => { const values = [...new Set(models.map((m) => of(m.results)))]; return values.length > 1 ? `${text} (${values.map((v) => short(String(v), 40)).join("; ")})` : null; };
  const differ = [same("prompt", (r) => r.prompt.text.trim()), same("corpus", (r) => r.run.corpus), same("tokens of a window", (r) => r.run.tokens_per_sequence), same("sequences", (r) => r.run.sequences), same("BOS", (r) => r.run.bos), same("dtype", (r) => r.run.dtype)].filter(Boolean);
  $("differences").append(el("p", { class: "card" }, differ.length ? `The reports were not made alike; they differ in ${differ.join(", ")}.` : "All reports were made with the same prompt, corpus, window, BOS policy and dtype."));
  dataTable($("runs"), {
    caption: "runs", rows: models.map((model) => ({ model, label: model.label, ...model.results.run })), sort: ["order", false], limit: 100,
    columns: [
      { key: "label", text: "model", show: (row) => nameCell(row.model) }, { key: "version", text: "program", show: (row) => `${row.version} (${row.commit})` }, { key: "device", text: "on", show: (row) => `${row.device}, ${row.dtype}` }, { key: "bos", text: "BOS" },
      { key: "sequences", text: "corpus", value: (row) => row.sequences * row.tokens_per_sequence, show: (row) => `${row.corpus}: ${count(row.sequences)} × ${count(row.tokens_per_sequence)}` },
      { key: "forward", text: "time", number: true, value: (row) => row.seconds.forward + row.seconds.statistics + row.seconds.load, show: (row) => seconds(row.seconds.forward + row.seconds.statistics + row.seconds.load) },
      { key: "peak_host_bytes", text: "peak memory", number: true, show: (row) => bytes(row.peak_host_bytes) },
      { key: "file", text: "results", fixed: true, show: (row) => el("button", { type: "button", class: "link", onclick: () => save(row.model) }, "save results.json") },
    ],
  });
  $("definitions").append(...Object.entries(models[0].results.definitions).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
}
function save(model) {
  const link = el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(JSON.parse(model.text), null, 1)], { type: "application/json" })), download: `${model.label.replace(/[^\w.-]+/g, "-")}.results.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** The file as it is, to be saved, and what the page shows of it. */
const resultsOf = (text) => ({ text, results: parseReport(text) });

async function start() {
  startTheme(state, $("theme"));
  const colours = ["s1", "s2", "s4", "s3", "s5", "s6", "s7"];
  const models = await Promise.all(parseBlock("models").map(async ({ label }, i) => ({ label, colour: colours[i % colours.length], dashed: i >= colours.length, order: i, ...resultsOf(new TextDecoder().decode(await inflateBlock(`results-${i}`))) })));
  summaryTable(models);
  curves(models);
  placesTables(models);
  room(models);
  method(models);
  startNavigation();
  document.documentElement.dataset.ready = "all";
}
start();
