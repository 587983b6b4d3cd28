#!/usr/bin/env python3
"""The page of a report with super weights: a table of them, and what is lost without each."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from page_case import OVERFLOWING, PageCase  # noqa: E402
from program import main  # noqa: E402

CELLS = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"


class SuperWeightsPageTest(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.super = cls.make(cls(), "super", "--measures", "activations,criticality", "--threads", 1,
                             model=tiny.write_model(cls.dir / "two", cls.another))

    @staticmethod
    def another(weights):
        """A second super weight, one layer after tiny.py's."""
        for name in ("gate_proj", "up_proj"):
            weights[f"model.layers.2.mlp.{name}.weight"][7] = 0
            weights[f"model.layers.2.mlp.{name}.weight"][7, 7] = 4
        weights["model.layers.2.mlp.down_proj.weight"][11, 7] = 1.5

    def test_table_has_what_was_found(self):
        results = self.open(self.super)
        found, damage = results["super_weights"]["found"], results["criticality"]["weights"]
        self.assertGreater(len(found), 1)
        rows = self.page.run(CELLS, "#super-weights")
        self.assertEqual([[int(row[0]), int(row[1]), int(row[2]), int(row[3])] for row in rows],
                         [[one[key] for key in ("round", "layer", "row", "column")] for one in found])
        for row, one in zip(rows, damage):
            shown = [float(cell.split(" ±")[0].replace("−", "-")) for cell in row[8:]]
            for number, wanted in zip(shown, (one["log10_ppl_ratio"], max(c["log10_ppl_ratio"] for c in one["controls"])), strict=True):
                self.assertLess(abs(number - wanted), 0.0000501 if abs(wanted) > 0.00005 else abs(wanted) * 0.6)
        self.assertIn("With all of them zero, the largest output", self.text("#super-left"))
        self.assertIn(f"without all {len(found)}", self.text("#super"))
        self.assertIn("until no down projection gives more than 50", self.text("#super-hint"))
        self.page.click("#super-weights tbody tr:last-child button")
        self.assertEqual(self.chosen(), found[-1]["layer"])
        self.quiet(self.super)

    def test_section_is_there_where_they_were_measured(self):
        self.open(self.super)
        self.assertFalse(self.page.run("return document.querySelector('nav a[href=\"#super\"]').hidden"))
        self.open(self.report)
        self.assertTrue(self.page.run("return document.querySelector('#super').hidden"))
        self.assertTrue(self.page.run("return document.querySelector('nav a[href=\"#super\"]').hidden"))

    def test_none_and_no_criticality(self):
        def calm(results, _):
            results["super_weights"] = {"input": "prompt", "found": [], "left": {"layer": 2, "token": 0, "channel": 3, "down_out": -4.5}}
        self.open(self.edited("none", calm))
        self.assertIn("No down projection gives more than 50.", self.text("#super-weights"))
        self.assertIn("The largest output of a down projection is 4.50 in layer 2", self.text("#super-left"))

    def test_fits_a_telephone(self):
        self.page.size(390, 844, mobile=True)
        self.open(self.super)
        self.assertEqual(self.page.run(OVERFLOWING), [])

    def test_not_finite(self):
        def broken(results, _):
            results.update({key: json.loads((self.super / "results.json").read_text())[key] for key in ("super_weights", "criticality")})
            results["criticality"]["weights"][0]["log10_ppl_ratio"] = None
            results["criticality"]["weights"][0]["controls"][3]["log10_ppl_ratio"] = None
        self.open(self.edited("broken", broken))
        row = self.page.run(CELLS, "#super-weights")[0]
        self.assertEqual([row[8].split(" ±")[0], row[9]], ["not finite", "not finite"])
        self.assertEqual(self.page.console(), [])


if __name__ == "__main__":
    main()
