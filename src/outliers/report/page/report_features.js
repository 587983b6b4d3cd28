// What stands out by the definitions of papers: spike, sink and drain by layer, channels, heads, keys and experts.

/** Whether there is any. */
function startFeatures() {
  const { axes, secondary_sinks: sinks, inactive_heads: heads, super_experts: experts } = R.summary;
  const large = R.inputs.filter(({ name }) => R.json.layers.some(({ inputs }) => inputs[name]?.residual_sinks?.length));
  const int8 = R.inputs.filter(({ int8_outliers: list }) => list?.length);
  const parts = [
    showPart("axes-card", Boolean(axes)), showPart("channels-card", large.length + int8.length > 0),
    showPart("inactive-card", Boolean(heads)), showPart("secondary-card", Boolean(sinks?.count)),
    showPart("super-experts-card", Boolean(experts?.length)),
  ];
  if (axes) axesCharts(axes);
  if (large.length + int8.length) channelTable(large, int8);
  if (heads) headTable(heads);
  if (sinks?.count) sinkTable(sinks);
  if (experts?.length) expertTable(experts);
  return parts.some(Boolean);
}

/** Three charts below each other, a layer at one place in all. */
function axesCharts({ input, layers }) {
  $("axes-hint").textContent = `${R.sentence("summary.axes")} Measured on ${R.the(input)}.`;
  const draw = [["spike", "spike: max/median", "s1", true], ["sink", "sink rate", "s2", false], ["drain", "value of the first token over the mean", "s4", false]]
    .filter(([axis]) => layers.some((layer) => layer[axis] !== null))
    .map(([axis, title, colour, log]) => {
      const host = el("div");
      $("axes").append(el("div", {}, host));
      const list = Array.from({ length: L }, (_, l) => layers[l]?.[axis] ?? null);
      return lineChart(host, {
        yTitle: title, log, selected: chosenLayer, pick: pickLayer, marks: [],
        series: [{ name: title, colour, values: list, width: 2.25 }],
        describe: () => `${capital(title)} over the layers; at layer ${chosenLayer()} ${number(list[chosenLayer()])}.`,
      });
    });
  state.watch(["layer"], () => draw.forEach((chart) => chart.draw()));
}

/** A channel a row: in how many layers it is a residual sink, its gain there, and whether LLM.int8() keeps it. */
function channelTable(large, int8) {
  const rows = new Map();
  const row = (where, channel) => {
    const key = `${where} ${channel}`;
    if (!rows.has(key)) rows.set(key, { where, channel, layers: [], share: null, rms: null, gain: null, int8: null });
    return rows.get(key);
  };
  for (const { name } of large) {
    R.json.layers.slice(0, TOLD).forEach(({ layer, inputs }) => {
      for (const sink of inputs[name].residual_sinks ?? []) {
        const of = row(name, sink.channel);
        of.layers.push(layer);
        if (of.rms === null || sink.rms > of.rms) Object.assign(of, { share: sink.share, rms: sink.rms });
        if (sink.gain !== undefined && (of.gain === null || sink.gain < of.gain)) of.gain = sink.gain;
      }
    });
  }
  for (const { name, int8_outliers: list } of int8) for (const of of list) row(name, of.channel).int8 = of.token_share;
  $("channels-hint").textContent = `Residual sinks: ${R.clause(`${INPUT}residual_sinks`)}. LLM.int8(): ${R.clause("inputs[].int8_outliers")}.`;
  const shown = (list) => (list.length ? `${list.length}, ${list[0]} to ${list[list.length - 1]}` : "–");
  dataTable($("channels"), {
    caption: "channels that stand out", rows: [...rows.values()], sort: ["layers", true], limit: 12,
    choose: ({ layers }) => { if (layers.length) goTo(layers[0]); },
    columns: [
      { key: "channel", text: "channel", number: true, show: (r) => String(r.channel) },
      { key: "where", text: "from", show: (r) => R.title(r.where) },
      { key: "layers", text: "layers as a residual sink", number: true, value: (r) => r.layers.length, show: (r) => shown(r.layers) },
      { key: "rms", text: "largest of its token", number: true, help: "root mean square over that of its token, in the layer where it is largest",
        value: (r) => r.rms ?? -1, show: (r) => number(r.rms) },
      { key: "gain", text: "least gain", number: true, help: "what the norm before attention multiplies it by, in the layer where that is least",
        value: (r) => r.gain ?? -1, show: (r) => number(r.gain) },
      { key: "int8", text: "LLM.int8()", number: true, help: `share of tokens at ${limit(R.criteria.int8_magnitude)} or above, where the criterion holds`,
        value: (r) => r.int8 ?? -1, show: (r) => (r.int8 === null ? "–" : percent(r.int8)) },
    ],
  });
}

function headTable({ input, heads, dormant, dead, list }) {
  const said = (what) => R.clause(`summary.inactive_heads.${what}`);
  $("inactive-hint").textContent = `Of ${count(heads)} heads ${count(dormant)} are dormant and ${count(dead)} dead, on ${R.the(input)}. ` +
    `Dormant: ${said("dormant")}. Dead: ${said("dead")}.`;
  if (!list.length) return;
  dataTable($("inactive"), {
    caption: "heads that add little", rows: list, sort: ["share", false], limit: 10, choose: ({ layer }) => goTo(layer),
    columns: [
      { key: "layer", text: "layer", number: true, show: (r) => String(r.layer) },
      { key: "head", text: "head", number: true, show: (r) => String(r.head) },
      { key: "kind", text: "is", value: (r) => (r.dead ? 1 : 0), show: (r) => (r.dead ? "dead" : "dormant") },
      { key: "share", text: "output over its layer's mean", number: true, value: (r) => r.output_share, show: (r) => number(r.output_share) },
      { key: "mass", text: "probability of the first key", number: true, value: (r) => r.first_key_mass, show: (r) => percent(r.first_key_mass) },
    ],
  });
}

function sinkTable({ count: all, largest }) {
  $("secondary-hint").textContent = `${R.sentence("summary.secondary_sinks")} There ${all === 1 ? "is 1" : `are ${count(all)}`}` +
    `${largest.length < all ? `; the ${largest.length} largest are shown` : ""}.`;
  dataTable($("secondary"), {
    caption: "secondary sinks", rows: largest, sort: ["score", true], limit: 10, choose: ({ first_layer: layer }) => goTo(layer),
    columns: [
      { key: "token", text: "token", value: (r) => r.token_text, show: (r) => r.token_text },
      { key: "class", text: "class", value: (r) => r.class, show: (r) => words(r.class) },
      { key: "where", text: "from", value: (r) => r.input, show: (r) => R.title(r.input) },
      { key: "place", text: "place", help: "sequence:token", value: (r) => r.key, show: (r) => `${r.sequence}:${r.key}` },
      { key: "layers", text: "layers", number: true, value: (r) => r.first_layer, show: (r) => `${r.first_layer} to ${r.last_layer}` },
      { key: "score", text: "score", number: true, help: "largest share of the tokens", value: (r) => r.score, show: (r) => percent(r.score) },
    ],
  });
}

function expertTable(list) {
  $("super-experts-hint").textContent = R.sentence("summary.super_experts");
  dataTable($("super-experts"), {
    caption: "super experts", rows: list, sort: ["value", true], limit: 10, choose: ({ layer }) => goTo(layer),
    columns: [
      { key: "layer", text: "layer", number: true, show: (r) => String(r.layer) },
      { key: "expert", text: "expert", number: true, show: (r) => String(r.expert) },
      { key: "where", text: "from", value: (r) => r.input, show: (r) => R.title(r.input) },
      { key: "value", text: "largest output", number: true, value: (r) => r.down_out_max, show: (r) => number(r.down_out_max) },
    ],
  });
}
