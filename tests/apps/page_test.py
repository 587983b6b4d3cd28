#!/usr/bin/env python3
"""The page of `outliers report`, in headless Chromium on a tiny model's report."""
import base64
import json
import pathlib
import re
import shutil
import sys
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from page_case import CANVAS_COLOURS, OVERFLOWING, SECTIONS, PageCase, block  # noqa: E402
from program import main  # noqa: E402

HOSTILE = ["<img src=x onerror=\"window.pwned=1\">", "</script><script>window.pwned=2</script>", "<b>bold</b>", "&lt;i&gt;",
           "`touch pwned`", "'; system(\"touch pwned\") #", "{{results}}", "$x^2$", "\u2028\u2029", "<!--", "]]>",
           "javascript:window.pwned=3", "\u202Eright to left", "\u65e5\u672c\u8a9e", "\U0001F9EA", "", " ", "a" * 500]


class ReportPageTest(PageCase):
    # ---- what it shows

    def test_every_section_shows_something(self):
        results = self.open(self.report)
        self.draw_3d()
        layers = results["model"]["layers"]
        for section in SECTIONS:
            self.assertTrue(self.page.run("const s = document.getElementById(arguments[0]); return s.offsetHeight > 100 && "
                                          "s.querySelector('h1, h2').textContent.length > 0", section), section)
        self.assertEqual(self.page.run("return document.querySelectorAll('#strip .layer rect.span').length"), layers)
        for chart, lines in (("activation-lines", 5), ("weight-lines", 8), ("attention-lines", 4)):
            paths = self.page.run("return [...document.querySelectorAll(`#${arguments[0]} path.series`)].map((p) => p.getAttribute('d'))",
                                  chart)
            self.assertEqual([path.count("M") + path.count("L") for path in paths], [layers] * lines, chart)
        for canvas in ("#attention-map canvas", "#heads canvas"):
            self.assertGreater(self.page.run(CANVAS_COLOURS, canvas), 3, canvas)
        self.assertTrue(self.page.run("return Boolean(document.querySelector('.plot3d canvas')) && window.Plotly !== undefined"))
        for drawn in ("#key-scores .bar-rect", "#prompt-text button"):
            self.assertEqual(self.page.run("return document.querySelectorAll(arguments[0]).length", drawn),
                             results["inputs"][0]["tokens_per_sequence"], drawn)
        for table in ("massive", "columns", "keys"):
            self.assertGreater(self.page.run("return document.querySelectorAll(`#${arguments[0]} tbody tr`).length", table), 0, table)
        self.assertGreaterEqual(self.page.run("return document.querySelectorAll('#definitions dt').length"), 10)
        self.quiet(self.report)

    def test_answers_first_and_in_numbers(self):
        results = self.open(self.report)
        self.assertIn("Born in layer 1, carried to layer 2, removed in layer 3.", self.text("#lead"))
        self.assertIn("mlp.down_proj column 5", self.text("#words"))
        largest = reading.layers(results, "prompt", "resid_out")[1]
        self.assertIn(f"largest {largest['max']:.0f}",
                      self.page.run("return document.querySelector('#strip .layer[data-layer=\"1\"]').getAttribute('aria-label')"))
        self.assertIn("born here",
                      self.page.run("return document.querySelector('#strip .layer[data-layer=\"1\"]').getAttribute('aria-label')"))
        # Every drawing says in words what it shows.
        silent = self.page.run("return [...document.querySelectorAll('main svg, main canvas')].filter((n) => !n.closest('.plot3d') && "
                               "!(n.getAttribute('aria-label') || '').match(/[a-z]/)).length")
        self.assertEqual(silent, 0)

    def test_numbers_stand_below_the_charts(self):
        results = self.open(self.report)
        self.page.run("for (const d of document.querySelectorAll('details.numbers')) d.open = true")
        self.page.wait("return [...document.querySelectorAll('details.numbers')].every((d) => d.querySelectorAll('tbody tr').length > 0)")
        rows = self.page.run("return [...document.querySelector('#strip-readout ~ details.numbers').querySelectorAll('tbody "
                             "tr')].map((r) => r.cells[1].textContent)")
        self.assertEqual(len(rows), results["model"]["layers"])
        self.assertEqual(rows[1], f"{reading.layers(results, 'prompt', 'resid_out')[1]['max']:.0f}")

    def test_arrays_are_the_report_s(self):
        """Decodes the page's arrays as docs/page.md describes them, and holds them against arrays.npz."""
        html = (self.report / "index.html").read_text()
        raw, index = zlib.decompress(base64.b64decode(block(html, "arrays"))), json.loads(block(html, "arrays-index"))
        arrays = np.load(self.report / "arrays.npz")

        def floats(name):
            spec = index[name]
            return np.frombuffer(raw, "<f4", int(np.prod(spec["shape"])), spec["values"]).reshape(spec["shape"])
        # The numbers that a reader sees are those of the report, to the last bit.
        for point in ("resid_out", "down_in"):
            np.testing.assert_array_equal(floats(f"prompt.{point}"), arrays[f"prompt.{point}"])
            np.testing.assert_array_equal(floats(f"prompt.token_max.{point}"), arrays[f"prompt.{point}.token_max"][:, 0])
        np.testing.assert_array_equal(floats("prompt.key_scores"), arrays["prompt.attention.key_scores"][:, 0])
        np.testing.assert_array_equal(floats("columns"), arrays["weights.down.columns"])
        for name in ("probs", "probs_mean"):
            spec, wanted = index[f"prompt.{name}"], arrays[f"prompt.attention.{name}"]
            rows, columns = np.tril_indices(wanted.shape[-1])
            lower = wanted[..., rows, columns]
            got = np.frombuffer(raw, "<u2", lower.size, spec["values"]).reshape(lower.shape) / 65534
            np.testing.assert_allclose(got, lower, atol=1 / 65534)
        self.assertLess(len(html), 8e6)

    # ---- what it does

    def test_a_layer_chosen_anywhere_is_chosen_everywhere(self):
        self.open(self.report)
        self.assertEqual(self.chosen(), 1)
        self.page.click("#strip .layer[data-layer='3']")
        self.assertEqual(self.chosen(), 3)
        self.assertIn("layer=3", self.page.run("return location.hash"))
        for title in ("#prompt-3d-title", "#columns-title", "#map-title", "#scores-title", "#keys-title", "#token-detail h3"):
            self.assertIn("layer 3", self.text(title), title)
        self.page.click("#layer-down")
        self.assertEqual(self.chosen(), 2)
        self.page.click("#lead button.link")
        self.assertEqual(self.chosen(), 1)
        self.page.click("#words button.link")
        self.page.run("const i = document.getElementById('layer'); i.value = 99; i.dispatchEvent(new Event('change'))")
        self.assertEqual(self.chosen(), tiny.L - 1)
        # A chart takes a click at its layer too.
        self.page.run("const s = document.querySelector('#weight-lines svg'); const b = s.getBoundingClientRect(); "
                      "s.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: b.left + 60, clientY: b.top + 50}))")
        self.assertEqual(self.chosen(), 0)
        self.quiet(self.report)

    def test_points_heads_columns_and_tokens_can_be_chosen(self):
        results = self.open(self.report)
        before = self.page.run("return document.querySelector('#activation-lines path').getAttribute('d')")
        self.page.click("#activation-controls [data-value='down_in']")
        self.assertNotEqual(self.page.run("return document.querySelector('#activation-lines path').getAttribute('d')"), before)
        self.assertIn("down input", self.text("#prompt-3d-title"))
        self.page.run("const s = document.querySelector('#head-picker select'); s.value = '2'; s.dispatchEvent(new Event('change'))")
        self.assertIn("head 2", self.text("#map-title"))
        self.page.click("#head-measure [data-value='outlier_share']")
        modules = reading.weights(results)[1]["modules"]
        second = modules["down"]["top_columns"][1]["column"]
        self.page.click("#columns tbody tr:nth-child(2) button")
        self.assertIn(f"down column {second}", self.text("#column-detail h3"))
        self.assertGreater(self.page.run("return document.querySelectorAll('#column-detail svg').length"), 1)
        self.page.run("const s = document.querySelector('#module-picker select'); s.value = 'q'; s.dispatchEvent(new Event('change'))")
        self.assertIn(f"q column {modules['q']['top_columns'][0]['column']}", self.text("#column-detail h3"))
        self.page.click("#prompt-text button[data-token='4']")
        self.assertIn("Token 4", self.text("#token-detail h3"))
        self.assertEqual(self.page.run("return [...new URLSearchParams(location.hash.slice(1)).keys()].sort()"),
                         ["column", "head", "measure", "module", "point", "token"])
        self.quiet(self.report)

    def test_table_sorts_and_filters(self):
        self.open(self.report)
        values = "return [...document.querySelectorAll('#massive tbody tr')].map((r) => Number(r.cells[7].textContent.replace(/,/g, '')))"
        first = [abs(v) for v in self.page.run(values)]
        self.assertEqual(first, sorted(first, reverse=True))
        self.page.run("[...document.querySelectorAll('#massive th button')].find((b) => b.textContent === 'value').click()")
        again = [abs(v) for v in self.page.run(values)]
        self.assertEqual(again, sorted(again))
        self.assertEqual(self.page.run("return document.querySelector('#massive th[aria-sort]').getAttribute('aria-sort')"), "ascending")
        self.page.run("const s = document.querySelector('#massive select'); s.value = 'corpus'; s.dispatchEvent(new Event('change'))")
        batches = self.page.run("return [...document.querySelectorAll('#massive tbody tr')].map((r) => r.cells[6].textContent)")
        self.assertEqual(set(batches), {"corpus"})
        self.page.run("const i = document.querySelector('#massive input'); i.value = 'no such thing'; i.dispatchEvent(new Event('input'))")
        self.assertIn("nothing matches", self.text("#massive tbody"))

    def test_keyboard(self):
        self.open(self.report)
        self.page.keys("Tab")
        self.assertEqual(self.page.run("return document.activeElement.className"), "skip")
        self.page.run("document.querySelector('#strip .layer[aria-checked=true]').focus()")
        self.page.keys("ArrowRight")
        self.assertEqual(self.chosen(), 2)
        self.page.keys("End")
        self.assertEqual(self.chosen(), tiny.L - 1)
        self.assertEqual(self.page.run("return document.activeElement.dataset.layer"), str(tiny.L - 1))
        self.page.run("document.querySelector('#prompt-text button[tabindex=\"0\"]').focus()")
        self.page.keys("ArrowRight", "ArrowRight")
        self.assertIn("Token 2", self.text("#token-detail h3"))
        self.page.run("document.querySelector('#heads canvas').focus()")
        self.page.keys("ArrowDown", "ArrowRight", "Enter")
        self.assertIn("layer 1, head 1", self.text("#map-title"))
        self.page.run("document.querySelector('#activation-controls [role=radio][aria-checked=true]').focus()")
        self.page.keys("ArrowRight")
        self.assertIn("down input", self.text("#prompt-3d-title"))

    def test_url_restores_the_view(self):
        self.open(self.report, "#layer=2&point=down_in&head=3&token=5&theme=dark&view=flat")
        self.assertEqual(self.chosen(), 2)
        self.assertIn("layer 2, head 3", self.text("#map-title"))
        self.assertIn("Token 5", self.text("#token-detail h3"))
        self.assertEqual(self.page.run("return document.documentElement.dataset.theme"), "dark")
        self.assertGreater(self.page.run(CANVAS_COLOURS, "#prompt-3d canvas"), 3)
        self.open(self.report, "#layer=99&point=evil&head=-1&token=x&theme=%3Cscript%3E&nothing=1&layer=1.5")
        self.assertEqual(self.chosen(), 1)
        self.quiet(self.report)

    def test_dark_and_light(self):
        paper = "return getComputedStyle(document.body).backgroundColor"
        self.open(self.report)
        light = self.page.run(paper)
        self.page.prefer(prefers_color_scheme="dark")
        self.page.wait("return document.documentElement.dataset.theme === 'dark'")
        self.assertNotEqual(self.page.run(paper), light)
        self.page.click("#theme")
        self.assertEqual(self.page.run(paper), light)
        self.assertIn("theme=light", self.page.run("return location.hash"))

    def test_fits_a_telephone(self):
        self.page.size(390, 844, mobile=True)
        self.open(self.report)
        self.draw_3d()
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.page.click("#strip .layer[data-layer='3']")
        self.page.run("for (const d of document.querySelectorAll('details')) d.open = true")
        self.assertEqual(self.page.run(OVERFLOWING), [])

    def test_prints(self):
        self.open(self.report)
        self.page.devtools("Emulation.setEmulatedMedia", media="print")
        try:
            for section in SECTIONS:
                self.assertGreater(self.page.run("return document.getElementById(arguments[0]).offsetHeight", section), 80, section)
            hidden = self.page.run("return ['.bar', '#activation-controls', '.plot3d'].map((s) => "
                                   "getComputedStyle(document.querySelector(s)).display)")
            self.assertEqual(hidden, ["none"] * 3)
        finally:
            self.page.devtools("Emulation.setEmulatedMedia", media="")
        pdf = self.page.pdf()
        self.assertTrue(pdf.startswith(b"%PDF"))
        self.assertGreaterEqual(len(re.findall(rb"/Type\s*/Page\b", pdf)), 3)
        self.quiet(self.report)

    # ---- what it is given

    def test_hostile_text_is_inert(self):
        def edit(results, _):
            prompt, corpus = results["inputs"]
            for i in range(len(prompt["tokens"])):
                prompt["tokens"][i] = HOSTILE[i % len(HOSTILE)]
            prompt["source"] = "".join(HOSTILE)
            results["model"]["name"] = "</title><script>window.pwned=4</script>{{results}}"
            corpus["source"] = "<script>window.pwned=5</script>"
            for token in reading.life(results)["massive_tokens"]:
                token["text"] = HOSTILE[token["token"] % len(HOSTILE)]
            for layer in reading.layers(results, "corpus", "attention"):
                for i, key in enumerate(layer["top_keys"]):
                    key["token_text"] = HOSTILE[i % len(HOSTILE)]
            for definition in results["definitions"].values():
                definition.update(definition=HOSTILE[1], source=HOSTILE[0])
        out = self.edited("hostile", edit)
        self.open(out)
        self.draw_3d()
        self.page.click("#activation-controls [data-value='down_in']")
        self.page.click("#prompt-text button[data-token='1']")
        self.page.run("for (const e of document.querySelectorAll('#prompt-text button, .bar-hit, "
                      "#strip .layer')) e.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 50, clientY: 50}))")
        self.assertIsNone(self.page.run("return window.pwned ?? null"))
        made = "main img, main script, main iframe, main b, main object"
        self.assertEqual(self.page.run("return document.querySelectorAll(arguments[0]).length", made), 0)
        self.assertIn(HOSTILE[1], self.text("#token-detail h3"))
        self.assertIn("</title><script>", self.text("h1"))
        self.assertEqual(self.page.run("return document.title"), "</title><script>window.pwned=4</script>{{results}}")
        self.page.size(390, 844, mobile=True)
        self.page.wait("return document.querySelector('#strip svg').getBoundingClientRect().width < 390")
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.quiet(out)

    def test_numbers_that_are_none(self):
        def edit(results, arrays):
            layer = results["layers"][2]
            for measured in layer["inputs"].values():
                for point in ("resid_out", "down_in"):
                    measured[point].update(max=None, mean=None, median=None, kurtosis_pearson=None, nonfinite=7, top=[], massive=[],
                                           top3_mean=[])
            layer["weights"]["modules"]["down"].update(score=None, max=None, mean=None, median=None, top_columns=[], top_rows=[])
            layer["inputs"]["corpus"]["attention"].update(top_keys=[], outlier_keys=[], median=None, top3_mean=[])
            layer["inputs"]["corpus"]["attention"]["heads"][1].update(sink_rate=None, outlier_share=None)
            for name in ("prompt.resid_out", "prompt.down_in", "prompt.resid_out.token_max", "prompt.down_in.token_max",
                         "prompt.attention.key_scores", "prompt.attention.probs", "prompt.attention.probs_mean", "weights.down.columns"):
                arrays[name][2] = np.nan
            arrays["prompt.resid_out"][1, 0, 0] = np.inf
        out = self.edited("none", edit)
        self.open(out, "#layer=2")
        self.draw_3d()
        # The summary counts them in words; no number is shown as one.
        self.assertNotRegex(self.page.run("return document.querySelector('main').innerText"), r"NaN(?! or infinite)|Infinity|undefined")
        self.assertEqual(self.page.run("return [...document.querySelectorAll('main svg *')].filter((n) => [...n.attributes].some((a) => "
                                       "a.value.includes('NaN'))).length"), 0)
        self.page.click("#strip .layer[data-layer='1']")
        self.quiet(out)

    def test_one_layer_and_one_token(self):
        def one_layer(weights):
            for name in list(weights):
                if re.match(r"model\.layers\.[1-9]", name):
                    del weights[name]
        model = tiny.write_model(self.dir / "one", one_layer, lambda config: config.update(num_hidden_layers=1))
        out = self.make("one-report", "--prompt", "H", "--bos", "never", model=model)
        self.open(out)
        self.draw_3d()
        self.assertEqual(self.page.run("return document.querySelectorAll('#strip .layer').length"), 1)
        self.assertIn("No systematic outlier", self.text("#lead"))
        self.assertGreater(self.page.run("return document.querySelectorAll('#weight-lines circle').length"), 0)
        self.quiet(out)

    def test_thousands_of_tokens(self):
        model = tiny.write_model(self.dir / "long", None, lambda config: config.update(max_position_embeddings=4096))
        out = self.make("long-report", "--prompt", "The sea. " * 300, model=model)
        results = self.open(out)
        self.draw_3d()
        self.assertEqual(self.page.run("return document.querySelectorAll('#prompt-text button').length"), len(results["inputs"][0]["ids"]))
        self.assertIn("first 64 of", self.text("#prompt-3d-hint"))
        self.assertIn("too long", self.text("#attention-map"))
        self.page.click("#prompt-text button[data-token='2000']")
        self.assertIn("Token 2000", self.text("#token-detail h3"))
        self.page.size(390, 844, mobile=True)
        self.page.wait("return document.querySelector('#strip svg').getBoundingClientRect().width < 390")
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.quiet(out)

    def test_what_is_no_report_leaves_the_page(self):
        out = self.dir / "other"
        shutil.copytree(self.report, out)
        page_before = (out / "index.html").read_bytes()
        results = json.loads((out / "results.json").read_text())
        results["schema"] = "outliers-results/9"
        (out / "results.json").write_text(json.dumps(results))
        self.refuse(1, "outliers-results/9", "plot", out)
        (out / "results.json").write_text(json.dumps(results)[:500])
        self.refuse(1, "damaged or cut short", "plot", out)
        self.assertEqual((out / "index.html").read_bytes(), page_before)
        self.assertEqual(sorted(p.name for p in out.iterdir()), sorted(p.name for p in self.report.iterdir()))


if __name__ == "__main__":
    main()
