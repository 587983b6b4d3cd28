#!/usr/bin/env python3
"""A number shown twice is the same number: every number that the summary, the page and a comparison show is one of results.json
(or arrays.npz), by one rule of rounding, which stands here a second time (tests/oracle/shown_numbers.py)."""
import json
import pathlib
import re
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "oracle"))
import browser  # noqa: E402
import reading  # noqa: E402
import tiny  # noqa: E402
from program import ROOT, FolderTest, main  # noqa: E402
from shown_numbers import number, percent, seconds, size  # noqa: E402

# What people read as one number, with its unit.
SHOWN = re.compile(r"(?<![\w.\-])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e-?\d+)?(?: (?:%|bytes\b|kB\b|MB\b|GB\b|h "
                   r"\d+ min|min \d+ s|s\b))?(?!\w)")
PARTS = ["#lead", "#tiles", "#words", "#strip-readout", "#massive", "#columns", "#column-detail .hint", "#keys", "#heads + details",
         "#token-detail", "#prompt-3d .readout", "details.numbers"]


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


class Known:
    """Every way in which the numbers of a report may be shown."""

    def __init__(self, directory):
        r = self.results = reading.load(directory)
        values = list(leaves(r))
        with np.load(directory / "arrays.npz") as arrays:
            for name in arrays.files:
                values += [float(v) for v in np.unique(arrays[name])]
        values += [abs(v) for v in values]
        shares = list(values)
        P, T, L = (*(reading.the_input(r, name)["tokens_per_sequence"] for name in ("prompt", "corpus")), r["model"]["layers"])
        attention = reading.layers(r, "corpus", "attention")
        for batch in ("prompt", "corpus"):
            for point in ("resid_out", "down_in"):
                for l, layer in enumerate(reading.layers(r, batch, point)):
                    # A value of the layer in medians.
                    values += [abs(v) / layer["median"] for v in leaves([layer["max"], [m["value"] for m in layer["massive"]]])]
                    with np.load(directory / "arrays.npz") as arrays:
                        values += [float(v) / layer["median"] for v in arrays[f"prompt.{point}.token_max"][l, 0]]
        with np.load(directory / "arrays.npz") as arrays:
            shares += [float(v) / P for v in arrays["prompt.attention.key_scores"].flat]
        for layer in attention:
            shares += [key["score"] / T for key in layer["top_keys"]] + [layer["top3_mean"][0] / T]
            for kind in {key["class"] for key in layer["outlier_keys"]}:
                shares.append(sum(key["class"] == kind for key in layer["outlier_keys"]) / len(layer["outlier_keys"]))
        keys = [key["class"] for layer in attention for key in layer["outlier_keys"]]
        shares += [keys.count(kind) / len(keys) for kind in set(keys)]
        shares += [(l + 0.5) / L for l in range(L)]
        scores = sorted((m["score"] for layer in reading.weights(r) for m in layer["modules"].values()), reverse=True)
        values.append(scores[len(scores) // 2])
        for layer in reading.weights(r):
            values.append(sum(m["score"] for m in layer["modules"].values()) / len(layer["modules"]))
        values += [len(layer["outlier_keys"]) for layer in attention] + [P, T, L, r["criteria"]["outlier_key_share"] * P]
        # A chart of a measure's values by head says their mean.
        values += [sum(v) / len(v) for layer in r["layers"] for one in layer["inputs"].values() for v in one.get("values", {}).values()]
        numbers = values + [-v for v in values]
        whole = [v for v in numbers if isinstance(v, int)]
        self.texts = {number(v) for v in numbers} | {f"{v:,}" for v in whole} | {f"{v}" for v in whole}
        self.texts |= {percent(v) for v in shares if 0 <= v <= 1e4}
        self.texts |= {size(v) for v in numbers if isinstance(v, int) and v >= 0} | {seconds(v) for v in leaves(r["run"])}
        # Thresholds have all their digits.
        self.texts |= {f"{v:,}" for v in leaves(r["criteria"])}


def strangers(text, known):
    """Numbers in a text that are none of the report's. Names and versions are not numbers."""
    text = re.sub(r'"[^"]*"|“[^”]*”', " ", text)
    return [m.group().strip() for m in SHOWN.finditer(text) if m.group().strip() not in known.texts]


class Case(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # An initial token that is larger in the corpus (which begins with a BOS) than in the prompt (which is given none).
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.texts = {}
        for name, more in (("one", []), ("two", ["--bos", "never", "--prompt", "A calm sea."])):
            cls.texts[name] = cls().succeed("report", cls.model, "-o", cls.dir / name, "--corpus", cls.corpus, "--sequences", 3, "--tokens",
                                            40, "--no-figures", *more)
        # The corpus reaches further than the prompt, so that the one cannot be taken for the other unseen.
        cls.edit("one")
        cls.compared = cls().succeed("compare", cls.dir / "one", cls.dir / "two", "-o", cls.dir / "compared")

    @classmethod
    def edit(cls, name):
        path = cls.dir / name / "results.json"
        results = reading.load(cls.dir / name)
        layer = reading.layers(results, "corpus", "resid_out")[1]
        layer["max"] = layer["top"][0]["value"] = 1234.5
        room = results["summary"]["headroom"]["resid_out"]
        room.update(layer=1, input="corpus", max=1234.5, max_over_median=1234.5 / layer["median"], of_fp16_max=1234.5 / 65504,
                    of_fp8_e4m3_max=1234.5 / 448, int8_step_over_median=1234.5 / layer["median"] / 127)
        results["summary"]["alignment"]["weight_activation"] = 0.125
        path.write_text(json.dumps(results))
        cls().succeed("plot", cls.dir / name, "--only", "page")


class TextTest(Case):
    def test_summary_shows_the_results(self):
        known = Known(self.dir / "two")
        self.assertEqual(strangers(self.texts["two"].split("files ")[0], known), [])

    def test_comparison_shows_the_results(self):
        one, two = Known(self.dir / "one"), Known(self.dir / "two")
        rows = self.compared.splitlines()
        for row, known in zip(rows[1:3], (one, two)):
            self.assertEqual(strangers(row, known), [], row)
        largest = reading.layers(one.results, "prompt", "resid_out")[reading.life(one.results)["peak_layer"]]
        self.assertIn(f" {number(largest['max'])} ", rows[1])
        self.assertNotIn("1,235", rows[1])


@unittest.skipUnless(browser.CHROMEDRIVER and browser.CHROMIUM, "no chromium and chromedriver here; scripts/setup.sh installs them")
class PageTest(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.page = browser.Browser()
        cls.addClassCleanup(cls.page.close)

    def texts_of(self, selectors):
        # Charts of values are drawn when they are opened, each with its numbers.
        self.page.run("for (const d of document.querySelectorAll('details.value')) d.open = true")
        self.page.wait("return [...document.querySelectorAll('details.value')].every((d) => d.querySelector('details.numbers'))")
        self.page.run("for (const d of document.querySelectorAll('details')) d.open = true; for (const b of "
                      "document.querySelectorAll('button.more')) for (let i = 0; i < 5 && !b.hidden; ++i) b.click()")
        self.page.wait("return [...document.querySelectorAll('details.numbers')].every((d) => d.querySelectorAll('tbody tr').length > 0)")
        # A cell is a text of its own.
        return self.page.run("""
            const texts = []; for (const selector of arguments[0]) for (const node of document.querySelectorAll(selector)) {
              const cells = node.querySelectorAll('td, dd, .tile > div, p');
              for (const n of cells.length ? cells : [node]) if (!n.querySelector('td')) texts.push(n.innerText); }
            for (const node of document.querySelectorAll('main [aria-label]'))
              if (node.tagName !== 'INPUT') texts.push(node.getAttribute('aria-label'));
            return texts;""", selectors)

    def check(self, selectors, known):
        for text in self.texts_of(selectors):
            self.assertEqual(strangers(text, known), [], text)

    def test_the_page_s_rule_is_the_program_s(self):
        cases = json.loads((ROOT / "tests/golden/report/shown.json").read_text())
        script = (ROOT / "src/outliers/report/page/numbers.js").read_text() + """
            const f = { number, percent, bytes, seconds, visible }; return arguments[0].map(([name, value]) => f[name](value));"""
        asked = [(name, value, wanted) for name, rows in cases.items() for value, wanted in rows]
        got = self.page.run(script, [[name, value] for name, value, _ in asked])
        self.assertEqual([(n, v, g) for (n, v, w), g in zip(asked, got) if g != w], [])
        none = self.page.run((ROOT / "src/outliers/report/page/numbers.js").read_text()
                             + "\nreturn [number(NaN), number(null), percent(null), percent(Infinity)];")
        self.assertEqual(none, ["not finite", "not finite", "none", "none"])
        limits = [0.3, 100, 1000, 65504, 1234.5]
        said = self.page.run((ROOT / "src/outliers/report/page/numbers.js").read_text() + "\nreturn arguments[0].map(limit);", limits)
        self.assertEqual(said, [f"{v:,}" for v in limits])

    def test_the_page_shows_the_results(self):
        for name in ("one", "two"):
            known = Known(self.dir / name)
            self.page.open(self.dir / name / "index.html")
            tokens = len(reading.the_input(known.results, "prompt")["ids"])
            for layer in range(tiny.L):
                self.page.run("document.querySelector(`#strip .layer[data-layer=\"${arguments[0]}\"]`).dispatchEvent(new "
                              "MouseEvent('click', {bubbles: true}))", layer)
                self.page.run("document.querySelector(`#prompt-text button[data-token=\"${arguments[0]}\"]`).click()", layer * 2 % tokens)
                self.check(PARTS, known)
            self.page.click("#activation-controls [data-value='down_in']")
            self.page.click("#activation-controls [data-value='corpus']")
            self.check(PARTS, known)

    def test_the_largest_is_one_number(self):
        known = Known(self.dir / "one").results
        layer = reading.life(known)["peak_layer"]
        peak = reading.layers(known, "prompt", "resid_out")[layer]
        largest = number(peak["max"])
        self.page.open(self.dir / "one/index.html")
        said = {name: self.page.run("return document.querySelector(arguments[0]).innerText", name)
                for name in ("#lead", "#tiles", "#words")}
        self.assertIn(f"reaches {largest}", said["#lead"])
        self.assertRegex(said["#tiles"], rf"(?i)largest value\n{largest}\nlayer output of layer {layer} on the prompt")
        self.assertIn(f": {largest} in channel", said["#words"])
        self.assertIn("1,235 in layer 1 (corpus)", said["#words"].replace("reaches ", ""))
        self.assertIn("in 13 % of all layers", said["#words"])
        token = peak["top"][0]["token"]
        self.page.click(f"#strip .layer[data-layer='{layer}']")
        self.page.click(f"#prompt-text button[data-token='{token}']")
        self.assertIn(f"{largest}, {number(peak['max'] / peak['median'])} medians",
                      self.page.run("return document.querySelector('#token-detail').innerText"))
        self.page.open(self.dir / "compared/index.html")
        row = self.page.run("return [...document.querySelectorAll('#summary tbody tr')[0].cells].map((c) => c.innerText)")
        self.assertEqual(row[6:8] + row[10:11], [largest, number(peak["max"] / peak["median"]), "13 %"])
        self.assertIn(f"({largest}, {row[7]} medians)", self.page.run("return document.querySelector('#lives').innerText"))
        self.assertIn("1 (corpus)", self.page.run("return document.querySelector('#room').innerText"))

    def test_the_comparison_shows_the_results(self):
        self.page.open(self.dir / "compared/index.html")
        both = Known(self.dir / "one")
        both.texts |= Known(self.dir / "two").texts
        for curve in self.page.run("return [...document.querySelectorAll('#layer-controls option')].map((o) => o.value)"):
            self.page.run("const s = document.querySelector('#layer-controls select'); s.value = arguments[0]; "
                          "s.dispatchEvent(new Event('change'))", curve)
            if curve == "sink_rate":
                continue  # means over heads, which results.json gives for all layers together
            self.check(["#lives", "#summary", "#channels", "#tokens", "#room"] + (["#curves ~ details"] if curve != "top_key" else []),
                       both)


if __name__ == "__main__":
    main()
