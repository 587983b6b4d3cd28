#!/usr/bin/env python3
"""`outliers report` from end to end on a tiny model whose outlier was planted (tiny.py)."""
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import ROOT, ProgramTest, main  # noqa: E402

CORPUS = ("The ship sailed on. The sea was calm, and the crew slept.\n" * 40)


class ReportTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.corpus = cls.dir / "corpus.txt"
        cls.corpus.write_text(CORPUS)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def report(self, name, *more):
        out = self.dir / name
        stdout = self.succeed("report", self.model, "-o", out, "--corpus", self.corpus, "--sequences", 3, "--tokens", 40, "--no-figures",
                              *more)
        return json.loads((out / "results.json").read_text()), np.load(out / "arrays.npz"), stdout

    def test_finds_the_planted_outlier(self):
        results, arrays, stdout = self.report("planted")
        life = reading.life(results)
        self.assertTrue(life["found"])
        self.assertEqual(life["born_layer"], 1)
        self.assertEqual(life["removed_layer"], tiny.L - 1)
        self.assertEqual(life["massive_channels"], [3])
        self.assertEqual([t["token"] for t in life["massive_tokens"]], [0])
        self.assertEqual(life["massive_tokens"][0]["class"], "initial")
        birth = reading.layers(results, "prompt", "writes")[1]["largest"]
        self.assertEqual((birth["channel"], birth["token"], birth["neurons"][0]["neuron"]), (3, 0, 5))
        self.assertAlmostEqual(birth["resid_in"] + birth["attention"] + birth["mlp"], birth["resid_out"], delta=1e-3)
        self.assertAlmostEqual(birth["neurons"][0]["product"], birth["neurons"][0]["down_in"] * birth["neurons"][0]["weight"], delta=1e-2)
        down = reading.weights(results)[1]["modules"]["down"]
        self.assertEqual((down["top_columns"][0]["column"], down["top_columns"][0]["row"]), (5, 3))
        self.assertIn("in layer 1: mlp.down_proj column 5", stdout)
        self.assertIn(f"in layer {tiny.L - 1}: the MLP adds -", stdout)
        self.assertEqual(reading.layers(results, "corpus", "resid_out")[1]["massive_tokens"],
                         [{"token_text": "<|bos|>", "class": "initial", "count": 3}])
        self.assertEqual(reading.layers(results, "corpus", "resid_out")[0]["massive_tokens"], [])
        # The windows begin with a BOS, so every one of them has the outlier at its first token.
        top = reading.layers(results, "corpus", "resid_out")[1]["top"]
        self.assertEqual({(v["sequence"], v["token"], v["channel"]) for v in top[:3]}, {(s, 0, 3) for s in range(3)})

    def test_follows_the_schema(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("this Python has no jsonschema")
        results, _, _ = self.report("schema")
        schema = json.loads((ROOT / "docs/results.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(results)

        def break_weights(weights):
            weights["model.layers.2.mlp.down_proj.weight"][0, 0] = np.nan
        broken = self.dir / "broken"
        self.succeed("report", tiny.write_model(self.dir / "nan", break_weights), "-o", broken, "--corpus", self.corpus, "--sequences", 2,
                     "--tokens", 16)
        results = json.loads((broken / "results.json").read_text())
        self.assertIsNone(reading.layers(results, "prompt", "writes")[-1]["largest"]["resid_out"])
        jsonschema.Draft202012Validator(schema).validate(results)
        self.assertTrue((broken / "figures/exist_out.pdf").exists())

    def test_tells_experts_apart(self):
        """Numbers of the experts against captured points of the same tokens."""
        (self.dir / "sea.txt").write_text("the sea was calm and the crew slept. " * 20)
        for name, layer in (("mixtral_experts", 0), ("qwen2_moe_mixed", 1)):
            with self.subTest(name):
                folder, out = self.dir / (name + ".experts"), self.dir / (name + ".experts.report")
                shutil.copytree(ROOT / "tests/golden/models" / name, folder)
                (folder / "model.gguf").unlink(missing_ok=True)
                (folder / "tokenizer.json").write_text(json.dumps(tiny.letters()))
                self.succeed("report", folder, "-o", out, "--prompt", "warm.", "--corpus", self.dir / "sea.txt", "--sequences", 1,
                             "--tokens", 16, "--no-figures")
                results, arrays = json.loads((out / "results.json").read_text()), np.load(out / "arrays.npz")
                points = {}
                for batch, ids in (("prompt", reading.the_input(results, "prompt")["ids"]), ("corpus", arrays["corpus.ids"][0])):
                    file = self.dir / f"{name}.{batch}.npz"
                    self.succeed("capture", folder, "--ids", ",".join(map(str, ids)), "--points", f"layer.{layer}.*", "-o", file)
                    points[batch] = {k.removeprefix(f"layer.{layer}."): v[0] for k, v in np.load(file).items() if v.ndim > 1}
                weights = reading.weights(results)[layer]
                listed = {e["expert"]: e["modules"] for e in weights["experts"]}
                self.assertEqual({e for e in listed if e != "shared"},
                                 {int(e) for p in points.values() for e in np.unique(p["experts.index"])})
                for module in ("gate", "up", "down"):
                    best = max(listed, key=lambda e: listed[e][module]["score"])
                    self.assertEqual(weights["modules"][module]["expert"], best)
                    self.assertEqual(weights["modules"][module]["score"], listed[best][module]["score"])
                shared = "shared.weight" in points["prompt"]
                self.assertEqual("shared" in listed, shared)
                for batch, p in points.items():
                    index, x = p["experts.index"].astype(int), abs(p["experts.down_in"])
                    chosen = {e["expert"]: e for e in results["layers"][layer]["inputs"][batch]["experts"]}
                    self.assertEqual(set(chosen) - {"shared"}, set(np.unique(index)))
                    for expert in set(chosen) - {"shared"}:
                        passed = index == expert
                        self.assertEqual(chosen[expert]["tokens"], passed.sum())
                        self.assertEqual(np.float32(chosen[expert]["down_in_max"]), x[passed].max())
                        self.assertEqual(np.float32(chosen[expert]["down_out_max"]), abs(p["experts.down_out"])[passed].max())
                    both = np.concatenate([x.reshape(len(x), -1)] + ([abs(p["shared.down_in"])] if shared else []), 1)
                    s = reading.layers(results, batch, "down_in")[layer]
                    self.assertEqual(np.float32(s["max"]), both.max())
                    self.assertAlmostEqual(s["median"] / np.median(both), 1, places=6)
                    np.testing.assert_array_equal(arrays[f"{batch}.down_in.token_max"][layer][0], both.max(1))
                    for place in s["top"]:
                        t, c = place["token"], place["channel"]
                        value = (p["shared.down_in"][t, c] if place["expert"] == "shared" else
                                 p["experts.down_in"][t, list(index[t]).index(place["expert"]), c])
                        self.assertEqual(np.float32(place["value"]), value)
                    for channel in s["top_channels"]:
                        values = (p["shared.down_in"][:, channel["channel"]] if channel["expert"] == "shared" else
                                  p["experts.down_in"][index == channel["expert"]][:, channel["channel"]])
                        self.assertEqual(np.float32(channel["max"]), abs(values).max())
                # The MLP's part of the largest value is the sum of all products; the three listed are the largest of them.
                p, write = points["prompt"], reading.layers(results, "prompt", "writes")[layer]["largest"]
                t, c = write["token"], write["channel"]
                self.assertAlmostEqual(write["mlp"], float(p["down_out"][t, c]), 4)
                for neuron in write["neurons"]:
                    weight = (p["shared.weight"][t, 0] if neuron["expert"] == "shared" else
                              p["experts.weight"][t, list(p["experts.index"][t]).index(neuron["expert"])])
                    self.assertAlmostEqual(neuron["expert_weight"], float(weight), 6)
                    self.assertAlmostEqual(neuron["product"], neuron["down_in"] * neuron["weight"] * float(weight), 5)
                width = results["model"]["mlp_width"]
                folded = abs(arrays["prompt.down_in"][layer])
                self.assertEqual(folded.shape[1], width)
                np.testing.assert_array_equal(folded.max(1), arrays["prompt.down_in.token_max"][layer][0])
                np.testing.assert_array_equal(folded.max(0), arrays["prompt.down_in.channel_max"][layer])

    def test_arrays_agree_with_the_numbers(self):
        results, arrays, _ = self.report("arrays")
        prompt = len(reading.the_input(results, "prompt")["ids"])
        shapes = {
            "corpus.ids": (3, 40), "corpus.resid_out.channel_max": (tiny.L, tiny.D), "corpus.down_in.channel_max": (tiny.L, tiny.F),
            "corpus.resid_out.token_max": (tiny.L, 3, 40), "corpus.down_in.token_max": (tiny.L, 3, 40),
            "corpus.attention.key_scores": (tiny.L, 3, 40), "prompt.attention.key_scores": (tiny.L, 1, prompt),
            "prompt.resid_out": (tiny.L, prompt, tiny.D), "prompt.down_in": (tiny.L, prompt, tiny.F),
            "prompt.attention.probs": (tiny.L, tiny.H, prompt, prompt), "prompt.attention.probs_mean": (tiny.L, prompt, prompt),
            "prompt.resid_out.channel_max": (tiny.L, tiny.D), "prompt.down_in.channel_max": (tiny.L, tiny.F),
            "prompt.resid_out.token_max": (tiny.L, 1, prompt), "prompt.down_in.token_max": (tiny.L, 1, prompt),
            "weights.down.columns": (tiny.L, 13, tiny.D), "weights.down.column_index": (tiny.L, 13),
            "corpus.o_in.variance": (tiny.L, 40), "prompt.o_in.variance": (tiny.L, prompt),
        }
        self.assertEqual({name: arrays[name].shape for name in arrays.files if ".life." not in name}, shapes)
        weights = tiny.weights()
        for layer in range(tiny.L):
            for batch in ("prompt", "corpus"):
                for point in ("resid_out", "down_in"):
                    s = reading.layers(results, batch, point)[layer]
                    channels, tokens = arrays[f"{batch}.{point}.channel_max"][layer], arrays[f"{batch}.{point}.token_max"][layer]
                    self.assertEqual(np.float32(s["max"]), channels.max())
                    self.assertEqual(np.float32(s["max"]), tokens.max())
                    self.assertEqual(s["top_channels"][0]["channel"], int(channels.argmax()))
            # The prompt's statistics can be had from its own activations: an oracle of one line each.
            x = arrays["prompt.resid_out"][layer].astype(np.float64)
            s = reading.layers(results, "prompt", "resid_out")[layer]
            self.assertEqual(s["median"], np.median(abs(x)))
            self.assertAlmostEqual(s["mean"] / abs(x).mean(), 1, places=6)
            kurtosis = ((x - x.mean()) ** 4).mean() / (x.std() ** 4 + 1e-6)
            self.assertAlmostEqual(s["kurtosis_pearson"] / kurtosis, 1, places=5)
            t, c = np.unravel_index(abs(x).argmax(), x.shape)
            self.assertEqual((s["top"][0]["token"], s["top"][0]["channel"], np.float32(s["top"][0]["value"])), (t, c, np.float32(x[t, c])))
            probs = arrays["prompt.attention.probs"][layer]
            np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
            np.testing.assert_allclose(probs.mean(0), arrays["prompt.attention.probs_mean"][layer], atol=1e-6)
            np.testing.assert_allclose(probs.mean(0).sum(0), arrays["prompt.attention.key_scores"][layer][0], atol=1e-4)
            np.testing.assert_allclose(arrays["corpus.attention.key_scores"][layer].sum(-1), 40, atol=1e-3)
            w = abs(weights[f"model.layers.{layer}.mlp.down_proj.weight"].astype(np.float64))
            module = reading.weights(results)[layer]["modules"]["down"]
            maxima, means = (np.concatenate([f(w, axis=1), f(w, axis=0)]) for f in (np.max, np.mean))
            self.assertAlmostEqual(module["score"] / (maxima[means > 0] / means[means > 0]).max(), 1, places=5)
            self.assertEqual(module["median"], np.median(w))
            for place, column in enumerate(arrays["weights.down.column_index"][layer]):
                if column >= 0:
                    np.testing.assert_array_equal(arrays["weights.down.columns"][layer][place],
                                                  weights[f"model.layers.{layer}.mlp.down_proj.weight"][:, column])

    def test_prints_the_file_with_json(self):
        results, _, stdout = self.report("json", "--json")
        self.assertEqual(json.loads(stdout), results)

    def test_same_twice_and_with_other_threads(self):
        def timeless(results):
            results["run"].pop("seconds"), results["run"].pop("first_product_seconds"), results["run"].pop("peak_host_bytes")
            return results
        first, _, _ = self.report("twice-a", "--threads", 1)
        second, _, _ = self.report("twice-b", "--threads", 1)
        self.assertEqual(timeless(first), timeless(second))

    def test_seed_takes_other_windows(self):
        _, first, _ = self.report("seed-0")
        _, other, _ = self.report("seed-3", "--seed", 3)
        _, again, _ = self.report("seed-3-again", "--seed", 3)
        self.assertFalse((first["corpus.ids"] == other["corpus.ids"]).all())
        np.testing.assert_array_equal(other["corpus.ids"], again["corpus.ids"])
        largest = 2 ** 53 - 1  # above, numbers of JSON are no longer exact everywhere
        self.assertEqual(self.report("seed-large", "--seed", largest)[0]["run"]["seed"], largest)
        for wrong in (largest + 1, 2 ** 64 - 1, 2 ** 64, -1):
            self.refuse(2, f"--seed: Value {wrong} not in range 0 to {largest}", "report", self.model, "-o", self.dir / "none", "--seed",
                        wrong)

    def test_bos_policies(self):
        for policy, first in (("model", tiny.BOS), ("always", tiny.BOS), ("never", ord("H"))):
            results, arrays, _ = self.report(f"bos-{policy}", "--bos", policy, "--prompt", "Hello")
            self.assertEqual(reading.the_input(results, "prompt")["ids"][0], first)
            self.assertEqual((arrays["corpus.ids"][:, 0] == tiny.BOS).all(), policy != "never")

    def test_bfloat16_finds_it_too(self):
        results, _, _ = self.report("bf16", "--dtype", "bfloat16")
        self.assertEqual(results["run"]["dtype"], "bfloat16")
        self.assertEqual((reading.life(results)["born_layer"], reading.life(results)["removed_layer"]), (1, tiny.L - 1))

    def test_jsonl_corpus(self):
        path = self.dir / "corpus.jsonl"
        path.write_text("".join(json.dumps({"text": CORPUS}) + "\n" for _ in range(2)))
        out = self.dir / "jsonl"
        self.succeed("report", self.model, "-o", out, "--corpus", path, "--sequences", 2, "--tokens", 16, "--no-figures")
        self.assertIn("corpus.jsonl", reading.the_input(reading.load(out), "corpus")["source"])

    def test_default_corpus(self):
        out = self.dir / "default"
        self.succeed("report", self.model, "-o", out, "--sequences", 4, "--tokens", 64, "--no-figures")
        self.assertEqual(np.load(out / "arrays.npz")["corpus.ids"].shape, (4, 64))

    def test_leaves_nothing_else_behind(self):
        self.report("clean/deep")
        self.assertEqual([p.name for p in (self.dir / "clean").iterdir()], ["deep"])
        self.assertEqual(sorted(p.name for p in (self.dir / "clean/deep").iterdir()), ["arrays.npz", "index.html", "results.json"])


if __name__ == "__main__":
    main()
