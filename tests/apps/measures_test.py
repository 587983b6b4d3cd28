#!/usr/bin/env python3
"""`outliers report` with chosen measures, and with any number of prompts and corpora."""
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import FolderTest, main  # noqa: E402

# The parts of a layer's input that a measure fills in, and those of its arrays that are by input.
PARTS = {"activations": {"resid_out", "down_in"}, "attention": {"attention"}, "attention_maps": set(), "weights": set(),
         "writes": {"writes"}, "prompt_values": set(), "alignment": set(), "value_drain": {"values"}}
NEEDS = {"writes": {"activations"}, "alignment": {"activations", "attention", "weights"}}


class MeasuresTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.other = cls.dir / "other.txt"
        cls.other.write_text("It rained in the hills. Nobody went out.\n" * 30)

    def report(self, name, *more, corpora=()):
        out = self.dir / name
        text = self.succeed("report", self.model, "-o", out, "--sequences", 2, "--tokens", 16, "--threads", 1, "--no-figures",
                            *(part for corpus in corpora or (self.corpus,) for part in ("--corpus", corpus)), *more)
        return json.loads((out / "results.json").read_text()), dict(np.load(out / "arrays.npz")), text

    def test_each_alone(self):
        whole, arrays, _ = self.report("whole")
        self.assertEqual(whole["run"]["measures"], list(PARTS))
        for measure in PARTS:
            with self.subTest(measure):
                one, some, text = self.report(measure, "--measures", measure)
                chosen = {measure} | NEEDS.get(measure, set())
                self.assertEqual(set(one["run"]["measures"]), chosen)
                self.assertEqual(one["run"]["measures"], [name for name in PARTS if name in chosen])
                for layer, same in zip(one["layers"], whole["layers"], strict=True):
                    self.assertEqual("weights" in layer, "weights" in chosen)
                    self.assertEqual(layer.get("weights", same["weights"]), same["weights"])
                    for name, found in layer["inputs"].items():
                        wanted = set().union(*(PARTS[m] for m in chosen))
                        self.assertEqual(set(found), wanted if name == "prompt" else wanted - {"writes"}, name)
                        self.assertEqual(found, {part: same["inputs"][name][part] for part in found})
                for name, array in some.items():
                    np.testing.assert_array_equal(array, arrays[name], name)
                self.assertEqual("born        " in text, "activations" in chosen)
                self.assertEqual("attention   " in text, "attention" in chosen)
                self.assertEqual(one["summary"]["lives"], whole["summary"]["lives"] if "activations" in chosen else [])
                self.assertIn("<!doctype html>", (self.dir / measure / "index.html").read_text()[:200].lower())

    def test_list(self):
        text = self.succeed("report", self.model, "--measures", "list")
        self.assertEqual([line.split()[0] for line in text.splitlines()], [*list(PARTS)[:4], "experts", "writes", "prompt_values", "norms",
                                                                            "alignment", "value_drain"])
        self.assertIn("takes along activations, attention, weights", text)

    def test_says_what_it_does_not_know(self):
        out = ("report", self.model, "-o", self.dir / "none", "--measures")
        self.refuse(2, "there is no measure weight; did you mean weights", *out, "attention,weight")
        self.refuse(2, "there is no measure xyzzy; there are all, activations, .*value_drain", *out, "xyzzy")
        self.refuse(1, "the measure norms has nothing to look at in tiny", *out, "norms")
        self.refuse(2, "--output is required", "report", self.model)
        self.assertFalse((self.dir / "none").exists())

    def test_prompts_and_corpora(self):
        (self.dir / "prompt.txt").write_text("A file of its own.")
        both, arrays, text = self.report("both", "--prompt", "The sea.", "--prompt-file", self.dir / "prompt.txt",
                                         corpora=(self.corpus, self.other))
        self.assertEqual([(one["name"], one["kind"]) for one in both["inputs"]],
                         [("prompt", "prompt"), ("prompt2", "prompt"), ("corpus", "corpus"), ("corpus2", "corpus")])
        self.assertEqual([one["source"] for one in both["inputs"]], ["The sea.", "A file of its own.", "corpus.txt", "other.txt"])
        self.assertEqual([life["input"] for life in both["summary"]["lives"]], ["prompt", "prompt2"])
        self.assertIn("prompt2", text)
        first, of_first, _ = self.report("first", "--prompt", "The sea.")
        second, of_second, _ = self.report("second", "--prompt", "A file of its own.", corpora=(self.other,))
        for number, (one, some) in enumerate(((first, of_first), (second, of_second))):
            for name in ("prompt", "corpus"):
                here = name + "2" * number
                for layer, alone in zip(both["layers"], one["layers"], strict=True):
                    found, wanted = layer["inputs"][here], alone["inputs"][name]
                    self.assertEqual(found.keys(), wanted.keys())
                    self.assertAlmostEqual(found["resid_out"]["max"], wanted["resid_out"]["max"], delta=1e-4 * wanted["resid_out"]["max"])
                    self.assertEqual(found["down_in"]["count"], wanted["down_in"]["count"])
                for array, values in some.items():
                    if array.startswith(name + "."):
                        np.testing.assert_allclose(arrays[here + array.removeprefix(name)], values, rtol=1e-4, atol=1e-4, err_msg=array)
        # Over both corpora, which are of one size.
        rates = [one["summary"]["sink_rate"] for one in (first, second)]
        self.assertAlmostEqual(both["summary"]["sink_rate"], sum(rates) / 2)

    def test_standard_input_once(self):
        for more in (("--corpus", "-", "--corpus", "-"), ("--prompt-file", "-", "--prompt-file", "-"),
                     ("--prompt-file", "-", "--corpus", "-")):
            self.refuse(2, "standard input", "report", self.model, "-o", self.dir / "never", *more, text_in="x")


if __name__ == "__main__":
    main()
