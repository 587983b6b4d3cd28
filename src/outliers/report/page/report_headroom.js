// Number formats: the largest value of every point against what they can hold.

function startFormats() {
  const room = headroomRows(), lost = roundingRows();
  showPart("formats", room.length + lost.length > 0);
  if (showPart("headroom-card", room.length > 0)) headroomTable(room);
  if (showPart("rounding-card", lost.length > 0)) roundingTable(lost);
}

function headroomTable(rows) {
  // What nothing comes near to is no column.
  const formats = Object.keys(rows[0].of_largest).filter((format) => rows.some((row) => row.of_largest[format] > 0.0005));
  dataTable($("headroom"), {
    caption: "largest value of every point", rows, sort: ["order", false], limit: rows.length,
    choose: (row) => { if (row.layer !== null) goTo(row.layer); },
    columns: [
      { key: "point", text: "point", show: (row) => row.point },
      { key: "layer", text: "layer", number: true, show: (row) => (row.layer === null ? "–" : String(row.layer)) },
      { key: "where", text: "from", show: (row) => R.title(row.where) },
      { key: "place", text: "place", help: "sequence:token, and the head or channel", value: (row) => row.channel ?? row.head ?? -1, show: placeWords },
      { key: "size", text: "value", number: true, value: (row) => Math.abs(row.value), show: (row) => number(row.value) },
      ...formats.map((format) => ({
        key: format, text: INDEX.formats[format], number: true, help: `share of the largest ${INDEX.formats[format]}`,
        value: (row) => row.of_largest[format], show: (row) => percent(row.of_largest[format]),
      })),
    ],
  });
}

/** Of each point, in the order of computation, the layer and input where it is largest. */
function headroomRows() {
  const rows = new Map();
  const add = (layer, where, amax = {}) => {
    for (const [point, found] of Object.entries(amax)) {
      const known = rows.get(point);
      if (known && Math.abs(known.value) >= Math.abs(found.value)) continue;
      rows.set(point, { ...found, point, layer, where, order: known?.order ?? rows.size });
    }
  };
  for (const { name, amax } of R.inputs) {
    for (const { layer, ...points } of R.part(name, "amax").slice(0, TOLD)) add(layer, name, points);
    if (!FIRST) add(null, name, amax);
  }
  return [...rows.values()];
}

function placeWords(row) {
  const parts = row.token === undefined ? [`sequence ${row.sequence}`] : [`${row.sequence}:${row.token}`];
  if (row.head !== undefined) parts.push(`head ${row.head}`);
  if (row.channel !== undefined) parts.push(`channel ${row.channel}${ofExpert(row)}`);
  return parts.join(", ");
}
