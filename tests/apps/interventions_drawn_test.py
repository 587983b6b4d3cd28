#!/usr/bin/env python3
"""Figures of `outliers intervene`, what they are drawn from, and its files drawn again by `outliers plot`."""
import json
import pathlib
import re
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import FolderTest, main, run  # noqa: E402

NAMES = ["interventions_ppl", "interventions_max", "interventions_ratio"]
BORN = "layer.1.resid_out[massive]=zero"
LONG = "layer.0.resid_out[token=0|3,channel=1..5]=scale(3);layer.2.down_in[channel=7]=zero;layer.3.resid_mid[token=1]=zero"


def blocks(path):
    """The blocks of a .dat file: rows of cells."""
    parts = [part for part in path.read_text().split("\n\n\n") if part.strip()]
    return [[line.split("\t") for line in part.splitlines() if line and not line.startswith("#")] for part in parts]


class InterventionsDrawnTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.few = cls.intervene(cls(), "few", BORN, "weight.1.down[row=3,column=5]=zero", LONG, "--controls", 3)
        cls.many = cls.intervene(cls(), "many", *(f"layer.{i % 4}.resid_out[channel={i}]=scale(2)" for i in range(30)),
                                 "final_norm_out=scale(2)")

    def intervene(self, name, *words):
        edits = [word for edit in words if "=" in str(edit) for word in ("--edit", edit)]
        more = [word for word in words if "=" not in str(word)]
        out = self.dir / name
        self.succeed("intervene", self.model, "--corpus", self.corpus, "-o", out, "--context", 40, "--threads", 1, *edits, *more)
        return out

    def results(self, out):
        return json.loads((out / "interventions.json").read_text())

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_files(self):
        for out in (self.few, self.many):
            self.assertEqual({path.name for path in (out / "figures").iterdir()},
                             {f"{name}.{end}" for name in NAMES for end in ("gp", "dat", "pdf", "svg", "png")})
            self.assertTrue((out / "index.html").exists())


    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_perplexities_are_those_of_the_file(self):
        runs = self.results(self.few)["runs"]
        labels, edits, random = blocks(self.few / "figures/interventions_ppl.dat")
        edited = [run for run in runs if "effect" in run and "control_of" not in run]
        np.testing.assert_allclose([float(row[1]) for row in edits], [np.log10(run["ppl"]) for run in edited], rtol=1e-5)
        for i, run in enumerate(edited):
            controls = [np.log10(one["ppl"]) for one in runs if one.get("control_of") == run["name"]]
            wanted = [min(controls), np.median(controls), max(controls)]
            np.testing.assert_allclose([float(cell) for cell in random[i][1:]], wanted, rtol=1e-5)
        self.assertEqual([row[1] for row in labels[:2]], [f'"{run["edits"]}"' for run in edited[:2]])
        script = (self.few / "figures/interventions_ppl.gp").read_text()
        plain = re.search(r"set arrow from ([\d.]+), graph 0", script).group(1)
        self.assertAlmostEqual(float(plain), np.log10(runs[0]["ppl"]), 5)
        # A long one is cut on the axis, and whole in the key, over several lines.
        self.assertTrue(labels[2][1].startswith('"edit3 layer.0.resid_out') and labels[2][1].endswith('…"'), labels[2])
        svg = re.sub(r"\s+", "", (self.few / "figures/interventions_ppl.svg").read_text())
        for part in LONG.split(";"):
            self.assertIn(re.sub(r"\s", "", part), svg)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_layers_are_lines_or_a_map(self):
        for field, name in (("max", "interventions_max"), ("max_over_median", "interventions_ratio")):
            runs = self.results(self.few)["runs"]
            edited = [run for run in runs if "effect" in run and "control_of" not in run]
            rows, = blocks(self.few / f"figures/{name}.dat")
            for i, run in enumerate(edited):
                shown = {int(row[0]): float(row[1 + i]) for row in rows if row[1 + i] != "NaN"}
                self.assertEqual(shown.keys(), {layer["layer"] for layer in run["layers"]})
                np.testing.assert_allclose([shown[layer["layer"]] for layer in run["layers"]], [layer[field] for layer in run["layers"]],
                                           rtol=1e-5)
            np.testing.assert_allclose([float(row[-1]) for row in rows], [layer[field] for layer in runs[0]["layers"]], rtol=1e-5)
            runs = self.results(self.many)["runs"]
            labels, cells = blocks(self.many / f"figures/{name}.dat")
            self.assertEqual(len(labels), 31)
            before = [layer[field] for layer in runs[0]["layers"]]
            wanted = {(i, layer["layer"]): np.log10(layer[field] / before[layer["layer"]]) for i, run in enumerate(runs[1:])
                      for layer in run.get("layers", [])}
            self.assertEqual({(int(row[0]), int(row[1])) for row in cells}, wanted.keys())
            for row in cells:
                self.assertAlmostEqual(float(row[2]), wanted[int(row[0]), int(row[1])], 4)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_plot_draws_again(self):
        out = self.dir / "again"
        shutil.copytree(self.few, out)
        before = {path.name: path.read_bytes() for path in (out / "figures").glob("*.gp")} | {"page": (out / "index.html").read_bytes()}
        shutil.rmtree(out / "figures")
        (out / "index.html").unlink()
        printed = self.succeed("plot", out)
        self.assertIn("3 figures in", printed)
        after = {path.name: path.read_bytes() for path in (out / "figures").glob("*.gp")} | {"page": (out / "index.html").read_bytes()}
        self.assertEqual(before, after)
        self.succeed("plot", out, "--only", "interventions_max", "--formats", "svg", "--palette", "safe")
        self.assertNotEqual(before["interventions_max.gp"], (out / "figures/interventions_max.gp").read_bytes())
        self.refuse(2, r"there is no figure interventions_mx; did you mean interventions_max\?", "plot", out, "--only", "interventions_mx")

    def test_without_figures(self):
        out = self.intervene("bare", BORN, "--no-figures")
        self.assertEqual({path.name for path in out.iterdir()}, {"index.html", "interventions.json"})

    def test_bad_files_are_one_line(self):
        whole = self.results(self.few)
        out = self.dir / "bad"
        out.mkdir()

        def refuse(pattern, text):
            (out / "interventions.json").write_text(text)
            self.refuse(1, pattern, "plot", out, "--only", "page")
            self.assertFalse((out / "index.html").exists())
        refuse("interventions.json.* it is damaged or cut short: run outliers intervene again", json.dumps(whole)[:2000])
        refuse("is no intervention: it has no field schema", "{}")
        refuse("is of outliers-interventions/9: this program reads outliers-interventions/1", json.dumps({**whole, "schema":
                                                                                                         "outliers-interventions/9"}))
        whole["runs"][1]["effect"]["kl_nats"] = "x"
        refuse(r"runs\[1\].effect.kl_nats is \"x\"; it should be a number", json.dumps(whole))
        empty = self.dir / "empty"
        empty.mkdir()
        self.refuse(1, "holds no report", "plot", empty)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_text_is_no_script_and_what_is_not_finite_is_left_out(self):
        whole = self.results(self.few)
        whole["runs"][1]["edits"] = "it's `touch pwned` \"; system('touch pwned') #"
        whole["model"]["name"] = "o'model"
        whole["runs"][2].update(nll_nats=None, ppl=None)
        whole["runs"][3].update(nll_nats=2000.5, ppl=None)
        out = self.dir / "hostile"
        out.mkdir()
        (out / "interventions.json").write_text(json.dumps(whole))
        done = run("plot", out, cwd=self.dir)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([*self.dir.rglob("pwned")], [])
        self.assertIn("it's `touch pwned`", (out / "figures/interventions_ppl.svg").read_text())


if __name__ == "__main__":
    main()
