#!/usr/bin/env python3
"""`outliers lifecycle` on a model whose outliers are planted, against NumPy (tiny_forward.py)."""
import json
import pathlib
import re
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
import tiny_forward  # noqa: E402
from main_job import golden_model  # noqa: E402
from program import FolderTest, main  # noqa: E402

PROMPT = "warm sea."


class LifecycleTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.weights = tiny.weights()

    def lifecycle(self, *more, command="lifecycle"):
        out = self.dir / "out"
        shutil.rmtree(out, ignore_errors=True)
        self.stdout = self.succeed(command, self.model, "-o", out, "--no-figures", "--prompt", PROMPT, *more)
        self.arrays = dict(np.load(out / "arrays.npz"))
        return json.loads((out / "results.json").read_text())

    def points(self, results):
        return tiny_forward.forward(reading.the_input(results, "prompt")["ids"], self.weights)

    def test_finds_what_was_planted(self):
        results = self.lifecycle()
        life, points = reading.lifecycle(results), self.points(results)
        first = life["episodes"][0]
        self.assertEqual((first["token"], first["channel"], first["born_layer"], first["peak_layer"], first["removed_layer"]),
                         (0, 3, 1, 1, tiny.L - 1))
        self.assertAlmostEqual(first["peak"] / points["layer.1.resid_out"][0, 0, 3], 1, delta=1e-5)
        self.assertEqual([n["neuron"] for n in life["neurons"]], [5])
        neuron = life["neurons"][0]
        for point in ("gate_out", "act_out", "up_out", "down_in"):
            self.assertAlmostEqual(neuron[point] / points[f"layer.1.{point}"][0, 0, 5], 1, delta=1e-5)
        for drive in neuron["drives"]:
            self.assertEqual(drive["channels"][0]["channel"], 7)
            self.assertAlmostEqual(drive["channels"][0]["weight"], 4)
        self.assertEqual(neuron["tokens"][0]["token"], 0)
        gone = life["disappearance"]
        self.assertEqual((gone["first_layer"], gone["last_layer"], gone["layers"][0]["neurons"][0]["neuron"]), (tiny.L - 1, tiny.L - 1, 9))
        self.assertIn("written     997 after layer 1", self.stdout)
        self.assertIn("by neuron 5 100 %", " ".join(self.stdout.split()))
        self.assertIn("taken       ", self.stdout)

    def test_parts_are_those_of_the_formulas(self):
        results = self.lifecycle("--born", 2, "--channel", 9)
        life, points = reading.lifecycle(results), self.points(results)
        emergence = life["emergence"]
        token = int(np.abs(points["layer.2.resid_out"][0, :, 9]).argmax())
        self.assertEqual((emergence["layer"], emergence["token"], emergence["channel"]), (2, token, 9))
        self.assertAlmostEqual(emergence["embedding"], points["layer.0.resid_in"][0, token, 9], delta=1e-6)
        for layer in emergence["layers"]:
            p, w = f"layer.{layer['layer']}.", f"model.layers.{layer['layer']}."
            o = self.weights[w + "self_attn.o_proj.weight"][9].reshape(tiny.H, tiny.WIDTH)
            np.testing.assert_allclose(layer["heads"], (points[p + "o_in"][0, :, token] * o).sum(1), rtol=1e-4, atol=1e-6)
            products = points[p + "down_in"][0, token] * self.weights[w + "mlp.down_proj.weight"][9]
            order = np.argsort(-np.abs(products))[:len(layer["neurons"])]
            self.assertEqual([n["neuron"] for n in layer["neurons"]], order.tolist())
            np.testing.assert_allclose([n["product"] for n in layer["neurons"]], products[order], rtol=1e-4, atol=1e-6)
            self.assertAlmostEqual(layer["other_neurons"], products.sum() - products[order].sum(), delta=1e-5)
        self.assertAlmostEqual(emergence["sum"], points["layer.2.resid_out"][0, token, 9], delta=1e-4)
        self.assertAlmostEqual(emergence["residual"], points["layer.2.resid_out"][0, token, 9], delta=1e-4)

    def test_looks_where_it_is_told(self):
        asked = {"born": 2, "removed": 1, "spread": 3, "head": 1, "neuron": 4, "channel": 6}
        results = self.lifecycle(*(part for name, number in asked.items() for part in (f"--{name}", number)))
        life, points = reading.lifecycle(results), self.points(results)
        self.assertEqual({c["what"]: (c["number"], c["why"]) for c in life["chosen"] if c["what"] in asked},
                         {name: (number, "as asked for") for name, number in asked.items()})
        self.assertIn(4, self.arrays["prompt.life.born.neurons"])
        for name, wanted in (("born.down_in", points["layer.2.down_in"][0]), ("removed.resid_out", points["layer.1.resid_out"][0]),
                             ("spread.query", points["layer.3.query"][0, 1]), ("spread.attn_probs", points["layer.3.attn_probs"][0, 1])):
            np.testing.assert_allclose(self.arrays[f"prompt.life.{name}"], wanted, rtol=2e-4, atol=1e-4, err_msg=name)
        rows = self.arrays["prompt.life.born.up_rows"]
        for i, n in enumerate(self.arrays["prompt.life.born.neurons"]):
            if n >= 0:
                np.testing.assert_array_equal(rows[i], self.weights["model.layers.2.mlp.up_proj.weight"][n])

    def test_what_the_model_does_not_have(self):
        for option, what, most in (("--born", "layer", tiny.L), ("--removed", "layer", tiny.L), ("--spread", "layer", tiny.L),
                                   ("--head", "head", tiny.H), ("--neuron", "neuron", tiny.F), ("--channel", "channel", tiny.D)):
            self.refuse(1, f"there is no {what} {most}: the model's are 0 to {most - 1}", "lifecycle", self.model, "-o", self.dir / "no",
                        option, most)
        self.refuse(2, "--born", "lifecycle", self.model, "-o", self.dir / "no", "--born", "-1")
        self.refuse(2, "--output is required", "lifecycle", self.model)
        self.assertFalse((self.dir / "no").exists())

    def test_is_part_of_a_report(self):
        corpus = ("--corpus", self.corpus, "--sequences", 2, "--tokens", 16)
        alone = reading.lifecycle(self.lifecycle())
        results = self.lifecycle(*corpus, command="report")
        self.assertEqual(reading.lifecycle(results)["emergence"], alone["emergence"])
        self.assertNotIn("written  ", self.stdout)
        self.assertNotIn("lifecycle", self.lifecycle(*corpus, "--no-lifecycle", command="report"))
        self.assertFalse(any(".life." in name for name in self.arrays))
        self.assertNotIn("lifecycle", self.lifecycle(*corpus, "--measures", "activations", command="report"))
        self.assertIn("lifecycle", self.lifecycle(*corpus, "--measures", "activations,attention", command="report"))

    def test_each_prompt_has_its_own(self):
        results = self.lifecycle("--prompt", "Two words more.")
        self.assertEqual([one["input"] for one in results["lifecycle"]["prompts"]], ["prompt", "prompt2"])
        for one in results["lifecycle"]["prompts"]:
            self.assertAlmostEqual(one["emergence"]["sum"] / one["emergence"]["residual"], 1, delta=1e-4)
            self.assertIn(f"{one['input']}.life.born.down_in", self.arrays)

    def test_nothing_where_there_is_no_outlier(self):
        def calm(weights):
            for layer, neuron in ((1, 5), (tiny.L - 1, 9)):
                weights[f"model.layers.{layer}.mlp.down_proj.weight"][:, neuron] = 0
        model = tiny.write_model(self.dir / "calm", change_weights=calm)
        out = self.dir / "calm_out"
        stdout = self.succeed("lifecycle", model, "-o", out, "--no-figures", "--prompt", PROMPT)
        life = reading.lifecycle(reading.load(out))
        self.assertEqual((life["episodes"], life["chosen"], life["spread"]), ([], [], []))
        self.assertNotIn("emergence", life)
        self.assertNotIn("written  ", stdout)

    def planted(self, name, weights, scale):
        """A golden model in which one entry of each of these down projections is so many times larger."""
        folder, more = golden_model(name, self.dir)
        tensors = {key: array.copy() for key, (_, array) in tiny.read_safetensors(folder / "model.safetensors").items()}
        for key, row, column in weights:
            tensors[key][row, column] = scale
        tiny.write_safetensors(folder / "model.safetensors", tensors)
        return folder, more

    def check_life(self, out, prompt):
        """The sums, in the files and on the page, of a report whose prompt has an outlier."""
        results = reading.load(out)
        life = reading.lifecycle(results, prompt)
        self.assertGreater(len(life["episodes"]), 0)
        emergence = life["emergence"]
        self.assertAlmostEqual(emergence["sum"] / emergence["residual"], 1, delta=1e-4)
        before = emergence["embedding"]
        for layer in emergence["layers"]:
            self.assertAlmostEqual(before + reading.parts(layer), layer["resid_out"], delta=1e-4 * max(1, abs(layer["resid_out"])))
            before = layer["resid_out"]
        arrays = dict(np.load(out / "arrays.npz"))
        self.assertTrue(any(name.startswith(f"{prompt}.life.") for name in arrays))
        self.assertIn('"lifecycle"', (out / "index.html").read_text())
        return results, life

    def test_experts(self):
        key = "model.layers.0.mlp.experts.2.down_proj.weight"
        folder, _ = self.planted("qwen2_moe_shared", [(key, 4, 13)], 1000)
        out = self.dir / "experts"
        corpus = self.dir / "letters.txt"
        corpus.write_text("the sea was calm and the crew slept. " * 40)
        stdout = " ".join(self.succeed("lifecycle", folder, "-o", out, "--no-figures", "--prompt", "The sea was.", "--threads", 1).split())
        results, life = self.check_life(out, "prompt")
        self.assertEqual((life["episodes"][0]["channel"], life["episodes"][0]["born_layer"]), (4, 0))
        leader = life["emergence"]["layers"][0]["neurons"][0]
        self.assertEqual((leader["neuron"], leader["expert"]), (13, 2))
        self.assertAlmostEqual(leader["product"], leader["down_in"] * leader["weight"] * leader["expert_weight"],
                               delta=1e-4 * abs(leader["product"]))
        self.assertIn("written", stdout)
        self.assertRegex(stdout, "neuron 13 of expert 2|expert 2's neuron 13")

    def test_images(self):
        folder, images = self.planted("dinov2_head", [("dinov2.encoder.layer.0.mlp.fc2.weight", 3, 5)], 200)
        out = self.dir / "of_images"
        self.succeed("lifecycle", folder, "-o", out, "--no-figures", *images, "--threads", 1)
        results, life = self.check_life(out, "prompt")
        self.assertEqual(results["inputs"][0]["kind"], "prompt")
        self.assertEqual(life["episodes"][0]["channel"], 3)
        self.assertIn(life["episodes"][0]["class"], ("cls", "patch", "register"))
        self.refuse(2, "--prompt: dinov2_head reads images", "lifecycle", folder, "-o", self.dir / "no", *images, "--prompt", "words")

    def test_memory_that_does_not_reach_leaves_it_out_with_a_warning(self):
        model = tiny.write_model(self.dir / "long", change_config=lambda c: c.update(max_position_embeddings=2048))
        # The two maps of a long prompt, which only the life cycle looks at whole here, are more than all else.
        options = ("report", model, "-o", self.dir / "short", "--force", "--no-figures", "--threads", 1, "--prompt", "warm sea. " * 140,
                   "--corpus", self.corpus, "--sequences", 2, "--tokens", 32, "--measures", "activations,attention")
        error = self.refuse(1, "of memory are too few", *options, "--no-lifecycle", "--memory", "1MB")
        needed = int(re.search(r"(\d+) MB are needed", error).group(1))
        self.warn(["the life cycle is left out: .* MB of memory are too few to run "], *options, "--memory", f"{needed + 20}MB")
        results = reading.load(self.dir / "short")
        self.assertNotIn("lifecycle", results)
        self.assertEqual(results["run"]["memory_limit_bytes"], (needed + 20) * 10**6)
        self.succeed(*options, "--memory", f"{needed + 1000}MB")
        self.assertIn("lifecycle", reading.load(self.dir / "short"))


if __name__ == "__main__":
    main()
