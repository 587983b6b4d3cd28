#!/usr/bin/env python3
"""`outliers report` of several prompts and corpora: of each it says what a report of it alone says, in results.json, arrays.npz, figures
and page. The prompts and the corpora differ in what is to be found: in the model only a Q makes an outlier."""
import json
import pathlib
import re
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser  # noqa: E402
import reading  # noqa: E402
import tiny  # noqa: E402
from program import ROOT, FolderTest, main  # noqa: E402

PROMPTS = ["the calm sea", "a Quay"]
Q = PROMPTS[1].index("Q")
# An input of the report, the report of one prompt and one corpus that has it too, and its name there.
ALONE = {"prompt": ("first", "prompt"), "prompt2": ("second", "prompt"), "corpus": ("first", "corpus"), "corpus2": ("second", "corpus")}


def plant(weights):
    """Q's embedding is that of the BOS, from which layer 1 makes the outlier."""
    weights["model.embed_tokens.weight"][ord("Q")] = weights["model.embed_tokens.weight"][tiny.BOS]


class InputsTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny", plant)
        cls.corpora = [cls.corpus, cls.dir / "quays.txt"]
        cls.corpora[1].write_text("A Quay and a Queen, quite far from the sea.\n" * 40)
        cls.stdout = cls.report(cls(), "both", PROMPTS, cls.corpora)
        for name, prompt, corpus in zip(("first", "second"), PROMPTS, cls.corpora):
            cls.report(cls(), name, [prompt], [corpus], "--no-figures")
        cls.results = {name: reading.load(cls.dir / name) for name in ("both", "first", "second")}
        cls.both = cls.results["both"]

    def report(self, out, prompts, corpora, *more):
        named = [word for prompt in prompts for word in ("--prompt", prompt)] + [word for path in corpora for word in ("--corpus", path)]
        # Without a BOS, which would be an outlier itself.
        return self.succeed("report", self.model, "-o", self.dir / out, *named, "--bos", "never", "--sequences", 3, "--tokens", 24,
                            "--threads", 1, *more)

    def alone(self, name):
        """The results of the report that has the input `name` alone, and what it is called there."""
        report, there = ALONE[name]
        return self.results[report], there

    def test_inputs_are_listed_in_order(self):
        self.assertEqual([one["name"] for one in self.both["inputs"]], list(ALONE))
        for name, source in zip(ALONE, (*PROMPTS, *map(str, self.corpora))):
            one = reading.the_input(self.both, name)
            results, there = self.alone(name)
            self.assertEqual(one, reading.the_input(results, there) | {"name": name})
            self.assertTrue(one["source"].endswith(pathlib.Path(source).name), one["source"])
            self.assertEqual(one["kind"], there)
        try:
            import jsonschema
        except ImportError:
            return
        jsonschema.Draft202012Validator(json.loads((ROOT / "docs/results.schema.json").read_text())).validate(self.both)

    def test_layers_are_those_of_each_alone(self):
        for layer in self.both["layers"]:
            self.assertEqual(set(layer["inputs"]), set(ALONE))
            for name in ALONE:
                results, there = self.alone(name)
                alone = results["layers"][layer["layer"]]
                self.assertEqual(layer["inputs"][name], alone["inputs"][there], name)
                self.assertEqual(layer["weights"], alone["weights"])

    def test_arrays_are_those_of_each_alone(self):
        arrays = {name: dict(np.load(self.dir / name / "arrays.npz")) for name in self.results}
        wanted = {name: array for name, array in arrays["first"].items() if name.startswith("weights.")}
        for name, (report, there) in ALONE.items():
            wanted |= {name + key[len(there):]: array for key, array in arrays[report].items() if key.startswith(there + ".")}
        self.assertEqual(arrays["both"].keys(), wanted.keys())
        for name, array in wanted.items():
            np.testing.assert_array_equal(arrays["both"][name], array, name)

    def test_summary_is_of_all(self):
        summary = self.both["summary"]
        self.assertEqual([life["input"] for life in summary["lives"]], ["prompt", "prompt2"])
        for name in ("prompt", "prompt2"):
            results, there = self.alone(name)
            self.assertEqual(reading.life(self.both, name), reading.life(results, there) | {"input": name})
        second = reading.life(self.both, "prompt2")
        self.assertEqual([reading.life(self.both, name)["found"] for name in ("prompt", "prompt2")], [False, True])
        self.assertEqual((second["born_layer"], second["removed_layer"], second["massive_channels"]), (1, tiny.L - 1, [3]))
        self.assertEqual([(token["token"], token["text"]) for token in second["massive_tokens"]], [(Q, "Q")])
        first, second = (self.results[name]["summary"] for name in ("first", "second"))
        self.assertAlmostEqual(summary["sink_rate"], (first["sink_rate"] + second["sink_rate"]) / 2)
        shares = [one["alignment"]["weight_activation"] for one in (first, second)]
        self.assertNotEqual(*shares)
        self.assertAlmostEqual(summary["alignment"]["weight_activation"], sum(shares) / 2)
        alone = [row | {"input": name} for name, one in (("corpus", first), ("corpus2", second))
                 for row in one["alignment"]["outlier_layers"]["layers"]]
        order = lambda row: (row["layer"], row["input"])
        self.assertEqual(sorted(summary["alignment"]["outlier_layers"]["layers"], key=order), sorted(alone, key=order))
        # Of all outlier keys behind a layer.
        keys = [sum(len(layer["outlier_keys"]) for layer in reading.layers(self.results[name], "corpus", "attention")[1:])
                for name in ("first", "second")]
        shares = [one["alignment"]["activation_attention"] or 0 for one in (first, second)]
        self.assertGreater(sum(keys), 0)
        self.assertAlmostEqual(summary["alignment"]["activation_attention"], np.dot(keys, shares) / sum(keys))
        for point, room in summary["headroom"].items():
            report = max(("first", "second"), key=lambda name: self.results[name]["summary"]["headroom"][point]["max"])
            alone = self.results[report]["summary"]["headroom"][point]
            name, = (name for name, there in ALONE.items() if there == (report, alone["input"]))
            self.assertEqual(room, alone | {"input": name})
        self.assertIn(summary["headroom"]["resid_out"]["input"], ("prompt2", "corpus2"))

    def test_printed(self):
        text = re.sub(r"\s+", " ", self.stdout)
        self.assertIn(f'prompt "{PROMPTS[0]}" ({len(PROMPTS[0])} tokens) and 1 more', text)
        self.assertIn("outlier none", text)
        self.assertIn(f'prompt2 "{PROMPTS[1]}" ({len(PROMPTS[1])} tokens): born in layer 1 of {tiny.L}', text)
        self.assertIn("(corpus2)", text)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_figures_of_each(self):
        """The first prompt and corpus have the names of a report of one; the others' end in theirs."""
        folder = self.dir / "both/figures"
        made = {path.stem for path in folder.glob("*.svg")}
        for kind in ("prompt", "corpus"):
            for name in ("exist_out", "pos_out_channels") if kind == "prompt" else ("pos_out_layers", "pos_attention_heads"):
                self.assertLessEqual({name, f"{name}_{kind}2"}, made)
                data = [(folder / f"{figure}.dat").read_text() for figure in (name, f"{name}_{kind}2")]
                self.assertNotEqual(*data, name)
        self.succeed("plot", self.dir / "second", "--formats", "svg")
        for name, there in (("exist_out_prompt2", "exist_out"), ("pos_out_layers_corpus2", "pos_out_layers")):
            self.assertEqual((folder / f"{name}.dat").read_text(), (self.dir / f"second/figures/{there}.dat").read_text())

    def test_page_of_each(self):
        page = (self.dir / "both/index.html").read_text()
        shown = json.loads(re.search('<script type="application/json" id="results">(.*?)</script>', page, re.S).group(1))
        self.assertEqual([one["name"] for one in shown["inputs"]], list(ALONE))
        self.assertEqual(shown["summary"], self.both["summary"])
        if not (browser.CHROMIUM and browser.CHROMEDRIVER):
            return
        window = browser.Browser()
        self.addCleanup(window.close)
        window.open(self.dir / "both/index.html")
        text = "return document.querySelector(arguments[0]).textContent"
        options = "return [...document.querySelectorAll('#inputs select')].map((s) => [...s.options].map((o) => o.value))"
        self.assertEqual(window.run(options), [["prompt", "prompt2"], ["corpus", "corpus2"]])
        self.assertNotIn("Born in layer", window.run(text, "#lead"))
        buttons = "return [...document.querySelectorAll('#prompt-text button')].map((b) => b.dataset.token)"
        for prompt in (0, 1):
            self.assertEqual(window.run(buttons), [str(t) for t in range(len(PROMPTS[prompt]))])
            window.run("const s = document.querySelector('#inputs select'); s.value = 'prompt2'; s.dispatchEvent(new Event('change'))")
        self.assertIn("Born in layer 1", window.run(text, "#lead"))
        self.assertEqual(window.console(), [])

    def test_the_same_twice_are_two(self):
        self.report("twice", [PROMPTS[1]] * 2, [self.corpora[1]] * 3, "--no-figures")
        results = reading.load(self.dir / "twice")
        self.assertEqual([one["name"] for one in results["inputs"]], ["prompt", "prompt2", "corpus", "corpus2", "corpus3"])
        for layer in results["layers"]:
            self.assertEqual(layer["inputs"]["prompt"], layer["inputs"]["prompt2"])
            self.assertEqual(layer["inputs"]["corpus"], layer["inputs"]["corpus3"])

    def test_files_and_texts_stand_in_the_order_given(self):
        (self.dir / "prompt.txt").write_text(PROMPTS[1])
        self.succeed("report", self.model, "-o", self.dir / "order", "--prompt-file", self.dir / "prompt.txt", "--prompt", PROMPTS[0],
                     "--corpus", self.corpus, "--sequences", 1, "--tokens", 8, "--no-figures")
        self.assertEqual([one["source"] for one in reading.load(self.dir / "order")["inputs"][:2]], PROMPTS[::-1])

    def test_a_wrong_one_among_them(self):
        never = self.dir / "never"
        self.refuse(1, r"the prompt is empty", "report", self.model, "-o", never, "--prompt", "a", "--prompt", "")
        self.refuse(1, r"absent.txt", "report", self.model, "-o", never, "--corpus", self.corpus, "--corpus", self.dir / "absent.txt")
        self.refuse(2, "standard input", "report", self.model, "-o", never, "--corpus", "-", "--corpus", "-")
        self.assertFalse(never.exists())


if __name__ == "__main__":
    main()
