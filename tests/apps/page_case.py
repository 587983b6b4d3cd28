"""What the tests of pages share: a report of the tiny model, and headless Chromium to look at it."""
import json
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser  # noqa: E402
import tiny  # noqa: E402
from program import ProgramTest  # noqa: E402

SECTIONS = ["answer", "activations", "formats", "weights", "attention", "tokens", "values", "method"]
CORPUS = "The ship sailed on. The sea was calm, and the crew slept.\n" * 40
# Colours of a canvas that differ: 1 means that nothing is drawn on it.
CANVAS_COLOURS = """
const c = document.querySelector(arguments[0]); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
const seen = new Set(); for (let i = 0; i < d.length; i += 4 * 7) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); return seen.size;"""
OVERFLOWING = """
const wide = []; for (const e of document.querySelectorAll('main *, header *')) {
  if (e.closest('.scroll, .visually-hidden, .plot3d, nav')) continue;
  const box = e.getBoundingClientRect();
  if (box.width > 0 && box.right > innerWidth + 1) wide.push(e.tagName + '#' + e.id + '.' + e.className); }
return document.documentElement.scrollWidth > innerWidth ? ['the document'].concat(wide) : wide;"""


def block(html, name):
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', html, re.S).group(1)


class PageCase(ProgramTest):
    """A report of the tiny model to look at, and the window to look through."""

    @classmethod
    def setUpClass(cls):
        if not browser.CHROMEDRIVER or not browser.CHROMIUM:
            raise unittest.SkipTest("no chromium and chromedriver here; scripts/setup.sh installs them")
        cls.page = browser.Browser()
        cls.addClassCleanup(cls.page.close)
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.dir = pathlib.Path(cls.folder.name)
        cls.corpus = cls.dir / "corpus.txt"
        cls.corpus.write_text(CORPUS)
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.report = cls.make(cls(), "report")

    def make(self, name, *more, model=None):
        out = self.dir / name
        self.succeed("report", model or self.model, "-o", out, "--corpus", self.corpus, "--sequences", 3, "--tokens", 40, "--no-figures",
                     *more)
        return out

    def edited(self, name, edit):
        """A copy of the report whose results and arrays went through edit(results, arrays), and its page drawn anew."""
        out = self.dir / name
        shutil.copytree(self.report, out)
        results, arrays = json.loads((out / "results.json").read_text()), dict(np.load(out / "arrays.npz"))
        edit(results, arrays)
        (out / "results.json").write_text(json.dumps(results))
        np.savez(out / "arrays.npz", **arrays)
        self.succeed("plot", out, "--only", "page")
        return out

    def setUp(self):
        self.page.size(1280, 900)
        self.page.prefer(prefers_color_scheme="light")
        self.page.requests(), self.page.console()

    def open(self, directory, fragment=""):
        self.page.open(directory / "index.html", fragment)
        return json.loads((directory / "results.json").read_text())

    def quiet(self, directory):
        self.assertEqual(self.page.console(), [])
        self.assertEqual({url for url in self.page.requests()}, {(directory / "index.html").resolve().as_uri()})

    def text(self, selector):
        return self.page.run("return document.querySelector(arguments[0]).textContent", selector)

    def chosen(self):
        return int(self.page.run("return document.getElementById('layer').value"))

    def draw_3d(self):
        self.page.run("document.getElementById('prompt-3d').scrollIntoView({behavior: 'instant'})")
        self.page.wait("return document.querySelector('.plot3d').dataset.drawn")
