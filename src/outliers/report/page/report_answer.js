// The answer: a sentence, tiles, the strip of all layers, and the summary in words.

function startHead() {
  const m = R.model;
  $("model-meta").textContent = [
    m.family, m.format, `${count(m.parameters)} parameters`, `${L} ${L === 1 ? "layer" : "layers"} of width ${m.width}`, `${H} heads`,
    `${R.run.dtype} on ${R.run.device}`,
  ].join(" · ");
  state.watch(["prompt"], () => {
    $("lead").replaceChildren(...lead());
    $("tiles").replaceChildren(...tiles());
  });
  for (const dd of $("words").querySelectorAll("dd")) dd.replaceChildren(...withLayers(dd.textContent));
}

/** What the chosen prompt tells, in a sentence. */
function lead() {
  const told = life(), layers = promptPoint("resid_out");
  if (!told || !layers.length) return ["Activations of a prompt were not measured: this report does not tell of an outlier's life."];
  if (FIRST && !told.found) {
    const before = TOLD > 0 ? "; there is none before" : "";
    return [`Whether there is an outlier ${CANNOT}: ${FIRST.value} in `, layerButton(FIRST.layer), ` (${FIRST.point})${before}.`];
  }
  if (!told.found) {
    const tallest = layers.map((l) => (l.median > 0 ? l.max / l.median : 0)).reduce((a, b) => Math.max(a, b), 0);
    return [`No systematic outlier: no value of the residual stream exceeds ${number(tallest)} medians of its layer.`];
  }
  const open = told.removed_layer === null, last = open ? TOLD - 1 : told.removed_layer - 1, top = layers[told.peak_layer].top[0];
  const step = (before, layer, after) => [before, el("span", { class: "whole" }, layerButton(layer), after)];
  const parts = step("Born in ", told.born_layer, ",");
  if (last > told.born_layer) parts.push(...step(" carried to ", last, ","));
  if (FIRST && open) parts.push(" and from ", layerButton(FIRST.layer), ` on it ${CANNOT}: ${FIRST.value} in ${FIRST.point}.`);
  else if (open) parts.push(" removed by no layer.");
  else parts.push(...step(" removed in ", told.removed_layer, "."));
  if (top) {
    const text = prompt().tokens[top.token] ?? `token ${top.token}`, ratio = ratioOf(layers[told.peak_layer]);
    const channel = el("span", { class: "num" }, String(top.channel));
    parts.push(" Channel ", channel, " of ", token(text), ` reaches ${number(Math.abs(top.value))}`);
    parts.push(ratio ? `, ${number(ratio)} times the median.` : ".");
  }
  return parts;
}

function tiles() {
  const list = [], told = life(), head = R.summary.headroom.resid_out ?? null;
  const peak = R.prompts.length ? peakOf(R, state.get("prompt")) : null;
  const tile = (label, value, note) => list.push(el("div", { class: "tile" }, el("div", { class: "label" }, label),
    el("div", { class: [...value.toString()].length > 11 ? "value long" : "value" }, value), el("div", { class: "note" }, note)));
  if (FIRST) {
    const where = `first in layer ${FIRST.layer}, ${FIRST.point}, on ${R.the(FIRST.input)}`;
    tile("Not finite", FIRST.value, `${where}; what follows ${CANNOT}`);
  }
  if (peak) {
    const medians = ratioOf(peak) ? `, ${number(ratioOf(peak))} medians` : "";
    tile("Largest value", number(peak.max), `layer output of layer ${peak.layer} on ${thePrompt()}${medians}`);
  }
  if (told) {
    const channels = told.massive_channels, many = channels.length > 3;
    const shown = channels.length ? channels.slice(0, 3).join(", ") + (many ? " …" : "") : "none";
    tile("Massive channels", TOLD === 0 ? CANNOT : shown,
      many ? `${channels.length} in all, on ${thePrompt()}` : `of ${count(R.model.width)}, on ${thePrompt()}`);
  }
  if (finite(R.summary.sink_rate) && !IMAGES) {
    tile("Sink rate", percent(R.summary.sink_rate),
      `of the heads, over layers and sequences, give the first token more than ${limit(R.criteria.sink_epsilon)}`);
  }
  const norms = R.summary.norms;
  if (norms && finite(norms.patch_max)) {
    tile("Largest patch norm", number(norms.patch_max), `in the last layer; median ${number(norms.patch_median)}`);
  }
  if (head) {
    const where = `${number(head.max)} in layer ${head.layer}${head.input ? `, ${R.title(head.input)}` : ""}`;
    const over = head.of_fp16_max > 1 ? ": it overflows" : " is used";
    const ends = head.nonfinite ? `, before values are not finite in layer ${FIRST?.layer}` : "";
    tile("float16 head-room", percent(head.of_fp16_max), `of the largest float16${over}; ${where}${ends}`);
    const passed = Object.entries(INDEX.formats).filter(([name]) => R.summary.first_overflow?.[name]);
    if (passed.length) {
      const [name, title] = passed[0], first = R.summary.first_overflow[name];
      const where = `${first.point} is ${number(Math.abs(first.value))} on ${R.the(first.input)}`;
      tile(`First past ${title}`, first.layer === undefined ? "the end" : `layer ${first.layer}`, `${where}; the format ends at ${limit(first.largest)}`);
    }
    if (finite(head.int8_step_over_median) && !FIRST) {
      const zero = head.int8_step_over_median > R.criteria.int8_zero_step;
      const note = zero ? "the median: a median value rounds to zero" : "the median value";
      tile("One int8 step", `${number(head.int8_step_over_median)} ×`, note);
    }
  }
  return list;
}

// ---- the strip
function startStrip() {
  if (!showPart("strip-card", R.prompts.some(({ name }) => R.activations(name, "resid_out").length > 0))) return;
  const host = $("strip");
  host.classList.add("chart", "strip");
  const layersNow = () => promptPoint("resid_out").map((l, i) => (i < TOLD ? l : { max: null, median: null, mean: null, top: [] }));
  keepDrawn(host, (width) => host.replaceChildren(strip(layersNow(), width)));
  state.watch(["layer", "prompt"], () => {
    host.replaceChildren(strip(layersNow(), host.getBoundingClientRect().width));
    $("strip-readout").replaceChildren(`${layerSentence(layersNow(), chosenLayer())}. `);
  });
  const header = ["layer", "largest", "median", "mean", "largest / median", "channel"];
  const row = (l) => [number(l.max), number(l.median), number(l.mean), l.median > 0 ? number(l.max / l.median) : "none",
    l.top[0] ? String(l.top[0].channel) : "none"];
  const table = numbersBelow($("strip-readout"), header,
    () => layersNow().map((l, i) => [String(i), ...(i >= TOLD ? Array(header.length - 1).fill(CANNOT) : row(l))]));
  state.watch(["prompt"], table.refill);
}

/** Whether the chosen prompt's outlier lives in the layer. */
function isAlive(l) {
  const told = life();
  return Boolean(told?.found) && l >= told.born_layer && l < (told.removed_layer ?? TOLD);
}

function layerSentence(layers, l) {
  const told = life();
  if (l >= TOLD) return `layer ${l}: ${CANNOT}, not all values are finite${l === TOLD ? " from here on" : ""}`;
  const parts = [`layer ${l}: largest ${number(layers[l].max)}, median ${number(layers[l].median)}`];
  if (l === told?.born_layer) parts.push("born here");
  if (l === told?.peak_layer) parts.push("largest of all");
  if (l === told?.removed_layer) parts.push("removed here");
  else if (isAlive(l) && l !== told.born_layer) parts.push("carried");
  return parts.join(", ");
}

/** A bar a layer, from the median to the largest value; a group of radio buttons. */
function strip(layers, width) {
  const told = life(), height = 218, left = 50, right = width - 4, top = 30, bottom = height - 34, step = (right - left) / L;
  const y = scale(layers.flatMap((l) => [l.max, l.median]), [bottom, top], { log: true });
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "radiogroup", "aria-label": "Layers: choose one" });
  const band = (name, from, to) => svg("rect",
    { class: name, x: left + from * step, y: top - 8, width: Math.max(0, to - from) * step, height: bottom - top + 8, rx: 6 });
  if (told?.found) root.append(band("plateau", told.born_layer, told.removed_layer ?? TOLD));
  if (FIRST) {
    const middle = left + (TOLD + (L - TOLD) / 2) * step;
    root.append(band("untold", TOLD, L));
    if ((L - TOLD) * step > 90) {
      root.append(svg("text", { class: "untold-text", x: middle, y: (top + bottom) / 2, "text-anchor": "middle" }, CANNOT));
    }
  }
  if (TOLD > 0) {
    for (const v of ticks(y.low, y.high, true)) {
      root.append(svg("line", { class: "gridline", x1: left, x2: right, y1: y(v), y2: y(v) }),
        svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, axisNumber(v)));
    }
  }
  const focusChosen = () => $("strip").querySelector('[aria-checked="true"]')?.focus();
  const numbered = new Set(places(L, right - left, 24));
  for (let l = 0; l < L; ++l) {
    const x = left + l * step, { max, median: middle } = layers[l], on = l === chosenLayer();
    const group = svg("g", {
      class: "layer", role: "radio", "aria-checked": String(on), tabindex: on ? "0" : "-1", "aria-label": layerSentence(layers, l),
      "data-layer": l,
    });
    if (y.shown(max) && y.shown(middle)) {
      group.append(svg("rect", {
        class: isAlive(l) ? "span alive" : "span", x: x + step * 0.2, width: Math.max(1.5, step * 0.6), y: y(max),
        height: Math.max(2, y(middle) - y(max)), rx: Math.min(4, step * 0.2),
      }));
    } else if (y.shown(max)) group.append(svg("circle", { class: "span", cx: x + step / 2, cy: y(max), r: 3 }));
    if (numbered.has(l) || on) {
      const hidden = !on && numbered.has(l) && Math.abs(l - chosenLayer()) * step < 18;
      group.append(svg("text",
        { class: "number", x: x + step / 2, y: bottom + 16, "text-anchor": "middle", visibility: hidden ? "hidden" : null }, String(l)));
    }
    group.append(svg("rect", { class: "hit", x, y: top - 8, width: step, height: bottom - top + 28, rx: 5 }));
    group.addEventListener("click", () => { pickLayer(l); focusChosen(); });
    const lines = l >= TOLD ? [CANNOT]
      : [["largest", number(max)], ["median", number(middle)], ["largest / median", middle > 0 ? number(max / middle) : "none"]];
    group.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, [`layer ${l}`, ...lines]));
    group.addEventListener("pointerleave", tip.hide);
    root.append(group);
  }
  // "born" and "removed" stand above their bars; where they would meet, the one on the left ends where it begins.
  const both = told?.found && told.removed_layer !== null && (told.removed_layer - told.born_layer) * step < 84;
  for (const mark of marks()) {
    const x = left + (mark.at + (mark.text === "not finite" ? 0 : 0.5)) * step;
    const end = x > right - 50 || (both && mark.text === "born" && x > 80);
    root.append(svg("line", { class: "mark", x1: x, x2: x, y1: top - 14, y2: top - 2 }),
      svg("text", { class: "mark-text", x: x + (end ? 4 : -4), y: top - 18, "text-anchor": end ? "end" : "start" }, mark.text));
  }
  root.append(svg("text", { class: "axis-title", x: right, y: height - 3, "text-anchor": "end" }, "layer (from 0)"));
  root.addEventListener("keydown", (event) => {
    const now = chosenLayer();
    const next = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: L - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    pickLayer(Math.max(0, Math.min(L - 1, next)));
    focusChosen();
  });
  return root;
}
