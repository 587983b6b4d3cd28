#!/usr/bin/env python3
"""The page of reports with several prompts and corpora, with measures left out, and with values that have no code of their own."""
import json
import pathlib
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from page_case import CANVAS_COLOURS, OVERFLOWING, SECTIONS, PageCase  # noqa: E402
from program import main  # noqa: E402

# What a report has not that was made without a measure: parts of layers' inputs, and ends of arrays' names.
VALUES = ["value_drain", "sinks", "heads", "distribution", "residual_sinks", "int8_outliers", "positions"]
PARTS = {"activations": ["resid_out", "down_in"], "attention": ["attention"], "writes": ["writes"], "headroom": ["amax"],
         "values": ["values", "residual_sinks"]}
ARRAYS = {"values": [".o_in.variance"], "activations": [".channel_max", ".token_max"], "attention": [".key_scores"],
          "attention_maps": [".probs", ".probs_mean"],
          "prompt_values": ["prompt.resid_out", "prompt.down_in"], "weights": ["weights."]}


def add_input(results, arrays, name, like, source):
    """An input measured as `like` was."""
    results["inputs"].append({**reading.the_input(results, like), "name": name, "source": source})
    for layer in results["layers"]:
        layer["inputs"][name] = json.loads(json.dumps(layer["inputs"][like]))
    for key in [key for key in arrays if key.startswith(like + ".")]:
        arrays[name + key[len(like):]] = arrays[key].copy()
    if like == "prompt":
        results["summary"]["lives"].append({**reading.life(results), "input": name})


def leave_out(results, arrays, measure):
    """A measure, or all that give values."""
    for name in VALUES if measure == "values" else [measure]:
        results["run"]["measures"].remove(name)
    results["summary"].pop("axes", None)
    if measure in ("activations", "attention"):
        results.pop("lifecycle", None)
    for layer in results["layers"]:
        for part in PARTS.get(measure, []):
            for measured in layer["inputs"].values():
                measured.pop(part, None)
        if measure == "weights":
            layer.pop("weights")
    for key in list(arrays):
        if ".life." in key and "lifecycle" not in results:
            del arrays[key]
            continue
        if any(key.endswith(end) or (end.endswith(".") and key.startswith(end)) for end in ARRAYS.get(measure, [])):
            del arrays[key]
    for one in results["inputs"]:
        if measure == "attention_maps":
            one["attention_maps"] = False
        if measure == "prompt_values":
            one["kept_tokens"] = 0
    if measure == "activations":
        results["summary"].update(lives=[], headroom={})
    if measure == "headroom":
        del results["summary"]["first_overflow"]
        for one in results["inputs"]:
            del one["amax"]
    if measure == "attention":
        results["summary"]["sink_rate"] = None
        results["summary"].pop("secondary_sinks", None)
    if measure == "alignment":
        results["summary"]["alignment"] = {"weight_activation": None, "activation_attention": None}
    if measure == "values":
        results["summary"].pop("inactive_heads", None)
        for one in results["inputs"]:
            one.pop("int8_outliers", None)
        results["definitions"] = {path: one for path, one in results["definitions"].items() if "shape" not in one}


def add_values(results, _=None):
    results["run"]["measures"].append("extra")
    for name, shape, title in (("gate_norm", "[]", "Norm of the gate"), ("sharpness", "[H]", "Sharpness of heads")):
        results["definitions"][f"layers[].inputs.*.values.{name}"] = {
            "shape": shape, "title": title, "definition": f"what {name} is <b>", "source": "arXiv 1234.56789"}
        for layer in results["layers"]:
            for i, measured in enumerate(layer["inputs"].values()):
                count = tiny.H if shape == "[H]" else 1
                measured.setdefault("values", {})[name] = [layer["layer"] + h / 8 - i for h in range(count)]
    results["layers"][2]["inputs"]["prompt"]["values"]["gate_norm"] = [None]


class InputsPageTest(PageCase):
    def choose(self, selector, value):
        self.page.run("const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
                      selector, value)

    def second_prompt(self, results, arrays):
        """Shorter, born in layer 2, removed by no layer, largest in channel 11."""
        add_input(results, arrays, "prompt2", "prompt", "Winter")
        add_input(results, arrays, "corpus2", "corpus", "a newspaper")
        one, tokens = reading.the_input(results, "prompt2"), 6
        for part in ("ids", "tokens", "classes"):
            one[part] = one[part][:tokens]
        one.update(tokens_per_sequence=tokens, kept_tokens=tokens)
        one["tokens"][0] = "Winter"
        one["amax"] = {point: {**amax, "token": 0} for point, amax in one["amax"].items()}
        reading.life(results, "prompt2").update(born_layer=2, peak_layer=2, removed_layer=None, massive_channels=[11])
        for layer in results["layers"]:
            measured = layer["inputs"]["prompt2"]
            for point in ("resid_out", "down_in"):
                for part in ("top", "massive"):
                    measured[point][part] = [{**place, "channel": 11, "token": 0} for place in measured[point][part]]
                measured[point]["max"] *= 1.5
            for part in ("top_keys", "outlier_keys"):
                measured["attention"][part] = [key for key in measured["attention"][part] if key["key"] < tokens]
            for write in measured["writes"].values():
                write["token"] = 0
            for amax in measured["amax"].values():
                amax.pop("token", None)
            layer["inputs"]["corpus2"]["attention"]["heads"][0]["sink_rate"] = 0.875
        results["lifecycle"]["prompts"].append({"input": "prompt2", "episodes": [], "chosen": [], "neurons": [], "spread": []})
        for key in [key for key in arrays if key.startswith("prompt2.")]:
            if ".life." in key:
                del arrays[key]
                continue
            if "channel_max" in key:
                continue
            array = arrays[key][..., :tokens, :tokens] if "probs" in key else arrays[key]
            arrays[key] = array if "probs" in key else array[:, :, :tokens] if "token_max" in key or "scores" in key else array[:, :tokens]
        arrays["prompt2.resid_out"][2, 0, 11] = 7654

    def test_a_prompt_can_be_chosen(self):
        out = self.edited("two", self.second_prompt)
        self.open(out)
        self.draw_3d()
        self.assertIn("Born in layer 1", self.text("#lead"))
        self.assertEqual(self.page.run("return document.querySelectorAll('#inputs select').length"), 2)
        parts = ("#lead", "#tiles", "#strip", "#prompt-3d-title", "#map-title", "#tokens-intro", "#token-detail")
        shown = {name: self.text(name) for name in parts}
        self.page.click("#prompt-text button[data-token='8']")
        self.choose("#inputs .field:first-child select", "prompt2")
        for name, before in shown.items():
            self.assertNotEqual(self.text(name), before, name)
        self.assertIn("Born in layer 2, carried to layer 3, removed by no layer.", self.text("#lead"))
        self.assertIn("Prompt2 at layer 1", self.text("#prompt-3d-title"))
        self.assertEqual(self.page.run("return document.querySelectorAll('#prompt-text button').length"), 6)
        self.assertEqual(self.page.run("return document.querySelectorAll('#key-scores .bar-rect').length"), 6)
        self.assertIn("Token 5", self.text("#token-detail h3"))  # of the ones there are
        self.page.click("#strip .layer[data-layer='2']")
        self.page.click("#prompt-text button[data-token='0']")
        self.assertIn("11: 7,654", self.text("#token-detail"))
        label = "return document.querySelector('#strip .layer[data-layer=\"2\"]').getAttribute('aria-label')"
        self.assertIn("born here", self.page.run(label))
        heads = "return document.querySelector('#heads canvas').getAttribute('aria-label')"
        before = self.page.run(heads)
        self.choose("#inputs .field:last-child select", "corpus2")
        self.assertNotEqual(self.page.run(heads), before)
        self.assertIn("Top keys of corpus2", self.text("#keys-title"))
        self.page.click("#activation-controls [data-value='prompt2']")
        self.assertEqual(self.page.run("return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"),
                         {"layer": "2", "prompt": "prompt2", "corpus": "corpus2", "batch": "prompt2"})
        self.assertIn("prompt2", self.text("#words"))
        self.open(out, "#prompt=prompt2&corpus=corpus2&token=3")
        self.assertIn("Born in layer 2", self.text("#lead"))
        self.page.size(390, 844, mobile=True)
        self.page.wait("return document.querySelector('#strip svg').getBoundingClientRect().width < 390")
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.quiet(out)

    def test_what_was_not_measured_is_not_there(self):
        hidden = {"activations": ["activation-lines-card", "massive-card", "strip-card"], "attention": ["heads-card", "attention-corpus"],
                  "attention_maps": [], "prompt_values": ["prompt-3d-card"], "weights": ["weights"], "writes": [],
                  "alignment": [], "values": ["values"], "headroom": ["formats"]}
        for measure, parts in hidden.items():
            with self.subTest(measure):
                out = self.edited(measure, lambda results, arrays: leave_out(results, arrays, measure))
                self.open(out)
                for part in parts:
                    self.assertEqual(self.page.run("return document.getElementById(arguments[0]).offsetHeight", part), 0, part)
                self.assertNotRegex(self.page.run("return document.querySelector('main').innerText"), r"NaN|undefined|\[object")
                self.quiet(out)

    def test_with_nothing_measured_no_section_is_empty(self):
        def edit(results, arrays):
            for measure in [*(set(results["run"]["measures"]) - set(VALUES)), "values"]:
                leave_out(results, arrays, measure)
        out = self.edited("nothing", edit)
        self.open(out)
        links = "return [...document.querySelectorAll('.bar nav a')].filter((a) => a.offsetWidth > 0).map((a) => a.hash.slice(1))"
        self.assertEqual(self.page.run(links), ["answer", "tokens", "method"])
        for section in SECTIONS:
            self.assertEqual(self.page.run("return document.getElementById(arguments[0]).offsetHeight > 0", section),
                             section in ("answer", "tokens", "method"), section)
        self.assertIn("were not measured", self.text("#lead"))
        self.quiet(out)

    def test_with_one_kind_of_input(self):
        for gone, sections in (("prompt", [section for section in SECTIONS if section != "tokens"]), ("corpus", SECTIONS)):
            with self.subTest(gone):
                def edit(results, arrays):
                    results["inputs"] = [one for one in results["inputs"] if one["name"] != gone]
                    for layer in results["layers"]:
                        del layer["inputs"][gone]
                    for key in [key for key in arrays if key.startswith(gone + ".")]:
                        del arrays[key]
                    cycle = results["lifecycle"]
                    cycle["prompts"] = [life for life in cycle["prompts"] if life["input"] != gone]
                    results["findings"] = [one for one in results["findings"] if one["place"].get("input") != gone]
                    if gone == "corpus":
                        del results["summary"]["alignment"]["outlier_layers"]
                    lives = [life for life in results["summary"]["lives"] if life["input"] != gone]
                    results["summary"].update(headroom={}, first_overflow={}, lives=lives)
                    for part in ("axes", "inactive_heads"):
                        if results["summary"][part]["input"] == gone:
                            del results["summary"][part]
                    results["summary"]["secondary_sinks"] = {"count": 0, "largest": []}
                out = self.edited(f"without-{gone}", edit)
                self.open(out)
                height = "return document.getElementById(arguments[0]).offsetHeight"
                shown = [section for section in SECTIONS if self.page.run(height, section)]
                self.assertEqual(shown, sections)
                self.quiet(out)

    def test_number_formats_have_their_tables(self):
        lost = {"relative_error": 0.25, "flushed": 0.5, "worst_blocks": 0.125}

        def edit(results, arrays):
            results["layers"][1]["rounding"] = {"up": {"formats": {"nvfp4": lost}}}
            results["layers"][2]["inputs"]["corpus"]["rounding"] = {"o_in": {"formats": {"int8_tensor": {**lost, "relative_error": 0.75}}}}
            shares = {"fp16": 1.0686, "bf16": 0, "fp8_e4m3": 156, "fp8_e5m2": 1.2}
            results["inputs"][0]["amax"]["logits"].update(value=-70000, of_largest=shares)
            results["summary"]["first_overflow"]["fp16"] = {"point": "logits", "value": -70000, "sequence": 0, "token": 1, "channel": 3,
                                                            "largest": 65504, "input": "prompt", "token_text": "a", "class": "other"}
        out = self.edited("formats", edit)
        results = self.open(out)
        cells = "return [...document.querySelectorAll(arguments[0])].map((row) => [...row.cells].map((cell) => cell.textContent))"
        room = {row[0]: row for row in self.page.run(cells, "#headroom tbody tr")}
        self.assertEqual(list(room), [*results["layers"][0]["inputs"]["prompt"]["amax"], *results["inputs"][0]["amax"]])
        self.assertEqual(room["logits"][1:3] + room["logits"][4:6], ["–", "prompt", "-70,000", "107 %"])
        self.assertNotIn("bfloat16", self.text("#headroom thead"))  # nothing comes near to its end
        self.assertEqual(self.page.run(cells, "#rounding tbody tr"),
                         [["2", "o_in", "corpus", "int8 per tensor", "75 %", "50 %", "13 %"],
                          ["1", "up", "weights", "NVFP4", "25 %", "50 %", "13 %"]])
        self.assertIn("First past float16the endlogits is 70,000 on the prompt; the format ends at 65,504", self.text("#tiles"))
        self.assertRegex(self.text("#words"), "past float16's 65,504 first after the last layer: logits 70,000 of token 1 \"a\"")
        self.page.size(390, 844, mobile=True)
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.quiet(out)

    def test_a_value_has_its_chart(self):
        out = self.edited("more-values", add_values)
        self.open(out)
        cards = self.page.run("return [...document.querySelectorAll('#values-cards > details')].map((f) => f.dataset.value)")
        self.assertEqual(cards[:4] + cards[-2:],
                         ["drain_top_key", "drain_first_token", "drain_smallest", "drain_largest", "gate_norm", "sharpness"])
        self.assertEqual(self.page.run("return document.querySelectorAll('#values-cards svg').length"), 0)  # drawn when it is opened
        self.page.run("for (const card of document.querySelectorAll('#values-cards > details')) card.open = true")
        self.page.wait("return document.querySelector(\"[data-value='sharpness'] canvas\")")
        for said in ("Norm of the gate", "What gate_norm is <b>", "arXiv 1234.56789"):
            self.assertIn(said, self.text("[data-value='gate_norm']"))
        points = self.page.run("return [...document.querySelectorAll(arguments[0])].map((p) => p.getAttribute('d'))",
                               "[data-value='gate_norm'] path.series")
        self.assertEqual([d.count("M") + d.count("L") for d in points], [tiny.L - 1, tiny.L])  # a gap where the number is none
        self.assertGreater(self.page.run(CANVAS_COLOURS, "[data-value='sharpness'] canvas"), 3)
        self.page.run("document.querySelector(\"[data-value='sharpness'] details.numbers\").open = true")
        rows = "[...document.querySelectorAll(\"[data-value='sharpness'] details.numbers tbody tr\")]"
        self.page.wait(f"return {rows}.length === {tiny.L}")
        self.assertEqual(self.page.run(f"return [...{rows}[2].cells].map((c) => c.textContent)"), ["2", "2.19", "2.00", "2.38"])
        self.choose("[data-value='sharpness'] select", "corpus")
        self.assertEqual(self.page.run(f"return [...{rows}[2].cells].map((c) => c.textContent)"), ["2", "1.19", "1.00", "1.38"])
        self.page.size(390, 844, mobile=True)
        self.page.wait("return document.querySelector('#strip svg').getBoundingClientRect().width < 390")
        self.assertEqual(self.page.run(OVERFLOWING), [])
        self.quiet(out)
        self.assertEqual(self.page.run("return document.querySelectorAll('main b').length"), 0)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_figures_of_all_these(self):
        def edit(results, arrays):
            self.second_prompt(results, arrays)
            add_values(results)
            leave_out(results, arrays, "weights")
        out = self.edited("drawn", edit)
        self.succeed("plot", out, "--formats", "svg")
        names = {path.stem for path in (out / "figures").glob("*.svg")}
        wanted = {"exist_out", "exist_out_prompt2", "pos_out_layers_corpus2", "gate_norm", "sharpness", "sharpness_corpus"}
        self.assertLessEqual(wanted, names)
        self.assertFalse([name for name in names if "weight" in name])
        for code, name, said in ((1, "exist_weight", "exist_weight shows the measure weights, which this report was made without"),
                                 (2, "exist_out_prompt3", r"there is no figure exist_out_prompt3; did you mean exist_out_prompt2\?")):
            self.refuse(code, said, "plot", out, "--only", name)
        drawn = (out / "figures/gate_norm.dat").read_text().splitlines()
        self.assertEqual(drawn[1:4], ["0\t0\t-1\t-2\t-3", "1\t1\t0\t-1\t-2", "2\tNaN\t1\t0\t-1"])
        np.testing.assert_allclose(np.loadtxt(out / "figures/sharpness.dat")[:4], [[0, h, h / 8] for h in range(4)])

    def test_a_comparison_says_what_was_not_measured(self):
        def edit(results, arrays):
            for measure in ("activations", "attention", "weights"):
                leave_out(results, arrays, measure)
        without = self.edited("without", edit)
        out = self.dir / "compared"
        printed = self.succeed("compare", self.report, without, "-o", out)
        self.assertIn("not measured", printed)
        self.page.open(out / "index.html")
        rows = self.page.run("return [...document.querySelectorAll('#summary tbody tr')].map((r) => "
                             "[...r.cells].map((c) => c.textContent))")
        self.assertEqual([cell == "not measured" for cell in rows[0]], [False] * 12)
        self.assertEqual(rows[1][3:9], ["not measured"] * 6)
        for curve in ("max", "weights", "sink_rate"):
            self.choose("#layer-controls select", curve)
            self.assertIn("it was not measured", self.text("#curve-hint"), curve)
            self.assertEqual(self.page.run("return document.querySelectorAll('#curves path.series').length"), 1, curve)
        self.assertIn("not measured", self.text("#room"))
        self.quiet(out)


if __name__ == "__main__":
    main()
