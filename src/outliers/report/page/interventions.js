// What edits do to a model's predictions and to its residual stream: a table, and two charts. For the page of an intervention, and for
// that of a report that has one beside it.

/** Numbers of a layer: what they are called, and of a layer's state. */
const STATES = {
  max: ["largest |x|", (s) => s.max, true], ratio: ["largest / median", (s) => s.max_over_median, true],
  sinks: ["sink rate", (s) => s.sink_rate, false],
};
/** Lines of one chart. */
const MOST_RUNS = 7;

class Interventions {
  constructor(json) {
    this.json = json;
    this.plain = json.runs[0];
    this.edits = json.runs.filter((run) => run.effect && run.control_of === undefined);
  }
  controls(run) { return this.json.runs.filter((one) => one.control_of === run.name); }
  /** Of all layers: before its first edited layer a run is the plain one. */
  states(run) {
    const own = run.layers ?? [], first = own.length ? own[0].layer : this.json.model.layers;
    return [...this.plain.layers.slice(0, first), ...own];
  }
  /** What may be chosen: all where their lines can be told apart, and each. */
  get choices() {
    const each = this.edits.map((run) => [run.name, `${run.name}: ${short(run.edits, 44)}`]);
    return this.edits.length > MOST_RUNS ? each : [["all", "all"], ...each];
  }
}

const pplWords = ({ ppl, nll_nats: nll }) =>
  (finite(ppl) ? number(ppl) : finite(nll) ? `10^${(nll / Math.LN10).toFixed(0)}` : "not finite");
/** For an axis: no perplexity is too large for it. */
const pplOf = ({ nll_nats: nll }) => (finite(nll) ? Math.exp(Math.min(nll, 700)) : NaN);
const middle = (values) => {
  const sorted = values.filter(finite).sort((a, b) => a - b), n = sorted.length;
  return n ? (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2 : NaN;
};
/** +0.01234 ± 0.00045 */
function differenceWords({ nll_difference: value, nll_difference_standard_error: error }) {
  if (!finite(value)) return "not finite";
  const sign = value < 0 ? "−" : "+", size = Math.abs(value);
  const text = value === 0 ? "0" : size < 0.000005 ? `${sign}${size.toExponential(0)}` : `${sign}${size.toFixed(5)}`;
  return value !== 0 && finite(error) ? `${text} ± ${error.toFixed(5)}` : text;
}
function matchedWords(run) {
  const sum = (key) => (run.matched ?? []).reduce((all, one) => all + one[key], 0);
  const [least, most] = [sum("smallest"), sum("largest")];
  return `${count(sum("total"))}; ${count(least)}${least === most ? "" : ` to ${count(most)}`} a window`;
}

/** Of the edited runs and the plain one a row each, of a run's controls one with their medians. */
function interventionRows(all) {
  const row = (name, edits, run, more = {}) => {
    const states = all.states(run), peak = states.reduce((a, b) => (b.max > a.max ? b : a), states[0]);
    return { name, edits, run, ppl: pplOf(run), nll: run.nll_nats, sinks: run.sink_rate, max: peak.max, ratio: peak.max_over_median, ...more };
  };
  const effect = (run) => ({
    difference: run.effect.nll_difference, kl: run.effect.kl_nats, top1: run.effect.top1_agreement, matched: matchedWords(run), chosen: run.name,
  });
  const rows = [row("plain", "", all.plain)];
  for (const run of all.edits) {
    rows.push(row(run.name, run.edits, run, effect(run)));
    const controls = all.controls(run);
    if (!controls.length) continue;
    const each = controls.map((one) => row(one.name, one.edits, one, effect(one)));
    const medians = Object.fromEntries(["ppl", "nll", "sinks", "max", "ratio", "difference", "kl", "top1"].map((key) => [key, middle(each.map((one) => one[key]))]));
    rows.push({ name: `${count(controls.length)} random`, edits: "medians", run: null, matched: matchedWords(controls[0]), chosen: run.name, ...medians });
  }
  return rows;
}

function interventionTable(host, all, state) {
  const shown = (key, show) => (row) => (row[key] === undefined ? "" : show(row[key], row));
  const numbers = (key, text, show, help) => ({ key, text, number: true, show: shown(key, show), help });
  dataTable(host, {
    caption: "runs", rows: interventionRows(all), sort: ["order", false], limit: 24,
    search: (row) => `${row.name} ${row.edits}`,
    columns: [
      { key: "name", text: "run", show: (row) => (row.chosen
        ? el("button", { type: "button", class: "link", onclick: () => state.set({ run: row.chosen }) }, row.name) : row.name) },
      { key: "edits", text: "edits", show: (row) => el("span", { title: row.edits }, short(row.edits, 34)) },
      numbers("nll", "nll", (v) => (finite(v) ? v.toFixed(5) : "not finite"), "mean of −ln p of a scored token"),
      numbers("ppl", "perplexity", (v, row) => (row.run ? pplWords(row.run) : number(v)), "exp(nll)"),
      numbers("difference", "difference", (v, row) => (row.run ? differenceWords(row.run.effect) : differenceWords({ nll_difference: v })),
        "nll less the plain run's, ± its standard error: each window is compared with itself"),
      numbers("kl", "KL", (v) => number(v), "KL(plain || edited) of the next token's distribution, mean over scored tokens, in nats"),
      numbers("top1", "top-1", (v) => percent(v), "share of scored tokens whose most probable token is the plain run's"),
      numbers("max", "largest |x|", (v) => number(v), "of the residual stream after any layer"),
      numbers("ratio", "/ median", (v) => (finite(v) ? number(v) : "none"), "the largest over the median of its layer"),
      numbers("sinks", "sinks", (v) => percent(v), "mean over layers and heads of the share of windows whose first key is a sink"),
      { key: "matched", text: "values changed", show: shown("matched", (v) => v) },
    ],
  });
}

/** Perplexities on a log axis: a line a run with its name above, the plain one through all, controls as their range and median. */
function perplexityChart(host, all) {
  host.classList.add("chart");
  const rows = all.edits.map((run) => {
    const random = all.controls(run).map(pplOf).filter(finite);
    return { run, random: random.length ? [Math.min(...random), middle(random), Math.max(...random)] : null, n: random.length };
  });
  const worst = rows.reduce((a, b) => (b.run.nll_nats > (a?.run.nll_nats ?? -Infinity) ? b : a), null);
  const said = `Perplexity of ${rows.length} edited runs; the plain one has ${pplWords(all.plain)}${
    worst ? `, at most ${pplWords(worst.run)} with ${short(worst.run.edits, 80)}` : ""}.`;
  keepDrawn(host, (width) => {
    const each = 36, top = 22, left = 6, right = width - 10, bottom = top + each * rows.length, height = bottom + 40;
    const x = scale([pplOf(all.plain), ...rows.flatMap(({ run, random }) => [pplOf(run), ...(random ?? [])])], [left + 8, right - 8], { log: true });
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said });
    // Within half a decade there are no round numbers of a log scale.
    const marks = ticks(x.low, x.high, x.high / x.low > 3, 4), room = Math.max(1, Math.floor(marks.length / Math.max(1, width / 70)));
    for (const v of marks) root.append(svg("line", { class: "gridline", x1: x(v), x2: x(v), y1: top, y2: bottom }));
    const named = (v) => (x.high / x.low > 3 ? axisNumber(v) : grouped(String(Number(v.toPrecision(6)))));
    marks.filter((_, i) => i % room === 0).forEach((v) => root.append(svg("text", { x: x(v), y: bottom + 16, "text-anchor": "middle" }, named(v))));
    root.append(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
    root.append(svg("text", { class: "axis-title", x: right, y: height - 6, "text-anchor": "end" }, "perplexity, log scale"));
    const plain = x(pplOf(all.plain));
    root.append(svg("line", { class: "mark", x1: plain, x2: plain, y1: top - 6, y2: bottom }),
      svg("text", { class: "mark-text", x: Math.min(Math.max(plain, left + 24), right - 24), y: 11, "text-anchor": "middle" }, `plain ${pplWords(all.plain)}`));
    rows.forEach(({ run, random, n }, i) => {
      const y = top + each * i + 25, group = svg("g", { "data-run": run.name });
      group.append(svg("text", { x: left, y: y - 11 }, short(`${run.name}  ${run.edits}`, Math.max(12, Math.floor(width / 6.8)))));
      if (random) {
        const line = svg("line", { x1: x(random[0]), x2: Math.max(x(random[2]), x(random[0]) + 1), y1: y, y2: y, "stroke-width": 3, "stroke-linecap": "round" });
        line.style.stroke = "var(--faint)";
        const tick = svg("line", { x1: x(random[1]), x2: x(random[1]), y1: y - 5, y2: y + 5, "stroke-width": 2 });
        tick.style.stroke = "var(--soft)";
        group.append(line, tick);
      }
      const value = pplOf(run);
      if (x.shown(value)) {
        const dot = svg("circle", { cx: x(value), cy: y, r: 4.5 });
        dot.style.fill = "var(--accent)";
        group.append(dot);
      } else group.append(svg("text", { x: right, y: y + 4, "text-anchor": "end" }, "not finite"));
      const hit = svg("rect", { class: "bar-hit", x: 0, y: top + each * i, width, height: each });
      const lines = [["perplexity", pplWords(run)], ["difference of nll", differenceWords(run.effect)],
        ...(random ? [[`${n} random`, `${number(random[0])} to ${number(random[2])}, median ${number(random[1])}`]] : [])];
      hit.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, [short(run.edits, 60), ...lines]));
      hit.addEventListener("pointerleave", tip.hide);
      group.append(hit);
      root.append(group);
    });
    host.replaceChildren(root);
  });
  numbersBelow(host, ["run", "edits", "perplexity", "difference of nll", "seed"], () => all.json.runs.map((run) => [
    run.name, run.edits ?? "", pplWords(run), run.effect ? differenceWords(run.effect) : "", run.seed === undefined ? "" : String(run.seed)]));
}

/** A number of each layer without and with the edits. at: {selected, pick} of a page whose layer is chosen. */
function stateChart(host, all, state, at) {
  const [title, of, log] = STATES[state.get("number")], chosen = state.get("run");
  const runs = chosen === "all" ? all.edits : all.edits.filter((run) => run.name === chosen);
  const values = (run) => all.states(run).map((one) => of(one) ?? NaN);
  const series = runs.map((run, i) => (
    { name: chosen === "all" ? run.name : "edited", help: run.edits, colour: colourAt(INPUT_COLOURS, i), values: values(run), width: 2.25 }));
  const controls = chosen === "all" || !runs.length ? [] : all.controls(runs[0]).map(values);
  if (controls.length) {
    const least = (pick) => all.plain.layers.map((_, l) => pick(...controls.map((one) => one[l]).filter(finite)));
    series.push({ name: "random, least", colour: "s2", dashed: true, values: least(Math.min), width: 1.25 },
      { name: "random, most", colour: "s2", dashed: true, values: least(Math.max), width: 1.25 });
  }
  series.push({ name: "plain", colour: "soft", dashed: true, values: values(all.plain), width: 1.75 });
  const end = (list) => number(list[list.length - 1]);
  lineChart(host, {
    log, yTitle: `${title}${log ? ", log scale" : ""}`, series, ...at,
    describe: () => `${title} of the residual stream by layer, without and with ${
      chosen === "all" ? "the edits" : short(runs[0]?.edits ?? "", 80)}; after the last layer ${series.map((s) => `${s.name} ${end(s.values)}`).join(", ")}.`,
  });
}

/** What each run changes, in full. */
function editList(host, all) {
  host.replaceChildren(...all.edits.flatMap((run) => [el("dt", {}, run.name), el("dd", {}, el("span", { class: "mono" }, run.edits.split(";").join("; ")),
    ` (${matchedWords(run)})`)]));
}

/** Fills in the parts of a page: table, charts, list. */
function startInterventionParts(all, state, at = {}) {
  interventionTable($("intervention-table"), all, state);
  perplexityChart($("intervention-ppl"), all);
  editList($("intervention-edits"), all);
  $("intervention-controls").append(picker(state, "run", "run", all.choices),
    segmented(state, "number", "number", Object.entries(STATES).map(([key, [text]]) => [key, text])));
  state.watch(["run", "number", ...(at.selected ? ["layer"] : [])], () => stateChart($("intervention-layers"), all, state, at));
}
const startRun = (all) => all.choices[0]?.[0] ?? "all";
const interventionText = ({ corpora, windows, context, stride, tokens_scored: tokens }) =>
  `${count(windows)} windows of ${count(context)} tokens of ${corpora.join(", ")}, ${count(stride)} apart; ${count(tokens)} tokens scored`;
