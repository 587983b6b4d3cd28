#!/usr/bin/env python3
"""The page of `outliers intervene`, and its place on a report's page."""
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from page_case import OVERFLOWING, PageCase, block  # noqa: E402
from program import main, run  # noqa: E402

BORN = "layer.1.resid_out[massive]=zero"
OTHER = "layer.2.resid_out[token=1,channel=4]=scale(30)"
CELLS = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"
LINES = "return [...document.querySelectorAll('#intervention-layers path.series')].map((p) => p.dataset.series)"


class InterventionsPageTest(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.alone = cls.intervene(cls(), cls.dir / "alone", BORN, OTHER, "--controls", 3)
        cls.intervene(cls(), cls.report / "interventions", BORN, OTHER, "--controls", 3)
        cls.many = cls.intervene(cls(), cls.dir / "many", *(f"layer.{i % 4}.resid_out[channel={i}]=scale(2)" for i in range(30)))

    def intervene(self, out, *words, model=None):
        edits = [word for edit in words if "=" in str(edit) for word in ("--edit", edit)]
        more = [word for word in words if "=" not in str(word)]
        self.succeed("intervene", model or self.model, "--corpus", self.corpus, "-o", out, "--context", 40, "--threads", 1, "--no-figures",
                     *edits, *more)
        return out

    def open_alone(self, out, fragment=""):
        self.page.open(out / "index.html", fragment)
        return json.loads((out / "interventions.json").read_text())

    def check_parts(self, results):
        """Table and charts say what the file has."""
        runs = results["runs"]
        rows = self.page.run(CELLS, "#intervention-table")
        self.assertEqual([row[0] for row in rows], ["plain", "edit1", "3 random", "edit2", "3 random"])
        self.assertEqual(rows[0][2], f"{runs[0]['nll_nats']:.5f}")
        for row, one in ((rows[1], runs[1]), (rows[3], runs[5])):
            effect = one["effect"]
            self.assertEqual(row[1], one["edits"] if len(one["edits"]) <= 34 else one["edits"][:33] + "…")
            self.assertEqual(row[4].replace("−", "-"),
                             f"{effect['nll_difference']:+.5f} ± {effect['nll_difference_standard_error']:.5f}")
            self.assertTrue(row[10].startswith(f"{sum(m['total'] for m in one['matched']):,}; "), row)
        medians = sorted(one["effect"]["nll_difference"] for one in runs[2:5])
        self.assertLess(abs(float(rows[2][4].replace("−", "-")) - medians[1]), 6e-6)
        said = self.page.run("return document.querySelector('#intervention-ppl svg').getAttribute('aria-label')")
        self.assertIn("Perplexity of 2 edited runs", said)
        self.assertEqual(self.page.run("return document.querySelectorAll('#intervention-ppl circle').length"), 2)
        self.assertEqual(self.page.run(LINES), ["edit1", "edit2", "plain"])
        self.assertIn(BORN, self.text("#intervention-edits"))
        self.page.run("const d = document.querySelector('#intervention-ppl ~ details'); d.open = true;")
        self.page.wait("return document.querySelectorAll('#intervention-ppl ~ details tbody tr').length === 9")

    def test_alone(self):
        results = self.open_alone(self.alone)
        self.check_parts(results)
        self.quiet(self.alone)
        self.assertIn("6 runs with random edits", self.text("#run"))
        self.assertIn("tiny", self.text("#run"))
        embedded = json.loads(block((self.alone / "index.html").read_text(), "interventions-data"))
        self.assertEqual(embedded["runs"][1]["effect"], results["runs"][1]["effect"])
        self.assertNotIn("window_nll_nats", embedded["runs"][1])

    def test_a_run_is_chosen_in_the_table_and_stands_in_the_address(self):
        self.open_alone(self.alone)
        self.page.click("#intervention-table tbody tr:nth-child(2) button")
        self.assertEqual(self.page.run(LINES), ["edited", "random, least", "random, most", "plain"])
        self.assertIn("run=edit1", self.page.run("return location.hash"))
        self.open_alone(self.alone, "#run=edit2&number=sinks")
        self.assertIn("sink rate", self.text("#intervention-layers"))
        self.assertEqual(self.page.run("return document.querySelector('#intervention-controls select').value"), "edit2")
        self.open_alone(self.alone, "#run=nobody&number=7")
        self.assertEqual(self.page.run(LINES), ["edit1", "edit2", "plain"])

    def test_keyboard_and_roles(self):
        self.open_alone(self.alone)
        self.page.run("document.querySelector('#intervention-controls [role=radio][aria-checked=true]').focus()")
        self.page.keys("ArrowRight")
        self.assertIn("largest / median", self.text("#intervention-layers"))
        for chart in ("#intervention-ppl svg", "#intervention-layers svg"):
            self.assertEqual(self.page.run("return document.querySelector(arguments[0]).getAttribute('role')", chart), "img")
            self.assertTrue(self.page.run("return document.querySelector(arguments[0]).getAttribute('aria-label')", chart))
        self.assertEqual(self.page.run("return document.querySelectorAll('main h1').length"), 1)

    def test_many_runs(self):
        self.open_alone(self.many)
        self.assertEqual(self.page.run("return document.querySelectorAll('#intervention-ppl circle').length"), 30)
        self.assertEqual(self.page.run(LINES), ["edited", "plain"])
        self.page.size(390, 844, mobile=True)
        self.open_alone(self.many)
        self.assertEqual(self.page.run(OVERFLOWING), [])

    def test_fits_a_telephone(self):
        self.page.size(390, 844, mobile=True)
        for out in (self.alone, self.report):
            self.succeed("plot", out, "--only", "page")
            self.page.open(out / "index.html")
            self.assertEqual(self.page.run(OVERFLOWING), [], out)

    def test_on_the_page_of_a_report(self):
        self.succeed("plot", self.report, "--only", "page")
        self.open(self.report)
        self.assertFalse(self.page.run("return document.querySelector('nav a[href=\"#interventions\"]').hidden"))
        self.check_parts(json.loads((self.report / "interventions/interventions.json").read_text()))
        self.page.run("document.querySelector('#intervention-layers svg').focus()")
        layer = self.chosen()
        self.page.keys("ArrowRight")
        self.assertEqual(self.chosen(), layer + 1)
        self.quiet(self.report)

    def test_a_report_without_has_no_section(self):
        out = self.edited("without", lambda results, arrays: None)
        shutil.rmtree(out / "interventions")
        self.succeed("plot", out, "--only", "page")
        self.open(out)
        self.assertTrue(self.page.run("return document.querySelector('#interventions').hidden"))
        self.assertTrue(self.page.run("return document.querySelector('nav a[href=\"#interventions\"]').hidden"))

    def test_what_does_not_belong_to_the_report_is_left_out_with_a_warning(self):
        def warned(change):
            out = self.dir / "strange"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(self.report, out)
            file = out / "interventions/interventions.json"
            change(file)
            done = run("plot", out, "--only", "page")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.open(out)
            self.assertTrue(self.page.run("return document.querySelector('#interventions').hidden"))
            return done.stderr

        def other(file):
            results = json.loads(file.read_text())
            results["model"]["parameters"] += 1
            file.write_text(json.dumps(results))
        self.assertRegex(warned(other), "outliers: warning: interventions are left out of the page: .*json is of another model")
        self.assertRegex(warned(lambda file: file.write_text("{")), "left out of the page: .*interventions.json.*damaged or cut short")

    def test_hostile_text_stays_text(self):
        out = self.dir / "hostile"
        shutil.copytree(self.alone, out)
        file = out / "interventions.json"
        results = json.loads(file.read_text())
        results["runs"][1]["edits"] = results["model"]["name"] = "</script><script>document.title='pwned'</script>{{script}}"
        results["runs"][1].update(nll_nats=None, ppl=None)
        results["runs"][1]["effect"]["nll_difference"] = None
        file.write_text(json.dumps(results))
        self.succeed("plot", out, "--only", "page")
        self.page.open(out / "index.html")
        self.assertNotEqual(self.page.run("return document.title"), "pwned")
        self.assertEqual(self.page.console(), [])
        self.assertIn("not finite", self.text("#intervention-table"))


if __name__ == "__main__":
    main()
