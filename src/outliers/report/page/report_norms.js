// Norms of images' tokens: over the layers, and the patches of an image where they are.

function startNorms(all) {
  const measured = R.corpora.filter(({ name }) => R.norms(name).length > 0);
  if (!showPart("norms", Boolean(IMAGES) && measured.length > 0)) return;
  const none = { median: null, max: null };
  const layersNow = () => R.norms(state.get("corpus")).map((l, i) => (i < TOLD ? l : { cls: none, patches: none, registers: none }));
  const { rows, columns, registers } = IMAGES;
  let chart = null;
  state.watch(["corpus"], () => {
    const layers = layersNow();
    chart = lineChart($("norm-lines"), {
      log: true, yTitle: "L2 norm, log scale", selected: chosenLayer, pick: pickLayer, marks: [],
      series: [
        { name: "largest patch", colour: "s1", values: layers.map((l) => l.patches.max), width: 2.5 },
        { name: "median patch", colour: "s2", values: layers.map((l) => l.patches.median), width: 2.5 },
        { name: "CLS", colour: "s4", values: layers.map((l) => l.cls.median) },
        ...(registers ? [{ name: "registers", colour: "s3", values: layers.map((l) => l.registers.median) }] : []),
      ],
      describe: () => {
        const l = layers[chosenLayer()], others = registers ? `, registers ${number(l.registers.median)}` : "";
        const patches = `patches have ${number(l.patches.median)}, at most ${number(l.patches.max)}`;
        return `Norms over the layers; at layer ${chosenLayer()} ${patches}, CLS ${number(l.cls.median)}${others}.`;
      },
    });
  });
  const first = 1 + registers, map = $("norm-map");
  state.watch(["layer", "prompt", "corpus"], () => {
    const l = chosenLayer(), arrays = all.of(state.get("prompt"));
    chart.draw();
    $("norm-said").textContent = normWords(layersNow()[l], l);
    $("norm-map-title").textContent = `${prompt()?.source ?? ""} at layer ${l}`;
    if (!arrays.has("token_norm")) {
      map.replaceChildren(el("p", { class: "empty" }, "This report keeps no norms of the image's tokens."));
      return;
    }
    const norms = arrays.layer("token_norm", l), at = (r, c) => norms[first + r * columns + c];
    const high = Array.from(norms.slice(first)).filter(finite).reduce((a, b) => Math.max(a, b), 0);
    heatMap(map, {
      rows, columns, ramp: "size", square: true, numericColumns: true, rowText: String, columnText: String, rowTitle: "row",
      columnTitle: "column of patches",
      value: (r, c) => (finite(at(r, c)) ? at(r, c) / (high || 1) : NaN), tell: (r, c) => [`r${r}c${c}`, ["L2 norm", number(at(r, c))]],
      pick: (r, c) => { const t = first + r * columns + c; if (t < shownTokens()) state.set({ token: t }); },
      describe: () => `Norms of the ${promptTitle()}'s patches at layer ${l}, up to ${number(high)}.`,
    });
    map.append(el("div", { class: "scales" }, colourScale("size", "0", number(high), "L2 norm")));
  });
}

function normWords(layer, l) {
  if (l >= TOLD) return `Norms from layer ${TOLD} on ${CANNOT}: not all values are finite.`;
  const { patches } = layer, { largest } = patches;
  const each = layer.registers ? ` Registers, each: ${layer.registers.each.map(number).join(", ")}.` : "";
  const high = `${count(patches.high)} of ${count(patches.count)} patches are above ${limit(R.criteria.high_patch_norm)}`;
  const most = `${largest.token_text} of image ${largest.sequence} has the largest norm, ${number(patches.max)}`;
  return `Over all images: ${most}; ${high}.${each}`;
}
