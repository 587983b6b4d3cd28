// More measures: what stands out by the definitions of papers, and a chart for every number by layer that a measure gives,
// from its definition alone; it is drawn when it is opened.

function startValues() {
  const values = R.values.map((value) => ({ ...value, inputs: R.inputs.filter(({ name }) => R.valuesOf(name, value)) }))
    .filter(({ inputs }) => inputs.length);
  const features = startFeatures();
  if (!showPart("values", features || values.length > 0)) return;
  for (const value of values) {
    const title = capital(value.title || words(value.name)), now = el("span", { class: "num soft" });
    const head = el("div", { class: "card-head" }), chart = el("div"), rest = el("div", { class: "below" });
    const text = R.sentence(`${INPUT}values.${value.name}`);
    const card = el("details", { class: "card value", "data-value": value.name }, el("summary", {}, el("h3", {}, title), now),
      el("p", { class: "hint" }, text), head, chart, rest);
    $("values-cards").append(card);
    card.addEventListener("toggle", () => {
      if (value.heads) headChart(value, title, head, chart, rest);
      else layerChart(value, title, chart);
    }, { once: true });
    state.watch(["layer"], () => { now.textContent = valueNow(value); });
  }
}

/** The number at the chosen layer, of the last input: a corpus where there is one. */
function valueNow(value) {
  const { name } = value.inputs[value.inputs.length - 1], row = R.valuesOf(name, value)[chosenLayer()].filter(finite);
  if (!row.length) return "";
  const said = value.heads && row.length > 1 ? `${number(Math.min(...row))} to ${number(Math.max(...row))}` : number(row[0]);
  return `${said} in layer ${chosenLayer()}`;
}

/** A line for each input. */
function layerChart(value, title, host) {
  const columns = value.inputs.map(({ name }) => [name, R.valuesOf(name, value).map(([v]) => v)]);
  const chart = lineChart(host, {
    yTitle: title, selected: chosenLayer, pick: pickLayer, marks: [],
    series: columns.map(([name, list], i) => ({ name: R.title(name), colour: colourAt(INPUT_COLOURS, i), values: list, width: 2.25 })),
    describe: () => {
      const each = columns.map(([name, list]) => `${R.title(name)} ${number(list[chosenLayer()])}`).join(", ");
      return `${title} over the layers; at layer ${chosenLayer()}: ${each}.`;
    },
  });
  state.watch(["layer"], () => chart.draw());
}

/** Layers by heads, and over the layers mean, least and most of the heads; of one input at a time. */
function headChart(value, title, head, grid, lines) {
  const has = (input) => value.inputs.some((one) => one.name === input);
  let name = has(state.get("prompt")) ? state.get("prompt") : value.inputs[0].name;
  lines.append(el("div"));
  const draw = () => {
    const rows = R.valuesOf(name, value), known = rows.flat().filter(finite);
    const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    const span = high - low;
    heatMap(grid, {
      rows: L, columns: H, ramp: "probability", numericColumns: true, cellHeight: Math.max(6, Math.min(18, 400 / L)), rowText: String,
      columnText: String, rowTitle: "layer (from 0)", columnTitle: "head (from 0)",
      value: (l, h) => (finite(rows[l][h]) ? (span > 0 ? (rows[l][h] - low) / span : 0.5) : NaN),
      tell: (l, h) => [`layer ${l}, head ${h}`, [title, number(rows[l][h])]], pick: (l) => goTo(l), selected: () => [chosenLayer(), -1],
      describe: () => `${title} of every head on ${R.the(name)}, from ${number(low)} to ${number(high)}.`,
    });
    grid.append(el("div", { class: "scales" }, colourScale("probability", number(low), number(high), title)));
    const over = (of) => rows.map((row) => { const list = row.filter(finite); return list.length ? of(list) : null; });
    lineChart(lines.firstElementChild, {
      yTitle: title, selected: chosenLayer, pick: pickLayer, marks: [],
      series: [
        { name: "mean over heads", colour: "s1", values: over(meanOf), width: 2.5 },
        { name: "least", colour: "s2", values: over((list) => Math.min(...list)) },
        { name: "most", colour: "s4", values: over((list) => Math.max(...list)) },
      ],
      describe: () => `${title} over the layers on ${R.the(name)}: mean, least and most of the heads.`,
    });
  };
  const select = el("select", { "aria-label": `input of ${title}`, onchange: () => { name = select.value; draw(); } },
    value.inputs.map((input) => el("option", { value: input.name }, R.title(input.name))));
  if (value.inputs.length > 1) head.append(el("label", { class: "field" }, "measured on", select));
  state.watch(["layer"], draw);
  // What is shown of a prompt is of the chosen one.
  state.watch(["prompt"], () => {
    if (R.input(name).kind === "prompt" && has(state.get("prompt"))) name = state.get("prompt");
    select.value = name;
    draw();
  });
}
