// The 3D view, drawn by plotly.js. plotly.js comes with the page, compressed, and is unpacked when a view comes into sight.
// Tooltips are the page's own; plotly.js reads a little markup in labels, so labels are made plain first.

let plotlyLoading = null;
function plotly() {
  plotlyLoading ??= (async () => {
    const script = el("script");
    script.textContent = new TextDecoder().decode(await inflateBlock("plotly"));
    document.head.append(script);
    if (!window.Plotly) throw new Error("plotly.js did not start");
    return window.Plotly;
  })();
  return plotlyLoading;
}
/** Text that plotly.js shows as it is: no tag, no entity. */
const plain = (text) => text.replaceAll("<", "‹").replaceAll(">", "›").replaceAll("&", "&\u2060").replaceAll("$", "＄");

const hasWebGL = (() => {
  let known = null;
  return () => (known ??= Boolean(document.createElement("canvas").getContext("webgl")));
})();

/**
 * Ridges over channels, one a row, high where the value is. options(): {rows: [{name, values, channels, hot}], channelTitle,
 * zTitle, log, labels: [{row, channel, value, text}], tell(row, channel, value) -> tooltip lines, hot colour name}.
 */
function ridges(host, options) {
  const stage = el("div", { class: "plot3d", "aria-hidden": "true" }, el("div", { class: "waiting" }, "preparing the 3D view…"));
  host.replaceChildren(stage);
  if (!hasWebGL()) {
    stage.replaceChildren(el("div", { class: "waiting" }, "This browser has no WebGL, which the 3D view needs; the flat view shows the same values."));
    return { draw() {}, seen: Promise.resolve() };
  }
  let visible = false, drawn = false, current = null;
  const draw = async () => {
    if (!visible) return;
    const Plotly = await plotly();
    const o = options();
    current = o;
    const size = (v) => (o.log ? (Math.abs(v) > 0 ? Math.abs(v) : null) : Math.abs(v));
    const trace = (rows, name) => {
      const t = { type: "scatter3d", mode: "lines", x: [], y: [], z: [], customdata: [], hoverinfo: "none", showlegend: false, connectgaps: false,
        line: { color: colour(name), width: name === "cool" ? 2.6 : 4.5 } };
      for (const row of rows) {
        row.values.forEach((v, i) => { t.x.push(row.channels[i]); t.y.push(row.at); t.z.push(size(v)); t.customdata.push([row.at, row.channels[i], v]); });
        t.x.push(null); t.y.push(null); t.z.push(null); t.customdata.push(null);
      }
      return t;
    };
    const rows = o.rows.map((row, at) => ({ ...row, at }));
    const axis = (title, more) => ({
      title: { text: title, font: { size: 12, color: colour("soft") } }, color: colour("soft"), gridcolor: colour("line"), zerolinecolor: colour("line"), showbackground: false,
      showspikes: false, tickfont: { size: 11, color: colour("soft") }, ...more,
    });
    const every = Math.ceil(rows.length / 14);
    const away = Math.max(1, 620 / Math.max(280, stage.clientWidth));  // narrow windows look from further off
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", font: { family: colour("sans"), color: colour("soft"), size: 12 }, uirevision: "kept", showlegend: false,
      scene: {
        uirevision: "kept", aspectmode: "manual", aspectratio: { x: 1.9, y: 1.1, z: 0.8 }, camera: { eye: { x: -1.05 * away, y: -1.95 * away, z: 0.92 * away }, center: { x: 0, y: 0, z: -0.12 } },
        dragmode: "turntable",
        xaxis: axis(o.channelTitle, {}), yaxis: axis("", { tickvals: rows.filter((_, i) => i % every === 0).map((row) => row.at), ticktext: rows.filter((_, i) => i % every === 0).map((row) => plain(short(row.name, 12))) }),
        zaxis: axis(o.zTitle, { type: o.log ? "log" : "linear", rangemode: "tozero", exponentformat: "power", nticks: 6 }),
        annotations: o.labels.map((label) => ({
          x: label.channel, y: label.row, z: o.log ? Math.log10(Math.abs(label.value)) : Math.abs(label.value), text: plain(label.text), showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: colour("faint"),
          ax: 22, ay: -16, font: { size: 12, color: colour("accent-ink") }, bgcolor: "rgba(0,0,0,0)",
        })),
      },
    };
    const data = [trace(rows.filter((row) => !row.hot), "cool"), trace(rows.filter((row) => row.hot), o.hotColour ?? "accent")].filter((t) => t.x.length > 0);
    if (!drawn) stage.replaceChildren();
    await Plotly.react(stage, data, layout, { displayModeBar: false, responsive: true, scrollZoom: false, showTips: false });
    if (!drawn) {
      stage.on("plotly_hover", (event) => {
        const point = event.points[0]?.customdata;
        if (point) tip.show(event.event?.clientX ?? innerWidth / 2, event.event?.clientY ?? 80, current.tell(...point));
      });
      stage.on("plotly_unhover", tip.hide);
    }
    drawn = true;
    stage.dataset.drawn = String(Number(stage.dataset.drawn ?? 0) + 1);
  };
  const failed = (error) => stage.replaceChildren(el("div", { class: "waiting" }, `The 3D view could not be drawn (${error.message}); the flat view shows the same values.`));
  const safely = () => draw().catch(failed);
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    visible = true;
    safely();
  }, { rootMargin: "300px" }).observe(stage);
  drawings.set(stage, { width: 1, draw: safely });
  return { draw: safely };
}
