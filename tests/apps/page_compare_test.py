#!/usr/bin/env python3
"""The page of `outliers compare`, in headless Chromium on two reports of a tiny model."""
import base64
import json
import pathlib
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from page_case import OVERFLOWING, PageCase, block  # noqa: E402
from program import main  # noqa: E402


class ComparePageTest(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = cls.make(cls(), "other-report", "--bos", "never")
        cls.out = cls.dir / "comparison"
        cls.printed = cls().succeed("compare", cls.report, cls.other, "-o", cls.out)

    def open_comparison(self):
        self.page.open(self.out / "index.html")

    def test_shows_both(self):
        self.open_comparison()
        rows = self.page.run("return [...document.querySelectorAll('#summary tbody tr')].map((r) => r.cells[0].textContent)")
        self.assertEqual(rows, ["tiny (report)", "tiny (other-report)"])
        self.assertIn("tiny (report)", self.printed)
        paths = self.page.run("return [...document.querySelectorAll('#curves path.series')].map((p) => p.getAttribute('d'))")
        self.assertEqual([p.count("M") + p.count("L") for p in paths], [tiny.L] * 2)
        self.assertIn("they differ in BOS (model; never)", self.text("#differences"))
        self.assertEqual(self.page.run("return document.querySelectorAll('#room tbody tr').length"), 4)
        self.quiet(self.out)

    def test_sorts_and_changes_the_curve(self):
        self.open_comparison()
        self.page.run("[...document.querySelectorAll('#summary th button')].find((b) => b.textContent === 'model').click()")
        self.assertEqual(self.page.run("return document.querySelector('#summary tbody tr').cells[0].textContent"), "tiny (other-report)")
        before = self.page.run("return document.querySelector('#curves path').getAttribute('d')")
        self.page.run("const s = document.querySelector('#layer-controls select'); s.value = 'sink_rate'; "
                      "s.dispatchEvent(new Event('change'))")
        self.assertNotEqual(self.page.run("return document.querySelector('#curves path').getAttribute('d')"), before)
        self.assertIn("curve=sink_rate", self.page.run("return location.hash"))

    def test_embeds_the_results(self):
        html = (self.out / "index.html").read_text()
        for i, report in enumerate((self.report, self.other)):
            embedded = json.loads(zlib.decompress(base64.b64decode(block(html, f"results-{i}"))))
            self.assertEqual(embedded, json.loads((report / "results.json").read_text()))
        listed = json.loads((self.out / "comparison.json").read_text())
        self.assertEqual([r["label"] for r in listed["reports"]], ["tiny (report)", "tiny (other-report)"])

    def test_fits_a_telephone(self):
        self.page.size(390, 844, mobile=True)
        self.open_comparison()
        self.assertEqual(self.page.run(OVERFLOWING), [])

    def test_refuses_what_it_cannot_compare(self):
        self.refuse(1, "holds no report", "compare", self.report, self.dir, "-o", self.dir / "never")
        self.refuse(2, "compare --help", "compare", self.report, "-o", self.dir / "never")
        self.refuse(1, "exists already", "compare", self.report, self.other, "-o", self.out)
        # A report is not a comparison: --force does not replace it.
        self.refuse(1, "has no comparison.json", "compare", self.report, self.other, "-o", self.other, "--force")
        self.assertFalse((self.dir / "never").exists())
        self.succeed("compare", self.report, self.other, "-o", self.out, "--force")


if __name__ == "__main__":
    main()
