// The explorer of one report: wires results and arrays to the sections of report.html.

const R = parseBlock("results");
const L = R.model.layers, H = R.model.heads, P = R.prompt.tokens.length;  // of the prompt, as many tokens as the page shows
const TOKENS = R.prompt.token_count;
const summary = R.summary;
// Of a model of images: the prompt is the first of them, the corpus all.
const IMAGES = R.images ?? null;
const BATCHES = IMAGES ? { prompt: "first image", corpus: "all images" } : { prompt: "prompt", corpus: "corpus" };
const POINTS = { resid_out: "layer output", down_in: "down input" };
const POINT_HELP = { resid_out: "the residual stream after the layer", down_in: "what down_proj reads: act(gate) × up" };
const MODULES = ["q", "k", "v", "o", "gate", "up", "down"].filter((m) => R.weights.some((w) => w.modules[m]));
const layersOf = (batch, point) => R.activations[batch][point];
const FIRST = firstOf(R), TOLD = toldLayers(R);
const startLayer = summary.found ? summary.born_layer : FIRST ? FIRST.layer : Math.min(L - 1, Math.max(0, L >> 1));

const state = new State({ layer: startLayer, point: "resid_out", batch: "prompt", view: "3d", height: "linear", head: "mean", measure: "sink_rate", module: MODULES.includes("down") ? "down" : MODULES[0], column: -1, token: 0, shade: "activation", theme: "system" });
const among = (list) => (value) => list.includes(value);
const below = (n) => (value) => Number.isInteger(value) && value >= 0 && value < n;
const CHECKS = {
  layer: below(L), point: among(Object.keys(POINTS)), batch: among(["prompt", "corpus"]), view: among(["3d", "flat"]), height: among(["linear", "log"]),
  head: (v) => v === "mean" || below(H)(Number(v)), measure: among(["sink_rate", "outlier_share"]), module: among(MODULES), column: Number.isInteger, token: below(P), shade: among(["activation", "attention"]),
  theme: among(["system", "light", "dark"]),
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
const goTo = (layer, more = {}) => state.set({ layer, ...more });
const layerButton = (layer, text) => el("button", { type: "button", class: "link", onclick: () => goTo(layer) }, text ?? `layer ${layer}`);
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
const marks = () => [
  summary.born_layer !== null ? { at: summary.born_layer, text: "born" } : null,
  summary.removed_layer !== null ? { at: summary.removed_layer, text: "removed" } : null,
  FIRST ? { at: FIRST.layer, text: "not finite" } : null,
].filter(Boolean);
const pickLayer = (layer) => goTo(layer);
const chosenLayer = () => state.get("layer");
// In a layer of experts a neuron is one of an expert.
const ofExpert = (place) => place.expert === undefined ? "" : place.expert === "shared" ? " of the shared expert" : ` of expert ${place.expert}`;
const isMassiveToken = (l, point, t) => layersOf("prompt", point)[l].massive.some((m) => m.token === t);

// ---- head of the page
function startHead() {
  const m = R.model;
  if (IMAGES) for (const span of document.querySelectorAll(".of-text")) span.remove();
  if (IMAGES) for (const span of document.querySelectorAll("[data-batch]")) span.textContent = BATCHES[span.dataset.batch];
  $("model-meta").textContent = [m.family, m.format, `${count(m.parameters)} parameters`, `${L} ${L === 1 ? "layer" : "layers"} of width ${m.width}`, `${H} heads`, `${R.run.dtype} on ${R.run.device}`].join(" · ");
  const lead = $("lead"), prompt = layersOf("prompt", "resid_out");
  if (FIRST && !summary.found) {
    lead.append(`Whether there is an outlier ${CANNOT}: ${FIRST.value} in `, layerButton(FIRST.layer), ` (${FIRST.point})${TOLD > 0 ? "; there is none before" : ""}.`);
  } else if (!summary.found) {
    const tallest = prompt.map((l) => (l.median > 0 ? l.max / l.median : 0)).reduce((a, b) => Math.max(a, b), 0);
    lead.append(`No systematic outlier: no value of the residual stream exceeds ${number(tallest)} medians of its layer.`);
  } else {
    const last = summary.removed_layer === null ? TOLD - 1 : summary.removed_layer - 1, top = prompt[summary.peak_layer].top[0];
    const step = (before, layer, after) => lead.append(before, el("span", { class: "whole" }, layerButton(layer), after));
    step("Born in ", summary.born_layer, ",");
    if (last > summary.born_layer) step(" carried to ", last, ",");
    if (FIRST && summary.removed_layer === null) lead.append(" and from ", layerButton(FIRST.layer), ` on it ${CANNOT}: ${FIRST.value} in ${FIRST.point}.`);
    else if (summary.removed_layer === null) lead.append(" removed by no layer.");
    else step(" removed in ", summary.removed_layer, ".");
    if (top) {
      lead.append(" Channel ", el("span", { class: "num" }, String(top.channel)), " of ", token(R.prompt.tokens[top.token] ?? `token ${top.token}`), ` reaches ${number(Math.abs(top.value))}`);
      const ratio = ratioOf(prompt[summary.peak_layer]);
      lead.append(ratio ? `, ${number(ratio)} times the median.` : ".");
    }
  }
  const tile = (label, value, note) => $("tiles").append(el("div", { class: "tile" }, el("div", { class: "label" }, label), el("div", { class: [...value.toString()].length > 11 ? "value long" : "value" }, value), el("div", { class: "note" }, note)));
  const head = summary.headroom.resid_out, peak = peakOf(R);
  if (FIRST) tile("Not finite", FIRST.value, `first in layer ${FIRST.layer}, ${FIRST.point}, on the ${BATCHES[FIRST.batch]}; what follows ${CANNOT}`);
  if (peak) tile("Largest value", number(peak.max), `layer output of layer ${peak.layer} on the ${BATCHES.prompt}${ratioOf(peak) ? `, ${number(ratioOf(peak))} medians` : ""}`);
  const channels = summary.massive_channels;
  tile("Massive channels", TOLD === 0 ? CANNOT : channels.length ? channels.slice(0, 3).join(", ") + (channels.length > 3 ? " …" : "") : "none", channels.length > 3 ? `${channels.length} in all, on the ${BATCHES.prompt}` : `of ${count(R.model.width)}, on the ${BATCHES.prompt}`);
  if (finite(sinkRate(R)) && !IMAGES) tile("Sink rate", percent(sinkRate(R)), "of the heads, over layers and sequences, give the first token more than 0.3");
  if (summary.norms && finite(summary.norms.patch_max)) tile("Largest patch norm", number(summary.norms.patch_max), `in the last layer; median ${number(summary.norms.patch_median)}`);
  if (head) {
    const where = `${number(head.max)} in layer ${head.layer}${head.batch ? `, ${BATCHES[head.batch]}` : ""}`;
    tile("float16 head-room", percent(head.of_fp16_max), `of the largest float16${head.of_fp16_max > 1 ? ": it overflows" : " is used"}; ${where}${head.nonfinite ? `, before values are not finite in layer ${FIRST?.layer}` : ""}`);
    if (finite(head.int8_step_over_median) && !FIRST) tile("One int8 step", `${number(head.int8_step_over_median)} ×`, head.int8_step_over_median > 2 ? "the median: a median value rounds to zero" : "the median value");
  }
  for (const dd of $("words").querySelectorAll("dd")) dd.replaceChildren(...withLayers(dd.textContent));
}

// ---- the strip
function startStrip() {
  const layers = layersOf("prompt", "resid_out").map((l, i) => (i < TOLD ? l : { max: null, median: null, mean: null, top: [] })), host = $("strip");
  host.classList.add("chart", "strip");
  const alive = (l) => summary.found && l >= summary.born_layer && l < (summary.removed_layer ?? TOLD);
  const sentence = (l) => {
    if (l >= TOLD) return `layer ${l}: ${CANNOT}, not all values are finite${l === TOLD ? " from here on" : ""}`;
    const parts = [`layer ${l}: largest ${number(layers[l].max)}, median ${number(layers[l].median)}`];
    if (l === summary.born_layer) parts.push("born here");
    if (l === summary.peak_layer) parts.push("largest of all");
    if (l === summary.removed_layer) parts.push("removed here");
    else if (alive(l) && l !== summary.born_layer) parts.push("carried");
    return parts.join(", ");
  };
  const draw = (width) => {
    const height = 218, left = 50, right = width - 4, top = 30, bottom = height - 34, step = (right - left) / L;
    const y = scale(layers.flatMap((l) => [l.max, l.median]), [bottom, top], { log: true });
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "radiogroup", "aria-label": "Layers: choose one" });
    if (summary.found) {
      const from = summary.born_layer, to = summary.removed_layer ?? TOLD;
      root.append(svg("rect", { class: "plateau", x: left + from * step, y: top - 8, width: Math.max(0, to - from) * step, height: bottom - top + 8, rx: 6 }));
    }
    if (FIRST) root.append(svg("rect", { class: "untold", x: left + TOLD * step, y: top - 8, width: (L - TOLD) * step, height: bottom - top + 8, rx: 6 }), (L - TOLD) * step > 90 ? svg("text", { class: "untold-text", x: left + (TOLD + (L - TOLD) / 2) * step, y: (top + bottom) / 2, "text-anchor": "middle" }, CANNOT) : "");
    if (TOLD > 0) for (const v of ticks(y.low, y.high, true)) root.append(svg("line", { class: "gridline", x1: left, x2: right, y1: y(v), y2: y(v) }), svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, axisNumber(v)));
    const numbered = new Set(places(L, right - left, 24));
    for (let l = 0; l < L; ++l) {
      const x = left + l * step, { max, median: middle } = layers[l], on = l === chosenLayer();
      const group = svg("g", { class: "layer", role: "radio", "aria-checked": String(on), tabindex: on ? "0" : "-1", "aria-label": sentence(l), "data-layer": l });
      if (y.shown(max) && y.shown(middle)) group.append(svg("rect", { class: alive(l) ? "span alive" : "span", x: x + step * 0.2, width: Math.max(1.5, step * 0.6), y: y(max), height: Math.max(2, y(middle) - y(max)), rx: Math.min(4, step * 0.2) }));
      else if (y.shown(max)) group.append(svg("circle", { class: "span", cx: x + step / 2, cy: y(max), r: 3 }));
      if (numbered.has(l) || on) group.append(svg("text", { class: "number", x: x + step / 2, y: bottom + 16, "text-anchor": "middle", visibility: !on && numbered.has(l) && Math.abs(l - chosenLayer()) * step < 18 ? "hidden" : null }, String(l)));
      group.append(svg("rect", { class: "hit", x, y: top - 8, width: step, height: bottom - top + 28, rx: 5 }));
      group.addEventListener("click", () => { pickLayer(l); focusChosen(); });
      group.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, [`layer ${l}`, ...(l >= TOLD ? [CANNOT] : [["largest", number(max)], ["median", number(middle)], ["largest / median", middle > 0 ? number(max / middle) : "none"]])]));
      group.addEventListener("pointerleave", tip.hide);
      root.append(group);
    }
    // "born" and "removed" stand above their bars; where they would meet, the one on the left ends where it begins.
    const both = summary.found && summary.removed_layer !== null && (summary.removed_layer - summary.born_layer) * step < 84;
    for (const mark of marks()) {
      const x = left + (mark.at + (mark.text === "not finite" ? 0 : 0.5)) * step, end = x > right - 50 || (both && mark.text === "born" && x > 80);
      root.append(svg("line", { class: "mark", x1: x, x2: x, y1: top - 14, y2: top - 2 }), svg("text", { class: "mark-text", x: x + (end ? 4 : -4), y: top - 18, "text-anchor": end ? "end" : "start" }, mark.text));
    }
    root.append(svg("text", { class: "axis-title", x: right, y: height - 3, "text-anchor": "end" }, "layer (from 0)"));
    root.addEventListener("keydown", (event) => {
      const now = chosenLayer(), next = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: L - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      pickLayer(Math.max(0, Math.min(L - 1, next)));
      focusChosen();
    });
    host.replaceChildren(root);
  };
  const focusChosen = () => host.querySelector('[aria-checked="true"]')?.focus();
  keepDrawn(host, draw);
  state.watch(["layer"], () => {
    draw(host.getBoundingClientRect().width);
    $("strip-readout").replaceChildren(`${sentence(chosenLayer())}. `);
    $("layer").value = chosenLayer();
  });
  numbersBelow($("strip-readout"), ["layer", "largest", "median", "mean", "largest / median", "channel"], () => layers.map((l, i) => [String(i), ...(i >= TOLD ? Array(5).fill(CANNOT) : [number(l.max), number(l.median), number(l.mean), l.median > 0 ? number(l.max / l.median) : "none", l.top[0] ? String(l.top[0].channel) : "none"])]));
}

// ---- activations
function startActivations() {
  const point = segmented(state, "point", "Point", Object.entries(POINTS));
  const batch = segmented(state, "batch", "Measured on", Object.entries(BATCHES));
  $("activation-controls").append(el("span", { class: "field" }, "point", point), el("span", { class: "field" }, "measured on", batch));
  state.watch(["point", "batch"], () => {
    const layers = whole(layersOf(state.get("batch"), state.get("point")));
    $("activation-lines-hint").textContent = `|x| of ${POINT_HELP[state.get("point")]}${state.get("batch") === "corpus" ? `; the top three are means over ${R.run.sequences} ${(IMAGES ? "image" : "sequence") + (R.run.sequences === 1 ? "" : "s")} of ${count(R.run.tokens_per_sequence)} tokens` : ""}.`;
    const host = $("activation-lines");
    host.parentElement.querySelector("details.numbers")?.remove();
    const third = (i) => layers.map((l) => l.top3_mean[i] ?? null);
    const chart = lineChart(host, {
      log: true, yTitle: "|x|, log scale", selected: chosenLayer, pick: pickLayer, marks: marks(),
      series: [
        { name: "largest", colour: "s1", values: third(0), width: 2.5 }, { name: "second", colour: "s3", values: third(1) }, { name: "third", colour: "s5", values: third(2) },
        { name: "mean", colour: "s4", values: layers.map((l) => l.mean) }, { name: "median", colour: "s2", values: layers.map((l) => l.median), width: 2.5 },
      ],
      describe: () => `${POINTS[state.get("point")]} over the layers: largest ${number(layers[chosenLayer()].max)}, median ${number(layers[chosenLayer()].median)} at layer ${chosenLayer()}.`,
    });
    startActivations.chart = chart;
  });
  state.watch(["layer"], () => startActivations.chart.draw());

  // The table: everything that is massive anywhere.
  const rows = [];
  for (const where of ["prompt", "corpus"]) {
    for (const name of Object.keys(POINTS)) {
      for (const layer of whole(layersOf(where, name))) {
        for (const m of layer.massive) {
          rows.push({ where, point: name, layer: layer.layer, ...m, size: m.value === null ? null : Math.abs(m.value), medians: layer.median > 0 && m.value !== null ? Math.abs(m.value) / layer.median : null,
            text: m.token_text ?? (where === "prompt" ? R.prompt.tokens[m.token] : null) ?? null, kind: m.class ?? (where === "prompt" ? R.prompt.classes[m.token] : "") ?? "" });
        }
      }
    }
  }
  const total = ["prompt", "corpus"].flatMap((where) => Object.keys(POINTS).flatMap((name) => whole(layersOf(where, name)))).reduce((sum, l) => sum + l.massive_count, 0);
  const table = dataTable($("massive"), {
    caption: "massive activations", rows, sort: ["size", true], limit: 10, search: (row) => `${row.text ?? ""} ${words(row.kind)} channel ${row.channel} layer ${row.layer}`,
    filters: [{ key: "where", text: "from", options: Object.keys(BATCHES), names: BATCHES }, { key: "point", text: "point", options: Object.keys(POINTS), names: POINTS }],
    columns: [
      { key: "layer", text: "layer", number: true, show: (row) => String(row.layer) }, { key: "point", text: "point", show: (row) => POINTS[row.point] }, { key: "channel", text: "channel", number: true, show: (row) => row.channel + ofExpert(row) },
      { key: "text", text: "token", value: (row) => row.text ?? "", show: (row) => (row.text === null ? el("span", {}, "–") : token(short(row.text, 24))) },
      { key: "token", text: "at", number: true, help: "position in its sequence, from 0", show: (row) => (row.where === "corpus" ? `${row.sequence}:${row.token}` : String(row.token)) },
      { key: "kind", text: "class", show: (row) => words(row.kind) || "–" },
      { key: "where", text: "from", show: (row) => BATCHES[row.where] }, { key: "size", text: "value", number: true, show: (row) => number(row.value) }, { key: "medians", text: "× median", number: true, show: (row) => (row.medians === null ? "none" : number(row.medians)) },
    ],
    choose: (row) => goTo(row.layer, { point: row.point, ...(row.where === "prompt" && row.token < P ? { token: row.token } : {}) }),
    empty: "no activation is above 100 and above 1,000 medians of its layer",
  });
  if (FIRST) $("massive").append(el("p", { class: "hint" }, `Layers with values that are not finite are left out: what else is in them ${CANNOT}.`));
  if (total > rows.length) $("massive").append(el("p", { class: "hint" }, `The page lists ${count(rows.length)} of ${count(total)}, the largest of each layer; results.json counts them all.`));
}

function startPromptView(arrays) {
  const host = $("prompt-3d");
  const tokensAt = (name) => arrays.index[name]?.shape[1] ?? 0;
  if (!tokensAt("resid_out")) { host.append(el("p", { class: "empty" }, `This report keeps no activations of the ${BATCHES.prompt}.`)); return; }
  const views = segmented(state, "view", "View", [["3d", "3D"], ["flat", "flat"]]), heights = segmented(state, "height", "Height", [["linear", "linear"], ["log", "log"]]);
  const places3d = el("div"), flat = el("div"), said = el("p", { class: "readout" });
  host.append(el("div", { class: "controls no-print" }, views, heights), places3d, flat, said);
  const data = () => {
    const point = state.get("point"), l = chosenLayer();
    return Array.from({ length: tokensAt(point) }, (_, t) => ({ name: R.prompt.tokens[t], hot: isMassiveToken(l, point, t), ...arrays.row(point, l, t) }));
  };
  const tell = (t, channel, value) => [`${t}: ${R.prompt.tokens[t]}`, ["channel", String(channel)], ["value", number(value)], ["class", words(R.prompt.classes[t])]];
  const three = ridges(places3d, () => {
    const l = chosenLayer(), top = layersOf("prompt", state.get("point"))[l].top.filter((v) => v.token < tokensAt(state.get("point")));
    const labels = [], used = new Set();
    for (const v of top) if (v.value !== null && labels.length < 3 && !used.has(v.channel) && Math.abs(v.value) > Math.abs(top[0].value) / 10) { used.add(v.channel); labels.push({ row: v.token, channel: v.channel, value: v.value, text: `${v.channel}` }); }
    return { rows: data(), channelTitle: state.get("point") === "resid_out" ? "channel" : "neuron", zTitle: "|x|", log: state.get("height") === "log", labels, tell };
  });
  const columns = () => arrays.index[state.get("point")].shape[2];
  let flatDraw = null;
  const drawFlat = () => {
    // At most 240 columns: each shows the largest of its channels.
    const rows = data(), n = Math.min(240, columns()), each = columns() / n;
    const cells = rows.map((row) => Array.from({ length: n }, (_, c) => {
      let best = Math.floor(c * each);
      for (let i = best; i < Math.floor((c + 1) * each); ++i) if (!(Math.abs(row.values[i]) <= Math.abs(row.values[best]))) best = i;
      return best;
    }));
    const at = (t, c) => rows[t].values[cells[t][c]];
    const l = layersOf("prompt", state.get("point"))[chosenLayer()], high = l.max, low = state.get("height") === "log" ? Math.max(l.median, high / 1e6) : 0;
    flatDraw = heatMap(flat, {
      rows: rows.length, columns: n, ramp: "size", numericColumns: true, everyRow: true, cellHeight: Math.max(4, Math.min(22, 380 / rows.length)),
      value: (t, c) => { const v = Math.abs(at(t, c)); return !finite(v) ? NaN : low > 0 ? Math.log(Math.max(v, low) / low) / Math.log(high / low || 2) : v / (high || 1); },
      rowText: (t) => R.prompt.tokens[t], columnText: (c) => String(Math.round(c * each * arrays.index[state.get("point")].bucket)), rowTitle: "token", columnTitle: `${state.get("point") === "resid_out" ? "channels" : "neurons"}, ${count(arrays.index[state.get("point")].channels)} from left to right`,
      tell: (t, c) => tell(t, rows[t].channels[cells[t][c]], at(t, c)), pick: (t) => state.set({ token: t }), describe: () => said.textContent,
    });
  };
  state.watch(["layer", "point", "view", "height"], () => {
    const l = chosenLayer(), point = state.get("point"), layer = layersOf("prompt", point)[l], top = layer.top[0], spec = arrays.index[point];
    $("prompt-3d-title").textContent = `The ${BATCHES.prompt} at layer ${l}: ${POINTS[point]}`;
    $("prompt-3d-hint").textContent = `|x| of every token and ${point === "resid_out" ? "channel" : "neuron"}; tokens with a massive activation in the accent colour.${spec.bucket > 1 ? ` Each point is the largest of ${spec.bucket} neighbours.` : ""}${spec.shape[1] < TOKENS ? ` The first ${spec.shape[1]} of ${count(TOKENS)} tokens.` : ""}`;
    if (layer.nonfinite) said.textContent = `Not finite: ${count(layer.nonfinite)} values are NaN or infinite, and gaps here.`;
    else said.textContent = top && top.value !== null ? `Largest: ${number(top.value)} in channel ${top.channel} of token ${top.token} “${R.prompt.tokens[top.token] ?? "…"}”; median ${number(layer.median)}.` : "No finite values.";
    places3d.hidden = state.get("view") !== "3d";
    flat.className = state.get("view") === "flat" ? "chart" : "chart only-print";
    three.draw();
    drawFlat();
  });
  addEventListener("beforeprint", () => { flat.style.display = "block"; flat.style.width = "640px"; flatDraw.draw(); });
  addEventListener("afterprint", () => { flat.style.display = flat.style.width = ""; flatDraw.draw(); });
}

// ---- norms of images' tokens
function startNorms(arrays) {
  if (!IMAGES) return;
  for (const part of [$("norms"), document.querySelector('nav a[href="#norms"]')]) part.hidden = false;
  const none = { median: null, max: null };
  const layers = R.norms.corpus.map((l, i) => (i < TOLD ? l : { cls: none, patches: none, registers: none })), registers = IMAGES.registers, { rows, columns } = IMAGES;
  const chart = lineChart($("norm-lines"), {
    log: true, yTitle: "L2 norm, log scale", selected: chosenLayer, pick: pickLayer, marks: [],
    series: [
      { name: "largest patch", colour: "s1", values: layers.map((l) => l.patches.max), width: 2.5 }, { name: "median patch", colour: "s2", values: layers.map((l) => l.patches.median), width: 2.5 },
      { name: "CLS", colour: "s4", values: layers.map((l) => l.cls.median) }, ...(registers ? [{ name: "registers", colour: "s3", values: layers.map((l) => l.registers.median) }] : []),
    ],
    describe: () => { const l = layers[chosenLayer()]; return `Norms over the layers; at layer ${chosenLayer()} patches have ${number(l.patches.median)}, at most ${number(l.patches.max)}, CLS ${number(l.cls.median)}${registers ? `, registers ${number(l.registers.median)}` : ""}.`; },
  });
  const map = $("norm-map"), first = 1 + registers;
  state.watch(["layer"], () => {
    const l = chosenLayer(), norms = arrays.layer("token_norm", l), layer = layers[l];
    const patches = Array.from(norms.slice(first)).filter(finite), high = patches.reduce((a, b) => Math.max(a, b), 0);
    const at = (r, c) => norms[first + r * columns + c];
    $("norm-map-title").textContent = `${R.prompt.text} at layer ${l}`;
    $("norm-said").textContent = l >= TOLD ? `Norms from layer ${TOLD} on ${CANNOT}: not all values are finite.` : `Over all images: ${layer.patches.largest.token_text} of image ${layer.patches.largest.sequence} has the largest norm, ${number(layer.patches.max)}; ${count(layer.patches.high)} of ${count(layer.patches.count)} patches are above 150.${registers ? ` Registers, each: ${layer.registers.each.map(number).join(", ")}.` : ""}`;
    heatMap(map, {
      rows, columns, ramp: "size", square: true, numericColumns: true, rowText: String, columnText: String, rowTitle: "row", columnTitle: "column of patches",
      value: (r, c) => (finite(at(r, c)) ? at(r, c) / (high || 1) : NaN), tell: (r, c) => [`r${r}c${c}`, ["L2 norm", number(at(r, c))]],
      pick: (r, c) => { const t = first + r * columns + c; if (t < P) state.set({ token: t }); },
      describe: () => `Norms of the first image's patches at layer ${l}, up to ${number(high)}.`,
    });
    map.append(el("div", { class: "scales" }, colourScale("size", "0", number(high), "L2 norm")));
    chart.draw();
  });
}

// ---- weights
function startWeights(arrays) {
  const colours = { down: "s1", gate: "s2", up: "s4", o: "s3", v: "s5", k: "s6", q: "s7" };
  const score = (m, l) => R.weights[l].modules[m]?.score ?? null;
  const mean = R.weights.map((_, l) => { const values = MODULES.map((m) => score(m, l)).filter(finite); return values.reduce((a, b) => a + b, 0) / values.length; });
  const chart = lineChart($("weight-lines"), {
    log: true, yTitle: "max/mean of |W|, log scale", selected: chosenLayer, pick: pickLayer, marks: [],
    series: [...["down", "gate", "up", "o", "v", "k", "q"].filter((m) => MODULES.includes(m)).map((m) => ({ name: m, colour: colours[m], values: R.weights.map((_, l) => score(m, l)), width: m === "down" ? 2.75 : 1.75 })), { name: "mean of all", colour: "faint", dashed: true, values: mean, width: 1.5 }],
    describe: () => `Scores of the projections over the layers; at layer ${chosenLayer()}: ${MODULES.map((m) => `${m} ${number(score(m, chosenLayer()))}`).join(", ")}.`,
  });
  $("module-picker").append(picker(state, "module", "projection", MODULES.map((m) => [m, m])));
  const detail = $("column-detail");
  const columnOf = () => {
    const columns = R.weights[chosenLayer()].modules[state.get("module")]?.top_columns ?? [];
    return columns.find((c) => c.column === state.get("column")) ?? columns[0] ?? null;
  };
  state.watch(["layer", "module", "column"], () => {
    const l = chosenLayer(), name = state.get("module"), module = R.weights[l].modules[name];
    $("columns-title").textContent = `Top columns at layer ${l}`;
    const chosen = columnOf();
    dataTable($("columns"), {
      caption: `columns of ${name} at layer ${l}`, rows: module?.top_columns ?? [], sort: ["ratio", true], limit: 10, chosen: (row) => row === chosen,
      columns: [
        { key: "column", text: "column", number: false, show: (row) => String(row.column) }, { key: "ratio", text: "max/mean", number: true, show: (row) => number(row.ratio) },
        { key: "row", text: "largest in row", number: true, show: (row) => String(row.row) }, { key: "value", text: "weight", number: true, show: (row) => number(row.value) },
      ],
      choose: (row) => state.set({ column: row.column }),
    });
    if (module) $("columns").append(el("p", { class: "hint" }, `The whole matrix${ofExpert(module)}${module.expert === undefined ? "" : ", the one of the layer's experts with the largest score"}: largest ${number(module.max)}, mean ${number(module.mean)}, median ${number(module.median)}; score ${number(module.score)} from ${module.axis} ${module.index}; kurtosis ${number(module.kurtosis_pearson)}${module.nonfinite ? `; ${count(module.nonfinite)} that are NaN or infinite are left out` : ""}.`));
    drawColumn(l, name, chosen);
    chart.draw();
  });

  function drawColumn(l, name, column) {
    if (!column) { detail.replaceChildren(el("p", { class: "empty" }, "This projection has no columns to show.")); return; }
    const stems = el("div"), fed = el("div"), life = el("div");
    const parts = [el("h3", {}, `${name} column ${column.column}, layer ${l}`)];
    const kept = arrays.index.columns, place = name === "down" && kept ? kept.index[l].indexOf(column.column) : -1;
    const reads = { down: `neuron ${column.column} of down_in`, o: `channel ${column.column} of the heads' outputs (head ${Math.floor(column.column / R.model.head_width)})` }[name] ?? `channel ${column.column} of the normalised residual stream`;
    const writes = { down: "the residual stream", o: "the residual stream" }[name];
    parts.push(el("p", { class: "hint" }, `It multiplies ${reads}. Its largest weight, ${number(column.value)}, stands in row ${column.row}${writes ? `: channel ${column.row} of ${writes}` : ""}; max/mean ${number(column.ratio)}.`));
    if (place >= 0) parts.push(stems, el("h3", {}, "The activation it multiplies"), fed, el("h3", {}, `What it feeds: channel ${column.row} of the layer output`), life);
    else if (name === "down") parts.push(fed, life, el("p", { class: "hint" }, "The column itself is not in this report: it keeps the three columns with the largest max/mean and their neighbours."));
    else parts.push(fed, el("p", { class: "hint" }, "Whole columns are kept of down_proj only, where outliers are made."));
    detail.replaceChildren(...parts);
    if (place >= 0) {
      const { values, channels } = arrays.row("columns", l, place);
      stemChart(stems, { values, channels, channelCount: kept.channels, yTitle: "weight", xTitle: "row = channel of the residual stream", unit: "row", named: [{ at: column.row, text: String(column.row) }],
        describe: () => `Column ${column.column} of down_proj: largest ${number(column.value)} in row ${column.row}.` });
    }
    // down reads down_in; q, k, v, gate and up read the residual stream (through a norm); o's input is not kept.
    const source = name === "down" ? ["down_in", l] : name !== "o" && l > 0 ? ["resid_out", l - 1] : null;
    const tokens = source ? Math.min(arrays.index[source[0]]?.shape[1] ?? 0, 64) : 0;
    const known = Array.from({ length: tokens }, (_, t) => arrays.value(source[0], source[1], t, column.column));
    if (source && known.some(finite)) {
      if (name !== "down") fed.before(el("h3", {}, `Channel ${column.column} of the residual stream before the layer's norm`));
      const big = Math.max(...known.filter(finite).map(Math.abs));
      barChart(fed, { height: 200, yTitle: name === "down" ? `down_in[${column.column}]` : `x[${column.column}]`, selected: () => state.get("token"), pick: (t) => state.set({ token: t }),
        items: known.map((value, t) => ({ text: R.prompt.tokens[t], value, hot: Math.abs(value) === big && big > 0 })),
        describe: () => `Channel ${column.column} over the tokens of the ${BATCHES.prompt}: ${known.map((v, t) => `${R.prompt.tokens[t]} ${number(v)}`).slice(0, 12).join(", ")}.` });
    } else fed.append(el("p", { class: "hint" }, source ? "Smaller than its neighbours for every token, so the page does not hold it." : "Its input is not kept in a report."));
    if (name === "down") {
      const tokenRows = Math.min(arrays.index.resid_out?.shape[1] ?? 0, 64);
      const channelLife = Array.from({ length: tokenRows }, (_, t) => Array.from({ length: L }, (_, k) => arrays.value("resid_out", k, t, column.row)));
      const order = channelLife.map((values, t) => [Math.max(0, ...values.filter(finite).map(Math.abs)), t]).sort((a, b) => b[0] - a[0]).slice(0, 2).filter(([size]) => size > 0);
      if (order.length) {
        lineChart(life, { height: 210, log: false, yTitle: `x[${column.row}]`, selected: chosenLayer, pick: pickLayer, marks: [],
          series: order.map(([, t], i) => ({ name: `${t}: ${short(R.prompt.tokens[t], 12)}`, colour: i ? "s2" : "s1", values: channelLife[t] })),
          describe: () => `Channel ${column.row} of the layer output over the layers, for the ${order.length} tokens where it is largest.` });
      }
    }
  }
}

// ---- attention
function startAttention(arrays) {
  const hasMaps = arrays.has("probs_mean"), hasHeads = arrays.has("probs");
  const heads = [["mean", "mean over heads"], ...(hasHeads ? Array.from({ length: H }, (_, h) => [String(h), `head ${h}`]) : [])];
  $("head-picker").append(picker(state, "head", "head", heads));
  $("head-measure").append(segmented(state, "measure", "Measure", [["sink_rate", "sink rate"], ["outlier_share", "outlier share"]]));
  const head = () => (state.get("head") === "mean" || !hasHeads ? "mean" : Number(state.get("head")));
  const headText = () => (head() === "mean" ? "mean over heads" : `head ${head()}`);

  const map = $("attention-map"), scores = $("key-scores");
  const shownTokens = hasMaps ? arrays.index.probs_mean.shape.at(-1) : 0;
  let scoreItems = [];
  const describeScores = () => { const best = scoreItems.reduce((a, item, t) => (item.value > scoreItems[a].value ? t : a), 0); return `Scores of the keys at layer ${chosenLayer()}: the largest is ${number(scoreItems[best].value)} of ${count(TOKENS)} for token ${best} “${scoreItems[best].text}”.`; };
  state.watch(["layer", "head"], () => {
    const l = chosenLayer(), probability = hasMaps ? arrays.probabilities(l, head()) : null;
    $("map-title").textContent = `The ${BATCHES.prompt} at layer ${l}, ${headText()}`;
    if (probability) {
      // Without a causal mask every query spreads its probability over all keys: the scale ends at the largest.
      let most = IMAGES ? 0 : 1;
      if (IMAGES) for (let q = 0; q < shownTokens; ++q) for (let k = 0; k < shownTokens; ++k) most = Math.max(most, probability(q, k));
      heatMap(map, {
        rows: shownTokens, columns: shownTokens, ramp: "probability", square: true, everyRow: true, rowText: (q) => R.prompt.tokens[q], columnText: (k) => R.prompt.tokens[k], rowTitle: "query", columnTitle: "key",
        value: (q, k) => (k > q && !IMAGES ? null : probability(q, k) / (most || 1)), tell: (q, k) => [percent(probability(q, k)), ["query", `${q}: ${short(R.prompt.tokens[q], 30)}`], ["key", `${k}: ${short(R.prompt.tokens[k], 30)}`]], pick: (q, k) => state.set({ token: k }),
        describe: () => { const last = shownTokens - 1; return `Attention of the ${BATCHES.prompt}, ${headText()}, layer ${l}. The last token gives ${percent(probability(last, 0))} to the first.`; },
      });
      map.append(el("div", { class: "scales" }, colourScale("probability", "0", IMAGES ? number(most) : "1", "probability")));
      if (shownTokens < TOKENS) map.append(el("p", { class: "hint" }, `The first ${shownTokens} of ${count(TOKENS)} tokens.`));
    } else map.replaceChildren(el("p", { class: "empty" }, `The ${BATCHES.prompt} is too long for its maps to be kept; the scores below are of all its tokens.`));
    // A head's own scores need its map; the mean's are kept for every token.
    const own = head() !== "mean" && probability;
    const values = own ? Array.from({ length: shownTokens }, (_, k) => { let sum = 0; for (let q = IMAGES ? 0 : k; q < shownTokens; ++q) sum += probability(q, k); return sum; }) : Array.from(arrays.layer("key_scores", l));
    $("scores-title").textContent = `Accumulated score of each key, layer ${l}, ${headText()}`;
    scoreItems = values.map((value, t) => ({ text: R.prompt.tokens[t], value, hot: value >= 0.1 * TOKENS, title: [["score", number(value)], ["share", percent(value / TOKENS)], ["class", words(R.prompt.classes[t])]] }));
    drawScores();
  });
  function drawScores() {
    if (scoreItems.length > 300) {
      stemChart(scores, { values: scoreItems.map((item) => item.value), channels: scoreItems.map((_, t) => t), channelCount: scoreItems.length, yTitle: `score, of ${count(TOKENS)}`, xTitle: "token (from 0)", unit: "token", describe: describeScores });
      return;
    }
    barChart(scores, { items: scoreItems, yTitle: `score, of ${count(TOKENS)}`, threshold: 0.1 * TOKENS, selected: () => state.get("token"), pick: (t) => state.set({ token: t }),
      describe: describeScores });
  }
  state.watch(["token"], drawScores);
  numbersBelow(scores, ["token", "text", "score"], () => scoreItems.map((item, t) => [String(t), item.text, number(item.value)]));

  const grid = $("heads"), attended = whole(R.attention.corpus);
  state.watch(["measure", "layer", "head"], () => {
    const measure = state.get("measure"), value = (l, h) => attended[l].heads[h][measure];
    $("heads-hint").textContent = measure === "sink_rate" ? `Share of the ${IMAGES ? "images whose CLS" : "corpus's sequences whose first key"} gets more than 0.3 of the probability, on average over the first 64 queries (Gu et al., 2410.10781). Choose a cell to see that head.` : "The part of the head's probability that goes to the layer's outlier keys (2502.06415). Choose a cell to see that head.";
    heatMap(grid, {
      rows: L, columns: H, ramp: "probability", numericColumns: true, cellHeight: Math.max(6, Math.min(18, 400 / L)), rowText: String, columnText: String, rowTitle: "layer (from 0)", columnTitle: "head (from 0)", value: (l, h) => value(l, h) ?? NaN,
      tell: (l, h) => [`layer ${l}, head ${h}`, ["sink rate", percent(attended[l].heads[h].sink_rate)], ["outlier share", percent(attended[l].heads[h].outlier_share)]],
      pick: (l, h) => goTo(l, hasHeads ? { head: String(h) } : {}), selected: () => [chosenLayer(), head() === "mean" ? -1 : head()],
      describe: () => `${words(measure)} of every head; layer ${chosenLayer()} ${attended[chosenLayer()].nonfinite ? CANNOT : `from ${percent(Math.min(...attended[chosenLayer()].heads.map((x) => x[measure])))} to ${percent(Math.max(...attended[chosenLayer()].heads.map((x) => x[measure])))}`}.`,
    });
    grid.append(el("div", { class: "scales" }, colourScale("probability", "0 %", "100 %", words(measure))));
  });
  numbersBelow(grid, ["layer", ...Array.from({ length: H }, (_, h) => `head ${h}`)], () => attended.map((l, i) => [String(i), ...l.heads.map((h) => percent(h[state.get("measure")]))]));

  const corpus = attended, T = R.run.tokens_per_sequence;
  const top = (i) => corpus.map((l) => l.top3_mean[i] ?? null);
  const lines = lineChart($("attention-lines"), {
    log: true, yTitle: `score, of ${count(T)}`, selected: chosenLayer, pick: pickLayer, marks: [],
    series: [{ name: "largest", colour: "s1", values: top(0), width: 2.5 }, { name: "second", colour: "s3", values: top(1) }, { name: "third", colour: "s5", values: top(2) }, { name: "median", colour: "s2", values: corpus.map((l) => l.median), width: 2.5 }],
    describe: () => `Accumulated scores over the layers; at layer ${chosenLayer()} the largest is ${number(corpus[chosenLayer()].top3_mean[0])}, the median ${number(corpus[chosenLayer()].median)}.`,
  });
  state.watch(["layer"], () => {
    lines.draw();
    const l = chosenLayer(), layer = corpus[l], host = el("div");
    $("keys-title").textContent = `Top keys of ${IMAGES ? "all images" : "the corpus"} at layer ${l}`;
    const classes = new Map(Object.entries(layer.outlier_classes).sort((a, b) => b[1] - a[1]));
    const total = [...classes.values()].reduce((a, b) => a + b, 0), colours = { initial: "s1", strong_delimiter: "s3", weak_word: "s4", other: "s7", cls: "s1", register: "s3", patch: "s7" };
    const bar = el("div", { class: "stackbar", "aria-hidden": "true" }, [...classes].map(([name, n]) => { const part = el("i"); part.style.flex = n; part.style.background = `var(--${colours[name]})`; return part; }));
    $("keys").replaceChildren(el("p", { class: "hint" }, layer.nonfinite ? `Not all probabilities of this layer are finite: its keys cannot be ranked.` : total ? `${count(total)} outlier ${total === 1 ? "key" : "keys"} (score at least a tenth of ${count(T)}): ${[...classes].map(([name, n]) => `${words(name)} ${percent(n / total)}`).join(", ")}.` : `No key reaches a tenth of ${count(T)}.`), total ? bar : "", host);
    dataTable(host, {
      caption: `top keys at layer ${l}`, rows: layer.top_keys, sort: ["score", true], limit: 10,
      columns: [
        { key: "token_text", text: "token", show: (row) => token(short(row.token_text, 24)) }, { key: "class", text: "class", show: (row) => words(row.class) }, { key: "sequence", text: "sequence", number: true }, { key: "key", text: "at", number: true, show: (row) => count(row.key) },
        { key: "score", text: "score", number: true, show: (row) => number(row.score) },
      ],
    });
  });
}

// ---- tokens
function startTokens(arrays) {
  const amount = `${count(TOKENS)} ${TOKENS === 1 ? "token" : "tokens"}${P < TOKENS ? `, of which the first ${count(P)} are shown` : ""}`;
  $("tokens-intro").textContent = `${IMAGES ? `The image ${R.prompt.text} as the model reads it, ${amount}: CLS${IMAGES.registers ? ", registers" : ""} and its patches in their places` : `The prompt as the model reads it, ${amount}`}. Colour shows the largest activation of a token, the line below it the attention it receives. Choose a token to see its numbers.`;
  $("token-controls").append(el("span", { class: "field" }, "point", segmented(state, "point", "Point", Object.entries(POINTS))));
  const host = $("prompt-text");
  const isPatch = (t) => IMAGES && R.prompt.classes[t] === "patch";
  const buttons = R.prompt.tokens.map((text, t) => el("button", { type: "button", "data-token": t, tabindex: t === 0 ? "0" : "-1", "aria-label": isPatch(t) ? text : null }, isPatch(t) ? "" : text === "" ? " " : text.replaceAll("\\n", "↵")));
  if (IMAGES) {
    const grid = el("div", { class: "patches" }, buttons.filter((_, t) => isPatch(t)));
    grid.style.setProperty("--columns", IMAGES.columns);
    host.classList.add("image");
    host.append(el("div", {}, buttons.filter((_, t) => !isPatch(t))), grid);
  } else host.append(...buttons);
  host.addEventListener("click", (event) => { const t = event.target.dataset?.token; if (t !== undefined) state.set({ token: Number(t) }); });
  host.addEventListener("keydown", (event) => {
    const now = state.get("token"), next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: P - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    state.set({ token: Math.max(0, Math.min(P - 1, next)) });
    buttons[state.get("token")].focus();
  });
  host.addEventListener("pointermove", (event) => {
    const t = event.target.dataset?.token;
    if (t === undefined) { tip.hide(); return; }
    const point = state.get("point"), l = chosenLayer();
    tip.show(event.clientX, event.clientY, [`${t}: ${R.prompt.tokens[t]}`, ["largest |x|", number(arrays.layer(`token_max.${point}`, l)[t])], ["attention score", number(arrays.layer("key_scores", l)[t])], ["class", words(R.prompt.classes[t])]]);
  });
  host.addEventListener("pointerleave", tip.hide);
  const shade = () => {
    const point = state.get("point"), l = chosenLayer(), sizesOf = arrays.layer(`token_max.${point}`, l), attended = arrays.layer("key_scores", l), layer = layersOf("prompt", point)[l];
    const usable = Array.from(sizesOf).filter((v) => finite(v) && v > 0), low = Math.max(layer.median || 0, 1e-6), high = Math.max(low * 1.0001, ...usable.slice(0, 1), usable.reduce((a, b) => Math.max(a, b), 0));
    buttons.forEach((button, t) => {
      const back = ramp("size", Math.log(Math.max(sizesOf[t], low) / low) / Math.log(high / low)), under = ramp("probability", Math.sqrt(attended[t] / TOKENS));
      button.style.background = css(back);
      button.style.color = inkOn(back);
      button.style.borderBottomColor = css(under);
      button.setAttribute("aria-pressed", String(t === state.get("token")));
      button.tabIndex = t === state.get("token") ? 0 : -1;
    });
    $("token-scale").replaceChildren(colourScale("size", number(low), number(high), `largest |x|, ${POINTS[point]}`), colourScale("probability", "0 %", "100 %", "attention received"));
    const t = state.get("token"), detail = $("token-detail");
    const strongest = arrays.has(point) && t < arrays.index[point].shape[1] ? (({ values, channels }) => Array.from(values, (v, i) => [v, channels[i]]).filter(([v]) => finite(v)).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 5))(arrays.row(point, l, t)) : [];
    detail.replaceChildren(el("h3", {}, `Token ${t}, `, token(R.prompt.tokens[t]), ` at layer ${l}`), el("dl", { class: "pairs" },
      el("dt", {}, "id, class"), el("dd", {}, `${R.prompt.ids[t]}, ${words(R.prompt.classes[t])}`),
      el("dt", {}, `largest |x|, ${POINTS[point]}`), el("dd", {}, layer.nonfinite ? `${CANNOT}: not all values of this layer are finite` : `${number(sizesOf[t])}${layer.median > 0 && finite(sizesOf[t]) ? `, ${number(sizesOf[t] / layer.median)} medians` : ""}`),
      strongest.length ? el("dt", {}, "strongest channels") : null, strongest.length ? el("dd", {}, strongest.map(([v, c]) => `${c}: ${number(v)}`).join("; ")) : null,
      arrays.has("token_norm") ? el("dt", {}, "L2 norm of the layer output") : null, arrays.has("token_norm") ? el("dd", {}, number(arrays.layer("token_norm", l)[t])) : null,
      el("dt", {}, "attention received"), el("dd", {}, `${number(attended[t])} of ${count(TOKENS)}, ${percent(attended[t] / TOKENS)}`)));
  };
  state.watch(["layer", "point", "token"], shade);
  drawings.set(host, { width: 1, draw: shade });
}

// ---- method
function startMethod() {
  const pairs = (host, list) => host.append(...list.filter(([, value]) => value !== undefined && value !== null && value !== "").flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  $("definitions").append(...Object.entries(R.definitions).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
  const run = R.run, s = run.seconds;
  pairs($("run"), [
    ["program", `outliers ${run.version} (${run.commit}), LibTorch ${run.libtorch}`], ["computed on", `${run.device}, ${run.dtype}, ${run.threads} ${run.threads === 1 ? "thread" : "threads"}`], ["machine", run.machine],
    [BATCHES.prompt, R.prompt.text.length > 200 ? `${R.prompt.text.slice(0, 200)}…` : R.prompt.text], ["BOS", IMAGES ? "" : run.bos],
    IMAGES ? [BATCHES.corpus, `${run.corpus}, ${count(run.tokens_per_sequence)} tokens each`] : ["corpus", `${run.corpus}: ${count(run.sequences)} × ${count(run.tokens_per_sequence)} tokens, seed ${run.seed}`],
    ["time", `load ${seconds(s.load)}, forward ${seconds(s.forward)}, statistics ${seconds(s.statistics)}, report ${seconds(s.report)}`], ["first product", `after ${seconds(run.first_product_seconds)}`],
    ["peak memory", bytes(run.peak_host_bytes)], ["on the device", run.peak_device_bytes ? bytes(run.peak_device_bytes) : ""], ["weights", bytes(R.model.weight_bytes)],
  ]);
  const link = (path, text) => el("a", { href: path.split("/").map(encodeURIComponent).join("/") }, text);
  $("files").append(el("ul", {}, el("li", {}, link("results.json", "results.json"), ": every number, with its place"), el("li", {}, link("arrays.npz", "arrays.npz"), ": arrays for figures; numpy.load opens it")));
  const figures = Object.entries(R.figures ?? {});
  if (figures.length) {
    $("files").append(el("details", { class: "figures" }, el("summary", {}, `${figures.length} figures for a paper`),
      el("ul", {}, figures.map(([name, formats]) => el("li", {}, `${words(name)}: `, formats.flatMap((format, i) => [i ? ", " : "", link(`figures/${name}.${format}`, format)]))))));
  } else $("files").append(el("p", { class: "hint" }, "No figures stand beside this page; outliers plot draws them."));
  $("about").append(el("p", { class: "hint" }, "One file, made by outliers report; it opens from disk and asks for nothing from anywhere. The address keeps what is chosen, so a view can be sent along with the file. Arrow keys move through layers, cells and tokens."),
    el("p", { class: "hint" }, "Layers, channels, neurons, heads and tokens count from 0. The 3D view is drawn by plotly.js (MIT licence, © Plotly, Inc.), which lies in this file."));
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
  startNavigation();
}

async function start() {
  startBar();
  startHead();
  startStrip();
  startActivations();
  startMethod();
  document.documentElement.dataset.ready = "numbers";
  const arrays = await Arrays.open();
  startPromptView(arrays);
  startNorms(arrays);
  startWeights(arrays);
  startAttention(arrays);
  startTokens(arrays);
  document.documentElement.dataset.ready = "all";
}
start();
