// Weights: scores of the projections, the top columns of one, and a column with what it multiplies and feeds.

function startWeights(all) {
  if (!showPart("weights", R.weights.length > 0)) return;
  $("weight-lines-hint").textContent = `${R.sentence("layers[].weights.modules.*.score")} Log scale.`;
  const score = (m, l) => R.weights[l].modules[m]?.score ?? null;
  const mean = R.weights.map((_, l) => meanOf(MODULES.map((m) => score(m, l)).filter(finite)));
  const chart = lineChart($("weight-lines"), {
    log: true, yTitle: "max/mean of |W|, log scale", selected: chosenLayer, pick: pickLayer, marks: [],
    series: [
      ...MODULES.map((m, i) => (
        { name: m, colour: moduleColour(m), values: R.weights.map((_, l) => score(m, l)), width: i === 0 ? 2.75 : 1.75 })),
      { name: "mean of all", colour: "faint", dashed: true, values: mean, width: 1.5 },
    ],
    describe: () => {
      const scores = MODULES.map((m) => `${m} ${number(score(m, chosenLayer()))}`).join(", ");
      return `Scores of the projections over the layers; at layer ${chosenLayer()}: ${scores}.`;
    },
  });
  $("module-picker").append(picker(state, "module", "projection", MODULES.map((m) => [m, m])));
  state.watch(["layer", "module", "column", "prompt"], () => {
    const l = chosenLayer(), name = state.get("module"), module = R.weights[l].modules[name], columns = module?.top_columns ?? [];
    const chosen = columns.find((c) => c.column === state.get("column")) ?? columns[0] ?? null;
    $("columns-title").textContent = `Top columns at layer ${l}`;
    dataTable($("columns"), {
      caption: `columns of ${name} at layer ${l}`, rows: columns, sort: ["ratio", true], limit: 10, chosen: (row) => row === chosen,
      columns: [
        { key: "column", text: "column", number: false, show: (row) => String(row.column) },
        { key: "ratio", text: "max/mean", number: true, show: (row) => number(row.ratio) },
        { key: "row", text: "largest in row", number: true, show: (row) => String(row.row) },
        { key: "value", text: "weight", number: true, show: (row) => number(row.value) },
      ],
      choose: (row) => state.set({ column: row.column }),
    });
    if (module) $("columns").append(el("p", { class: "hint" }, matrixWords(module)));
    $("column-detail").replaceChildren();
    if (chosen) columnDetail($("column-detail"), all, l, name, chosen);
    else $("column-detail").append(el("p", { class: "empty" }, "This projection has no columns to show."));
    chart.draw();
  });
}

/** Of each layer whose down_in has outliers: the neuron that weights, activations and their product point at. */
function startAlignment() {
  const { outlier_layers: of = null, weight_activation: all } = R.summary.alignment;
  if (!showPart("alignment-card", of !== null)) return;
  const share = of.layers.length ? `Of these layers ${percent(of.share)} are aligned` : "There are none";
  const overAll = finite(all) ? `; over all layers, with outliers or without, ${percent(all)}` : "";
  $("alignment-hint").textContent = `${R.sentence("summary.alignment.outlier_layers.layers")} ${share}${overAll}.`;
  const named = (n) => `${n.neuron}${ofExpert(n)}`, size = (v) => (finite(v) ? number(v) : "not known");
  const help = (field) => R.clause(`summary.alignment.outlier_layers.layers[].${field}`);
  dataTable($("alignment"), {
    caption: "layers whose down_in has outliers", rows: of.layers, limit: 50, sort: ["order", false],
    choose: (row) => goTo(row.layer), empty: "no layer's down_in has outliers",
    columns: [
      { key: "layer", text: "layer", number: true },
      ...(R.corpora.length > 1 ? [{ key: "input", text: "corpus" }] : []),
      { key: "max_over_mean", text: "largest / mean", number: true, show: (row) => number(row.max_over_mean), help: help("max_over_mean") },
      { key: "aligned", text: "aligned", show: (row) => (row.aligned ? "yes" : "no"), help: help("aligned"),
        value: (row) => (row.aligned ? "yes" : "no") },
      { key: "weight", text: "top weight: max/mean", value: (row) => row.top_weight.ratio, help: help("top_weight"),
        show: ({ top_weight: n }) => `column ${named(n)}: ${number(n.ratio)}, reaches ${size(n.down_in)}` },
      { key: "activation", text: "top activation", value: (row) => row.top_activation.down_in, help: help("top_activation"),
        show: ({ top_activation: n }) => `neuron ${named(n)}: ${size(n.down_in)}` },
      { key: "product", text: "top product", value: (row) => row.top_product.product, help: help("top_product"),
        show: ({ top_product: n }) => `neuron ${named(n)}: ${size(n.product)} to channel ${n.row}` },
    ],
  });
}

function matrixWords(m) {
  const whose = `${ofExpert(m)}${m.expert === undefined ? "" : ", the one of the layer's experts with the largest score"}`;
  const bad = m.nonfinite ? `; ${count(m.nonfinite)} that are NaN or infinite are left out` : "";
  const sizes = `largest ${number(m.max)}, mean ${number(m.mean)}, median ${number(m.median)}`;
  const score = `score ${number(m.score)} from ${m.axis} ${m.index}`;
  return `The whole matrix${whose}: ${sizes}; ${score}; kurtosis ${number(m.kurtosis_pearson)}${bad}.`;
}

/** Tokens of one bar chart. */
const MOST_BARS = 64;

/** Tells of a column: itself, the activation that it multiplies on the prompt, the channel that it feeds. */
function columnDetail(host, all, l, name, column) {
  const kept = all.index.columns ?? null, place = name === "down" && kept ? kept.index[l].indexOf(column.column) : -1;
  const head = Math.floor(column.column / R.model.head_width);
  const reads = { down: `neuron ${column.column} of down_in`, o: `channel ${column.column} of the heads' outputs (head ${head})` }[name]
    ?? `channel ${column.column} of the normalised residual stream`;
  const row = name === "down" || name === "o" ? `: channel ${column.row} of the residual stream` : "";
  const largest = `Its largest weight, ${number(column.value)}, stands in row ${column.row}${row}; max/mean ${number(column.ratio)}.`;
  const hint = (text) => host.append(el("p", { class: "hint" }, text)), title = (text) => host.append(el("h3", {}, text));
  title(`${name} column ${column.column}, layer ${l}`);
  hint(`It multiplies ${reads}. ${largest}`);
  if (place >= 0) drawStems(host, all.row("columns", l, place), kept.channels, column);
  const arrays = R.prompts.length && all.of(state.get("prompt")).has("resid_out") ? all.of(state.get("prompt")) : null;
  if (arrays) {
    if (name !== "down" && name !== "o" && l > 0) title(`Channel ${column.column} of the residual stream before the layer's norm`);
    else if (place >= 0) title("The activation it multiplies");
    drawMultiplied(host, arrays, l, name, column);
  }
  if (arrays && name === "down") {
    if (place >= 0) title(`What it feeds: channel ${column.row} of the layer output`);
    drawFed(host, arrays, column);
  }
  if (name !== "down") hint("Whole columns are kept of down_proj only, where outliers are made.");
  else if (place < 0) hint("The column itself is not in this report: it keeps the three with the largest max/mean and their neighbours.");
}

/** The column's weights. */
function drawStems(host, { values, channels }, channelCount, column) {
  const stems = el("div");
  host.append(stems);
  stemChart(stems, {
    values, channels, channelCount, yTitle: "weight", xTitle: "row = channel of the residual stream", unit: "row",
    named: [{ at: column.row, text: String(column.row) }],
    describe: () => `Column ${column.column} of down_proj: largest ${number(column.value)} in row ${column.row}.`,
  });
}

/** The activations that a column multiplies, a bar a token. */
function drawMultiplied(host, arrays, l, name, column) {
  // down reads down_in; q, k, v, gate and up read the residual stream (through a norm); o's input is not kept.
  const source = name === "down" ? ["down_in", l] : name !== "o" && l > 0 ? ["resid_out", l - 1] : null;
  const tokens = source ? Math.min(arrays.index[source[0]]?.shape[1] ?? 0, MOST_BARS) : 0, texts = prompt().tokens;
  const known = Array.from({ length: tokens }, (_, t) => arrays.value(source[0], source[1], t, column.column));
  if (!source || !known.some(finite)) {
    const smaller = "Smaller than its neighbours for every token, so the page does not hold it.";
    host.append(el("p", { class: "hint" }, source ? smaller : "Its input is not kept in a report."));
    return;
  }
  const bars = el("div"), big = Math.max(...known.filter(finite).map(Math.abs));
  host.append(bars);
  barChart(bars, {
    height: 200, yTitle: name === "down" ? `down_in[${column.column}]` : `x[${column.column}]`, selected: chosenToken,
    pick: (t) => state.set({ token: t }),
    items: known.map((value, t) => ({ text: texts[t], value, hot: Math.abs(value) === big && big > 0 })),
    describe: () => {
      const first = known.map((v, t) => `${texts[t]} ${number(v)}`).slice(0, 12).join(", ");
      return `Channel ${column.column} over the tokens of ${thePrompt()}: ${first}.`;
    },
  });
}

/** The channel that a column's largest weight writes to, over the layers, for the tokens where it is largest. */
function drawFed(host, arrays, column) {
  const tokens = Math.min(arrays.index.resid_out?.shape[1] ?? 0, MOST_BARS), texts = prompt().tokens;
  const values = Array.from({ length: tokens }, (_, t) => Array.from({ length: L }, (_, k) => arrays.value("resid_out", k, t, column.row)));
  const order = values.map((list, t) => [Math.max(0, ...list.filter(finite).map(Math.abs)), t])
    .sort((a, b) => b[0] - a[0]).slice(0, 2).filter(([size]) => size > 0);
  if (!order.length) return;
  const chart = el("div");
  host.append(chart);
  lineChart(chart, {
    height: 210, log: false, yTitle: `x[${column.row}]`, selected: chosenLayer, pick: pickLayer, marks: [],
    series: order.map(([, t], i) => ({ name: `${t}: ${short(texts[t], 12)}`, colour: i ? "s2" : "s1", values: values[t] })),
    describe: () => `Channel ${column.row} of the layer output over the layers, for the ${order.length} tokens where it is largest.`,
  });
}
