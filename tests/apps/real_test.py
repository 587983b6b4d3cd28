#!/usr/bin/env python3
"""The real models, against what transformers gives on the same dequantised weights (tests/oracle/models_real.py)."""
import gzip
import json
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
from program import ROOT, ProgramTest, main, models_directory  # noqa: E402

SMOLLM = models_directory() / "SmolLM2-135M-Instruct.Q4_1.gguf"
QWEN = models_directory() / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
GEMMA = models_directory() / "gemma-3-270m-q4_k_m.gguf"


class RealModelTest(ProgramTest):
    def report(self, model, *more, windows=(1, 128)):
        if not model.exists():
            self.skipTest(f"{model} is not there; scripts/fetch_models.py fetches it")
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "report"
            stdout = self.succeed("report", model, "-o", out, "--sequences", windows[0], "--tokens", windows[1], *more)
            arrays = np.load(out / "arrays.npz")
            return json.loads((out / "results.json").read_text()), {name: arrays[name] for name in arrays.files}, stdout

    def check_lifecycle(self, results):
        """Sums of parts are the values that stand there."""
        cycle = reading.lifecycle(results)
        emergence, gone = cycle["emergence"], cycle["disappearance"]
        total = emergence["embedding"] + sum(reading.parts(layer) for layer in emergence["layers"])
        self.assertAlmostEqual(total / emergence["sum"], 1, delta=1e-9)
        self.assertAlmostEqual(emergence["sum"] / emergence["residual"], 1, delta=1e-4)
        self.assertAlmostEqual((gone["before"] + gone["sum"]) / gone["after"], 1, delta=1e-4)
        self.assertAlmostEqual(gone["cancelled"], -gone["sum"] / gone["before"], delta=1e-9)
        for one in results["lifecycle"]["constancy"]:
            self.assertGreater(one["cosine"], 0.9)
        return cycle

    def near(self, value, wanted, relative=0.005):
        self.assertAlmostEqual(abs(float(value)) / wanted, 1, delta=relative)

    def test_smollm(self):
        results, arrays, stdout = self.report(SMOLLM)
        out, down = arrays["prompt.resid_out"], arrays["prompt.down_in"]
        self.assertEqual(reading.the_input(results, "prompt")["ids"], [34386, 314, 3091, 30, 16062, 314, 4011, 30, 198])
        self.near(out[2, 0, 507], 713)
        self.near(out[10, 1, 507], 115.2)
        self.near(out[11, 0, 507], 23147)
        self.near(out[11, 0, 247], 1693)
        self.near(out[27, 0, 507], 22764)
        self.near(out[28, 0, 507], 8442)
        self.near(out[29, 0, 507], 2921)
        self.near(down[11, 0, 1229], 2869)
        self.near(down[28, 0, 678], 2374)
        life = reading.life(results)
        self.assertEqual((life["born_layer"], life["peak_layer"], life["removed_layer"]), (11, 11, 28))
        self.assertEqual(life["massive_channels"][0], 507)
        self.assertEqual([t["token"] for t in life["massive_tokens"]], [0])
        cycle = self.check_lifecycle(results)
        self.assertEqual([(e["born_layer"], e["removed_layer"], e["token"], e["channel"]) for e in cycle["episodes"]],
                         [(2, 9, 0, 507), (11, 28, 0, 507)])
        self.assertGreater(abs(cycle["episodes"][1]["peak"] / cycle["episodes"][0]["peak"]), 30)
        self.assertEqual([n["neuron"] for n in cycle["neurons"]], [1229, 1487])
        self.assertEqual((cycle["disappearance"]["first_layer"], cycle["disappearance"]["last_layer"]), (28, 29))
        self.assertIn("episodes    layers 2-8: channel 507", stdout)
        self.assertEqual(reading.layers(results, "prompt", "writes")[11]["largest"]["neurons"][0]["neuron"], 1229)
        self.assertIn("born        in layer 11: mlp.down_proj column 1229", stdout)
        self.assertIn("removed     in layer 28: the MLP adds -", stdout)

    def test_qwen(self):
        results, arrays, stdout = self.report(QWEN, "--bos", "never")
        out, down = arrays["prompt.resid_out"], arrays["prompt.down_in"]
        self.assertEqual(reading.the_input(results, "prompt")["tokens"][3], ".")
        self.near(out[2, 0, 62], 1199)
        self.near(out[2, 0, 490], 260)
        self.near(out[3, 0, 62], 1785)
        for layer in range(7, 19):
            self.near(out[layer, 0, 62], 1814, 0.01)  # "about 1814": a plateau, not a value
        self.near(out[21, 0, 62], 1110)
        self.near(out[22, 0, 62], 563)
        self.near(out[23, 0, 62], 452)
        self.near(down[2, 0, 1980], 427)
        self.near(down[2, 0, 2818], 270)
        self.near(out[5, 3, 62], 299)
        life = reading.life(results)
        self.assertEqual(life["born_layer"], 2)
        self.assertEqual(life["removed_layer"], 22)
        cycle = self.check_lifecycle(results)
        self.assertEqual([(e["born_layer"], e["removed_layer"], e["channel"]) for e in cycle["episodes"]], [(2, 22, 62)])
        self.assertEqual(life["massive_channels"][0], 62)
        self.assertEqual(reading.layers(results, "prompt", "writes")[2]["largest"]["neurons"][0]["neuron"], 1980)
        self.assertIn("born        in layer 2: mlp.down_proj column 1980", stdout)
        self.assertLessEqual(stdout.count("\n"), 40)

    def test_gemma(self):
        results, arrays, _ = self.report(GEMMA)
        out = arrays["prompt.resid_out"]
        self.assertEqual(reading.the_input(results, "prompt")["tokens"][0], "<bos>")
        self.near(out[0, 0, 400], 2984)
        self.near(out[3, 0, 163], 10428)
        self.near(out[14, 0, 163], 103795)
        self.assertGreater(results["summary"]["headroom"]["resid_out"]["of_fp16_max"], 1)

    def test_alignment(self):
        """Layers with outliers by the paper's criterion, and where the top column is the top channel, whatever the layer holds."""
        for model, of_outliers, sequences, aligned, others in (
                (SMOLLM, {2: True, 11: False, 28: True}, 4, {2, 9, 28}, {11}),
                (QWEN, {2: True, 21: True}, 2, {2, 3, 21}, set(range(24)) - {2, 3, 21})):
            with self.subTest(model.name):
                results, arrays, _ = self.report(model, "--bos", "never", "--measures", "alignment", "--no-figures",
                                                 windows=(sequences, 1024))
                of = results["summary"]["alignment"]["outlier_layers"]
                self.assertEqual({row["layer"]: row["aligned"] for row in of["layers"]}, of_outliers)
                self.assertAlmostEqual(of["share"], sum(of_outliers.values()) / len(of_outliers))
                tops = [layer["modules"]["down"]["top_columns"][0]["column"] for layer in reading.weights(results)]
                same = {l for l, here in enumerate(arrays["corpus.down_in.channel_max"]) if tops[l] == here.argmax()}
                self.assertEqual((aligned & same, others & same), (aligned, set()))
                self.assertAlmostEqual(results["summary"]["alignment"]["weight_activation"], len(same) / len(results["layers"]))
                for row in of["layers"]:
                    self.near(row["top_activation"]["down_in"], arrays["corpus.down_in.channel_max"][row["layer"]].max(), 1e-6)
                    self.assertGreaterEqual(row["top_product"]["product"], row["top_weight"]["product"])
                if model == QWEN:
                    continue
                # The exception is a near tie of two columns, which write to the same channel.
                exception = of["layers"][1]
                weight, product = exception["top_weight"], exception["top_product"]
                self.assertEqual((weight["neuron"], weight["row"], product["neuron"], product["row"]), (1487, 507, 1229, 507))
                self.near(weight["ratio"], 198.4)
                self.near(product["ratio"], 194.8)
                self.assertGreater(product["product"], 2 * weight["product"])

    def test_perplexity(self):
        text = gzip.decompress((ROOT / "src/outliers/text/data/state_of_the_union.txt.gz").read_bytes()).decode()
        cases = json.loads((ROOT / "tests/golden/eval/perplexity_real.json").read_text())
        self.assertEqual({case["model"] for case in cases}, {SMOLLM.name, QWEN.name})
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                model, corpus = models_directory() / case["model"], pathlib.Path(folder) / "text.txt"
                if not model.exists():
                    self.skipTest(f"{model} is not there; scripts/fetch_models.py fetches it")
                corpus.write_text(text[:case["characters"]])
                options = [word for name, value in case["options"].items() for word in (f"--{name}", value)]
                with self.subTest(case["model"], **case["options"]):
                    out = pathlib.Path(folder) / f"{cases.index(case)}"
                    self.succeed("perplexity", model, "--corpus", corpus, "-o", out, *options)
                    result = json.loads((out / "perplexity.json").read_text())
                    windows = result["per_window"]
                    self.assertEqual([(w["first_token"], w["tokens_scored"]) for w in windows],
                                     [(w["first_token"], w["tokens_scored"]) for w in case["windows"]])
                    worst = max(abs(w["nll_nats"] / v["nll_nats"] - 1) for w, v in zip(windows, case["windows"]))
                    print(f"{case['model']} {case['options']}: nll {result['nll_nats']:.6f}, worst window {worst:.1e} off")
                    self.near(result["nll_nats"], case["nll_nats"], 1e-4)
                    self.assertLess(worst, 1e-4)


if __name__ == "__main__":
    main()
