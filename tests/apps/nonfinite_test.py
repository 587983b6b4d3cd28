#!/usr/bin/env python3
"""Reports of models whose values stop being finite: where they do is known from how they were made, and from `capture`, which
shows the points themselves."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import PROGRAM, ROOT, FolderTest, main  # noqa: E402

# the points that a survey looks at, in order
SEEN = ["resid_in", "attn_out", "resid_mid", "experts.down_in", "shared.down_in", "down_in", "down_out", "resid_out"]


def no_token(value):
    raise AssertionError(f"{value} is no JSON")


class NonfiniteTest(FolderTest):
    def model(self, name, tensor, *places, value=np.nan):
        def change(weights):
            for place in places:
                weights[tensor][place] = value
        return tiny.write_model(self.dir / name, change)

    def report(self, model, *more):
        out = self.dir / f"{model.name}.{len(list(self.dir.iterdir()))}"
        text = self.succeed("report", model, "-o", out, "--corpus", self.corpus, "--sequences", 3, "--tokens", 24, "--no-figures", *more)
        return reading.load(out, parse_constant=no_token), re.sub(r"\s+", " ", text), out

    def captured(self, model, *more, text=("--prompt", "Summer is warm. Winter is cold.\n")):
        """(layer, point) of the first tensor that is not finite, of those that a survey looks at."""
        out = self.dir / "captured.npz"
        self.succeed("capture", model, *text, "--points", "layer.*.*", "-o", out, "--force", *more)
        with np.load(out) as arrays:
            bad = [name.split(".", 2)[1:] for name in arrays.files if name.startswith("layer.") and arrays[name].dtype.kind == "f"
                   and not np.isfinite(arrays[name]).all()]
        return min((int(layer), SEEN.index(point)) for layer, point in bad if point in SEEN)

    def check(self, results, text, layer, point):
        life, first = reading.life(results), results["summary"]["first_nonfinite"]
        self.assertEqual((first["layer"], first["point"]), (layer, point))
        self.assertIn(f"{first['value']} in layer {layer}, {point}", text)
        for key in ("born_layer", "peak_layer", "removed_layer"):
            self.assertTrue(life[key] is None or life[key] < layer, key)
        self.assertTrue(all(t["last_layer"] < layer for t in life["massive_tokens"]))
        self.assertIn("removed cannot be told", text)
        self.assertNotRegex(text, r"(?i)-nan|\bnan x|adds (not finite|nan)")
        return first

    def test_first_place_is_where_capture_shows_it(self):
        p = "model.layers.2."
        for tensor, place, value in ((p + "mlp.up_proj.weight", (3, 5), np.nan), (p + "mlp.down_proj.weight", (3, 5), np.inf),
                                     (p + "self_attn.k_proj.weight", (1, 2), -np.inf),
                                     (p + "post_attention_layernorm.weight", (7,), np.inf),
                                     ("model.embed_tokens.weight", (tiny.BOS, 7), np.nan)):
            with self.subTest(tensor):
                model = self.model(tensor, tensor, place, value=value)
                layer, point = self.captured(model)
                results, text, out = self.report(model)
                first = self.check(results, text, layer, SEEN[point])
                self.assertEqual((first["input"], first["sequence"], first["token"]), ("prompt", 0, 0))
                self.assertIn("cannot be told", (out / "index.html").read_text())
                if "proj" in tensor:
                    self.assertRegex(text, r"left out, as NaN or infinite: 1 at layer 2 " + tensor.split(".")[-2].split("_")[0])
                if layer == 2:
                    # Told of what is before: the birth in layer 1 and how large it was.
                    self.assertEqual((reading.life(results)["born_layer"], reading.life(results)["found"]), (1, True))
                    self.assertIn("carried to layer 1 at least", text)
                    self.assertEqual((first["before"]["layer"], first["before"]["channel"], first["before"]["token"]),
                                     (1, 3, 0) if first["point"] != "down_out"
                                     else (2, first["before"]["channel"], first["before"]["token"]))
                else:
                    self.assertEqual(first["before"], None)
                    self.assertIn("born cannot be told", text)

    def test_half_precision_overflows(self):
        """499 x 200 is beyond float16 and not beyond the others."""
        model = self.model("overflow", "model.layers.1.mlp.down_proj.weight", (3, 5), value=200.0)
        results, text, _ = self.report(model, "--dtype", "float16")
        first = self.check(results, text, 1, "down_out")
        self.assertEqual((first["value"], first["channel"], first["token"]), ("Inf", 3, 0))
        self.assertEqual((first["before"]["point"], first["before"]["channel"]), ("down_in", 5))
        self.assertAlmostEqual(first["before"]["value"], 499, delta=1)
        self.assertRegex(text, "head-room resid_out is not finite from layer 1 on")
        for dtype in ("float32", "bfloat16"):
            results, text, _ = self.report(model, "--dtype", dtype)
            self.assertIsNone(results["summary"]["first_nonfinite"])
            self.assertEqual(reading.life(results)["born_layer"], 1)
            self.assertNotIn("cannot be told", text)

    def test_ways_of_running_agree(self):
        """In the corpus alone, under a limit of memory, and with the place in another rank's sequences."""
        model = self.model("rare", "model.embed_tokens.weight", (ord("Q"), 3))
        self.corpus.write_text("a" * 60 + "Q" + " the sea was calm" * 20)  # windows of a BOS and 23 bytes: the third
        try:
            results, text, _ = self.report(model)
            first = results["summary"]["first_nonfinite"]
            self.assertEqual((first["layer"], first["point"], first["input"], first["sequence"], first["token"], first["token_text"]),
                             (0, "resid_in", "corpus", 2, 60 - 46 + 1, "Q"))
            self.assertIn("of sequence 2 of the corpus", text)
            self.assertEqual(self.report(model, "--memory", "2GB")[0]["summary"], results["summary"])
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
            out = self.dir / "ranks"
            ranks = [subprocess.Popen([PROGRAM, "report", model, "-o", out, "--corpus", self.corpus, "--sequences", "3", "--tokens", "24",
                                       "--no-figures"], stdout=subprocess.DEVNULL,
                                      env={**os.environ, "RANK": str(r), "WORLD_SIZE": "2", "LOCAL_RANK": str(r),
                                           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}) for r in range(2)]
            self.assertEqual([rank.wait(200) for rank in ranks], [0, 0])
            self.assertEqual(reading.load(out)["summary"], results["summary"])
        finally:
            self.corpus.write_text(self.CORPUS)

    def test_families_of_every_build(self):
        (self.dir / "words.txt").write_text("the sea was calm and the crew slept. " * 20)
        for name in ("gpt2_tied", "opt_after", "stablelm_parallel", "qwen2_moe_mixed", "gpt_oss_sinks"):
            with self.subTest(name):
                folder = self.dir / name
                folder.mkdir()
                shutil.copy(ROOT / "tests/golden/models" / name / "config.json", folder)
                kinds = tiny.read_safetensors(ROOT / "tests/golden/models" / name / "model.safetensors")
                tensors = {key: array.astype(np.float32) for key, (_, array) in kinds.items()}
                # The last layer's MLP: what writes to the residual stream.
                last = max(int(m.group(1)) for key in tensors if (m := re.search(r"(?:layers|h|blocks)\.(\d+)\.", key)))
                for key in tensors:
                    if re.search(rf"(?:layers|h|blocks)\.{last}\..*(down_proj|c_proj|fc2|w2|dense_4h_to_h)",
                                 key) and "attn" not in key and "bias" not in key:
                        tensors[key] = np.full_like(tensors[key], np.nan)
                tiny.write_safetensors(folder / "model.safetensors", tensors)
                (folder / "tokenizer.json").write_text(json.dumps(tiny.letters()))
                layer, point = self.captured(folder, text=("--prompt", "warm."))
                out = self.dir / (name + ".report")
                text = re.sub(r"\s+", " ", self.succeed("report", folder, "-o", out, "--prompt", "warm.", "--corpus",
                                                        self.dir / "words.txt", "--sequences", 2, "--tokens", 8, "--no-figures"))
                results = reading.load(out, parse_constant=no_token)
                self.assertEqual((results["summary"]["first_nonfinite"]["layer"], results["summary"]["first_nonfinite"]["point"]),
                                 (layer, SEEN[point]))
                self.assertIn("cannot be told", text)

    def test_images(self):
        folder, golden = self.dir / "vit", ROOT / "tests/golden/models/vit_rectangle"
        folder.mkdir()
        shutil.copy(golden / "config.json", folder)
        tensors = {name: array.copy() for name, (_, array) in tiny.read_safetensors(golden / "model.safetensors").items()}
        layer = json.loads((folder / "config.json").read_text())["num_hidden_layers"] - 1
        down, = (name for name in tensors if name.endswith(f"layer.{layer}.output.dense.weight"))
        tensors[down][2, 1] = np.nan
        tiny.write_safetensors(folder / "model.safetensors", tensors)
        np.save(folder / "images.npy", np.load(golden / "reference.npz")["pixel_values"])
        out = self.dir / "vit.report"
        text = re.sub(r"\s+", " ", self.succeed("report", folder, "-o", out, "--images", folder / "images.npy"))
        results = reading.load(out, parse_constant=no_token)
        first = results["summary"]["first_nonfinite"]
        self.assertEqual((first["layer"], first["point"], first["channel"], first["class"]), (layer, "down_out", 2, "cls"))
        self.assertNotIn("norms", results["summary"])
        self.assertIn("norms cannot be told", text)
        self.assertFalse((out / "figures/norm_map.svg").exists())

    def test_figures_and_comparison(self):
        broken = self.model("drawn", "model.layers.2.mlp.up_proj.weight", (3, 5))
        _, _, out = self.report(broken)
        _, _, plain = self.report(tiny.write_model(self.dir / "sound"))
        if shutil.which("gnuplot"):
            self.succeed("plot", out, "--formats", "svg")
            rows = [line.split("\t") for line in (out / "figures/pos_out_layers.dat").read_text().splitlines() if re.match(r"\d", line)]
            self.assertEqual([row[1] == "NaN" for row in rows], [False, False, True, True])
        compared = self.dir / "compared"
        text = self.succeed("compare", plain, out, "-o", compared)
        self.assertRegex(text, r"drawn: born in layer 1 of 4, .*; NaN in layer 2\s+\(down_in\): from there on it cannot\s+be told")
        self.assertIn("cannot be told", (compared / "index.html").read_text())
        json.loads((compared / "comparison.json").read_text(), parse_constant=no_token)


if __name__ == "__main__":
    main()
