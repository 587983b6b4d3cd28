// Attention: the prompt's map and scores, heads, and the corpus's keys.

function startAttention(all) {
  const mapped = R.prompts.length > 0 && R.run.measures.includes("attention_maps");
  const scored = R.prompts.some(({ name }) => all.of(name).has("key_scores"));
  const measured = R.corpora.some(({ name }) => R.attention(name).length > 0);
  if (!showPart("attention", mapped || scored || measured)) return;
  showPart("map-card", mapped);
  showPart("scores-card", mapped || scored);
  showPart("heads-card", measured);
  showPart("attention-corpus", measured);
  if (mapped || scored) startMap(all);
  if (!measured) return;
  startHeads(R.prompts.some(({ name }) => all.of(name).has("probs")));
  startKeys();
}

/** The chosen head's map, or the mean over heads, and what each key of the prompt receives. */
function startMap(all) {
  const arrays = () => all.of(state.get("prompt"));
  const hasHeads = R.prompts.some(({ name }) => all.of(name).has("probs"));
  const single = hasHeads ? Array.from({ length: H }, (_, h) => [String(h), `head ${h}`]) : [];
  $("head-picker").append(picker(state, "head", "head", [["mean", "mean over heads"], ...single]));
  const head = () => (state.get("head") === "mean" || !arrays().has("probs") ? "mean" : Number(state.get("head")));
  const headText = () => (head() === "mean" ? "mean over heads" : `head ${head()}`);
  const scores = $("key-scores");
  $("scores-hint").textContent = `Score of a key: ${R.clause(`${INPUT}attention.top_keys[].score`)}. Outliers, at and above the dashed line: `
    + `${R.clause(`${INPUT}attention.outlier_keys`)}.`;
  let items = [];
  const threshold = () => R.criteria.outlier_key_share * tokenCount();
  const describe = () => {
    const best = items.reduce((a, item, t) => (item.value > items[a].value ? t : a), 0), largest = number(items[best]?.value);
    const whose = `token ${best} “${items[best]?.text}”`;
    return `Scores of the keys at layer ${chosenLayer()}: the largest is ${largest} of ${count(tokenCount())} for ${whose}.`;
  };
  const draw = () => {
    const yTitle = `score, of ${count(tokenCount())}`;
    if (items.length > 300) {
      stemChart(scores, { values: items.map((item) => item.value), channels: items.map((_, t) => t), channelCount: items.length, yTitle,
        xTitle: "token (from 0)", unit: "token", describe });
    } else {
      barChart(scores, { items, yTitle, threshold: threshold(), selected: chosenToken, pick: (t) => state.set({ token: t }), describe });
    }
  };
  const table = numbersBelow(scores, ["token", "text", "score"], () => items.map((item, t) => [String(t), item.text, number(item.value)]));
  state.watch(["layer", "head", "prompt"], () => {
    const l = chosenLayer(), held = arrays(), probability = held.probabilities(l, head());
    const shown = probability ? held.index[head() === "mean" ? "probs_mean" : "probs"].shape.at(-1) : 0;
    drawMap(probability, shown, headText());
    items = keyScores(held, l, head(), probability, shown)
      .map((value, t) => ({
        text: prompt().tokens[t], value, hot: value >= threshold(),
        title: [["score", number(value)], ["share", percent(value / tokenCount())], ["class", words(prompt().classes[t])]],
      }));
    $("scores-title").textContent = `Accumulated score of each key, layer ${l}, ${headText()}`;
    draw();
    table.refill();
  });
  state.watch(["token"], draw);
}

function drawMap(probability, shown, headText) {
  const l = chosenLayer(), map = $("attention-map"), { tokens } = prompt();
  $("map-title").textContent = `The ${promptTitle()} at layer ${l}, ${headText}`;
  if (!probability) {
    const text = `The ${promptTitle()} is too long for its maps to be kept; the scores below are of all its tokens.`;
    map.replaceChildren(el("p", { class: "empty" }, text));
    return;
  }
  // Without a causal mask every query spreads its probability over all keys: the scale ends at the largest.
  let most = 1;
  if (IMAGES) {
    most = 0;
    for (let q = 0; q < shown; ++q) for (let k = 0; k < shown; ++k) if (finite(probability(q, k))) most = Math.max(most, probability(q, k));
  }
  heatMap(map, {
    rows: shown, columns: shown, ramp: "probability", square: true, everyRow: true, rowText: (q) => tokens[q],
    columnText: (k) => tokens[k], rowTitle: "query", columnTitle: "key", pick: (q, k) => state.set({ token: k }),
    value: (q, k) => (k > q && !IMAGES ? null : probability(q, k) / (most || 1)),
    tell: (q, k) => [percent(probability(q, k)), ["query", `${q}: ${short(tokens[q], 30)}`], ["key", `${k}: ${short(tokens[k], 30)}`]],
    describe: () => {
      const last = `The last token gives ${percent(probability(shown - 1, 0))} to the first.`;
      return `Attention of the ${promptTitle()}, ${headText}, layer ${l}. ${last}`;
    },
  });
  map.append(el("div", { class: "scales" }, colourScale("probability", "0", IMAGES ? number(most) : "1", "probability")));
  if (shown < tokenCount()) map.append(el("p", { class: "hint" }, `The first ${shown} of ${count(tokenCount())} tokens.`));
}

/** What each key receives: a head's own needs its map, the mean's are kept for every token. */
function keyScores(arrays, l, head, probability, shown) {
  const sum = (k) => {
    let all = 0;
    for (let q = IMAGES ? 0 : k; q < shown; ++q) all += probability(q, k);
    return all;
  };
  if ((head !== "mean" || !arrays.has("key_scores")) && probability) return Array.from({ length: shown }, (_, k) => sum(k));
  return arrays.has("key_scores") ? Array.from(arrays.layer("key_scores", l)) : [];
}

/** Sink rate or outlier share of every head, layers by heads. */
function startHeads(hasHeads) {
  const grid = $("heads"), attended = () => whole(R.attention(state.get("corpus")));
  $("head-measure").append(segmented(state, "measure", "Measure", [["sink_rate", "sink rate"], ["outlier_share", "outlier share"]]));
  const table = numbersBelow(grid, ["layer", ...Array.from({ length: H }, (_, h) => `head ${h}`)],
    () => attended().map((l, i) => [String(i), ...l.heads.map((h) => percent(h[state.get("measure")]))]));
  state.watch(["measure", "layer", "head", "corpus"], () => {
    const measure = state.get("measure"), layers = attended(), heads = (l) => layers[l].heads;
    $("heads-hint").textContent = `${R.sentence(`${INPUT}attention.heads[].${measure}`)} Choose a cell to see that head.`;
    heatMap(grid, {
      rows: L, columns: H, ramp: "probability", numericColumns: true, cellHeight: Math.max(6, Math.min(18, 400 / L)), rowText: String,
      columnText: String, rowTitle: "layer (from 0)", columnTitle: "head (from 0)", value: (l, h) => heads(l)[h][measure] ?? NaN,
      tell: (l, h) => [`layer ${l}, head ${h}`, ["sink rate", percent(heads(l)[h].sink_rate)],
        ["outlier share", percent(heads(l)[h].outlier_share)]],
      pick: (l, h) => goTo(l, hasHeads ? { head: String(h) } : {}),
      selected: () => [chosenLayer(), state.get("head") === "mean" ? -1 : Number(state.get("head"))],
      describe: () => {
        const l = chosenLayer(), values = heads(l).map((h) => h[measure]);
        const range = layers[l].nonfinite ? CANNOT : `from ${percent(Math.min(...values))} to ${percent(Math.max(...values))}`;
        return `${words(measure)} of every head; layer ${l} ${range}.`;
      },
    });
    grid.append(el("div", { class: "scales" }, colourScale("probability", "0 %", "100 %", words(measure))));
    table.refill();
  });
}

/** Scores of the corpus over the layers, and its top keys. */
function startKeys() {
  let chart = null;
  state.watch(["corpus"], () => {
    const layers = whole(R.attention(state.get("corpus"))), top = (i) => layers.map((l) => l.top3_mean[i] ?? null);
    chart = lineChart($("attention-lines"), {
      log: true, yTitle: `score, of ${count(corpus().tokens_per_sequence)}`, selected: chosenLayer, pick: pickLayer, marks: [],
      series: [
        { name: "largest", colour: "s1", values: top(0), width: 2.5 }, { name: "second", colour: "s3", values: top(1) },
        { name: "third", colour: "s5", values: top(2) }, { name: "median", colour: "s2", values: layers.map((l) => l.median), width: 2.5 },
      ],
      describe: () => {
        const { top3_mean: [largest], median: middle } = layers[chosenLayer()];
        const now = `the largest is ${number(largest)}, the median ${number(middle)}`;
        return `Accumulated scores over the layers; at layer ${chosenLayer()} ${now}.`;
      },
    });
  });
  state.watch(["layer", "corpus"], () => {
    const l = chosenLayer(), name = state.get("corpus"), layer = whole(R.attention(name))[l], host = el("div");
    const tokens = count(corpus().tokens_per_sequence);
    chart.draw();
    $("keys-title").textContent = `Top keys of ${!IMAGES && name === firstCorpus ? "the " : ""}${corpusTitle()} at layer ${l}`;
    const counted = layer.nonfinite ? {} : INDEX.outlier_classes[name]?.[l] ?? {};
    const classes = Object.entries(counted).sort((a, b) => b[1] - a[1]);
    const total = classes.reduce((sum, [, n]) => sum + n, 0), share = percent(R.criteria.outlier_key_share);
    const shares = classes.map(([name, n]) => `${words(name)} ${percent(n / total)}`).join(", ");
    const said = layer.nonfinite ? "Not all probabilities of this layer are finite: its keys cannot be ranked."
      : total ? `${count(total)} outlier ${total === 1 ? "key" : "keys"} (score at least ${share} of ${tokens}): ${shares}.`
        : `No key reaches ${share} of ${tokens}.`;
    const bar = el("div", { class: "stackbar", "aria-hidden": "true" }, classes.map(([name, n]) => {
      const part = el("i");
      part.style.flex = n;
      part.style.background = `var(--${classColour(name)})`;
      return part;
    }));
    $("keys").replaceChildren(el("p", { class: "hint" }, said), total ? bar : "", host);
    dataTable(host, {
      caption: `top keys at layer ${l}`, rows: layer.top_keys, sort: ["score", true], limit: 10,
      columns: [
        { key: "token_text", text: "token", show: (row) => token(short(row.token_text, 24)) },
        { key: "class", text: "class", show: (row) => words(row.class) }, { key: "sequence", text: "sequence", number: true },
        { key: "key", text: "at", number: true, show: (row) => count(row.key) },
        { key: "score", text: "score", number: true, show: (row) => number(row.score) },
      ],
    });
  });
}
