// Method: definitions, how the report was made, what stands beside it; and the start of everything.

function startMethod() {
  showDefinitions($("definitions"), R.json.definitions);
  const run = R.run, s = run.seconds, threads = `${run.threads} ${run.threads === 1 ? "thread" : "threads"}`;
  const source = (text) => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
  const corpusWords = ({ source: from, sequences, tokens_per_sequence: tokens }) => (
    IMAGES ? `${from}, ${count(tokens)} tokens each` : `${from}: ${count(sequences)} × ${count(tokens)} tokens, seed ${run.seed}`);
  const pairs = [
    ["program", `outliers ${run.version} (${run.commit}), LibTorch ${run.libtorch}`],
    ["computed on", `${run.device}, ${run.dtype}, ${threads}`],
    ["machine", run.machine], ["measures", run.measures.map(words).join(", ")],
    ...R.prompts.map((input) => [R.title(input.name), source(input.source)]), ["BOS", IMAGES ? "" : run.bos],
    ...R.corpora.map((input) => [R.title(input.name), corpusWords(input)]),
    ["time", `load ${seconds(s.load)}, forward ${seconds(s.forward)}, statistics ${seconds(s.statistics)}, report ${seconds(s.report)}`],
    ["first product", `after ${seconds(run.first_product_seconds)}`], ["peak memory", bytes(run.peak_host_bytes)],
    ["on the device", run.peak_device_bytes ? bytes(run.peak_device_bytes) : ""], ["weights", bytes(R.model.weight_bytes)],
  ];
  for (const [name, value] of pairs) if (value) $("run").append(el("dt", {}, name), el("dd", {}, value));
  startFiles();
  const hint = (text) => $("about").append(el("p", { class: "hint" }, text));
  hint("One file, made by outliers report; it opens from disk and asks for nothing from anywhere. The address keeps what is chosen, "
    + "so a view can be sent along with the file. Arrow keys move through layers, cells and tokens.");
  hint("Layers, channels, neurons, heads and tokens count from 0. The 3D view is drawn by plotly.js (MIT licence, © Plotly, Inc.), "
    + "which lies in this file.");
}

function startFiles() {
  const link = (path, text) => el("a", { href: path.split("/").map(encodeURIComponent).join("/") }, text);
  $("files").append(el("ul", {}, el("li", {}, link("results.json", "results.json"), ": every number, with its place"),
    el("li", {}, link("arrays.npz", "arrays.npz"), ": arrays for figures; numpy.load opens it")));
  const figures = Object.entries(INDEX.figures);
  if (!figures.length) {
    $("files").append(el("p", { class: "hint" }, "No figures stand beside this page; outliers plot draws them."));
    return;
  }
  $("files").append(el("details", { class: "figures" }, el("summary", {}, `${figures.length} figures for a paper`),
    el("ul", {}, figures.map(([name, formats]) => el("li", {}, `${words(name)}: `,
      formats.flatMap((format, i) => [i ? ", " : "", link(`figures/${name}.${format}`, format)]))))));
}

async function start() {
  startBar();
  startNames();
  startHead();
  startStrip();
  startFindings();
  startActivations();
  startAlignment();
  startSuperWeights();
  startInterventions();
  startFormats();
  startValues();
  startMethod();
  document.documentElement.dataset.ready = "numbers";
  const arrays = await Arrays.open();
  startLife(arrays);
  startPromptView(arrays);
  startNorms(arrays);
  startWeights(arrays);
  startAttention(arrays);
  startTokens(arrays);
  startNavigation();
  document.documentElement.dataset.ready = "all";
}
start();
