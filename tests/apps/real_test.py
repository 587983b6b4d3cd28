#!/usr/bin/env python3
"""The two real models, against what transformers gives on the same dequantised weights (tests/oracle/models_real.py)."""
import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from program import ProgramTest, models_directory  # noqa: E402

QWEN = models_directory() / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
GEMMA = models_directory() / "gemma-3-270m-q4_k_m.gguf"


class RealModelTest(ProgramTest):
    def report(self, model, *more):
        if not model.exists():
            self.skipTest(f"{model} is not there; scripts/fetch_models.py fetches it")
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "report"
            stdout = self.succeed("report", model, "-o", out, "--sequences", 1, "--tokens", 128, *more)
            arrays = np.load(out / "arrays.npz")
            return json.loads((out / "results.json").read_text()), {name: arrays[name] for name in arrays.files}, stdout

    def near(self, value, wanted, relative=0.005):
        self.assertAlmostEqual(abs(float(value)) / wanted, 1, delta=relative)

    def test_qwen(self):
        results, arrays, stdout = self.report(QWEN, "--bos", "never")
        out, down = arrays["prompt.resid_out"], arrays["prompt.down_in"]
        self.assertEqual(results["prompt"]["tokens"][3], ".")
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
        summary = results["summary"]
        self.assertEqual(summary["born_layer"], 2)
        self.assertEqual(summary["removed_layer"], 22)
        self.assertEqual(summary["massive_channels"][0], 62)
        self.assertEqual(results["writes"][2]["largest"]["neurons"][0]["neuron"], 1980)
        self.assertIn("born        in layer 2: mlp.down_proj column 1980", stdout)
        self.assertLessEqual(stdout.count("\n"), 30)

    def test_gemma(self):
        results, arrays, _ = self.report(GEMMA)
        out = arrays["prompt.resid_out"]
        self.assertEqual(results["prompt"]["tokens"][0], "<bos>")
        self.near(out[0, 0, 400], 2984)
        self.near(out[3, 0, 163], 10428)
        self.near(out[14, 0, 163], 103795)
        self.assertGreater(results["summary"]["headroom"]["resid_out"]["of_fp16_max"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
