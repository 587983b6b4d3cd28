// Tokens: the prompt as text, or an image's patches where they are, shaded by what was measured.

function startTokens(all) {
  if (!showPart("tokens", R.prompts.length > 0)) return;
  const has = (array) => R.prompts.some(({ name }) => all.of(name).has(array));
  const sized = has("token_max.resid_out"), attended = has("key_scores");
  const points = segmented(state, "point", "Point", Object.entries(POINTS));
  if (sized) $("token-controls").append(el("span", { class: "field" }, "point", points));
  const host = $("prompt-text"), isPatch = (t) => IMAGES && prompt().classes[t] === "patch";
  let buttons = [];
  const draw = () => {
    buttons = prompt().tokens.map((text, t) => el("button",
      { type: "button", "data-token": t, tabindex: t === 0 ? "0" : "-1", "aria-label": isPatch(t) ? text : null },
      isPatch(t) ? "" : text === "" ? " " : text.replaceAll("\\n", "↵")));
    if (!IMAGES) { host.replaceChildren(...buttons); return; }
    const grid = el("div", { class: "patches" }, buttons.filter((_, t) => isPatch(t)));
    grid.style.setProperty("--columns", IMAGES.columns);
    host.classList.add("image");
    host.replaceChildren(el("div", {}, buttons.filter((_, t) => !isPatch(t))), grid);
  };
  host.addEventListener("click", (event) => {
    const t = event.target.dataset?.token;
    if (t !== undefined) state.set({ token: Number(t) });
  });
  host.addEventListener("keydown", (event) => {
    const now = chosenToken(), next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: shownTokens() - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    state.set({ token: Math.max(0, Math.min(shownTokens() - 1, next)) });
    buttons[chosenToken()].focus();
  });
  host.addEventListener("pointermove", (event) => {
    const t = event.target.dataset?.token;
    if (t === undefined) { tip.hide(); return; }
    const { sizes: large, scores } = tokenNumbers(all);
    tip.show(event.clientX, event.clientY, [`${t}: ${prompt().tokens[t]}`, ...(large ? [["largest |x|", number(large[t])]] : []),
      ...(scores ? [["attention score", number(scores[t])]] : []), ["class", words(prompt().classes[t])]]);
  });
  host.addEventListener("pointerleave", tip.hide);
  const shade = () => {
    const { sizes: large, scores } = tokenNumbers(all), layer = promptPoint(state.get("point"))[chosenLayer()] ?? null;
    const most = large ? Array.from(large).filter((v) => finite(v) && v > 0).reduce((a, b) => Math.max(a, b), 0) : 0;
    const low = Math.max(layer?.median || 0, 1e-6), high = Math.max(low * 1.0001, most);
    buttons.forEach((button, t) => {
      const back = ramp("size", large ? Math.log(Math.max(large[t], low) / low) / Math.log(high / low) : 0);
      button.style.background = css(back);
      button.style.color = inkOn(back);
      button.style.borderBottomColor = css(ramp("probability", scores ? Math.sqrt(scores[t] / tokenCount()) : 0));
      button.setAttribute("aria-pressed", String(t === chosenToken()));
      button.tabIndex = t === chosenToken() ? 0 : -1;
    });
    $("token-scale").replaceChildren(
      sized ? colourScale("size", number(low), number(high), `largest |x|, ${POINTS[state.get("point")]}`) : "",
      attended ? colourScale("probability", "0 %", "100 %", "attention received") : "");
    $("token-detail").replaceChildren(...tokenDetail(all));
  };
  state.watch(["prompt"], () => { draw(); $("tokens-intro").textContent = tokensIntro(sized, attended); });
  state.watch(["layer", "point", "token", "prompt"], shade);
  drawings.set(host, { width: 1, draw: shade });
}

function tokensIntro(sized, attended) {
  const n = tokenCount(), shown = shownTokens();
  const amount = `${count(n)} ${n === 1 ? "token" : "tokens"}${shown < n ? `, of which the first ${count(shown)} are shown` : ""}`;
  const parts = `CLS${IMAGES?.registers ? ", registers" : ""} and its patches in their places`;
  const what = IMAGES ? `The image ${prompt().source} as the model reads it, ${amount}: ${parts}`
    : `The ${promptTitle()} as the model reads it, ${amount}`;
  const shade = sized ? "colour shows the largest activation of a token" : "";
  const line = attended ? "the line below it the attention it receives" : "";
  const shows = [shade, line].filter(Boolean).join(", ");
  return `${what}. ${shows ? `${shows[0].toUpperCase()}${shows.slice(1)}. ` : ""}Choose a token to see its numbers.`;
}

/** Largest |x| and score of each token at the chosen layer; null where they were not measured. */
function tokenNumbers(all) {
  const arrays = all.of(state.get("prompt")), l = chosenLayer(), maxima = `token_max.${state.get("point")}`;
  const layer = (name) => (arrays.has(name) ? arrays.layer(name, l) : null);
  return { sizes: layer(maxima), scores: layer("key_scores") };
}

/** The chosen token in numbers. */
function tokenDetail(all) {
  const arrays = all.of(state.get("prompt")), t = chosenToken(), l = chosenLayer(), point = state.get("point");
  const { sizes: large, scores } = tokenNumbers(all), layer = promptPoint(point)[l] ?? null, pairs = [];
  const pair = (name, text) => pairs.push(el("dt", {}, name), el("dd", {}, text));
  pair("id, class", `${prompt().ids[t]}, ${words(prompt().classes[t])}`);
  if (large) {
    const medians = layer?.median > 0 && finite(large[t]) ? `, ${number(large[t] / layer.median)} medians` : "";
    pair(`largest |x|, ${POINTS[point]}`,
      layer?.nonfinite ? `${CANNOT}: not all values of this layer are finite` : `${number(large[t])}${medians}`);
  }
  if (arrays.has(point) && t < arrays.index[point].shape[1]) {
    const { values, channels } = arrays.row(point, l, t);
    const strongest = Array.from(values, (v, i) => [v, channels[i]]).filter(([v]) => finite(v))
      .sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 5);
    if (strongest.length) pair("strongest channels", strongest.map(([v, c]) => `${c}: ${number(v)}`).join("; "));
  }
  if (arrays.has("token_norm")) pair("L2 norm of the layer output", number(arrays.layer("token_norm", l)[t]));
  if (scores) pair("attention received", `${number(scores[t])} of ${count(tokenCount())}, ${percent(scores[t] / tokenCount())}`);
  return [el("h3", {}, `Token ${t}, `, token(prompt().tokens[t]), ` at layer ${l}`), el("dl", { class: "pairs" }, pairs)];
}
