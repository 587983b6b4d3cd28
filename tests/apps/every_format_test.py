#!/usr/bin/env python3
"""The main job (main_job.py) on the same tiny model in every format of docs/formats.md: what a report says of the same weights is the
same. Encodings of GGUF are held against gguf-py by tests/golden/io/gguf_quants.npz."""
import json
import pathlib
import re
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import gguf_file  # noqa: E402
import reading  # noqa: E402
import tiny  # noqa: E402
from main_job import MainJobTest  # noqa: E402
from program import ROOT, main  # noqa: E402

try:
    import torch
except ImportError:  # LibTorch may come without Python's part
    torch = None

MATRICES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
INTEGERS = ["I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"]
WEIGHTS = tiny.weights()


def gguf_name(name):
    if name in TOP:
        return TOP[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{(MATRICES | NORMS)[rest.removesuffix('.weight')]}.weight"


def gguf_rows(name, array):
    """The rows of q and k stand in pairs, as llama.cpp's converter has them."""
    heads = {"q_proj": tiny.H, "k_proj": tiny.HK}.get(name.split(".")[-2])
    return array if heads is None else array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)


def gguf_metadata(layers, width, heads, kv_heads, head_width, mlp_width):
    return {"general.architecture": "llama", "general.name": "tiny", "llama.block_count": layers, "llama.context_length": tiny.POSITIONS,
            "llama.embedding_length": width, "llama.feed_forward_length": mlp_width, "llama.attention.head_count": heads,
            "llama.attention.head_count_kv": kv_heads, "llama.attention.key_length": head_width, "llama.attention.value_length": head_width,
            "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0,
            **gguf_file.byte_level_tokenizer([*tiny.byte_alphabet()[:-1], "zz", "<|bos|>"], tiny.BOS + 1, tiny.BOS)}


class EveryFormatTest(MainJobTest):
    def folder(self, name):
        """A Hugging Face folder that lacks its weights."""
        folder = self.dir / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(tiny.config()))
        (folder / "tokenizer.json").write_text(json.dumps(tiny.tokenizer(), ensure_ascii=False))
        return folder

    def stored(self, dtypes):
        """The tiny model as (dtype, shape, bytes); dtypes: name -> dtype."""
        return {name: (dtypes(name), array.shape, tiny.encode(array, dtypes(name))) for name, array in WEIGHTS.items()}

    def safetensors(self, name, dtypes=lambda name: "F32"):
        folder = self.folder(name)
        tiny.write_safetensors(folder / "model.safetensors", self.stored(dtypes))
        return folder

    def pytorch(self, name, dtypes=lambda name: "F32"):
        """A folder without weights, and the state dict of the tiny model."""
        kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn,
                 "F8_E5M2": torch.float8_e5m2, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
                 "U8": torch.uint8, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "BOOL": torch.bool}
        state = {key: torch.frombuffer(bytearray(raw), dtype=kinds[dtype]).reshape(shape)
                 for key, (dtype, shape, raw) in self.stored(dtypes).items()}
        return self.folder(name), state

    def gguf(self, name, dtypes=lambda name: "F32"):
        tensors = {gguf_name(key): (dtypes(key), array.shape, tiny.encode(gguf_rows(key, array), dtypes(key)))
                   for key, array in WEIGHTS.items()}
        return gguf_file.write(self.dir / f"{name}.gguf", gguf_metadata(tiny.L, tiny.D, tiny.H, tiny.HK, tiny.WIDTH, tiny.F), tensors)

    def assert_same(self, a, b):
        for part in ("layers", "summary", "inputs"):
            self.assertEqual(a[0][part], b[0][part], part)
        for name in b[1]:
            np.testing.assert_array_equal(a[1][name], b[1][name], name)

    def assert_finds_the_outlier(self, results):
        life = reading.life(results)
        self.assertEqual((life["born_layer"], life["removed_layer"], life["massive_channels"]), (1, tiny.L - 1, [3]))

    def test_main_job(self):
        names = ["safetensors", "gguf"]
        wanted = self.report(self.safetensors("safetensors"), "safetensors")
        self.assert_finds_the_outlier(wanted[0])
        self.assert_same(self.report(self.gguf("gguf"), "gguf"), wanted)
        self.report(self.gguf("never"), "never", "--bos", "never", "--dtype", "float16", figures="none")
        self.report(self.safetensors("always"), "always", "--bos", "always", "--dtype", "bfloat16", figures="none")
        # "w" is in the prompt, "t" in the corpus alone.
        for name, letter, value in (("nan", "w", np.nan), ("inf", "t", np.inf), ("minus_inf", "t", -np.inf)):
            model = tiny.write_model(self.dir / name, lambda w: w["model.embed_tokens.weight"].__setitem__((ord(letter), 4), value))
            first = self.report(model, name, figures="none")[0]["summary"]["first_nonfinite"]
            self.assertEqual((first["layer"], first["point"], first["channel"], first["input"]),
                             (0, "resid_in", 4, "prompt" if letter == "w" else "corpus"))
            names.append(name)
        if torch:
            folder, state = self.pytorch("pytorch")
            torch.save(state, folder / "pytorch_model.bin")
            self.assert_same(self.report(folder, "pytorch"), wanted)
            names.append("pytorch")
        self.compare(names)
        self.open_pages([names[-1] + ".report", names[0] + ".comparison"])
        if torch:
            self.assert_saw_every_value("every_format")

    def test_safetensors(self):
        wanted = self.report(self.safetensors("one"), "one", figures="none")
        self.assert_same(self.report(self.dir / "one/model.safetensors", "named", figures="none"), wanted)
        folder, stored = self.folder("sharded"), self.stored(lambda name: "F32")
        names = sorted(stored)
        for part in (1, 2):
            tiny.write_safetensors(folder / f"model-{part:05}-of-00002.safetensors", {n: stored[n] for n in names[part - 1::2]})
        (folder / "model.safetensors.index.json").write_text(json.dumps(
            {"metadata": {}, "weight_map": {n: f"model-{1 + i % 2:05}-of-00002.safetensors" for i, n in enumerate(names)}}))
        self.assert_same(self.report(folder, "sharded"), wanted)
        self.compare(["one", "named", "sharded"])

    # Every dtype of both formats in one checkpoint: the norms, which are ones, as integers.
    def mixed(self, name):
        norms = [n for n in WEIGHTS if n.endswith("norm.weight")]
        if name in norms:
            return INTEGERS[norms.index(name)]
        floats = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]
        return floats[list(WEIGHTS).index(name) % len(floats)]

    def test_every_dtype(self):
        self.assertEqual({self.mixed(n) for n in WEIGHTS}, set(tiny.PLAIN) | set(tiny.FLOAT8) | {"BF16"})
        wanted = self.report(self.safetensors("dtypes", self.mixed), "dtypes")
        self.assert_finds_the_outlier(wanted[0])
        if torch:
            folder, state = self.pytorch("dtypes_pytorch", self.mixed)
            torch.save(state, folder / "pytorch_model.bin")
            self.assert_same(self.report(folder, "dtypes_pytorch", figures="none"), wanted)
            for layer, weights in enumerate(reading.weights(wanted[0])):  # against torch's own floats
                for module, one in weights["modules"].items():
                    name = f"model.layers.{layer}.{'self_attn' if module in 'qkvo' else 'mlp'}.{module}_proj.weight"
                    self.assertEqual(np.float32(one["max"]), state[name].float().abs().max().item(), name)
        for dtype in ("F16", "BF16"):
            floats = lambda name: dtype if WEIGHTS[name].ndim > 1 else "F32"  # noqa: E731
            wanted = self.report(self.safetensors(dtype, floats), dtype, figures="none")
            self.assert_finds_the_outlier(wanted[0])
            self.assert_same(self.report(self.gguf(dtype, floats), dtype + "_gguf", figures="none"), wanted)

    @unittest.skipIf(torch is None, "torch.save writes the files")
    def test_pytorch(self):
        folder, state = self.pytorch("zip")
        torch.save(state, folder / "pytorch_model.bin")
        wanted = self.report(folder, "zip", figures="none")
        self.assert_finds_the_outlier(wanted[0])
        legacy, _ = self.pytorch("legacy")
        torch.save(state, legacy / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        named, _ = self.pytorch("named")
        torch.save({"model": state, "optimizer": {"state": {0: torch.zeros(3)}, "lr": 1e-3}, "step": 5}, named / "checkpoint.pt")
        sharded, _ = self.pytorch("sharded_pytorch")
        names = sorted(state)
        for part in (1, 2):
            torch.save({n: state[n] for n in names[part - 1::2]}, sharded / f"pytorch_model-{part:05}-of-00002.bin")
        (sharded / "pytorch_model.bin.index.json").write_text(json.dumps(
            {"metadata": {}, "weight_map": {n: f"pytorch_model-{1 + i % 2:05}-of-00002.bin" for i, n in enumerate(names)}}))
        for name, model in (("legacy", legacy), ("named_pytorch", named / "checkpoint.pt"), ("sharded_pytorch", sharded)):
            with self.subTest(name):
                self.assert_same(self.report(model, name, figures="report" if name == "legacy" else "none"), wanted)
        self.compare(["zip", "legacy", "named_pytorch", "sharded_pytorch"])

    def test_every_encoding_of_gguf(self):
        """All that the program knows in one file. Blocks and their values are gguf-py's."""
        table = re.findall(r'\{"(\w+)", (\d+), (\d+), (\d+), ', (ROOT / "src/outliers/io/dequantize.cpp").read_text())
        self.assertEqual({name: tuple(map(int, sizes)) for name, *sizes in table}, gguf_file.ENCODINGS)
        golden = np.load(ROOT / "tests/golden/io/gguf_quants.npz")
        size, heads = 256, 4
        of_matrices = sorted(e for e in gguf_file.ENCODINGS if f"{e}.raw" in golden)
        of_norms = iter(["F64", "I8", "I16", "I32", "I64"] + ["F32"] * 9)
        self.assertEqual(len(of_matrices) + 5, len(gguf_file.ENCODINGS))
        random = np.random.default_rng(3)
        tensors = {"token_embd.weight": ("F32", (tiny.BOS + 1, size), tiny.encode(random.standard_normal((tiny.BOS + 1, size)), "F32"))}
        wanted = []
        for layer in range(-(-len(of_matrices) // len(MATRICES))):
            wanted.append({})
            for place, (module, name) in enumerate(MATRICES.items()):
                encoding = of_matrices[(layer * len(MATRICES) + place) % len(of_matrices)]
                _, elements, width = gguf_file.ENCODINGS[encoding]
                values = golden[f"{encoding}.values"].reshape(-1, elements)
                with np.errstate(invalid="ignore"):
                    sane = (abs(values) < 8).all(1) & (abs(values).max(1) > 1e-3)
                self.assertTrue(sane.any(), encoding)
                order = np.resize(np.flatnonzero(sane), size * size // elements)
                raw = golden[f"{encoding}.raw"].reshape(-1, width)[order].tobytes()
                tensors[f"blk.{layer}.{name}.weight"] = (encoding, (size, size), raw)
                wanted[-1][module.split(".")[1].removesuffix("_proj")] = (encoding, abs(values[order].astype(np.float64)))
            for name in NORMS.values():
                encoding = next(of_norms)
                tensors[f"blk.{layer}.{name}.weight"] = (encoding, (size,), tiny.encode(np.ones(size), encoding))
        encoding = next(of_norms)
        tensors["output_norm.weight"] = (encoding, (size,), tiny.encode(np.ones(size), encoding))
        self.assertEqual({encoding for encoding, _, _ in tensors.values()}, set(gguf_file.ENCODINGS))
        model = gguf_file.write(self.dir / "encodings.gguf", gguf_metadata(len(wanted), size, heads, heads, size // heads, size), tensors)
        results, _ = self.report(model, "encodings")
        for layer, modules in enumerate(wanted):
            for module, (encoding, values) in modules.items():
                found = reading.weights(results)[layer]["modules"][module]
                self.assertEqual(np.float32(found["max"]), values.max(), encoding)
                self.assertAlmostEqual(found["mean"] / values.mean(), 1, 5, encoding)
                self.assertAlmostEqual(found["median"], np.median(values), 6, encoding)
        self.report(model, "encodings_halves", "--dtype", "bfloat16", figures="none")
        self.compare(["encodings", "encodings_halves"])

    def adapter(self, name, file):
        """A LoRA adapter of v_proj, and the model that it makes."""
        random = np.random.default_rng(1)
        folder, tensors, merged = self.dir / name, {}, dict(WEIGHTS)
        folder.mkdir()
        for layer in range(tiny.L):
            key = f"model.layers.{layer}.self_attn.v_proj"
            a, b = (random.standard_normal(shape).astype(np.float32) for shape in ((2, tiny.D), (tiny.HK * tiny.WIDTH, 2)))
            tensors |= {f"base_model.model.{key}.lora_A.weight": a, f"base_model.model.{key}.lora_B.weight": b}
            merged[key + ".weight"] = merged[key + ".weight"] + 1.5 * b @ a
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 3}))
        if file.endswith(".bin"):
            torch.save({key: torch.from_numpy(array) for key, array in tensors.items()}, folder / file)
        else:
            tiny.write_safetensors(folder / file, tensors)
        return folder, merged

    def test_adapters(self):
        folder, merged = self.adapter("adapter", "adapter_model.safetensors")
        plain = self.folder("merged")
        tiny.write_safetensors(plain / "model.safetensors", merged)
        wanted, arrays = self.report(plain, "merged", figures="none")
        base = self.safetensors("base")
        found = [self.report(base, "adapted", "--adapter", folder)]
        if torch:
            folder, _ = self.adapter("adapter_pytorch", "adapter_model.bin")
            bin_base, state = self.pytorch("base_pytorch")
            torch.save(state, bin_base / "pytorch_model.bin")
            found.append(self.report(bin_base, "adapted_pytorch", "--adapter", folder, figures="none"))
        for results, mine in found:
            self.assertEqual(reading.life(results)["born_layer"], reading.life(wanted)["born_layer"])
            for name in ("prompt.resid_out", "prompt.attention.probs"):
                np.testing.assert_allclose(mine[name], arrays[name], rtol=1e-4, atol=1e-3)
        self.compare(["merged", "adapted"])


if __name__ == "__main__":
    main()
