// The page of an intervention.

const DATA = parseBlock("interventions-data"), INDEX = parseBlock("index"), ALL = new Interventions(DATA);
const state = new State({ run: startRun(ALL), number: "max", theme: "system" });
const CHECKS = {
  run: (v) => ALL.choices.some(([name]) => name === v), number: (v) => v in STATES, theme: (v) => ["system", "light", "dark"].includes(v),
};
state.read((key, value) => CHECKS[key](value));

function startMethod() {
  const { model, run, text } = DATA, s = run.seconds, seeds = DATA.runs.filter((one) => one.seed !== undefined);
  const pairs = [
    ["model", `${model.name} (${model.family}, ${model.format}, ${model.layers} layers, ${count(model.parameters)} parameters)`],
    ["text", interventionText(text)], ["BOS", `${text.bos}${text.bos_ids.length ? ` (${text.bos_ids.join(", ")})` : ""}`],
    ["controls", seeds.length ? `${count(seeds.length)} runs with random edits of as many values, seeds 1 to ${Math.max(...seeds.map((one) => one.seed))}` : "none"],
    ["program", `outliers ${run.version} (${run.commit}), LibTorch ${run.libtorch}`],
    ["computed on", `${run.device}, ${run.dtype}, ${run.threads} ${run.threads === 1 ? "thread" : "threads"}`],
    ["machine", run.machine], ["processes", run.ranks],
    ["time", `load ${seconds(s.load)}, forward ${seconds(s.forward)}, statistics ${seconds(s.statistics)}`],
    ["peak memory", bytes(run.peak_host_bytes)],
  ];
  for (const [name, value] of pairs) if (value) $("run").append(el("dt", {}, name), el("dd", {}, String(value)));
  const link = (path, shown) => el("a", { href: path.split("/").map(encodeURIComponent).join("/") }, shown);
  $("files").append(el("ul", {}, el("li", {}, link("interventions.json", "interventions.json"), ": every number, with each window's"),
    Object.entries(INDEX.figures).map(([name, formats]) => el("li", {}, `${words(name)}: `,
      formats.flatMap((format, i) => [i ? ", " : "", link(`figures/${name}.${format}`, format)])))));
  if (!Object.keys(INDEX.figures).length) $("files").append(el("p", { class: "hint" }, "No figures stand beside this page; outliers plot draws them."));
}

function start() {
  startTheme(state, $("theme"));
  const meta = DATA.model;
  $("model-meta").textContent = `${meta.family}, ${meta.layers} layers, D ${count(meta.width)}; ${interventionText(DATA.text)}`;
  startInterventionParts(ALL, state);
  startMethod();
  startNavigation();
  document.documentElement.dataset.ready = "all";
}
start();
