// What every part of the page uses: elements, state that lives in the URL, colours.
// Text that comes out of a report reaches the document only as text nodes and attributes, never as markup.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** el("p", {class: "hint", onclick: f}, "text", child): an HTML element. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// ---- words
const words = (name) => (name === "cls" ? "CLS" : String(name).replaceAll("_", " "));
/** A token's text, told apart from the words around it; " is" keeps its space. */
const token = (text) => el("span", { class: "tok" }, text === "" ? " " : text);
const short = (text, length = 14) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text);
const median = (values) => {
  const sorted = values.filter(finite).sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : NaN;
};

// ---- state: one flat object of strings and numbers, shown in the URL's fragment so that a view can be sent
class State {
  constructor(defaults) {
    this.defaults = defaults;
    this.values = { ...defaults };
    this.listeners = [];
  }
  /** Reads "#layer=2&point=down_in"; what is unknown or impossible is left at its default. */
  read(check) {
    for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
      if (!(key in this.defaults)) continue;
      const value = typeof this.defaults[key] === "number" ? Number(text) : text;
      if (check(key, value)) this.values[key] = value;
    }
  }
  get(key) { return this.values[key]; }
  set(changes) {
    const changed = Object.keys(changes).filter((key) => this.values[key] !== changes[key]);
    if (changed.length === 0) return;
    Object.assign(this.values, changes);
    this.write();
    for (const [keys, f] of this.listeners) if (keys.some((key) => changed.includes(key))) f();
  }
  write() {
    const parameters = new URLSearchParams();
    for (const [key, value] of Object.entries(this.values)) if (value !== this.defaults[key]) parameters.set(key, value);
    const text = parameters.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }
  /** Calls f now and whenever one of the keys changes. */
  watch(keys, f) {
    this.listeners.push([keys, f]);
    f();
  }
}

// ---- theme: as the system, or chosen
function startTheme(state, button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const order = ["system", "light", "dark"], signs = { system: "◐", light: "☀", dark: "☾" };
  const apply = () => {
    const choice = state.get("theme");
    document.documentElement.dataset.theme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
    button.setAttribute("aria-label", `colours: ${choice === "system" ? "as the system" : choice}; change`);
    button.title = button.getAttribute("aria-label");
    button.firstElementChild.textContent = signs[choice];
    redrawAll();
  };
  button.addEventListener("click", () => state.set({ theme: order[(order.indexOf(state.get("theme")) + 1) % 3] }));
  system.addEventListener("change", apply);
  state.watch(["theme"], apply);
}
const isDark = () => document.documentElement.dataset.theme === "dark";
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// ---- colour scales
const RAMPS = {
  // YlGnBu (Brewer), and its turn for dark paper.
  probability: {
    light: ["#ffffe3", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58"],
    dark: ["#171b22", "#182a48", "#1f4278", "#21689a", "#2b93ad", "#5cbcae", "#a4d9ad", "#e2f1b0", "#ffffe3"],
  },
  size: { light: ["#ffffff", "#fbe3ef", "#f1a9cf", "#d9559f", "#a80f62"], dark: ["#1a1d23", "#3f1d30", "#7e2a58", "#c94b8d", "#ffa1cf"] },
};
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
/** share 0..1 -> [r, g, b]. */
function ramp(name, share) {
  const stops = RAMPS[name][isDark() ? "dark" : "light"];
  if (!finite(share)) return rgb(colour("sunk"));
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
  const a = rgb(stops[low]), b = rgb(stops[low + 1]);
  return a.map((v, i) => Math.round(v + (b[i] - v) * (at - low)));
}
const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const rampGradient = (name) => `linear-gradient(90deg, ${RAMPS[name][isDark() ? "dark" : "light"].join(", ")})`;
/** Black or white, whichever reads on the colour. */
const inkOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#16181d" : "#ffffff");

// ---- the one tooltip
const tip = {
  /** lines: strings, or [name, value] pairs; the first line is the title. */
  show(x, y, [title, ...lines]) {
    const node = $("tip");
    const row = (line) => (Array.isArray(line) ? el("span", {}, el("i", {}, line[0]), el("span", {}, line[1])) : el("span", {}, line));
    node.replaceChildren(el("b", {}, title), ...lines.map(row));
    node.hidden = false;
    const { width, height } = node.getBoundingClientRect();
    const left = x + 16 + width > innerWidth - 6 ? x - width - 14 : x + 16;
    node.style.left = `${Math.min(Math.max(6, left), Math.max(6, innerWidth - width - 6))}px`;
    node.style.top = `${Math.max(6, Math.min(y + 14, innerHeight - height - 6))}px`;
  },
  hide() { $("tip").hidden = true; },
};

// ---- drawing: each chart draws for its width, again when the width or the theme changes
const drawings = new Map();
const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const drawing = drawings.get(target);
    if (drawing && contentRect.width > 0 && Math.abs(contentRect.width - drawing.width) >= 1) {
      drawing.width = contentRect.width;
      drawing.draw(contentRect.width);
    }
  }
});
/** Draws now and whenever it has to. */
function keepDrawn(host, draw) {
  for (const old of drawings.keys()) {
    if (old.isConnected) continue;
    drawings.delete(old);
    sizes.unobserve(old);
  }
  const width = host.getBoundingClientRect().width;
  drawings.set(host, { width, draw });
  sizes.observe(host);
  if (width > 0) draw(width);
}
function redrawAll() {
  for (const { width, draw } of drawings.values()) if (width > 0) draw(width);
}

// ---- controls
/** One of a few, as a row of buttons. options: [value, text] pairs. */
function segmented(state, key, label, options) {
  const group = el("div", { class: "segmented", role: "radiogroup", "aria-label": label });
  const buttons = options.map(([value, text]) =>
    el("button", { type: "button", role: "radio", "data-value": value, onclick: () => state.set({ [key]: value }) }, text));
  group.append(...buttons);
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
    state.set({ [key]: options[next][0] });
    buttons[next].focus();
  });
  state.watch([key], () => {
    for (const button of buttons) {
      const on = button.dataset.value === String(state.get(key));
      button.setAttribute("aria-checked", on);
      button.tabIndex = on ? 0 : -1;
    }
  });
  return group;
}
function picker(state, key, label, options, attributes = {}) {
  const chosen = () => (typeof state.defaults[key] === "number" ? Number(select.value) : select.value);
  const select = el("select", { "aria-label": label, ...attributes, onchange: () => state.set({ [key]: chosen() }) },
    options.map(([value, text]) => el("option", { value }, text)));
  state.watch([key], () => { select.value = String(state.get(key)); });
  return el("label", { class: "field" }, label, select);
}

// ---- what is not there
/** Hides what has nothing to show; of a section its entry of the navigation too. */
function showPart(id, there) {
  const part = $(id), link = document.querySelector(`nav a[href="#${id}"]`);
  part.hidden = !there;
  if (link) link.hidden = !there;
  return there;
}

// ---- navigation: sections are scrolled to, because the URL's fragment holds the state
function startNavigation() {
  const links = [...document.querySelectorAll(".bar nav a")];
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const section = document.querySelector(link.getAttribute("href"));
      section.scrollIntoView();
      section.tabIndex = -1;
      section.focus({ preventScroll: true });
    });
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      for (const link of links) {
        if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-30% 0px -60% 0px" });
  for (const section of document.querySelectorAll("main section")) seen.observe(section);
}

// ---- data blocks
/** JSON out of a report: its texts, names among them, are made visible here, once and for all that shows them. */
const parseReport = (text) => JSON.parse(text, (_, value) => {
  if (typeof value === "string") return visible(value);
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  if (!Object.keys(value).some((key) => HIDDEN.test(key))) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [visible(key), item]));
});
const parseBlock = (id) => parseReport($(id).textContent);
/** base64 of a zlib stream -> Uint8Array. */
async function inflateBlock(id) {
  const text = atob($(id).textContent.trim());
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
