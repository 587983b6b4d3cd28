// Activations: over the layers, the prompt value by value, and the table of what is massive.

function startActivations() {
  if (!showPart("activations", MEASURED.length > 0 || R.run.measures.includes("prompt_values"))) return;
  const points = segmented(state, "point", "Point", Object.entries(POINTS));
  $("activation-controls").append(el("span", { class: "field" }, "point", points));
  if (!showPart("activation-lines-card", MEASURED.length > 0) || !showPart("massive-card", MEASURED.length > 0)) {
    showPart("massive-card", false);
    return;
  }
  const inputs = MEASURED.length > 4 ? picker(state, "batch", "measured on", titles(MEASURED))
    : el("span", { class: "field" }, "measured on", segmented(state, "batch", "Measured on", titles(MEASURED)));
  $("activation-controls").append(inputs);
  let chart = null;
  state.watch(["point", "batch", "prompt"], () => { chart = activationLines(R.input(state.get("batch")), state.get("point")); });
  state.watch(["layer"], () => chart?.draw());
  massiveTable();
}

/** The largest three, mean and median of a point over the layers. */
function activationLines(input, point) {
  const layers = whole(R.activations(input.name, point)), n = input.sequences;
  const sequences = (IMAGES ? "image" : "sequence") + (n === 1 ? "" : "s");
  const over = `${n} ${sequences} of ${count(input.tokens_per_sequence)} tokens`;
  const means = input.kind === "corpus" ? `; the top three are means over ${over}` : "";
  $("activation-lines-hint").textContent = `|x| of ${POINT_HELP[point]}${means}.`;
  const ranked = (i) => layers.map((l) => l.top3_mean[i] ?? null);
  return lineChart($("activation-lines"), {
    log: true, yTitle: "|x|, log scale", selected: chosenLayer, pick: pickLayer, marks: R.prompts.length ? marks() : [],
    series: [
      { name: "largest", colour: "s1", values: ranked(0), width: 2.5 }, { name: "second", colour: "s3", values: ranked(1) },
      { name: "third", colour: "s5", values: ranked(2) }, { name: "mean", colour: "s4", values: layers.map((l) => l.mean) },
      { name: "median", colour: "s2", values: layers.map((l) => l.median), width: 2.5 },
    ],
    describe: () => {
      const l = layers[chosenLayer()];
      return `${POINTS[point]} over the layers: largest ${number(l?.max)}, median ${number(l?.median)} at layer ${chosenLayer()}.`;
    },
  });
}

/** Everything that is massive anywhere. */
function massiveTable() {
  $("massive-hint").textContent = `${R.sentence(`${INPUT}resid_out.massive`)} Choose one to go to its layer.`;
  const rows = [];
  let total = 0;
  for (const input of MEASURED) {
    for (const point of INDEX.points) {
      for (const layer of whole(R.activations(input.name, point))) {
        total += layer.massive_count;
        for (const m of layer.massive) {
          const size = m.value === null ? null : Math.abs(m.value);
          rows.push({
            where: input.name, prompt: input.kind === "prompt", point, layer: layer.layer, ...m, size,
            medians: layer.median > 0 && size !== null ? size / layer.median : null,
            text: m.token_text ?? input.tokens?.[m.token] ?? null, kind: m.class ?? input.classes?.[m.token] ?? "",
          });
        }
      }
    }
  }
  const choose = (row) => {
    const here = row.prompt ? R.input(row.where).tokens.length : 0;
    const shown = { ...(row.prompt ? { prompt: row.where } : {}), ...(row.token < here ? { token: row.token } : {}) };
    goTo(row.layer, { point: row.point, ...shown });
  };
  dataTable($("massive"), {
    caption: "massive activations", rows, sort: ["size", true], limit: 10, choose,
    search: (row) => `${row.text ?? ""} ${words(row.kind)} channel ${row.channel} layer ${row.layer}`,
    filters: [
      { key: "where", text: "from", options: names(MEASURED), names: Object.fromEntries(titles(MEASURED)) },
      { key: "point", text: "point", options: INDEX.points, names: POINTS },
    ],
    columns: [
      { key: "layer", text: "layer", number: true, show: (row) => String(row.layer) },
      { key: "point", text: "point", show: (row) => POINTS[row.point] },
      { key: "channel", text: "channel", number: true, show: (row) => row.channel + ofExpert(row) },
      { key: "text", text: "token", value: (row) => row.text ?? "",
        show: (row) => (row.text === null ? el("span", {}, "–") : token(short(row.text, 24))) },
      { key: "token", text: "at", number: true, help: "position in its sequence, from 0",
        show: (row) => (row.prompt ? String(row.token) : `${row.sequence}:${row.token}`) },
      { key: "kind", text: "class", show: (row) => words(row.kind) || "–" },
      { key: "where", text: "from", show: (row) => R.title(row.where) },
      { key: "size", text: "value", number: true, show: (row) => number(row.value) },
      { key: "medians", text: "× median", number: true, show: (row) => (row.medians === null ? "none" : number(row.medians)) },
    ],
    empty: `no activation is ${R.massiveWords()}`,
  });
  const hint = (text) => $("massive").append(el("p", { class: "hint" }, text));
  if (FIRST) hint(`Layers with values that are not finite are left out: what else is in them ${CANNOT}.`);
  if (total > rows.length) {
    hint(`The page lists ${count(rows.length)} of ${count(total)}, the largest of each layer; results.json counts them all.`);
  }
}

/** The prompt at one layer, in 3D or flat. */
function startPromptView(all) {
  if (!showPart("prompt-3d-card", R.run.measures.includes("prompt_values") && R.prompts.length > 0)) return;
  const host = $("prompt-3d"), arrays = () => all.of(state.get("prompt"));
  const spec = () => arrays().index[state.get("point")] ?? null;
  if (!R.prompts.some(({ name }) => all.of(name).has("resid_out"))) {
    host.append(el("p", { class: "empty" }, `This report keeps no activations of the ${promptTitle()}.`));
    return;
  }
  const views = segmented(state, "view", "View", [["3d", "3D"], ["flat", "flat"]]);
  const heights = segmented(state, "height", "Height", [["linear", "linear"], ["log", "log"]]);
  const places3d = el("div"), flat = el("div"), said = el("p", { class: "readout" });
  host.append(el("div", { class: "controls no-print" }, views, heights), places3d, flat, said);
  const channels = () => (state.get("point") === "resid_out" ? "channel" : "neuron");
  const data = () => {
    const point = state.get("point"), l = chosenLayer(), { tokens } = prompt(), held = arrays();
    const row = (t) => ({ name: tokens[t], hot: isMassiveToken(l, point, t), ...held.row(point, l, t) });
    return Array.from({ length: spec()?.shape[1] ?? 0 }, (_, t) => row(t));
  };
  const tell = (t, channel, value) =>
    [`${t}: ${prompt().tokens[t]}`, ["channel", String(channel)], ["value", number(value)], ["class", words(prompt().classes[t])]];
  /** The three largest channels, where they stand. */
  const labels = () => {
    const top = (promptPoint(state.get("point"))[chosenLayer()]?.top ?? []).filter((v) => v.token < (spec()?.shape[1] ?? 0));
    const list = [], used = new Set();
    for (const v of top) {
      if (v.value === null || list.length === 3 || used.has(v.channel) || Math.abs(v.value) <= Math.abs(top[0].value) / 10) continue;
      used.add(v.channel);
      list.push({ row: v.token, channel: v.channel, value: v.value, text: `${v.channel}` });
    }
    return list;
  };
  const three = ridges(places3d, () =>
    ({ rows: data(), channelTitle: channels(), zTitle: "|x|", log: state.get("height") === "log", labels: labels(), tell }));
  let flatDraw = null;
  const drawFlat = () => {
    flatDraw = flatView(flat, { rows: data(), spec: spec(), channels: channels(), tell, describe: () => said.textContent });
  };
  state.watch(["layer", "point", "view", "height", "prompt"], () => {
    const l = chosenLayer(), point = state.get("point"), layer = promptPoint(point)[l] ?? null, top = layer?.top[0], held = spec();
    $("prompt-3d-title").textContent = `The ${promptTitle()} at layer ${l}: ${POINTS[point]}`;
    const bucket = held?.bucket > 1 ? ` Each point is the largest of ${held.bucket} neighbours.` : "";
    const cut = held && held.shape[1] < tokenCount() ? ` The first ${held.shape[1]} of ${count(tokenCount())} tokens.` : "";
    const what = `|x| of every token and ${channels()}; tokens with a massive activation in the accent colour.`;
    $("prompt-3d-hint").textContent = `${what}${bucket}${cut}`;
    if (layer?.nonfinite) said.textContent = `Not finite: ${count(layer.nonfinite)} values are NaN or infinite, and gaps here.`;
    else if (!layer) said.textContent = "";
    else if (!top || top.value === null) said.textContent = "No finite values.";
    else {
      const where = `channel ${top.channel} of token ${top.token} “${prompt().tokens[top.token] ?? "…"}”`;
      said.textContent = `Largest: ${number(top.value)} in ${where}; median ${number(layer.median)}.`;
    }
    places3d.hidden = state.get("view") !== "3d";
    flat.className = state.get("view") === "flat" ? "chart" : "chart only-print";
    three.draw();
    drawFlat();
  });
  addEventListener("beforeprint", () => { flat.style.display = "block"; flat.style.width = "640px"; flatDraw.draw(); });
  addEventListener("afterprint", () => { flat.style.display = flat.style.width = ""; flatDraw.draw(); });
}

/** Tokens by channels as a map of at most 240 columns: each shows the largest of its channels. */
function flatView(flat, { rows, spec, channels, tell, describe }) {
  const buckets = spec?.shape[2] ?? 1, n = Math.min(240, buckets), each = buckets / n;
  const cells = rows.map((row) => Array.from({ length: n }, (_, c) => {
    let best = Math.floor(c * each);
    for (let i = best; i < Math.floor((c + 1) * each); ++i) if (!(Math.abs(row.values[i]) <= Math.abs(row.values[best]))) best = i;
    return best;
  }));
  const at = (t, c) => rows[t].values[cells[t][c]];
  const layer = promptPoint(state.get("point"))[chosenLayer()] ?? null;
  const sizes = () => rows.flatMap((_, t) => cells[t].map((__, c) => Math.abs(at(t, c)))).filter(finite);
  const high = layer?.max ?? sizes().reduce((a, b) => Math.max(a, b), 0);
  const low = state.get("height") === "log" ? Math.max(layer?.median ?? 0, high / 1e6) : 0;
  const share = (v) => (low > 0 ? Math.log(Math.max(v, low) / low) / Math.log(high / low || 2) : v / (high || 1));
  return heatMap(flat, {
    rows: rows.length, columns: n, ramp: "size", numericColumns: true, everyRow: true,
    cellHeight: Math.max(4, Math.min(22, 380 / rows.length)),
    value: (t, c) => { const v = Math.abs(at(t, c)); return finite(v) ? share(v) : NaN; },
    rowText: (t) => rows[t].name, columnText: (c) => String(Math.round(c * each * (spec?.bucket ?? 1))), rowTitle: "token",
    columnTitle: `${channels}s, ${count(spec?.channels ?? 0)} from left to right`,
    tell: (t, c) => tell(t, rows[t].channels[cells[t][c]], at(t, c)), pick: (t) => state.set({ token: t }), describe,
  });
}
