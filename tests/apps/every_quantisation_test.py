#!/usr/bin/env python3
"""The main job (main_job.py) on a model of every quantisation of docs/formats.md. The quantised weights are those of
tests/golden/io/quantized, which the packages themselves packed (tests/oracle/io_quantized.py); they stand here as the gates of a
tiny Llama, and what the report says of them is held against what the packages make of them."""
import json
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from main_job import MainJobTest  # noqa: E402
from program import ROOT, main  # noqa: E402

GOLDEN = ROOT / "tests/golden/io/quantized"
HEADS, HEAD_WIDTH = 2, 8
OF_FAMILY = {"mxfp4"}  # whole experts: gpt_oss_mxfp4 of every_family_test.py


def module_of(tensor):
    """"m.weight_scale" -> "m"; "nested_float16.weight.absmax" -> "nested_float16"."""
    return tensor.split(".")[0]


def models():
    """Golden, and names of its quantised weights of one shape: a model each."""
    for path in sorted(GOLDEN.glob("*.npz")):
        if path.stem in OF_FAMILY:
            continue
        shapes = {}
        for name, array in np.load(path).items():
            if array.ndim == 2 and module_of(name) != "plain":
                shapes.setdefault(array.shape, []).append(module_of(name))
        for shape, modules in shapes.items():
            yield path.stem, shape, modules


class EveryQuantisationTest(MainJobTest):
    def model(self, name, golden, shape, modules):
        """A Llama with a layer for each module, whose weight is the gate."""
        mlp_width, width = shape
        stored, random = tiny.stored_safetensors(GOLDEN / f"{golden}.safetensors"), np.random.default_rng(5)

        def normal(*sizes):
            return (random.standard_normal(sizes) * 0.2).astype(np.float32)

        tensors = {"model.embed_tokens.weight": normal(tiny.BOS + 1, width), "model.norm.weight": np.ones(width, np.float32),
                   "lm_head.weight": normal(tiny.BOS + 1, width)}
        for layer, module in enumerate(modules):
            p = f"model.layers.{layer}."
            for part in "qkvo":
                tensors[f"{p}self_attn.{part}_proj.weight"] = normal(*((width, HEADS * HEAD_WIDTH) if part == "o"
                                                                       else (HEADS * HEAD_WIDTH, width)))
            tensors |= {p + "mlp.up_proj.weight": normal(mlp_width, width), p + "mlp.down_proj.weight": normal(width, mlp_width),
                        p + "input_layernorm.weight": np.ones(width, np.float32),
                        p + "post_attention_layernorm.weight": np.ones(width, np.float32)}
            tensors |= {f"{p}mlp.gate_proj{key[len(module):]}": tensor for key, tensor in stored.items()
                        if module_of(key) == module and not key.endswith(".bias")}
        folder = self.dir / name
        folder.mkdir()
        tiny.write_safetensors(folder / "model.safetensors", tensors)
        config = tiny.config() | {"hidden_size": width, "intermediate_size": mlp_width, "num_hidden_layers": len(modules),
                                  "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD_WIDTH,
                                  "quantization_config": json.loads((GOLDEN / f"{golden}.json").read_text())}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text(json.dumps(tiny.tokenizer(), ensure_ascii=False))
        return folder

    def test_every_quantisation(self):
        methods, names = set(OF_FAMILY), []
        for golden, shape, modules in models():
            name = f"{golden}_{shape[0]}"
            with self.subTest(name):
                folder = self.model(name, golden, shape, modules)
                results, _ = self.report(folder, name, figures="plot")
                wanted = np.load(GOLDEN / f"{golden}.npz")
                for layer, module in enumerate(modules):
                    found, values = reading.weights(results)[layer]["modules"]["gate"], abs(wanted[module + ".weight"].astype(np.float64))
                    self.assertEqual(np.float32(found["max"]), values.max(), module)
                    self.assertAlmostEqual(found["mean"] / values.mean(), 1, 5, module)
                    self.assertAlmostEqual(found["median"], np.median(values), 6, module)
                methods.add(json.loads((folder / "config.json").read_text())["quantization_config"]["quant_method"])
                names.append(name)
        self.compare(names)
        section = (ROOT / "docs/formats.md").read_text().split("\n## Quantised weights\n")[1].split("\n## ")[0]
        documented = re.findall(r"^\| `([\w-]+)` \|", section, re.M)
        self.assertEqual(methods | {"quant_method"}, set(documented))


if __name__ == "__main__":
    main()
