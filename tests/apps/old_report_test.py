#!/usr/bin/env python3
"""Reports of the first schema (tests/oracle/results_1.py): the program draws, shows and compares them as it did when it wrote them."""
import json
import pathlib
import re
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser  # noqa: E402
from program import ROOT, FolderTest, main  # noqa: E402

GOLDEN = ROOT / "tests/golden/results"
NAMES = ["plain", "experts", "images", "overflow"]
# As `outliers compare` of commit 6e413a7 has it.
TABLE = """\
model     layers  born  largest  removed   max  x median  channels
plain          4     1        1  3         997     2,621         3
experts        2     -        -  -        12.5      6.04         -
images         2     -        -  -        23.6      7.59         -
overflow       4     1        1  ?         997     2,621         3
"""
# How many figures `outliers plot` of that commit draws of each.
FIGURES = {"plain": 17, "experts": 14, "images": 16, "overflow": 16}


def embedded(page):
    return json.loads(re.search('<script type="application/json" id="results">(.*?)</script>', page.read_text(), re.S).group(1))


class OldReportTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in NAMES:
            shutil.copytree(GOLDEN / name, cls.dir / name)

    def old(self, name):
        return json.loads((GOLDEN / name / "results.json").read_text())

    def test_page_and_figures(self):
        for name in NAMES:
            with self.subTest(name):
                if shutil.which("gnuplot"):
                    self.succeed("plot", self.dir / name, "--formats", "svg")
                    self.assertEqual(len(list((self.dir / name / "figures").glob("*.svg"))), FIGURES[name])
                self.succeed("plot", self.dir / name, "--only", "page")
                shown, old = embedded(self.dir / name / "index.html"), self.old(name)
                self.assertEqual(shown["model"], old["model"])
                self.assertEqual(shown["inputs"][0]["tokens"], old["prompt"]["tokens"])
                life = shown["summary"]["lives"][0]
                for field in ("found", "born_layer", "removed_layer", "massive_channels"):
                    self.assertEqual(life[field], old["summary"][field], field)
                self.assertEqual((self.dir / name / "results.json").read_bytes(), (GOLDEN / name / "results.json").read_bytes(),
                                 "the report itself stays as it was")

    def test_comparison(self):
        out = self.dir / "comparison"
        stdout = self.succeed("compare", *(self.dir / name for name in NAMES), "-o", out)
        self.assertEqual(stdout.split("\n\n")[0] + "\n", TABLE)
        reports = json.loads((out / "comparison.json").read_text())["reports"]
        for name, report in zip(NAMES, reports, strict=True):
            old = self.old(name)
            self.assertEqual(report["model"], old["model"])
            self.assertEqual(report["summary"]["sink_rate"], old["summary"]["sink_rate"])
            for point, headroom in report["summary"]["headroom"].items():
                self.assertEqual(headroom["max"], old["summary"]["headroom"][point]["max"])
                self.assertEqual(headroom["input"], old["summary"]["headroom"][point]["batch"])

    @unittest.skipUnless(browser.CHROMIUM and browser.CHROMEDRIVER, "chromium and chromedriver are not installed")
    def test_pages_open(self):
        out = self.dir / "opened"
        self.succeed("compare", *(self.dir / name for name in NAMES), "-o", out)
        for name in NAMES:
            self.succeed("plot", self.dir / name, "--only", "page")
        window = browser.Browser()
        self.addCleanup(window.close)
        for folder in [*(self.dir / name for name in NAMES), out]:
            window.open(folder / "index.html")
            self.assertEqual(window.console(), [], folder.name)

    def test_damage_is_told_in_the_terms_of_today(self):
        broken = self.dir / "broken"
        shutil.copytree(GOLDEN / "plain", broken)
        old = self.old("plain")
        del old["activations"]["corpus"]["resid_out"][1]["top"]
        (broken / "results.json").write_text(json.dumps(old))
        self.refuse(1, r"results\.json \(of outliers-results/1, read as outliers-results/2\): "
                       r"layers\[1\]\.inputs\.corpus\.resid_out\.top is missing$", "plot", broken)
        old["schema"] = "outliers-results/9"
        (broken / "results.json").write_text(json.dumps(old))
        self.refuse(1, r"is of outliers-results/9: this program reads outliers-results/1 and outliers-results/2", "plot", broken)


if __name__ == "__main__":
    main()
