#!/usr/bin/env python3
"""The same model in other formats, quantised, with an adapter, and exported, from end to end: the numbers stay the same."""
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import ROOT, ProgramTest, full_disk, main  # noqa: E402

try:
    import torch
except ImportError:  # LibTorch may come without Python's part
    torch = None

GOLDEN = ROOT / "tests/golden"


class FormatsTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return self.dir / f"{self._testMethodName}-{name}"

    def capture(self, model, *more):
        out = self.path(f"{len(list(self.dir.iterdir()))}.npz")
        self.succeed("capture", model, "--ids", "5,6,7,8,9", "--points", "layer.*.resid_out,logits", "-o", out, *more)
        return {name: array for name, array in np.load(out).items()}

    def assert_same(self, a, b, tolerance=0.0):
        self.assertEqual(set(a), set(b))
        for name in a:
            largest = max(np.abs(b[name]).max(), 1e-30)
            self.assertLessEqual(np.abs(a[name] - b[name]).max() / largest, tolerance, name)

    @unittest.skipIf(torch is None, "torch.save writes the files")
    def test_pytorch_bin(self):
        folder = self.path("bin")
        shutil.copytree(self.model, folder)
        (folder / "model.safetensors").unlink()
        state = {k: torch.from_numpy(v) for k, v in tiny.weights().items()}
        wanted = self.capture(self.model)
        for legacy in (False, True):
            torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
            self.assert_same(self.capture(folder), wanted)
        self.assertIn("pytorch", self.succeed("inspect", folder))
        names = sorted(state)
        for part in range(2):
            torch.save({n: state[n] for n in names[part::2]}, folder / f"part{part}.bin")
        (folder / "pytorch_model.bin").unlink()
        weight_map = {n: f"part{i % 2}.bin" for i, n in enumerate(names)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
        self.assert_same(self.capture(folder), wanted)
        (folder / "part1.bin").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
        self.refuse(1, r"the pickle names os\.system", "inspect", folder)

    def adapter(self, **changes):
        folder = self.path("adapter")
        folder.mkdir()
        random = np.random.default_rng(1)
        tensors = {}
        for layer in range(tiny.L):
            base = f"base_model.model.model.layers.{layer}.self_attn.v_proj."
            tensors[base + "lora_A.weight"] = random.standard_normal((2, tiny.D)).astype(np.float32)
            tensors[base + "lora_B.weight"] = random.standard_normal((tiny.HK * tiny.WIDTH, 2)).astype(np.float32)
        tiny.write_safetensors(folder / "adapter_model.safetensors", tensors)
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "use_rslora": False, "fan_in_fan_out": False, **changes}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return folder, tensors

    def test_adapter(self):
        folder, tensors = self.adapter()

        def merge(w):
            for layer in range(tiny.L):
                a, b = (tensors[f"base_model.model.model.layers.{layer}.self_attn.v_proj.lora_{m}.weight"] for m in "AB")
                w[f"model.layers.{layer}.self_attn.v_proj.weight"] += 1.5 * b @ a

        merged = tiny.write_model(self.path("merged"), merge)
        wanted = self.capture(merged)
        self.assert_same(self.capture(self.model, "--adapter", folder), wanted, 1e-5)
        self.assertGreater(np.abs(self.capture(self.model)["logits"] - wanted["logits"]).max(), 0.1, "the adapter changes nothing")
        out = self.path("export")
        self.succeed("export", self.model, "--adapter", folder, "-o", out, "--dtype", "f32")
        self.assert_same(self.capture(out), wanted, 1e-5)
        self.assertIn(folder.name, self.succeed("inspect", self.model, "--adapter", folder))

    def test_adapter_that_does_not_fit(self):
        folder, _ = self.adapter(r=3)
        self.refuse(1, f"{tiny.L} of its tensors do not fit.*not of rank 3", "capture", self.model, "--adapter", folder, "--ids", "1", "-o",
                    self.path("x.npz"))
        self.refuse(1, "no adapter_config.json", "inspect", self.model, "--adapter", self.dir)

    def test_quantised(self):
        quantised, plain = {}, {}

        def change(w):
            for name in list(w):
                if "_proj" in name:
                    scale = np.abs(w[name]).max(axis=1) / 127
                    quantised[name] = (np.round(w[name] / scale[:, None]).astype(np.int8), (scale * 127).astype(np.float32))
                    q, scb = quantised[name]
                    w[name] = q.astype(np.float32) * scb[:, None] * np.float32(7.874015718698502e-3)
            plain.update(w)

        dequantised = tiny.write_model(self.path("plain"), change)
        folder = tiny.write_model(self.path("int8"),
                                  change_config=lambda c: c.update(
                                      quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}))
        tensors = {k: v for k, v in plain.items() if k not in quantised}
        for name, (q, scb) in quantised.items():
            tensors[name] = q
            tensors[name.replace(".weight", ".SCB")] = scb
        tiny.write_safetensors(folder / "model.safetensors",
                               {k: ("I8", a.shape, a.tobytes()) if a.dtype == np.int8 else a for k, a in tensors.items()})
        self.assert_same(self.capture(folder), self.capture(dequantised))
        self.assertIn("bitsandbytes int8", self.succeed("inspect", folder))
        out = self.path("export")
        self.succeed("export", folder, "-o", out, "--dtype", "f32")
        self.assertNotIn("quantization_config", json.loads((out / "config.json").read_text()))
        self.assert_same(self.capture(out), self.capture(dequantised))
        unknown = tiny.write_model(self.path("unknown"), change_config=lambda c: c.update(quantization_config={"quant_method": "aqlm"}))
        self.refuse(1, "quantised by 'aqlm' are not supported; known: ", "capture", unknown, "--ids", "1", "-o", self.path("y.npz"))

    def test_export(self):
        out = self.path("out")
        text = self.succeed("export", self.model, "-o", out, "--dtype", "f32")
        self.assertRegex(text, "the tokenizer's files")
        self.assert_same(self.capture(out), self.capture(self.model))
        self.assertEqual((out / "tokenizer.json").read_bytes(), (self.model / "tokenizer.json").read_bytes())
        self.assertEqual(json.loads((out / "config.json").read_text())["torch_dtype"], "float32")
        self.refuse(1, "exists already", "export", self.model, "-o", out)
        self.succeed("export", self.model, "-o", out, "--force")
        stored = tiny.read_safetensors(out / "model.safetensors")
        self.assertEqual({dtype for dtype, _ in stored.values()}, {"BF16"})
        for name, array in tiny.weights().items():
            rounded = np.frombuffer(tiny.encode(array, "BF16"), np.uint16).reshape(array.shape).astype(np.uint32) << 16
            np.testing.assert_array_equal(stored[name][1], rounded.view(np.float32), name)
        self.refuse(1, "no outliers-export.json", "export", self.model, "-o", self.model, "--force")
        self.refuse(2, "--dtype", "export", self.model, "-o", out, "--dtype", "int8")

    def test_export_that_fails(self):
        before = sorted(p.name for p in self.dir.iterdir())
        self.refuse(1, "cannot write", "export", self.model, "-o", self.dir / "full", preexec_fn=full_disk)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before)
        large = tiny.write_model(self.path("large"), lambda w: w["model.norm.weight"].fill(1e5))
        self.refuse(1, r"model\.norm\.weight has values that float16 cannot hold", "export", large, "-o", self.dir / "full", "--dtype",
                    "f16")
        self.assertFalse((self.dir / "full").exists())

    def test_export_of_gguf(self):
        for name in ("llama_untied", "llama_tied", "qwen2_window", "gemma3_caps"):
            with self.subTest(name=name):
                source, out = GOLDEN / "models" / name, self.path(name)
                self.assertRegex(self.succeed("export", source / "model.gguf", "-o", out, "--dtype", "f32"), "no tokenizer")
                mine, theirs = (json.loads((folder / "config.json").read_text()) for folder in (out, source))
                for key in ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                            "intermediate_size", "vocab_size", "max_position_embeddings", "tie_word_embeddings", "layer_types",
                            "sliding_window"):
                    if key in theirs and theirs[key] is not None and key in mine:
                        self.assertEqual(mine[key], theirs[key], key)
                stored, original = (tiny.read_safetensors(folder / "model.safetensors") for folder in (out, source))
                self.assertEqual({k: a.shape for k, (_, a) in stored.items()}, {k: a.shape for k, (_, a) in original.items()})
                for key, (_, array) in original.items():
                    np.testing.assert_allclose(stored[key][1], array, rtol=0, atol=2e-7, err_msg=key)
                self.assert_same(self.capture(out), self.capture(source / "model.gguf"), 1e-5)
                self.assert_same(self.capture(out), self.capture(source), 1e-5)
        self.refuse(1, "the sliding window of .* cannot be written", "export", GOLDEN / "models/mistral_window/model.gguf", "-o",
                    self.path("none"))


if __name__ == "__main__":
    main()
