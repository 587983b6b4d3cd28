// The page's own two-dimensional charts: SVG and canvas, drawn for the width there is.

const niceStep = (span, wanted) => {
  const raw = span / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= raw * 0.999);
};
/** Ticks between low and high: decades on a log scale, round steps on a linear one. */
function ticks(low, high, log, wanted = 5) {
  const list = [];
  if (log) {
    const from = Math.ceil(Math.log10(low) - 1e-9), to = Math.floor(Math.log10(high) + 1e-9);
    const step = Math.max(1, Math.ceil((to - from + 1) / 7));
    for (let e = from; e <= to; e += step) list.push(10 ** e);
    if (list.length > 2) return list;
    const between = (digits) => Array.from({ length: to - from + 3 }, (_, i) => digits.map((d) => d * 10 ** (from - 1 + i))).flat().filter((v) => v >= low * 0.999 && v <= high * 1.001);
    return [[1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]].map(between).find((found) => found.length > 2) ?? [low, high].map((v) => Number(v.toPrecision(2)));
  }
  const step = niceStep(high - low, wanted);
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) list.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return list;
}
/** A function from values to pixels, with its domain; log scales know no values of 0 and below. */
function scale(values, range, { log = false, zero = false } = {}) {
  const usable = values.filter((v) => finite(v) && (!log || v > 0));
  let low = usable.length ? usable.reduce((a, b) => Math.min(a, b)) : log ? 0.1 : 0;
  let high = usable.length ? usable.reduce((a, b) => Math.max(a, b)) : 1;
  if (log) {
    if (low === high) { low /= 2; high *= 2; }
    const pad = (high / low) ** 0.04;
    low /= pad; high *= pad;
  } else {
    if (zero) { low = Math.min(0, low); high = Math.max(0, high); }
    if (low === high) { high += 1; if (!zero) low -= 1; }
    const pad = (high - low) * 0.05;
    if (low < 0) low -= pad;
    if (high > 0) high += pad;
  }
  const f = log ? Math.log : (v) => v;
  const map = (v) => range[0] + ((f(v) - f(low)) / (f(high) - f(low))) * (range[1] - range[0]);
  return Object.assign(map, { low, high, log, shown: (v) => finite(v) && (!log || v > 0) });
}
/** Whole numbers for an axis of `n` places that has `pixels`. */
function places(n, pixels, each = 34) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((s) => (n / s) * each <= pixels) ?? Math.ceil((n * each) / pixels);
  return Array.from({ length: Math.ceil(n / step) }, (_, i) => i * step);
}
/**
 * Numbers behind a chart, for readers and for screen readers: a table that is filled when it is opened, and by refill(). Takes the
 * place of one that stands there.
 */
function numbersBelow(host, header, rows) {
  const before = host.nextElementSibling?.matches("details.numbers") ? host.nextElementSibling : null;
  const body = el("div", { class: "scroll", tabindex: "0" });
  const details = el("details", { class: "numbers", open: before?.open }, el("summary", {}, "Show the numbers"), body);
  details.refill = () => {
    if (!details.open) return;
    body.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, header.map((h) => el("th", { scope: "col" }, h)))),
      el("tbody", {}, rows().map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));
  };
  details.addEventListener("toggle", details.refill);
  before?.remove();
  host.after(details);
  return details;
}

/**
 * Lines over whole numbers (layers). options: series [{name, colour, values, dashed, width, x}], log, yTitle, xTitle,
 * selected() -> index, pick(index), marks [{at, text}], describe: the text alternative, labels(i): the tooltip's title.
 * Series may bring their own x (0..1): then xTitle names that axis and nothing can be picked.
 */
function lineChart(host, options) {
  host.classList.add("chart");
  const legend = el("div", { class: "legend" }), stage = el("div");
  host.replaceChildren(legend, stage);
  const hidden = new Set();
  const { series } = options;
  const own = series.some((s) => s.x);
  const n = Math.max(1, ...series.map((s) => s.values.length));
  for (const s of series) {
    const button = el("button", { type: "button", "aria-pressed": "true", title: s.help ?? "show or hide" }, el("i", { class: s.dashed ? "dashed" : "" }), s.name);
    button.firstElementChild.style.borderColor = `var(--${s.colour})`;
    button.addEventListener("click", () => {
      if (hidden.has(s)) hidden.delete(s);
      else if (hidden.size < series.length - 1) hidden.add(s);
      button.setAttribute("aria-pressed", !hidden.has(s));
      draw(host.getBoundingClientRect().width);
    });
    legend.append(button);
  }
  legend.hidden = series.length < 2;
  const draw = (width) => {
    const height = options.height ?? Math.max(220, Math.min(320, width * 0.42));
    const left = 54, right = width - 14, top = 20, bottom = height - 42;
    const shown = series.filter((s) => !hidden.has(s));
    const y = scale(shown.flatMap((s) => s.values), [bottom, top], { log: options.log, zero: !options.log });
    const x = own ? (v) => left + v * (right - left) : (i) => (n === 1 ? (left + right) / 2 : left + ((i + 0.5) / n) * (right - left));
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.describe(), tabindex: options.pick ? "0" : null });
    for (const v of ticks(y.low, y.high, options.log)) {
      root.append(svg("line", { class: "gridline", x1: left, x2: right, y1: y(v), y2: y(v) }), svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, options.yFormat ? options.yFormat(v) : axisNumber(v)));
    }
    root.append(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
    for (const v of own ? [0, 0.25, 0.5, 0.75, 1] : places(n, right - left)) {
      root.append(svg("text", { x: x(v), y: bottom + 17, "text-anchor": "middle" }, own ? percent(v) : String(v)));
    }
    root.append(svg("text", { class: "axis-title", x: right, y: height - 6, "text-anchor": "end" }, options.xTitle ?? "layer (from 0)"));
    root.append(svg("text", { class: "axis-title", x: 0, y: 8 }, options.yTitle));
    const step = own ? 0 : (right - left) / n;
    if (options.selected && !own) root.append(svg("rect", { class: "chosen", x: x(options.selected()) - Math.max(3, step / 2), y: top, width: Math.max(6, step), height: bottom - top, rx: 3 }));
    for (const mark of options.marks ?? []) {
      root.append(svg("line", { class: "mark", x1: x(mark.at), x2: x(mark.at), y1: top, y2: bottom }));
      const end = x(mark.at) > right - 60;
      root.append(svg("text", { class: "mark-text", x: x(mark.at) + (end ? -5 : 5), y: top + 9, "text-anchor": end ? "end" : "start" }, mark.text));
    }
    for (const s of shown) {
      let d = "", pen = "M", last = 0;
      s.values.forEach((v, i) => {
        if (!y.shown(v)) { pen = "M"; return; }
        d += `${pen}${x(s.x ? s.x[i] : i).toFixed(1)} ${y(v).toFixed(1)}`;
        pen = "L";
        last = i;
      });
      const path = svg("path", { class: "series", d, "data-series": s.name, "stroke-dasharray": s.dashed ? "5 4" : null });
      path.style.stroke = `var(--${s.colour})`;
      if (s.width) path.style.strokeWidth = s.width;
      root.append(path);
      const dots = s.values.length === 1 ? [0] : options.selected && !own ? [options.selected()] : [];
      for (const i of dots) {
        if (!y.shown(s.values[i])) continue;
        const dot = svg("circle", { cx: x(s.x ? s.x[i] : i), cy: y(s.values[i]), r: 3.4 });
        dot.style.fill = `var(--${s.colour})`;
        root.append(dot);
      }
      s.lastShown = last;
    }
    const cross = svg("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
    root.append(cross);
    const at = (event) => Math.max(0, Math.min(n - 1, Math.floor(((event.clientX - root.getBoundingClientRect().left - left) / (right - left)) * n)));
    const tell = (i, px, py) => {
      const rows = own
        ? shown.map((s) => { const k = Math.min(s.values.length - 1, Math.round((i / Math.max(1, n - 1)) * (s.values.length - 1))); return [`${s.name}, layer ${k}`, number(s.values[k])]; })
        : shown.map((s) => [s.name, number(s.values[i])]);
      tip.show(px, py, [own ? `${percent(i / Math.max(1, n - 1))} of the depth` : options.labels ? options.labels(i) : `layer ${i}`, ...rows]);
    };
    root.addEventListener("pointermove", (event) => {
      const i = at(event), px = own ? x(i / Math.max(1, n - 1)) : x(i);
      cross.setAttribute("x1", px); cross.setAttribute("x2", px); cross.setAttribute("visibility", "visible");
      tell(i, event.clientX, event.clientY);
    });
    root.addEventListener("pointerleave", () => { cross.setAttribute("visibility", "hidden"); tip.hide(); });
    if (options.pick && !own) {
      root.style.cursor = "pointer";
      root.addEventListener("click", (event) => options.pick(at(event)));
      root.addEventListener("keydown", (event) => {
        const now = options.selected();
        const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: n - 1 }[event.key];
        if (next === undefined) return;
        event.preventDefault();
        options.pick(Math.max(0, Math.min(n - 1, next)));
        stage.firstElementChild.focus();
      });
    }
    stage.replaceChildren(root);
  };
  keepDrawn(host, draw);
  numbersBelow(host, own ? ["model", "layer", options.yTitle] : [options.xName ?? "layer", ...series.map((s) => s.name)], () => own
    ? series.flatMap((s) => s.values.map((v, i) => [s.name, String(i), number(v)]))
    : Array.from({ length: n }, (_, i) => [String(i), ...series.map((s) => number(s.values[i]))]));
  return { draw: () => draw(host.getBoundingClientRect().width) };
}
/** Short numbers for axes: 0.01, 10, 1k is never written; 10,000 is. */
const axisNumber = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e6 || Math.abs(v) < 1e-3 ? v.toExponential(Number.isInteger(Math.log10(Math.abs(v))) ? 0 : 1).replace("+", "") : Math.abs(v) >= 1000 ? grouped(v.toFixed(0)) : String(Number(v.toPrecision(3))));

/** Bars over tokens. options: items [{text, title, value, hot}], yTitle, threshold, pick(i), selected(), describe, log. */
function barChart(host, options) {
  host.classList.add("chart");
  const draw = (width) => {
    const { items } = options, n = Math.max(1, items.length);
    const height = options.height ?? 230;
    const room = (width - 68) / n, turned = room < 64, labelled = room >= 13;
    const longest = Math.max(1, ...items.map((item) => [...short(item.text, 12)].length));
    const left = 54, right = width - 14, top = 16, bottom = height - (labelled ? (turned ? Math.min(92, 14 + longest * 6.6) : 28) : 30);
    const y = scale([...items.map((item) => item.value), ...(finite(options.threshold) ? [options.threshold] : [])], [bottom, top], { zero: true });
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.describe() });
    for (const v of ticks(y.low, y.high, false, 4)) {
      root.append(svg("line", { class: "gridline", x1: left, x2: right, y1: y(v), y2: y(v) }), svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, axisNumber(v)));
    }
    root.append(svg("text", { class: "axis-title", x: 0, y: 8 }, options.yTitle));
    const step = (right - left) / n, thick = Math.min(46, Math.max(0.6, step * 0.66));
    const every = labelled ? 1 : Math.ceil(n / Math.max(1, Math.floor((right - left) / 46)));
    items.forEach((item, i) => {
      const x = left + (i + 0.5) * step;
      if (options.selected && options.selected() === i) root.append(svg("rect", { class: "chosen", x: x - step / 2, y: top, width: step, height: bottom - top, rx: 3 }));
      if (finite(item.value)) {
        const a = y(Math.max(0, item.value)), b = y(Math.min(0, item.value));
        root.append(svg("rect", { class: item.hot ? "bar-rect hot" : "bar-rect", x: x - thick / 2, y: a, width: thick, height: Math.max(item.value === 0 ? 0 : 1, b - a), rx: Math.min(3, thick / 4) }));
      }
      if (labelled) {
        root.append(turned
          ? svg("text", { transform: `translate(${x + 4} ${bottom + 10}) rotate(-90)`, "text-anchor": "end" }, short(item.text, 12))
          : svg("text", { x, y: bottom + 17, "text-anchor": "middle" }, short(item.text, Math.max(3, Math.floor(step / 7)))));
      } else if (i % every === 0) root.append(svg("text", { x, y: bottom + 17, "text-anchor": "middle" }, String(i)));
      const hit = svg("rect", { class: "bar-hit", x: x - step / 2, y: top, width: step, height: bottom - top });
      hit.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, [`${i}: ${item.text}`, ...(item.title ?? [["value", number(item.value)]])]));
      hit.addEventListener("pointerleave", tip.hide);
      if (options.pick) hit.addEventListener("click", () => options.pick(i));
      root.append(hit);
    });
    root.append(svg("line", { class: "axis", x1: left, x2: right, y1: y(0), y2: y(0) }));
    if (finite(options.threshold)) root.append(svg("line", { class: "threshold", x1: left, x2: right, y1: y(options.threshold), y2: y(options.threshold) }));
    host.replaceChildren(root);
  };
  keepDrawn(host, draw);
}

/** Thin stems over channels. options: values, channels (position of each), channelCount, yTitle, xTitle, named [{at, text}], describe. */
function stemChart(host, options) {
  host.classList.add("chart");
  const draw = (width) => {
    const height = 200, left = 54, right = width - 14, top = 18, bottom = height - 40;
    const { values, channels, channelCount } = options;
    const y = scale([...values], [bottom, top], { zero: true });
    const x = (c) => left + ((c + 0.5) / channelCount) * (right - left);
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.describe() });
    for (const v of ticks(y.low, y.high, false, 4)) root.append(svg("line", { class: "gridline", x1: left, x2: right, y1: y(v), y2: y(v) }), svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, axisNumber(v)));
    let d = "", hot = "";
    const big = Math.max(...Array.from(values, (v) => (finite(v) ? Math.abs(v) : 0))) / 2;
    values.forEach((v, i) => {
      if (!finite(v)) return;
      const part = `M${x(channels[i]).toFixed(1)} ${y(0).toFixed(1)}V${y(v).toFixed(1)}`;
      if (Math.abs(v) > big) hot += part; else d += part;
    });
    for (const [path, name, thick] of [[d, "cool", 1.1], [hot, "accent", 2.2]]) {
      const node = svg("path", { class: "stems", d: path });
      node.style.stroke = `var(--${name})`;
      node.style.strokeWidth = thick;
      root.append(node);
    }
    root.append(svg("line", { class: "axis", x1: left, x2: right, y1: y(0), y2: y(0) }));
    for (const c of places(channelCount, right - left, 48)) root.append(svg("text", { x: x(c), y: bottom + 17, "text-anchor": "middle" }, String(c)));
    for (const mark of options.named ?? []) {
      const value = values[channels.indexOf(mark.at)];
      if (!finite(value)) continue;
      const end = x(mark.at) > right - 70;
      root.append(svg("text", { class: "mark-text", x: x(mark.at) + (end ? -6 : 6), y: Math.max(top + 6, Math.min(bottom - 2, y(value) + (value > 0 ? 9 : 2))), "text-anchor": end ? "end" : "start" }, mark.text));
    }
    root.append(svg("text", { class: "axis-title", x: 0, y: 9 }, options.yTitle), svg("text", { class: "axis-title", x: right, y: height - 5, "text-anchor": "end" }, options.xTitle));
    root.addEventListener("pointermove", (event) => {
      const wanted = ((event.clientX - root.getBoundingClientRect().left - left) / (right - left)) * channelCount;
      let best = -1;
      channels.forEach((c, i) => { if (Math.abs(c - wanted) <= channelCount * 0.01 + 1 && (best < 0 || Math.abs(values[i]) > Math.abs(values[best]))) best = i; });
      if (best >= 0) tip.show(event.clientX, event.clientY, [`${options.unit ?? "channel"} ${channels[best]}`, ["value", number(values[best])]]);
    });
    root.addEventListener("pointerleave", tip.hide);
    host.replaceChildren(root);
  };
  keepDrawn(host, draw);
}

/**
 * A map of cells. options: rows, columns, value(r, c) -> share 0..1 for the colour or NaN for none, ramp, rowText(r),
 * columnText(c), rowTitle, columnTitle, tell(r, c) -> tooltip lines, pick(r, c), selected() -> [r, c] (-1: a whole line),
 * describe, cellHeight.
 */
function heatMap(host, options) {
  host.classList.add("chart");
  // A choice may draw the whole map anew: focus and cursor stay where they were.
  const focused = host.contains(document.activeElement);
  let cursor = cursors.get(host) ?? [0, 0];
  if (cursor[0] >= options.rows || cursor[1] >= options.columns) cursor = [0, 0];
  const moveTo = (cell) => { cursor = cell; cursors.set(host, cell); };
  const canvas = el("canvas", { tabindex: "0", role: "img" });
  const said = el("p", { class: "visually-hidden", "aria-live": "polite" });
  host.replaceChildren(canvas, said);
  canvas.setAttribute("aria-label", options.describe());
  let geometry = null;
  const draw = (width) => {
    const { rows, columns } = options;
    const context = canvas.getContext("2d"), density = Math.max(2, Math.min(3, devicePixelRatio || 1));
    const font = `11.5px ${colour("sans")}`;
    context.font = font;
    const cut = (text) => short(text, 12);
    const left = 14 + Math.ceil(Math.max(12, ...Array.from({ length: Math.min(rows, 400) }, (_, r) => context.measureText(cut(options.rowText(r))).width))) + 8;
    const cellWidth = (width - left - 4) / columns;
    const cellHeight = options.square ? Math.min(cellWidth, 46) : options.cellHeight ?? Math.max(2, Math.min(18, 420 / rows));
    const w = options.square ? Math.min(cellWidth, 46) : cellWidth;
    const turned = Array.from({ length: Math.min(columns, 400) }, (_, c) => context.measureText(cut(options.columnText(c))).width).some((t) => t > w - 4);
    const labelRoom = options.numericColumns ? 18 : turned && w >= 11 ? Math.ceil(Math.max(...Array.from({ length: columns }, (_, c) => context.measureText(cut(options.columnText(c))).width))) + 8 : 18;
    const top = 20, height = Math.ceil(top + rows * cellHeight + labelRoom + 20);
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.setAttribute("aria-label", `${options.describe()} Arrow keys read the cells${options.pick ? ", Enter chooses one" : ""}.`);
    geometry = { left, top, w, h: cellHeight };
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    const gap = w > 7 && cellHeight > 7 ? 1 : 0;
    for (let r = 0; r < rows; ++r) {
      for (let c = 0; c < columns; ++c) {
        const share = options.value(r, c);
        if (share === null) continue;
        context.fillStyle = css(ramp(options.ramp, share));
        // Whole pixels, so that neighbours meet.
        const x0 = Math.round((left + c * w) * density) / density, x1 = Math.round((left + (c + 1) * w) * density) / density;
        const y0 = Math.round((top + r * cellHeight) * density) / density, y1 = Math.round((top + (r + 1) * cellHeight) * density) / density;
        context.fillRect(x0, y0, Math.max(x1 - x0 - gap, 0.5), Math.max(y1 - y0 - gap, 0.5));
      }
    }
    context.font = font;
    context.fillStyle = colour("soft");
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const r of options.everyRow && cellHeight >= 10 ? Array.from({ length: rows }, (_, i) => i) : places(rows, rows * cellHeight, 15)) context.fillText(cut(options.rowText(r)), left - 7, top + (r + 0.5) * cellHeight);
    const under = top + rows * cellHeight + 6;
    if (options.numericColumns || !(turned && w >= 11)) {
      context.textAlign = "center";
      context.textBaseline = "top";
      for (const c of turned || options.numericColumns ? places(columns, columns * w, 22) : Array.from({ length: columns }, (_, i) => i)) context.fillText(turned && !options.numericColumns ? String(c) : cut(options.columnText(c)), left + (c + 0.5) * w, under);
    } else {
      for (let c = 0; c < columns; ++c) {
        context.save();
        context.translate(left + (c + 0.5) * w, under);
        context.rotate(-Math.PI / 2);
        context.textAlign = "right";
        context.textBaseline = "middle";
        context.fillText(cut(options.columnText(c)), 0, 0);
        context.restore();
      }
    }
    context.textBaseline = "top";
    context.textAlign = "left";
    context.fillText(options.rowTitle, 0, 0);
    context.textAlign = "right";
    context.fillText(options.columnTitle, left + columns * w, height - 13);
    const chosen = options.selected?.();
    if (chosen) {
      context.strokeStyle = colour("ink");
      context.lineWidth = 1.5;
      const [r, c] = chosen;
      context.strokeRect(left + Math.max(c, 0) * w - 1, top + r * cellHeight - 1, (c < 0 ? columns : 1) * w + 1, cellHeight + 1);
    }
    if (document.activeElement === canvas) {
      context.strokeStyle = colour("accent");
      context.lineWidth = 2;
      context.strokeRect(left + cursor[1] * w - 1, top + cursor[0] * cellHeight - 1, w + 1, cellHeight + 1);
    }
  };
  const redraw = () => draw(host.getBoundingClientRect().width);
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const c = Math.floor((event.clientX - box.left - geometry.left) / geometry.w), r = Math.floor((event.clientY - box.top - geometry.top) / geometry.h);
    return r >= 0 && c >= 0 && r < options.rows && c < options.columns && options.value(r, c) !== null ? [r, c] : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    canvas.style.cursor = cell && options.pick ? "pointer" : "";
    if (cell) tip.show(event.clientX, event.clientY, options.tell(...cell));
    else tip.hide();
  });
  canvas.addEventListener("pointerleave", tip.hide);
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell && options.pick) { moveTo(cell); options.pick(...cell); }
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (move) {
      event.preventDefault();
      const [r, c] = [cursor[0] + move[0], cursor[1] + move[1]];
      if (r < 0 || c < 0 || r >= options.rows || c >= options.columns || options.value(r, c) === null) return;
      moveTo([r, c]);
      said.textContent = options.tell(r, c).map((line) => (Array.isArray(line) ? line.join(" ") : line)).join(", ");
      redraw();
    } else if (event.key === "Enter" && options.pick) options.pick(...cursor);
  });
  canvas.addEventListener("focus", redraw);
  canvas.addEventListener("blur", redraw);
  keepDrawn(host, draw);
  if (focused) canvas.focus({ preventScroll: true });
  return { draw: redraw };
}
const cursors = new WeakMap();

/** A scale's legend: low end, colours, high end. */
function colourScale(name, low, high, title) {
  const bar = el("i", {});
  bar.style.background = rampGradient(name);
  return el("span", { class: "scale" }, title ? el("span", {}, title) : null, el("span", { class: "num" }, low), bar, el("span", { class: "num" }, high));
}

/**
 * A table that sorts and filters. options: columns [{key, text, number, show(row), value(row), help}], rows, filters
 * [{key, text, options}], search(row) -> text, sort [key, descending], choose(row), chosen(row), limit, caption, empty.
 */
function dataTable(host, options) {
  const state = { sort: options.sort, limit: options.limit ?? 12, search: "", filters: {} };
  const body = el("tbody"), status = el("span", { "aria-live": "polite" });
  const more = el("button", { type: "button", class: "more", onclick: () => { state.limit *= 5; draw(); } }, "Show more");
  const heads = options.columns.map((column) => {
    const th = el("th", { scope: "col", class: column.number ? "right" : null, title: column.help });
    th.append(column.fixed ? column.text : el("button", { type: "button", onclick: () => { state.sort = [column.key, state.sort[0] === column.key ? !state.sort[1] : Boolean(column.number)]; draw(); } }, column.text));
    return th;
  });
  const tools = el("div", { class: "table-tools" });
  if (options.search) tools.append(el("input", { type: "search", placeholder: "filter", "aria-label": `filter ${options.caption}`, oninput: (event) => { state.search = event.target.value.toLowerCase(); draw(); } }));
  for (const filter of options.filters ?? []) {
    tools.append(el("label", { class: "field" }, filter.text, el("select", { "data-filter": filter.key, onchange: (event) => { state.filters[filter.key] = event.target.value; draw(); } }, el("option", { value: "" }, "all"), filter.options.map((option) => el("option", { value: String(option) }, filter.names?.[option] ?? String(option))))));
  }
  tools.append(el("span", { class: "push" }, status));
  const focused = host.contains(document.activeElement);
  const valueOf = (column, row) => (column.value ? column.value(row) : row[column.key]);
  const draw = () => {
    const [key, descending] = state.sort;
    const column = options.columns.find((c) => c.key === key);  // none: the order they came in
    const rows = options.rows.filter((row) => (!state.search || options.search(row).toLowerCase().includes(state.search)) && Object.entries(state.filters).every(([k, v]) => v === "" || String(row[k]) === v));
    const order = (a, b) => {
      const x = valueOf(column, a), y = valueOf(column, b);
      const result = typeof x === "string" ? x.localeCompare(y) : (x ?? -Infinity) - (y ?? -Infinity);
      return descending ? -result : result;
    };
    if (column) rows.sort(order);
    heads.forEach((th, i) => { if (options.columns[i].key === key) th.setAttribute("aria-sort", descending ? "descending" : "ascending"); else th.removeAttribute("aria-sort"); });
    body.replaceChildren(...rows.slice(0, state.limit).map((row) => el("tr", { "aria-current": options.chosen?.(row) ? "true" : null },
      options.columns.map((c, i) => {
        const shown = c.show ? c.show(row) : String(row[c.key]);
        return el("td", { class: c.number ? "right num" : null }, i === 0 && options.choose ? el("button", { type: "button", class: "link", onclick: () => options.choose(row) }, shown) : shown);
      }))));
    if (rows.length === 0) body.append(el("tr", {}, el("td", { colspan: options.columns.length, class: "empty" }, options.rows.length === 0 ? options.empty ?? "none" : "nothing matches the filter")));
    status.textContent = rows.length === options.rows.length ? `${count(rows.length)} ${rows.length === 1 ? "row" : "rows"}` : `${count(rows.length)} of ${count(options.rows.length)} rows`;
    more.hidden = rows.length <= state.limit;
  };
  host.replaceChildren(...((options.search || options.filters?.length) && options.rows.length > 3 ? [tools] : []), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": options.caption }, el("table", {}, el("caption", { class: "visually-hidden" }, options.caption), el("thead", {}, el("tr", {}, heads)), body)), more);
  draw();
  if (focused) host.querySelector("[aria-current] button")?.focus({ preventScroll: true });
  return { draw };
}
