// Super weights: which they are, and what becomes of the predictions without them.

function startSuperWeights() {
  const { super_weights: weights = null, criticality = null } = R.json;
  if (!showPart("super", weights !== null)) return;
  const { found, left } = weights;
  $("super-hint").textContent = `${R.sentence("super_weights.found")} They were looked for on ${R.the(weights.input)}.`;
  const help = (field) => R.clause(`super_weights.found[].${field}`);
  const damage = (row) => criticality?.weights[found.indexOf(row)];
  dataTable($("super-weights"), {
    caption: "super weights", rows: found, sort: ["round", false], limit: found.length, choose: (row) => goTo(row.layer),
    empty: `No down projection gives more than ${limit(R.criteria.super_weight_spike)}.`,
    columns: [
      { key: "round", text: "found in run", number: true, show: (row) => String(row.round), help: help("round") },
      { key: "layer", text: "layer", number: true, show: (row) => String(row.layer), help: help("layer") },
      { key: "row", text: "row", number: true, show: (row) => String(row.row), help: help("row") },
      { key: "column", text: "column", number: true, show: (row) => `${row.column}${ofExpert(row)}`, help: help("column") },
      { key: "value", text: "weight", number: true, show: (row) => number(row.value) },
      { key: "token", text: "token", number: true, show: (row) => tokenWords(weights.input, row.token) },
      { key: "down_in", text: "reads", number: true, show: (row) => number(row.down_in), help: help("down_in") },
      { key: "down_out", text: "the row gives", number: true, show: (row) => number(row.down_out), help: help("down_out") },
      ...(criticality ? damageColumns(damage) : []),
    ],
  });
  const rest = `${number(Math.abs(left.down_out))} in layer ${left.layer}${ofExpert(left)}, channel ${left.channel}`;
  $("super-left").replaceChildren(...withLayers(`${found.length ? "With all of them zero, the" : "The"} largest output of a down projection is ${rest}.`));
  if (!criticality) return;
  $("super-left").after(el("p", { class: "hint" }, criticalityWords(criticality)));
}

function damageColumns(damage) {
  const most = (row) => Math.max(...damage(row).controls.map((one) => one.log10_ppl_ratio ?? NaN));
  const path = "criticality.weights[].";
  return [
    { key: "damage", text: "log10 ppl ratio without it", number: true, value: (row) => damage(row).log10_ppl_ratio,
      show: (row) => decade(damage(row)), help: R.clause(`${path}log10_ppl_ratio`) },
    { key: "random", text: "of random ones at most", number: true, value: most, show: (row) => signed(most(row)),
      help: "the largest of the same without an entry that is drawn at random in the same matrix" },
  ];
}

/** +1.2340, −3e-6 */
function signed(value) {
  if (!finite(value) || value === 0) return finite(value) ? "0" : "not finite";
  const size = Math.abs(value);
  return `${value < 0 ? "−" : "+"}${size < 0.00005 ? size.toExponential(0) : size.toFixed(4)}`;
}
const decade = ({ log10_ppl_ratio: value, standard_error: error }) => `${signed(value)}${finite(error) ? ` ± ${error.toFixed(4)}` : ""}`;

function criticalityWords({ input, ppl, tokens_scored: tokens, weights, together }) {
  const of = (one) => `${decade(one)}, without as many random entries of the same matrices ${
    signed(Math.min(...one.controls.map((c) => c.log10_ppl_ratio ?? NaN)))} to ${signed(Math.max(...one.controls.map((c) => c.log10_ppl_ratio ?? NaN)))
  } (${one.controls.length} draws, seeds in results.json)`;
  return `Perplexity of ${R.the(input)} is ${number(ppl)} over ${count(tokens)} tokens. log10 of what it is multiplied by without ${
    together ? `all ${weights.length}` : "it"}: ${of(together ?? weights[0])}.`;
}

const tokenWords = (input, t) => {
  const text = R.input(input).tokens[t];
  return text === undefined ? String(t) : `${t}: ${short(text, 12)}`;
};
