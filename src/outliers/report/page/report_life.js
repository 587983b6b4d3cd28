// The life cycle: episodes, who writes an outlier, what it does to attention, who takes it away; and the flow diagrams.

const LIFE_PARTS = [["born", "emergence"], ["spread", "spread"], ["removed", "disappearance"]];

function startLife(arrays) {
  const lives = R.prompts.map(({ name }) => R.lifecycle(name));
  if (!showPart("life", lives.some((one) => one?.episodes.length || one?.emergence))) return;
  const parts = LIFE_PARTS.filter(([part]) => R.prompts.some(({ name }) => lifeChoice(R.lifecycle(name), part) !== null));
  if (parts.length) $("life-part").append(segmented(state, "flow", "part of the life cycle", parts));
  state.watch(["prompt"], () => {
    const life = R.lifecycle(state.get("prompt"));
    showEpisodes(life);
    showParts(life);
    showSpread(life);
  });
  state.watch(["prompt", "flow"], () => drawFlow(R.lifecycle(state.get("prompt")), arrays.of(state.get("prompt"))));
}

const lifeChoice = (life, what) => life?.chosen.find((one) => one.what === what)?.number ?? null;

function showEpisodes(life) {
  $("life-words").replaceChildren(...(life?.chosen ?? []).flatMap(({ what, number: n, why }) =>
    [el("dt", {}, what), el("dd", {}, ["born", "removed", "spread"].includes(what) ? layerButton(n) : String(n), `: ${why}`)]));
  const place = (e) => `${e.channel} of ${e.token} ${visible(e.token_text)}`;
  dataTable($("life-episodes"), {
    caption: "episodes of the prompt's outliers", empty: "no value of the residual stream is an outlier", rows: life?.episodes ?? [], sort: [],
    columns: [
      { key: "born_layer", text: "born", number: true }, { key: "peak_layer", text: "peak", number: true },
      { key: "removed_layer", text: "removed", number: true, show: (e) => (e.removed_layer === null ? "not" : String(e.removed_layer)) },
      { key: "peak", text: "value", number: true, show: (e) => number(e.peak) }, { key: "channel", text: "channel of token", show: place },
      { key: "step_up", text: "steps up", fixed: true, show: (e) => e.step_up.join(", ") },
      { key: "step_down", text: "steps down", fixed: true, show: (e) => e.step_down.join(", ") },
    ],
    choose: (e) => goTo(e.born_layer),
  });
}

/** The parts of some layers, the largest first. */
function partsOf(layers) {
  return layers.flatMap((l) => [
    ...l.heads.map((value, h) => ({ layer: l.layer, what: `head ${h}`, value })),
    ...l.neurons.map((n) => ({ layer: l.layer, what: `neuron ${n.neuron}${ofExpert(n)}`, value: n.product })),
    { layer: l.layer, what: "other neurons", value: l.other_neurons }, { layer: l.layer, what: "bias of the MLP", value: l.mlp_bias },
    { layer: l.layer, what: "bias of attention", value: l.attention_bias }, { layer: l.layer, what: "norm", value: l.norm },
  ]).filter(({ value }) => value !== 0).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
}

function showParts(life) {
  const table = (host, layers, whole, caption) => dataTable(host, {
    caption, rows: partsOf(layers), sort: [], limit: 8, empty: "nothing",
    columns: [
      { key: "layer", text: "layer", number: true }, { key: "what", text: "part" },
      { key: "value", text: "adds", number: true, show: (p) => number(p.value) },
      { key: "share", text: "share", number: true, value: (p) => p.value / whole, show: (p) => percent(p.value / whole) },
    ],
    choose: (p) => goTo(p.layer),
  });
  const e = life?.emergence, d = life?.disappearance;
  showPart("life-written", Boolean(e));
  showPart("life-taken", Boolean(d));
  if (e) {
    $("life-written-hint").textContent = `The ${number(e.residual)} after layer ${e.layer} in channel ${e.channel} of token ${e.token}: the embedding gives `
      + `${number(e.embedding)}, all parts together ${number(e.sum)}.`;
    table($("life-written-parts"), e.layers, e.residual, "parts of the value at its birth");
  }
  if (d) {
    $("life-taken-hint").textContent = `${percent(d.cancelled)} of the ${number(d.before)} that enter layer ${d.first_layer} are taken away by layer `
      + `${d.last_layer}, which leaves ${number(d.after)}.`;
    table($("life-taken-parts"), d.layers, -d.before, "parts that take the value away");
  }
}

function showSpread(life) {
  const spread = life?.spread ?? [];
  if (!showPart("life-spread", spread.length > 0)) return;
  const at = new Map(spread.map((one) => [one.layer, one]));
  const mean = (key) => Array.from({ length: L }, (_, l) => {
    const list = (at.get(l)?.[key] ?? []).filter(finite);
    return list.length ? meanOf(list) : null;
  });
  const constancy = new Map((R.json.lifecycle.constancy ?? []).map((one) => [one.layer, one.cosine]));
  const series = [
    ["queries' cosine with outlier keys", "s1", mean("cosine_outlier"), 2.5], ["with other keys", "s2", mean("cosine_other")],
    ["probability that outlier tokens receive", "s4", mean("probability")], ["share of what is mixed that they bring", "s3", mean("output_share")],
    ["their value norm over the others'", "s5", mean("value_ratio")],
    ["cosine of outlier tokens with each other after the norm", "s6", Array.from({ length: L }, (_, l) => constancy.get(l) ?? null)],
  ].map(([name, colourName, values, width]) => ({ name, colour: colourName, values, width }));
  lineChart($("life-spread-lines"), {
    yTitle: "mean over heads", selected: chosenLayer, pick: pickLayer, marks: marks(), series,
    describe: () => `What outlier tokens do in attention over the layers on ${thePrompt()}, means over heads.`,
  });
}

// ---- flow diagrams: the panels of an MLP or a head, with arrows between them
const FLOW = { width: 1450, height: 690, box: { tokens: [92, 30], channels: [64, -34], origin: [-78, 28], high: 46 } };
const MLP_FLOW = (gated) => ({
  panels: [["resid_mid", 105, 345], ["mlp_norm_out", 380, 345], ["up_rows", 380, 125, "lines"], ["up_out", 625, 125],
    ...(gated ? [["gate_rows", 380, 565, "lines"], ["gate_out", 625, 565]] : []), ["act_out", 625, 345], ["down_in", 890, 345],
    ["down_columns", 890, 565, "lines"], ["down_out", 1100, 345], ["resid_out", 1350, 345]],
  arrows: [[[200, 345], [222, 345]], [[278, 345], [300, 345]], [[482, 345], [515, 345], [515, 125], [545, 125]],
    ...(gated ? [[[515, 345], [515, 565], [545, 565]], [[625, 470], [625, 425]]] : [[[625, 205], [625, 262]]]),
    [[727, 345], [745, 345]], ...(gated ? [[[727, 125], [760, 125], [760, 330]]] : []), [[775, 345], [808, 345]], [[992, 345], [1018, 345]],
    [[1200, 345], [1220, 345]], [[1252, 345], [1270, 345]], [[105, 440], [105, 665], [1236, 665], [1236, 361]]],
  boxes: [[250, 345, "norm"]], signs: [...(gated ? [[760, 345, "·"]] : []), [1236, 345, "+"]],
  times: [[380, 235], ...(gated ? [[380, 452]] : []), [890, 452]],
});
const HEAD_FLOW = {
  panels: [["resid_in", 105, 345], ["attn_norm_out", 385, 345], ["value", 690, 125], ["query", 690, 345], ["key", 690, 565],
    ["attn_logits", 1010, 345, "map"], ["attn_probs", 1300, 345, "map"]],
  arrows: [[[200, 345], [222, 345]], [[278, 345], [305, 345]], [[487, 345], [608, 345]], [[540, 345], [540, 125], [608, 125]],
    [[540, 345], [540, 565], [608, 565]], [[792, 345], [890, 345]], [[792, 565], [1010, 565], [1010, 465]], [[1115, 345], [1180, 345]]],
  boxes: [[250, 345, "norm"]], signs: [], times: [],
};
const FLOW_NAMES = { up_rows: "up_proj", gate_rows: "gate_proj", down_columns: "down_proj" };

function drawFlow(life, arrays) {
  const part = state.get("flow"), layer = lifeChoice(life, part), host = $("life-flow");
  const has = (name) => arrays.has(`life.${part}.${name}`);
  if (!showPart("life-flow-card", layer !== null && has(part === "spread" ? "resid_in" : "resid_mid"))) return;
  const flow = part === "spread" ? HEAD_FLOW : MLP_FLOW(has("gate_out"));
  const head = lifeChoice(life, "head");
  $("life-flow-hint").replaceChildren(...withLayers(part === "spread"
    ? `Head ${head} of layer ${layer}, from the layer's input to its probabilities.`
    : `The MLP of layer ${layer}, from the residual stream before it to the one after it.`),
  ` Signed values; outlier tokens and the neuron that leads stand out.`);
  const hot = new Set(part === "spread" ? life.spread.find((one) => one.layer === layer)?.tokens ?? [] : [lifeChoice(life, "token")]);
  const numbers = has("neurons") ? arrays.layer(`life.${part}.neurons`, 0) : [];
  const writers = part === "removed" ? life.disappearance?.layers.find((one) => one.layer === layer)?.neurons[0]?.neuron : lifeChoice(life, "neuron");
  keepDrawn(host, (width) => {
    const root = svg("svg", { class: "flow", width: Math.max(width, 900), viewBox: `-20 0 ${FLOW.width + 70} ${FLOW.height}`, role: "img",
      "aria-label": `Flow diagram of ${part === "spread" ? `head ${head}` : "the MLP"} of layer ${layer}: ${flow.panels.map(([name]) => words(FLOW_NAMES[name] ?? name)).join(", ")}.` });
    root.append(svg("defs", {}, svg("marker", { id: "flow-head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      svg("path", { d: "M0,0 L8,4 L0,8 z", fill: colour("ink") }))));
    const line = { fill: "none", stroke: colour("ink"), "stroke-width": 1.6 };
    for (const way of flow.arrows) root.append(svg("path", { ...line, d: `M${way.map((p) => p.join(",")).join(" L")}`, "marker-end": "url(#flow-head)" }));
    for (const [x, y, text] of flow.boxes) {
      root.append(svg("rect", { x: x - 27, y: y - 24, width: 54, height: 48, rx: 6, fill: colour("sunk"), stroke: colour("line") }),
        svg("text", { x, y: y + 5, "text-anchor": "middle" }, text));
    }
    for (const [x, y, text] of flow.signs) {
      root.append(svg("circle", { cx: x, cy: y, r: 14, fill: colour("sunk"), stroke: colour("line") }), svg("text", { x, y: y + 5, "text-anchor": "middle" }, text));
    }
    for (const [x, y] of flow.times) root.append(svg("text", { x, y, "text-anchor": "middle" }, "×"));
    for (const [name, x, y, kind] of flow.panels) {
      root.append(svg("text", { class: "flow-title", x, y: y - 82, "text-anchor": "middle" }, FLOW_NAMES[name] ?? name));
      root.append(kind === "map" ? flowMap(arrays, `life.${part}.${name}`, x, y)
        : flowPanel(arrays, `life.${part}.${name}`, x, y, kind === "lines" ? numbers : null, (i) => (kind === "lines" ? numbers[i] === writers : hot.has(i))));
    }
    host.replaceChildren(root);
  });
}

/** Lines of tokens, or of numbered neurons, over channels. */
function flowPanel(arrays, name, x, y, numbers, isHot) {
  const group = svg("g"), { tokens: [tx, ty], channels: [cx, cy], origin: [ox, oy], high } = FLOW.box;
  const spec = arrays.index[name], rows = spec.shape[1], channels = Math.max(1, spec.channels - 1);
  const shown = Array.from({ length: rows }, (_, i) => i).filter((i) => numbers === null || numbers[i] >= 0);
  const lines = shown.map((i) => arrays.row(name, 0, i));
  const top = Math.max(1e-30, ...lines.flatMap(({ values }) => Array.from(values, (v) => (finite(v) ? Math.abs(v) : 0))));
  const at = (u, w, v) => [x + ox + tx * u + cx * w, y + oy + ty * u + cy * w - high * v].map((n) => n.toFixed(1)).join(",");
  group.append(svg("polygon", { points: [at(0, 0, 0), at(1, 0, 0), at(1, 1, 0), at(0, 1, 0)].join(" "), fill: colour("sunk"), stroke: colour("grid") }));
  const order = [...shown.keys()].sort((a, b) => isHot(shown[a]) - isHot(shown[b]));
  for (const k of order) {
    const u = shown.length > 1 ? k / (shown.length - 1) : 0.5, { values, channels: places } = lines[k];
    const points = Array.from(values, (v, b) => at(u, places[b] / channels, finite(v) ? v / top : 0));
    const stroke = isHot(shown[k]) ? colour("accent") : numbers ? colour("s4") : colour("s2");
    group.append(svg("polyline", { points: points.join(" "), fill: "none", stroke, "stroke-width": isHot(shown[k]) ? 1.6 : 0.9 }));
  }
  const [rx, ry] = at(1, 1, 0).split(",").map(Number);
  group.append(svg("text", { class: "flow-tick", x: rx + 3, y: ry - high + 4 }, `±${axisNumber(Number(top.toPrecision(2)))}`));
  const label = (i, u) => {
    const [px, py] = at(u, 0, 0).split(",").map(Number);
    group.append(svg("text", { class: "flow-tick", transform: `translate(${px - 2} ${py + 11}) rotate(-40)`, "text-anchor": "end" },
      numbers ? String(numbers[i]) : short(visible(prompt().tokens[i] ?? ""), 9)));
  };
  shown.forEach((i, k) => {
    const u = shown.length > 1 ? k / (shown.length - 1) : 0.5;
    if (isHot(i) || (!numbers && (shown.length <= 10 || k % 2 === 0) && !isHot(shown[k - 1]) && !isHot(shown[k + 1]))) label(i, u);
  });
  return group;
}

/** Cells of queries by keys. */
function flowMap(arrays, name, x, y) {
  const group = svg("g"), n = arrays.index[name].shape[1], side = 150 / n, cells = Array.from(arrays.layer(name, 0));
  // Where no query may look there is no probability either.
  const seen = arrays.layer(name.replace("attn_probs", "attn_logits"), 0);
  cells.forEach((_, i) => { if (!finite(seen[i])) cells[i] = NaN; });
  const known = cells.filter(finite), low = Math.min(...known), span = Math.max(...known) - low;
  for (let q = 0; q < n; ++q) {
    for (let k = 0; k < n; ++k) {
      const v = cells[q * n + k];
      if (!finite(v)) continue;
      group.append(svg("rect", { x: x - 75 + k * side, y: y - 70 + q * side, width: side, height: side,
        fill: css(ramp("probability", span > 0 ? (v - low) / span : 0.5)) }, svg("title", {}, `query ${q}, key ${k}: ${number(v)}`)));
    }
  }
  group.append(svg("text", { class: "flow-tick", x: x - 75, y: y + 96 }, `${number(low)} to ${number(low + span)}`));
  return group;
}
