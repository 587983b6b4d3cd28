// What number formats lose of the operands of the linear layers.

function roundingTable(rows) {
  $("rounding-hint").textContent = `Relative error: ${R.clause(`${INPUT}rounding.*.formats.*.relative_error`)}. In the worst 0.1 %: ${
    R.clause(`${INPUT}rounding.*.formats.*.worst_blocks`)}. Choose one to go to its layer.`;
  const among = (key) => [...new Set(rows.map((row) => row[key]))];
  dataTable($("rounding"), {
    caption: "what number formats lose", rows, sort: ["relative_error", true], limit: 12, choose: (row) => goTo(row.layer),
    filters: [
      { key: "format", text: "format", options: among("format"), names: INDEX.formats }, { key: "of", text: "of", options: among("of") },
      { key: "where", text: "from", options: among("where"), names: { weights: "weights", ...Object.fromEntries(titles(R.inputs)) } },
    ],
    columns: [
      { key: "layer", text: "layer", number: true, show: (row) => String(row.layer) },
      { key: "of", text: "of", show: (row) => row.of },
      { key: "where", text: "from", show: (row) => (row.where === "weights" ? "weights" : R.title(row.where)) },
      { key: "format", text: "format", show: (row) => INDEX.formats[row.format] },
      { key: "relative_error", text: "relative error", number: true, show: (row) => percent(row.relative_error) },
      { key: "flushed", text: "become 0", number: true, help: "share of the values other than 0", show: (row) => percent(row.flushed) },
      { key: "worst_blocks", text: "in the worst 0.1 %", number: true, help: "share of the squared error", show: (row) => percent(row.worst_blocks) },
    ],
  });
}

/** One for each format of what was rounded, inputs of layers that are told and matrices. */
function roundingRows() {
  const rows = [];
  const add = (layer, where, rounding = {}) => {
    for (const [of, { formats }] of Object.entries(rounding)) {
      for (const [format, lost] of Object.entries(formats)) rows.push({ layer, where, of, format, ...lost });
    }
  };
  for (const { layer, rounding, inputs } of R.json.layers) {
    add(layer, "weights", rounding);
    for (const { name } of R.inputs) if (layer < TOLD) add(layer, name, inputs[name]?.rounding);
  }
  return rows;
}
