#!/usr/bin/env python3
"""What the page shows of the findings, and of the layers whose down input has outliers."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from page_case import OVERFLOWING, PageCase  # noqa: E402
from program import main  # noqa: E402

CARDS = """return [...document.querySelectorAll('#findings .finding')].map((f) => [f.dataset.rule, f.querySelector('.severity').textContent,
  f.open, f.querySelector('summary').lastChild.textContent])"""
HEIGHT = "return document.getElementById(arguments[0]).offsetHeight"


class FindingsPageTest(PageCase):
    def test_findings(self):
        results = self.open(self.report)
        findings = results["findings"]
        self.assertGreater(len(findings), 2)
        self.assertEqual(self.page.run(CARDS), [[f["id"], f["severity"], f["severity"] != "note", f["title"]] for f in findings])
        for finding in findings:
            text = self.text(f"#findings [data-rule='{finding['id']}']")
            for part in ("text", "advice", "source", "metric"):
                self.assertIn(finding[part], text)
        self.page.click("#layer-up")
        worst = next(f for f in findings if f["id"] == "one-neuron")["place"]["layer"]
        self.assertNotEqual(self.chosen(), worst)
        self.page.click("#findings [data-rule='one-neuron'] button.link")
        self.assertEqual(self.chosen(), worst)
        self.page.size(390, 844, mobile=True)
        self.page.wait("return document.querySelector('#strip svg').getBoundingClientRect().width < 390")
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.quiet(self.report)

    def test_without_findings_and_of_old_reports(self):
        def old(results, _):
            del results["findings"], results["summary"]["alignment"]["outlier_layers"]
        out = self.edited("none", lambda results, _: results.update(findings=[]))
        self.open(out)
        self.assertIn("nothing is beyond the rules' thresholds", self.text("#findings"))
        self.quiet(out)
        out = self.edited("old", old)
        self.open(out)
        for card in ("findings-card", "alignment-card"):
            self.assertEqual(self.page.run(HEIGHT, card), 0)
        self.quiet(out)

    def test_texts_are_texts(self):
        def hostile(results, _):
            for finding in results["findings"]:
                for part in ("title", "text", "advice", "source", "id"):
                    finding[part] = f"<img src=x onerror=alert(1)><b>{part}</b> layer 99999"
        out = self.edited("hostile", hostile)
        self.open(out)
        self.assertIn("<b>advice</b>", self.text("#findings"))
        self.assertEqual(self.page.run("return document.querySelectorAll('#findings img, #findings b').length"), 0)
        self.quiet(out)

    def test_alignment(self):
        results = self.open(self.report)
        of = results["summary"]["alignment"]["outlier_layers"]
        rows = self.page.run("return [...document.querySelectorAll('#alignment tbody tr')].map((r) => "
                             "[...r.cells].map((c) => c.textContent))")
        self.assertEqual([int(row[0]) for row in rows], [layer["layer"] for layer in of["layers"]])
        for row, layer in zip(rows, of["layers"], strict=True):
            self.assertEqual(row[2], "yes" if layer["aligned"] else "no")
            self.assertIn(f"column {layer['top_weight']['neuron']}:", row[3])
            self.assertIn(f"neuron {layer['top_activation']['neuron']}:", row[4])
            self.assertIn(f"to channel {layer['top_product']['row']}", row[5])
        self.assertIn(f"Of these layers {of['share'] * 100:.0f} % are aligned; over all layers", self.text("#alignment-hint"))
        self.page.click("#alignment tbody tr:last-child button.link")
        self.assertEqual(self.chosen(), of["layers"][-1]["layer"])


if __name__ == "__main__":
    main()
