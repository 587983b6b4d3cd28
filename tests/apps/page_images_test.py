#!/usr/bin/env python3
"""The page of a report on a model of images, in headless Chromium."""
import pathlib
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
from page_case import CANVAS_COLOURS, OVERFLOWING, SECTIONS, PageCase  # noqa: E402
from program import ROOT, main  # noqa: E402


class ImagesPageTest(PageCase):
    """The page of a model of images: what stands in the place of text."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        golden = ROOT / "tests/golden/models/dinov2_with_registers_shrunk"
        np.save(cls.dir / "a.npy", np.load(golden / "reference.npz")["pixel_values"])
        cls.images = cls.dir / "images"
        cls.succeed(cls(), "report", golden, "-o", cls.images, "--images", cls.dir / "a.npy", "--no-figures")

    def test_shows_norms_and_patches_in_their_places(self):
        results = self.open(self.images, "#layer=1&token=9")
        shown = results["images"]
        for section in SECTIONS + ["norms"]:
            self.assertTrue(self.page.run("const s = document.getElementById(arguments[0]); return s.offsetHeight > 100 && "
                                          "s.querySelector('h1, h2').textContent.length > 0", section), section)
        self.assertEqual(self.page.run("return [...document.querySelectorAll('.bar nav a')].filter((a) => a.offsetWidth > 0).length"),
                         len(SECTIONS) + 1)
        self.assertEqual(self.page.run("return document.querySelectorAll('#norm-lines path.series').length"), 4)
        for canvas in ("#norm-map canvas", "#attention-map canvas"):
            self.assertGreater(self.page.run(CANVAS_COLOURS, canvas), 3, canvas)
        places = self.page.run("return [...document.querySelectorAll('#prompt-text .patches button')].map((b) => { const r = "
                               "b.getBoundingClientRect(); return [Math.round(r.left), Math.round(r.top)]; })")
        self.assertEqual(len(places), shown["rows"] * shown["columns"])
        self.assertEqual(len({x for x, _ in places}), shown["columns"])
        self.assertEqual(len({y for _, y in places}), shown["rows"])
        # Token 9 is CLS, three registers and five patches further: row 1, column 0.
        self.assertIn("r1c0", self.text("#token-detail"))
        norm = np.load(self.images / "arrays.npz")["prompt.resid_out.token_norm"][1, 0, 9]
        self.assertIn(f"{norm:.3g}", self.text("#token-detail"))
        largest = reading.layers(results, "corpus", "norms")[1]["patches"]["largest"]
        self.assertIn(f"{largest['token_text']} of image {largest['sequence']}", self.text("#norm-said"))
        self.quiet(self.images)

    def test_maps_are_whole_squares(self):
        self.open(self.images, "#layer=0&head=1")
        probs = np.load(self.images / "arrays.npz")["prompt.attention.probs"][0, 1]
        self.page.run("document.querySelector('#key-scores ~ details.numbers').open = true")
        self.page.wait("return document.querySelectorAll('#key-scores ~ details.numbers tbody tr').length > 0")
        # A head's scores are summed from the map that the page holds: of all queries, not of those that come later alone.
        scores = self.page.run("return [...document.querySelectorAll('#key-scores ~ details.numbers tbody tr')].map((r) => "
                               "Number(r.cells[2].textContent))")
        np.testing.assert_allclose(scores, probs.sum(0), atol=0.006)

    def test_speaks_of_images(self):
        self.open(self.images)
        self.page.wait("return document.documentElement.dataset.ready === 'all'")
        said = self.page.run("return document.querySelector('main').innerText")
        for word in (r"\bprompt\b", r"\bcorpus\b", r"\bBOS\b"):
            self.assertNotRegex(said.split("\nMethod\n")[0], word)
        self.assertIn("first image", said)

    def test_comparison_says_what_stands_for_the_prompt(self):
        other, out = self.dir / "other", self.dir / "compared"
        shutil.copytree(self.images, other)
        self.succeed("compare", self.images, other, "-o", out)
        self.page.open(out / "index.html")
        self.assertIn("the prompt is the first image", self.text("#images-said"))

    def test_fits_a_telephone(self):
        self.page.size(390, 844, mobile=True)
        self.open(self.images)
        self.assertEqual(self.page.run(OVERFLOWING), [])


if __name__ == "__main__":
    main()
