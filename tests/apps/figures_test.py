#!/usr/bin/env python3
"""The figures of a report, read from their SVG: values, labels, colours and geometry, for ordinary and hostile reports."""
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import ProgramTest, main, run  # noqa: E402
from svg import Svg  # noqa: E402

CORPUS = "The ship sailed on. The sea was calm, and the crew slept.\n" * 40
OUTLIER, PLAIN = "#f01ee0", "#3f69d6"
HOSTILE = ['`touch pwned`', '$(touch pwned)', '@x^y_z{q}&~a\\b', '"', '""', "'", '\\', 'a\\', '\\n', '#x', '<b>&amp;', '{/Bold y}',
           '%s%n', '日本語テキストはここ', 'x\ty', '\n', 'e\u0301\u0301', '\u202eabc', '', ' ', '  ', 'averyveryverylongtoken',
           "';system('touch pwned');'"]


def affine(texts, axis):
    """The map from the numbers on an axis to its pixels: (slope, intercept)."""
    marks = [(float(t.text), getattr(t, axis)) for t in texts]
    slope = (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
    return slope, marks[0][1] - slope * marks[0][0]


@unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
class FiguresTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        (cls.dir / "corpus.txt").write_text(CORPUS)
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.report = cls.dir / "report"
        done = run("report", cls.model, "-o", cls.report, "--corpus", cls.dir / "corpus.txt", "--sequences", 3, "--tokens", 40)
        assert done.returncode == 0, done.stderr
        cls.json = reading.load(cls.report)
        cls.arrays = dict(np.load(cls.report / "arrays.npz"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def svg(self, name, report=None):
        return Svg((report or self.report) / "figures" / f"{name}.svg")

    def changed(self, name, change, *options, refuse=None):
        """Draws the report after change(json, arrays); returns its directory."""
        results, arrays = json.loads(json.dumps(self.json)), {k: v.copy() for k, v in self.arrays.items()}
        change(results, arrays)
        out = self.dir / name
        out.mkdir()
        (out / "results.json").write_text(json.dumps(results, ensure_ascii=False).replace("NaN", "null"))
        np.savez(out / "arrays.npz", **arrays)
        if refuse:
            self.refuse(1, refuse, "plot", out)
            self.assertEqual(sorted(p.name for p in out.iterdir()), ["arrays.npz", "results.json"])
        else:
            self.succeed("plot", out, "--formats", "svg", *options)
        return out

    def assert_legible(self, report):
        for path in sorted((report / "figures").glob("*.svg")):
            self.assertEqual(Svg(path).overlaps(), [], path.name)

    def cut(self, results, arrays, layers=None, prompt=None):
        """Cuts a report to its first layers, or its prompt to its first tokens."""
        if layers:
            results["model"]["layers"] = layers
            results["layers"] = results["layers"][:layers]
            results["findings"] = []
            self.without_life(results, arrays)
            results["summary"]["first_overflow"] = {}
            del results["summary"]["alignment"]["outlier_layers"]
            for part in ("axes", "secondary_sinks", "inactive_heads"):
                results["summary"].pop(part)
            reading.life(results).update(found=False, born_layer=None, peak_layer=None, removed_layer=None, massive_tokens=[])
            for room in results["summary"]["headroom"].values():
                room["layer"] = 0
            for name in arrays:
                if name != "corpus.ids":
                    arrays[name] = arrays[name][:layers]
        if prompt:
            self.prompt(results, arrays, results["inputs"][0]["tokens"][:prompt])

    @staticmethod
    def without_life(results, arrays):
        results.pop("lifecycle", None)
        for name in [name for name in arrays if ".life." in name]:
            del arrays[name]

    def prompt(self, results, arrays, tokens):
        """Gives the report a prompt of these tokens; token 0 keeps its values, the rest repeat those of the others."""
        count, kept = len(tokens), min(len(tokens), 64)
        prompt = results["inputs"][0]
        prompt.update(tokens=tokens, ids=[5] * count, classes=["initial"] + ["other"] * (count - 1), kept_tokens=kept,
                      tokens_per_sequence=count)
        reading.life(results)["massive_tokens"] = []
        self.without_life(results, arrays)
        for amax in [prompt["amax"], *reading.layers(results, "prompt", "amax")]:
            for largest in amax.values():
                if "token" in largest:
                    largest["token"] = min(largest["token"], count - 1)
        old = self.arrays["prompt.resid_out"].shape[1]
        index = np.array([0] + [1 + t % (old - 1) for t in range(count - 1)])
        for point in ("resid_out", "down_in"):
            arrays[f"prompt.{point}"] = arrays[f"prompt.{point}"][:, index[:kept]]
            arrays[f"prompt.{point}.token_max"] = arrays[f"prompt.{point}.token_max"][:, :, index]
            for layer in reading.layers(results, "prompt", point):
                layer["top"] = [v for v in layer["top"] if v["token"] < count]
                layer["massive"] = [v for v in layer["massive"] if v["token"] < count]
        arrays["prompt.attention.key_scores"] = arrays["prompt.attention.key_scores"][:, :, index]
        arrays["prompt.o_in.variance"] = arrays["prompt.o_in.variance"][:, index]
        results["summary"]["secondary_sinks"] = {"count": 0, "largest": []}
        for layer in reading.layers(results, "prompt", "attention"):
            layer["top_keys"], layer["outlier_keys"] = [], []
        layers, heads = arrays["prompt.attention.probs"].shape[:2]
        if count <= 512:
            mean = np.tril(np.ones((count, count), np.float32))
            mean /= mean.sum(1, keepdims=True)
            arrays["prompt.attention.probs_mean"] = np.broadcast_to(mean, (layers, count, count)).copy()
            arrays["prompt.attention.probs"] = np.broadcast_to(mean, (layers, heads, count, count)).copy()
        else:
            prompt["attention_maps"] = False
            arrays.pop("prompt.attention.probs_mean")
            arrays.pop("prompt.attention.probs")
        for write in reading.layers(results, "prompt", "writes"):
            for part in ("largest", "followed"):
                if part in write:
                    write[part]["token"] = min(write[part]["token"], count - 1)

    # --- what is drawn ---

    def test_draws_every_figure_in_every_format(self):
        names = {"exist_down", "exist_out", "exist_weight", "exist_attention", "pos_down_layers", "pos_down_removed", "pos_down_channels",
                 "pos_out_layers", "pos_out_tokens", "pos_out_channels", "pos_weight_layers", "pos_weight_columns", "pos_weight_second",
                 "pos_weight_third", "pos_attention_layers", "pos_attention_keys", "pos_attention_heads", "life_emergence", "life_spread",
                 "life_disappearance"}
        values = {path.rsplit(".", 1)[1]: one["shape"] for path, one in reading.load(self.report)["definitions"].items() if "shape" in one}
        self.assertLessEqual({"drain_top_key", "first_key_mass", "kurtosis_channels", "mixed_variance_ratio"}, set(values))
        names |= set(values) | {f"{name}_corpus" for name, shape in values.items() if shape == "[H]"}
        files = {p.name for p in (self.report / "figures").iterdir()}
        self.assertEqual(files, {f"{n}.{e}" for n in names for e in ("gp", "dat", "pdf", "svg", "png")})
        for path in (self.report / "figures").iterdir():
            head = {".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}.get(path.suffix, b"")
            self.assertTrue(path.read_bytes().startswith(head) and path.stat().st_size > (100 if head else 20), path.name)
        self.assert_legible(self.report)

    def test_scripts_can_be_run_by_hand(self):
        copy = self.dir / "by-hand"
        shutil.copytree(self.report / "figures", copy)
        before = Svg(copy / "exist_out.svg").lines()
        for ending in ("pdf", "svg", "png"):
            (copy / f"exist_out.{ending}").unlink()
        done = subprocess.run(["gnuplot", "exist_out.gp"], cwd=copy, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        self.assertEqual(Svg(copy / "exist_out.svg").lines(), before)
        self.assertTrue((copy / "exist_out.pdf").exists() and (copy / "exist_out.png").exists())

    def test_3d_puts_values_where_they_belong(self):
        layer = reading.life(self.json)["born_layer"]
        for name, point in (("exist_out", "resid_out"), ("exist_down", "down_in")):
            svg, values = self.svg(name), abs(self.arrays[f"prompt.{point}"][layer])
            floor, _, left = (p for _, p in svg.polygons()[:3])
            # The floor begins at (x0, 0, 0), then (x1, 0, 0), (x1, y1, 0); the left wall ends at (x0, 0, z1).
            origin, right, back, top = np.array(floor[0]), np.array(floor[1]), np.array(floor[2]), np.array(left[3])
            tokens, channels = values.shape
            height = values.max() * 1.05

            def place(t, c, v):
                along, across = (right - origin) * (t + 0.7) / (tokens + 0.4), (back - right) * c / (channels - 1)
                return origin + along + across + (top - origin) * v / height

            # One plot a token.
            lines = [svg.lines(svg.plot(t + 1))[0] for t in range(tokens)]
            for color, line in lines:
                self.assertIn(color, (OUTLIER, PLAIN))
                self.assertEqual(len(line), channels)
            t, c = np.unravel_index(values.argmax(), values.shape)
            self.assertEqual(lines[t][0], OUTLIER)
            for token in range(tokens):
                for channel in range(0, channels, 3):
                    self.assertLess(math.dist(lines[token][1][channel], place(token, channel, values[token, channel])), 0.3)
            of = reading.layers(self.json, "prompt", point)[layer]
            limits = self.json["criteria"]
            limit = min(limits["outlier_token_ratio"] * of["mean"], max(limits["massive_above"], limits["massive_ratio"] * of["median"]))
            self.assertEqual([color == OUTLIER for color, _ in lines], [bool(m > limit) for m in values.max(1)])
            self.assertIn(str(c), [text.text for text in svg.texts])

    def test_labels_carry_the_tokens(self):
        svg = self.svg("exist_attention")
        shown = [t for t in svg.texts if t.text == "<|bos|>"]
        self.assertEqual(len(shown), 2)  # on both axes
        self.assertEqual({t.color for t in shown}, {OUTLIER})

    def test_attention_map(self):
        svg = self.svg("exist_attention")
        layer = reading.life(self.json)["born_layer"] + 1
        probs = self.arrays["prompt.attention.probs_mean"][layer]
        shown = min(len(probs), 64)
        cells = [(color, p) for color, p in svg.polygons(svg.plot(1))]
        self.assertEqual(len(cells), shown * (shown + 1) // 2)
        xs, ys = sorted({min(x for x, _ in p) for _, p in cells}), sorted({min(y for _, y in p) for _, p in cells})
        lowest = [min(x for x, _ in p) for _, p in cells]
        self.assertAlmostEqual(min(lowest), xs[0])

        def brightness(color):
            return sum(int(color[i:i + 2], 16) for i in (1, 3, 5))
        order = [(q, k) for q in range(shown) for k in range(q + 1)]
        values = np.array([probs[q, k] for q, k in order])
        light = np.array([brightness(color) for color, _ in cells])
        # The more probable, the darker.
        for i in np.argsort(values)[::7]:
            for j in np.argsort(values)[::11]:
                if values[i] > values[j] + 0.02:
                    self.assertLessEqual(light[i], light[j])
        self.assertEqual(len(ys) > 1, shown > 1)

    def test_lines_over_layers(self):
        svg = self.svg("pos_weight_layers")
        scores = [layer["modules"]["down"]["score"] for layer in reading.weights(self.json)]
        points = svg.points(svg.plot(2))
        self.assertEqual(len(points), tiny.L)
        ys = [t for t in svg.texts if t.anchor == "end" and t.text.replace(".", "").isdigit()]
        slope, intercept = affine(ys, "y")
        # Text hangs a third of its size below the tick.
        drop = ys[0].size * 0.33
        for (_, color, _, y), score in zip(points, scores):
            self.assertEqual(color, "#4f8fe6")
            self.assertLess(abs(slope * score + intercept - drop - y), 1.5)
        xs = [t for t in svg.texts if t.anchor == "middle" and t.text.isdigit()]
        slope, intercept = affine(xs, "x")
        for layer, (_, _, x, _) in enumerate(points):
            self.assertLess(abs(slope * layer + intercept - x), 0.5)

    def test_heads_show_mean_least_and_most(self):
        svg = self.svg("pos_attention_heads")
        ys = [t for t in svg.texts if t.anchor == "end" and t.text.replace(".", "").isdigit()]
        slope, intercept = affine(ys, "y")
        drop = ys[0].size * 0.33
        points = svg.points(svg.plot(2))
        for layer, (_, _, _, y) in zip(reading.layers(self.json, "corpus", "attention"), points):
            mean = np.mean([h["outlier_share"] for h in layer["heads"]])
            self.assertLess(abs(slope * mean + intercept - drop - y), 1.5)

    def test_classes_add_up(self):
        layer = max(reading.layers(self.json, "corpus", "attention"), key=lambda l: l["top3_mean"][0])
        keys = [k for k in layer["outlier_keys"]]
        svg = self.svg("pos_attention_keys")
        shares = [float(t.text[:-2]) for t in svg.texts if re.fullmatch(r"[\d.]+ %", t.text)]
        self.assertAlmostEqual(sum(shares), 100, delta=0.5)
        initial = 100 * sum(k["class"] == "initial" for k in keys) / len(keys)
        self.assertIn(f"{initial:.1f} %", [t.text for t in svg.texts])

    # --- hostile and extreme reports ---

    def test_tokens_are_inert(self):
        def change(results, arrays):
            self.prompt(results, arrays, ["x"] + HOSTILE)
            results["model"]["name"] = "`touch pwned` '.system('touch pwned').' @a \\ \"{/Bold x}"
            for layer in reading.layers(results, "corpus", "attention"):
                for i, key in enumerate(layer["outlier_keys"]):
                    key.update({"token_text": HOSTILE[i % len(HOSTILE)], "class": "other"})
            for layer in reading.layers(results, "corpus", "resid_out"):
                layer["massive_tokens"] = [{"token_text": t, "class": "other", "count": 30 - i} for i, t in enumerate(HOSTILE)]
        out = self.changed("hostile", change)
        self.assertEqual([p for p in self.dir.rglob("pwned")], [])
        self.assertFalse(pathlib.Path("pwned").exists())
        self.assert_legible(out)
        wanted = ["`touch␣pw…", "$(touch␣p…", "@x^y_z{q}…", '"', '""', "'", "\\", "a\\", "\\n", "#x", "<b>&amp;", "{/Bold␣y}", "%s%n",
                  "日本語テ…", "x\\ty", "averyvery…", "␣", "␣␣", "∅"]
        for name in ("exist_out", "exist_attention"):
            texts = [t.text for t in self.svg(name, out).texts]
            for label in wanted:
                self.assertIn(label, texts, name)
        texts = [t.text for t in self.svg("pos_out_tokens", out).texts]
        self.assertIn('"`touch␣pwne…"', texts)
        self.assertTrue(any(t.startswith("`touch") for t in texts), "the title is the model's name as it is")

    def test_one_layer(self):
        out = self.changed("one-layer", lambda r, a: self.cut(r, a, layers=1))
        self.assert_legible(out)
        svg = self.svg("pos_out_layers", out)
        self.assertEqual(len(svg.points(svg.plot(2))), 1)
        self.assertFalse((out / "figures/pos_down_removed.svg").exists())

    def test_one_token(self):
        out = self.changed("one-token", lambda r, a: self.cut(r, a, prompt=1))
        self.assert_legible(out)
        svg = self.svg("exist_attention", out)
        self.assertEqual(len(svg.polygons(svg.plot(1))), 1)

    def test_thousands_of_tokens(self):
        out = self.changed("thousands", lambda r, a: self.prompt(r, a, ["word"] * 3000))
        self.assert_legible(out)
        texts = [t.text for t in self.svg("exist_out", out).texts]
        self.assertTrue(any("first 64 of 3000 tokens" in t for t in texts), texts)
        self.assertFalse((out / "figures/exist_attention.svg").exists())

    def test_a_long_prompt_has_a_map_of_its_beginning(self):
        out = self.changed("long", lambda r, a: self.prompt(r, a, [f" word{i}" for i in range(100)]))
        self.assert_legible(out)
        svg = self.svg("exist_attention", out)
        self.assertEqual(len(svg.polygons(svg.plot(1))), 64 * 65 // 2)
        self.assertGreaterEqual(sum(t.text.startswith("word") for t in svg.texts), 40)

    def test_nan_is_a_gap(self):
        def change(results, arrays):
            reading.layers(results, "corpus", "resid_out")[1].update(top3_mean=[None, None, None], median=None)
            for name in ("prompt.resid_out", "prompt.down_in"):
                arrays[name][:, 1, :] = np.nan
                arrays[name][:, 2, 3] = np.inf
            arrays["prompt.attention.probs_mean"][:, 2, 1] = np.nan
            arrays["weights.down.columns"][:, 1, 5] = np.nan
            reading.weights(results)[0]["modules"]["q"]["score"] = None
        out = self.changed("nan", change)
        self.assert_legible(out)
        svg = self.svg("pos_out_layers", out)
        self.assertEqual(len(svg.points(svg.plot(2))), tiny.L - 1)
        self.assertEqual(len([l for c, l in svg.lines(svg.plot(1)) if c == "#4f8fe6" and len(l) > 1]) , 1)

    def test_everything_is_nan(self):
        def change(results, arrays):
            for batch in ("prompt", "corpus"):
                for point in ("resid_out", "down_in"):
                    for layer in reading.layers(results, batch, point):
                        layer.update(max=0, median=0, mean=0, top3_mean=[], top=[], top_channels=[], massive=[], massive_tokens=[])
            for layer in reading.layers(results, "corpus", "attention") + reading.layers(results, "prompt", "attention"):
                layer.update(top_keys=[], outlier_keys=[], top3_mean=[], median=None)
                for head in layer["heads"]:
                    head.update(outlier_share=None)
            reading.life(results).update(found=False, born_layer=None, peak_layer=None, removed_layer=None)
            for name in arrays:
                if arrays[name].dtype == np.float32:
                    arrays[name][:] = np.nan
        self.assert_legible(self.changed("all-nan", change))

    def test_damaged_arrays_are_refused(self):
        def wrong(results, arrays):
            arrays["prompt.resid_out"] = arrays["prompt.resid_out"][:, :, :-1]
        self.changed("wrong-shape", wrong, refuse=r"arrays\.npz: prompt\.resid_out has the shape")
        self.changed("missing", lambda r, a: a.pop("weights.down.columns"), refuse=r"arrays\.npz has no array weights\.down\.columns")
        self.changed("schema", lambda r, a: r.update(schema="outliers-results/9"),
                     refuse="outliers-results/9: this program reads outliers-results/1")
        self.changed("field", lambda r, a: reading.layers(r, "corpus", "attention")[1].pop("heads"),
                     refuse=r"layers\[1\]\.inputs\.corpus\.attention\.heads is missing")

    # --- the command ---

    def test_draws_only_what_is_asked_for(self):
        out = self.changed("only", lambda r, a: None, "--only", "exist_down,pos_out_layers")
        self.assertEqual(sorted(p.name for p in (out / "figures").iterdir()),
                         sorted(f"{n}.{e}" for n in ("exist_down", "pos_out_layers") for e in ("svg", "gp", "dat")))
        self.refuse(2, "there is no figure exist_dwn; did you mean exist_down?", "plot", out, "--only", "exist_dwn")
        self.refuse(2, "--formats", "plot", out, "--formats", "bmp")
        self.refuse(1, "holds no report", "plot", self.dir / "nowhere")

    def test_other_palette(self):
        out = self.changed("safe", lambda r, a: None, "--palette", "safe", "--only", "exist_out")
        colors = {color for color, _ in self.svg("exist_out", out).lines()}
        self.assertIn("#d55e00", colors)
        self.assertNotIn(OUTLIER, colors)

    def test_without_gnuplot(self):
        empty = self.dir / "empty-path"
        empty.mkdir()
        env = {**os.environ, "PATH": str(empty)}
        self.refuse(1, "gnuplot is not installed.*gnuplot-nox", "plot", self.report, env=env)
        out = self.dir / "no-gnuplot"
        done = run("report", self.model, "-o", out, "--corpus", self.dir / "corpus.txt", "--sequences", 2, "--tokens", 16, env=env)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"^outliers: warning: gnuplot is not installed.*gnuplot-nox.*\n$")
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["arrays.npz", "index.html", "results.json"])

    def test_report_without_figures(self):
        out = self.dir / "no-figures"
        self.succeed("report", self.model, "-o", out, "--corpus", self.dir / "corpus.txt", "--sequences", 2, "--tokens", 16, "--no-figures")
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["arrays.npz", "index.html", "results.json"])

    def test_a_gnuplot_that_fails_is_named(self):
        fake = self.dir / "fake"
        fake.mkdir()
        (fake / "gnuplot").write_text("#!/bin/sh\necho 'line 3: no such terminal' >&2\nexit 1\n")
        (fake / "gnuplot").chmod(0o755)
        env = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}
        shutil.copytree(self.report, self.dir / "failing", ignore=shutil.ignore_patterns("figures"))
        self.refuse(1, "gnuplot cannot draw exist_down: line 3: no such terminal", "plot", self.dir / "failing", env=env)
        self.assertEqual(list((self.dir / "failing/figures").iterdir()), [])


if __name__ == "__main__":
    main()
