#!/usr/bin/env python3
"""`outliers intervene` against transformers (tests/oracle/eval_interventions.py), and its controls."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ROOT, FolderTest, main, run  # noqa: E402

BORN = "layer.1.resid_out[massive]=zero"  # tiny.py plants it


class InterveneTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")

    def intervene(self, *edits, more=(), model=None, corpus=None):
        out = self.dir / "out"
        shutil.rmtree(out, ignore_errors=True)
        words = [word for edit in edits for word in ("--edit", edit)]
        self.succeed("intervene", model or self.model, "--corpus", corpus or self.corpus, "-o", out, *words, *more)
        return json.loads((out / "interventions.json").read_text())

    def random_model(self, name):
        folder = self.dir / name
        folder.mkdir(exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(ROOT / "tests/golden/models" / name / file, folder)
        (folder / "tokenizer.json").write_text(json.dumps(tiny.letters_with_bos()))
        return folder

    def test_super_weights_are_found_and_named(self):
        def one_alone(weights):  # what the planted neurons write, to one channel each
            for layer, neuron, channel in ((1, 5, 3), (tiny.L - 1, 9, 3)):
                column = weights[f"model.layers.{layer}.mlp.down_proj.weight"][:, neuron]
                column[[c for c in range(tiny.D) if c != channel]] = 0
        model = tiny.write_model(self.dir / "super", change_weights=one_alone)
        by_name = "weight.1.down[row=3,column=5]=zero"
        found, named, scaled = self.intervene("super_weights=zero", by_name, "super_weights=scale(0.5);layer.0.resid_out[token=1]=zero",
                                              model=model)["runs"][1:]
        self.assertEqual((found["edits"], found["nll_nats"]), (by_name, named["nll_nats"]))
        self.assertEqual(found["matched"][0]["total"], 1)
        self.assertIn("weight.1.down[row=3,column=5]=scale(0.5)", scaled["edits"])
        self.assertIn("layer.0.resid_out[token=1]=zero", scaled["edits"])
        self.assertNotEqual(found["nll_nats"], scaled["nll_nats"])

    def test_super_weights_that_are_not_there(self):
        def calm(weights):
            for layer, neuron in ((1, 5), (tiny.L - 1, 9)):
                weights[f"model.layers.{layer}.mlp.down_proj.weight"][:, neuron] = 0
        model = tiny.write_model(self.dir / "calm", change_weights=calm)
        self.refuse(1, "the model has no super weights: no down projection gives more than 50", "intervene", model, "--corpus",
                    self.corpus, "--edit", "super_weights=zero")
        self.refuse(1, "unknown operation 'oblivion' in edit 'weight.1.down", "intervene", self.model, "--corpus", self.corpus, "--edit",
                    "super_weights=oblivion")

    def test_transformers_gives_the_same(self):
        cases = json.loads((ROOT / "tests/golden/eval/interventions.json").read_text())
        self.assertGreater(sum(len(case["runs"]) for case in cases), 25)
        for case in cases:
            corpus = self.dir / "text.txt"
            corpus.write_text(case["text"])
            runs = case["runs"]
            result = self.intervene(*(r["edits"] for r in runs[1:]), model=self.random_model(case["model"]), corpus=corpus,
                                    more=("--context", case["options"]["context"], "--bos", "never"))
            self.assertEqual(len(result["runs"]), len(runs))
            self.assertEqual(result["text"]["tokens_scored"], case["tokens_scored"])
            plain = result["runs"][0]["nll_nats"]
            for got, wanted in zip(result["runs"], runs):
                with self.subTest(case["model"], edits=wanted["edits"]):
                    self.assertEqual(got.get("edits", ""), wanted["edits"])
                    np.testing.assert_allclose(got["window_nll_nats"], wanted["window_nll_nats"], rtol=1e-5)
                    np.testing.assert_allclose(got["nll_nats"], np.mean(wanted["window_nll_nats"]), rtol=1e-5)
                    for state in got.get("layers", []):
                        layer = wanted["layers"][state["layer"]]
                        np.testing.assert_allclose([state["max"], state["median"]], [layer["max"], layer["median"]], rtol=1e-4)
                        self.assertAlmostEqual(state["sink_rate"], layer["sink_rate"], 6)
                    if not got.get("edits"):
                        continue
                    effect = got["effect"]
                    difference = np.subtract(wanted["window_nll_nats"], runs[0]["window_nll_nats"])
                    np.testing.assert_allclose(effect["nll_difference"], difference.mean(), rtol=1e-4, atol=1e-5)
                    np.testing.assert_allclose(effect["nll_difference_standard_error"], difference.std(ddof=1) / len(difference) ** 0.5,
                                               rtol=1e-3, atol=1e-6)
                    np.testing.assert_allclose(effect["kl_nats"], wanted["kl_nats"], rtol=1e-4, atol=3e-6)
                    self.assertAlmostEqual(effect["top1_agreement"], wanted["top1_agreement"], 6)
                    self.assertAlmostEqual(got["nll_nats"] - plain, effect["nll_difference"], 6)
                    first = min((int(e["edit"].split(".")[1]) for e in got["matched"] if not e["edit"].startswith("final")), default=None)
                    self.assertEqual([s["layer"] for s in got.get("layers", [])],
                                     [] if first is None else list(range(first, len(wanted["layers"]))))

    def test_without_effect_is_the_plain_run(self):
        """To the last bit, and the plain run is what perplexity gives."""
        more = ("--context", 40, "--stride", 20, "--bos", "every")
        result = self.intervene("layer.1.resid_out=scale(1)", "weight.2.down=scale(1);final_norm_out=clamp(1e30)", more=more)
        plain = json.loads(self.succeed("perplexity", self.model, "--corpus", self.corpus, "--json", *more))
        for r in result["runs"]:
            for value in ("nll_nats", "nll_standard_error", "ppl", "bits_per_byte"):
                self.assertEqual(r[value], plain[value], value)
            self.assertEqual(r["window_nll_nats"], result["runs"][0]["window_nll_nats"])
        for r in result["runs"][1:]:
            self.assertEqual(r["effect"], {"nll_difference": 0, "nll_difference_standard_error": 0, "kl_nats": 0, "top1_agreement": 1})
            for state in r["layers"]:
                self.assertEqual(state, result["runs"][0]["layers"][state["layer"]])

    def test_massive_activations_and_controls(self):
        result = self.intervene(BORN, more=("--context", 32, "--controls", 3))
        names = [r["name"] for r in result["runs"]]
        self.assertEqual(names, ["plain", "edit1", "edit1-control1", "edit1-control2", "edit1-control3"])
        plain, edited, *controls = result["runs"]
        windows = result["text"]["windows"]
        # The BOS stands in the first window only.
        self.assertEqual(edited["matched"], [{"edit": BORN, "smallest": 0, "largest": 1, "total": 1}])
        self.assertGreater(windows, 5)
        before, after = (r["layers"][0 if r is edited else 1] for r in (plain, edited))
        self.assertEqual((before["layer"], after["layer"]), (1, 1))
        self.assertGreater(before["max_over_median"], 1000)
        self.assertLess(after["max_over_median"], 200)
        self.assertEqual([(c["control_of"], c["seed"]) for c in controls], [("edit1", 1), ("edit1", 2), ("edit1", 3)])
        for control in controls:
            self.assertEqual(control["edits"], BORN.replace("massive", f"massive,random={control['seed']}"))
            self.assertEqual([m["total"] for m in control["matched"]], [1])
            self.assertEqual(control["layers"][0]["max"], before["max"])  # it stays
        self.assertEqual(len({c["nll_nats"] for c in controls}), 3)
        again = self.intervene(BORN, more=("--context", 32, "--controls", 3))
        self.assertEqual(again["runs"], result["runs"])

    def test_edits_of_one_site_draw_apart(self):
        site = "weight.1.down[row={},column={}{}]=zero"
        both = ";".join(site.format(*place, "") for place in ((3, 5), (4, 6)))
        result = self.intervene(both, more=("--context", 32, "--controls", 2))
        drawn = [run["edits"] for run in result["runs"][2:]]
        self.assertEqual(drawn, [";".join(site.format(*place, f",random={seed + 2 * i}") for i, place in enumerate(((3, 5), (4, 6))))
                                 for seed in (1, 2)])
        again = self.intervene(*drawn, more=("--context", 32))
        self.assertEqual([run["nll_nats"] for run in again["runs"][1:]], [run["nll_nats"] for run in result["runs"][2:]])
        self.assertEqual([run["seed"] for run in result["runs"][2:]], [1, 2])

    def test_controls_draw_elsewhere(self):
        """What capture shows of the same condition: as many values, at no token and no channel of the selected ones."""
        def capture(edit):
            out = self.dir / "captured.npz"
            self.succeed("capture", self.model, "--prompt", "The sea was calm, and the crew slept.", "--points",
                         "layer.2.*,layer.1.down_in", "--edit", edit, "-o", out, "--force")
            with np.load(out) as arrays:
                return {name: arrays[name] for name in arrays.files}
        for point, selection in (("layer.2.resid_out", "token=0|3|-1,channel=2..5"), ("layer.1.down_in", "top=7"),
                                 ("layer.2.query", "head=1,token=4"), ("layer.2.resid_out", "token=2"), ("layer.2.resid_out", "channel=1")):
            with self.subTest(point, selection=selection):
                chosen = capture(f"{point}[{selection}]=value(1234)")[point] == 1234
                drawn = capture(f"{point}[{selection},random=5]=value(1234)")[point] == 1234
                self.assertEqual(chosen.sum(), drawn.sum())
                self.assertFalse((chosen & drawn).any())
                for axis in range(1, chosen.ndim):
                    others = tuple(a for a in range(chosen.ndim) if a != axis)
                    if not chosen.any(others).all():
                        self.assertFalse((chosen.any(others) & drawn.any(others)).any(), axis)
                other = capture(f"{point}[{selection},random=6]=value(1234)")[point] == 1234
                self.assertFalse((drawn == other).all())
        probabilities = capture("layer.2.attn_probs[key=0,random=1]=value(7)")["layer.2.attn_probs"] == 7
        self.assertTrue(probabilities.any())
        self.assertFalse(np.triu(probabilities, 1).any(), "a key that is seen")

    def test_ranks_and_a_memory_limit_give_the_same(self):
        edits = (BORN, "layer.1..3.resid_out[top=4]=mean", "layer.2.down_in[token=initial]=median", "weight.2.up[row=3]=zero")
        more = ("--context", "24", "--stride", "12", "--controls", "1", "--threads", "1")
        one = self.intervene(*edits, more=more)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = str(s.getsockname()[1])
        command = [PROGRAM, "intervene", self.model, "--corpus", self.corpus, "--json", *(w for e in edits for w in ("--edit", e)), *more]
        env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes = [subprocess.Popen(command, env={**env, "RANK": str(r), "LOCAL_RANK": str(r)}, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) for r in range(2)]
        ended = [(*p.communicate(timeout=120), p.returncode) for p in processes]
        self.assertEqual([(err, code) for _, err, code in ended], [("", 0)] * 2)
        two = json.loads(ended[0][0])
        for a, b in zip(one["runs"], two["runs"]):
            self.assertEqual(a.get("matched"), b.get("matched"))
            np.testing.assert_allclose(b["nll_nats"], a["nll_nats"], rtol=1e-6)
            for x, y in zip(a["layers"], b["layers"]):
                np.testing.assert_allclose(list(y.values()), list(x.values()), rtol=1e-5)
            if "effect" in a:
                np.testing.assert_allclose(list(b["effect"].values()), list(a["effect"].values()), rtol=1e-4, atol=1e-6)
        bound = self.intervene(*edits, more=(*more, "--memory", "4GiB"))
        self.assertEqual(bound["runs"], one["runs"])

    def test_text_and_help(self):
        text = " ".join(self.succeed("intervene", self.model, "--corpus", self.corpus, "--context", 32, "--controls", 2, "--edit",
                                     BORN).split())
        for words in ("run nll ppl difference KL top-1", "plain", "edit1", "2 random", f"{BORN}; changes 1 value, 0 to 1 a window"):
            self.assertIn(words, text)
        for option in ("--edit EDITS", "--controls N", "--corpus FILE...", "--context N", "--bos PLACE"):
            self.assertIn(option, run("intervene", "--help").stdout)

    def test_mistakes(self):
        def refuse(pattern, *more, code=1):
            self.refuse(code, pattern, "intervene", self.model, "--corpus", self.corpus, "--context", 32, *more)
        refuse("--edit is required", code=2)
        refuse(r"edit 'layer.0.resid_out\[massive\]=zero' selects nothing in any of the \d+ windows", "--edit",
               "layer.0.resid_out[massive]=zero")
        refuse("is of the logits, .*; edit final_norm_out", "--edit", "logits[channel=3]=zero")
        refuse(r"token 32 of edit .* is outside the 32 there are", "--edit", "layer.0.resid_out[token=32]=zero")
        refuse("random=x should be a seed of 0 or more", "--edit", "layer.0.resid_out[token=1,random=x]=zero")
        refuse("did you mean 'massive'", "--edit", "layer.0.resid_out[masive]=zero")


if __name__ == "__main__":
    main()
