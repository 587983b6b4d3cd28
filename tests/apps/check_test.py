#!/usr/bin/env python3
"""`outliers check`, and the findings of a report: every metric of docs/rules.md against NumPy on what the report measured, exit codes,
and files of rules that are refused."""
import json
import pathlib
import re
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from main_job import golden_model  # noqa: E402
from program import ROOT, FolderTest, main, run  # noqa: E402

FINITE = 1e300
SAMPLES = {  # of other models than the tiny one
    "sink_rate": "mixtral_experts", "super_expert_over_median": "mixtral_experts", "layers_not_finite": "broken",
    "weights_not_finite": "broken", "high_patch_share": "dinov2_with_registers_shrunk"}


def metrics():
    """The names and places of the table in docs/rules.md."""
    table = (ROOT / "docs/rules.md").read_text().split("<!-- metrics -->\n")[1].split("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {row[0].strip("`"): [at for at in row[2].split(", ") if at] for row in rows}


METRICS = metrics()


def rules(metric, bad):
    """A rule that finds the largest (above) or the smallest value of a metric, wherever it is."""
    threshold = -FINITE if bad == "above" else FINITE
    return f'[[rule]]\nid = "{metric}"\nmetric = "{metric}"\nbad = "{bad}"\nnote = {threshold}\ntitle = "{{layers}}"\ntext = "{{value}}"\n'


def plant(weights):
    """Layer 1's most outlying column is of a neuron that writes little."""
    weights["model.layers.1.mlp.down_proj.weight"][:, 20] = 0
    weights["model.layers.1.mlp.down_proj.weight"][9, 20] = 0.5


def break_layer_2(weights):
    weights["model.layers.2.mlp.up_proj.weight"][3, 5] = np.nan


def matrix_ratios(w):
    """max/mean of abs W of every row, and of every column."""
    size = np.abs(w.astype(np.float64))
    return size.max(1) / size.mean(1), size.max(0) / size.mean(0)


def kurtosis(w, epsilon=0.0):
    w = w.astype(np.float64)
    centred = w - w.mean()
    return np.mean(centred**4) / (np.mean(centred**2) ** 2 + epsilon)


class CheckTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        windows = ("--corpus", cls.corpus, "--sequences", 2, "--tokens", 24, "--threads", 1)
        cls.model = tiny.write_model(cls.dir / "tiny", plant)
        broken = tiny.write_model(cls.dir / "broken", break_layer_2)
        cls.made = {"tiny": (cls.model, windows), "broken": (broken, windows)}
        words = cls.dir / "words.txt"
        words.write_text("the sea was calm and the crew slept. " * 20)
        for name in sorted(set(SAMPLES.values()) - {"broken"}):
            folder, images = golden_model(name, cls.dir)
            cls.made[name] = (folder, images or ("--prompt", "warm.", "--corpus", words, "--sequences", 2, "--tokens", 8))
        cls.results, cls.arrays = {}, {}
        for name, (model, options) in cls.made.items():
            out = cls.dir / f"{name}.report"
            cls().succeed("report", model, "-o", out, "--no-figures", *options)
            cls.results[name] = reading.load(out)
            cls.arrays[name] = dict(np.load(out / "arrays.npz"))

    def found(self, name, metrics, bad):
        """metric -> point, module or "" -> what a rule of the metric finds; all of one report by one command."""
        path = self.dir / "one.toml"
        path.write_text("".join(rules(metric, bad) for metric in metrics))
        all_of = {metric: {} for metric in metrics}
        for f in json.loads(self.succeed("check", self.dir / f"{name}.report", "--rules", path, "--json")):
            all_of[f["id"]][f["place"].get("point", f["place"].get("module", ""))] = f
        return all_of

    def of_points(self, of):
        """point -> [of(input, layer, point) of the tiny report]."""
        places = [(name, l) for name in ("prompt", "corpus") for l in range(tiny.L)]
        return {point: [of(name, l, point) for name, l in places] for point in ("resid_out", "down_in")}

    def extent(self, name, layer, point):
        """Largest and median abs x: of the prompt, whose values are kept, by NumPy; of the corpus the median is the report's."""
        largest = self.arrays["tiny"][f"{name}.{point}.channel_max"][layer].max()
        if name == "prompt":
            values = np.abs(self.arrays["tiny"][f"prompt.{point}"][layer])
            self.assertEqual(values.max(), largest)
            return float(largest), float(np.median(values))
        return float(largest), reading.layers(self.results["tiny"], name, point)[layer]["median"]

    def expected(self):
        """metric -> {place: all its values}, by NumPy."""
        r, a, w = self.results["tiny"], self.arrays["tiny"], tiny.weights()
        plant(w)
        ratio = self.of_points(lambda *at: self.extent(*at)[0] / self.extent(*at)[1])
        largest = self.of_points(lambda *at: self.extent(*at)[0])
        massive = self.of_points(lambda *at: [self.extent(*at)[0] / self.extent(*at)[1]]
                                 if self.extent(*at)[0] > max(100, 1000 * self.extent(*at)[1]) else [])
        heavy = self.of_points(lambda name, l, point: kurtosis(a[f"prompt.{point}"][l], 1e-6) if name == "prompt"
                               else reading.layers(r, name, point)[l]["kurtosis_pearson"])
        names = {short: f"self_attn.{short}_proj" for short in "qkvo"} | {short: f"mlp.{short}_proj" for short in ("gate", "up", "down")}
        matrices = {short: [w[f"model.layers.{l}.{name}.weight"] for l in range(tiny.L)] for short, name in names.items()}
        heads = [[head["sink_rate"] for head in layer["heads"]]
                 for layer in reading.layers(self.results["mixtral_experts"], "corpus", "attention")]
        scores, T = a["corpus.attention.key_scores"], 24
        outliers = [(n, t) for layer in scores for n, t in zip(*np.nonzero(layer >= 0.1 * T))]
        life, down = reading.life(r), w["model.layers.1.mlp.down_proj.weight"]
        self.assertEqual(life["born_layer"], 1)
        token, channel = np.unravel_index(np.abs(a["prompt.resid_out"][1]).argmax(), a["prompt.resid_out"][1].shape)
        products = a["prompt.down_in"][1, token].astype(np.float64) * down[channel]
        top_weights = []
        for l in range(tiny.L):
            reach, matrix = a["corpus.down_in.channel_max"][l].astype(np.float64), matrices["down"][l]
            mean = reading.layers(r, "corpus", "down_in")[l]["mean"]
            column = matrix_ratios(matrix)[1].argmax()
            if reach.max() > 1000 * mean and column != reach.argmax():
                products_of = reach * np.abs(matrix).max(0)
                top_weights.append(products_of[column] / products_of.max())
        self.assertEqual(len(top_weights), 1)
        experts = [e["down_out_max"] for layer in self.results["mixtral_experts"]["layers"] for one in layer["inputs"].values()
                   for e in one["experts"]]
        tallest = sorted(experts, reverse=True)
        norms = self.arrays["dinov2_with_registers_shrunk"]["corpus.resid_out.token_norm"][-1]
        patches = norms[:, -self.results["dinov2_with_registers_shrunk"]["images"]["rows"]
                        * self.results["dinov2_with_registers_shrunk"]["images"]["columns"]:]
        wanted = {
            "layers_not_finite": {"down_in": [tiny.L - 2]},
            "of_fp16_max": {p: [v / 65504 for v in x] for p, x in largest.items()},
            "of_fp8_e4m3_max": {p: [v / 448 for v in x] for p, x in largest.items()},
            "max_over_median": ratio,
            "int8_step_over_median": {p: [v / 127 for v in x] for p, x in ratio.items()},
            "massive_over_median": {p: sum(x, []) for p, x in massive.items()},
            "kurtosis": heavy,
            "weights_not_finite": {m: [0, 1] if m == "up" else [0, 0] for m in names},
            "weight_max_over_mean": {m: [max(map(np.max, matrix_ratios(x))) for x in list_] for m, list_ in matrices.items()},
            "weight_row_max_over_mean": {m: [matrix_ratios(x)[0].max() for x in list_] for m, list_ in matrices.items()},
            "weight_kurtosis": {m: [kurtosis(x) for x in list_] for m, list_ in matrices.items()},
            "one_neuron_share": {"down": [products[np.abs(products).argmax()] / a["prompt.resid_out"][1, token, channel]]},
            "top_weight_share": {"down": top_weights},
            "sink_rate": {"": [np.mean(layer) for layer in heads]},
            "top_key_share": {"": [layer.max() / T for layer in scores]},
            "later_key_share": {"": [np.mean([t > 0 for _, t in outliers])]},
            "super_expert_over_median": {"": [v / tallest[len(tallest) // 2] for v in tallest[:int(np.ceil(0.005 * len(tallest)))]
                                              if v > 0.1 * tallest[0]]},
            "high_patch_share": {"": [np.mean(patches > 150)]},
        }
        self.assertEqual(set(wanted), set(METRICS))
        # What measures give by layer or head is a metric, too.
        for name in (path.rsplit(".", 1)[1] for path, one in r["definitions"].items() if "shape" in one):
            wanted[name] = {"": sum((one["values"].get(name, []) for layer in r["layers"] for one in layer["inputs"].values()), [])}
        self.assertIn("drain_first_token", wanted)
        return wanted

    def test_metrics_are_numpys(self):
        wanted = self.expected()
        for bad, worst in (("above", max), ("below", min)):
            all_of = {}
            for name in {SAMPLES.get(metric, "tiny") for metric in wanted}:
                all_of |= self.found(name, [metric for metric in wanted if SAMPLES.get(metric, "tiny") == name], bad)
            for metric, by_place in wanted.items():
                with self.subTest(metric, bad=bad):
                    found = all_of[metric]
                    self.assertEqual(set(found), {place for place, values in by_place.items() if values})
                    for place, finding in found.items():
                        value = worst(by_place[place])
                        self.assertAlmostEqual(finding["value"], value, delta=2e-4 * abs(value) + 1e-9, msg=place)
                        self.assertTrue(place in METRICS.get(metric, []) or not METRICS.get(metric), place)

    def test_a_report_ends_with_its_findings(self):
        for name, (model, options) in self.made.items():
            findings = self.results[name]["findings"]
            self.assertEqual(json.loads(self.succeed("check", self.dir / f"{name}.report", "--json")), findings)
            if name in ("tiny", "mixtral_experts"):  # measured anew, and less of it
                again = json.loads(self.succeed("check", model, "--json", *options))
                self.assertEqual([f["id"] for f in again], [f["id"] for f in findings])
                for one, other in zip(again, findings):
                    self.assertEqual(one["place"], other["place"])
                    self.assertAlmostEqual(one["value"], other["value"], delta=1e-5 * abs(other["value"]))
        severities = [f["severity"] for f in self.results["tiny"]["findings"]]
        self.assertEqual(severities, sorted(severities, key=["severe", "warning", "note"].index))
        one = next(f for f in self.results["tiny"]["findings"] if f["id"] == "one-neuron")
        self.assertEqual((one["place"]["layer"], one["place"]["neuron"], one["place"]["channel"]), (1, 5, 3))
        self.assertIn("down_proj[3, 5] in layer 1", one["title"])
        self.assertEqual(self.results["broken"]["findings"][0]["id"], "not-finite")

    def test_text(self):
        text = self.succeed("check", self.dir / "tiny.report")
        flat = re.sub(r"\s+", " ", text)
        for finding in self.results["tiny"]["findings"]:
            for part in ("title", "text", "advice", "source"):
                self.assertIn(re.sub(r"\s+", " ", finding[part]), flat)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_exit_codes(self):
        report = self.dir / "tiny.report"
        rule = '[[rule]]\nid = "a"\nmetric = "kurtosis"\nbad = "above"\n{} = 0\ntitle = "t"\ntext = "t"\n'
        for severity, fails in (("note", ()), ("warning", ("warning",)), ("severe", ("warning", "severe"))):
            path = self.dir / f"{severity}.toml"
            path.write_text(rule.format(severity))
            self.assertEqual(run("check", report, "--rules", path).returncode, 0)
            for limit in ("warning", "severe"):
                done = run("check", report, "--rules", path, "--fail-on", limit)
                self.assertEqual(done.returncode, 3 if limit in fails else 0, (severity, limit))
                self.assertEqual(done.stderr, "")
                self.assertIn(severity, done.stdout)
        model, options = self.made["tiny"]
        self.assertEqual(run("check", model, "--rules", self.dir / "severe.toml", "--fail-on", "severe", *options).returncode, 3)
        nothing = self.dir / "nothing.toml"
        nothing.write_text(rule.format("severe").replace("= 0", "= 1e30"))
        self.assertIn("no findings", self.succeed("check", report, "--rules", nothing, "--fail-on", "warning"))
        self.assertEqual(self.succeed("check", report, "--rules", nothing, "--json"), "[]\n")

    def test_rules_of_ones_own(self):
        text = self.succeed("check", self.model, "--rules", "list")
        self.assertEqual(text, (ROOT / "src/outliers/studies/data/rules.toml").read_text())
        mine = self.dir / "mine.toml"
        mine.write_text(text.replace("warning = 0.5\nsevere = 1\n", "warning = 1e-3\nsevere = 1e-2\n"))
        out = self.dir / "mine.report"
        model, options = self.made["tiny"]
        self.succeed("report", model, "-o", out, "--rules", mine, "--no-figures", *options)
        found = next(f for f in reading.load(out)["findings"] if f["id"] == "float16-range")
        self.assertEqual(found["threshold"], 1e-2)
        self.assertFalse(any(f["id"] == "float16-range" for f in self.results["tiny"]["findings"]))

    def test_bad_rules_are_refused_before_anything_is_measured(self):
        path = self.dir / "bad.toml"
        for text, pattern in (("[[rule]\n", r"bad\.toml: line 1, column 8: no TOML: "), ("", "no rules"),
                              ('[[rule]]\nid = "a"\nmetric = "kurtosi"\n', r"rule a: unknown metric kurtosi; did you mean kurtosis\?"),
                              ("rule = [[[[[" * 200, "no TOML"), ("a" * 5000, "no TOML")):
            path.write_text(text)
            out = self.dir / "never"
            self.refuse(1, pattern, "report", self.model, "-o", out, "--rules", path)
            self.refuse(1, pattern, "check", self.dir / "tiny.report", "--rules", path)
            self.assertFalse(out.exists())
        self.refuse(1, "nowhere.toml", "check", self.model, "--rules", self.dir / "nowhere.toml")
        self.refuse(1, "directory", "check", self.model, "--rules", self.dir)

    def test_wrong_use(self):
        report = self.dir / "tiny.report"
        self.refuse(2, "--tokens: .*tiny.report is a report, of what was measured then", "check", report, "--tokens", 12)
        self.refuse(2, "--device", "check", report, "--device", "cpu")
        self.refuse(2, "note", "check", report, "--fail-on", "note")
        self.refuse(1, "nowhere", "check", self.dir / "nowhere")

    def test_old_reports_have_findings_too(self):
        old = self.dir / "old"
        shutil.copytree(ROOT / "tests/golden/results/plain", old)
        self.assertIn("one-neuron", self.succeed("check", old))
        text = self.succeed("plot", old, "--only", "page")
        self.assertIn("page", text)


if __name__ == "__main__":
    main()
