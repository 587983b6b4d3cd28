#!/usr/bin/env python3
"""Writes tests/golden/io/gguf_quants.npz: random blocks of every GGUF encoding and what gguf-py makes of them.

Any bit pattern is a valid block, so the bytes are random; some scales are replaced by NaN, infinities, zeros and subnormals.
Beside it numpy_savez.npz and numpy_compressed.npz: what numpy.savez writes, for the reader of .npz.
"""
import pathlib

import gguf
import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/io"
TYPES = ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "BF16", "MXFP4"]
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
SPECIAL = [0x7E00, 0x7C00, 0xFC00, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF]  # NaN, +-inf, +-0, subnormals, the largest

random = np.random.default_rng(20240607)
arrays = {}
for name in TYPES:
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = 512 if elements == 1 else 24
    raw = random.integers(0, 256, (blocks, size), dtype=np.uint8)
    for place in SCALES.get(name, []):
        for i, bits in enumerate(SPECIAL):
            raw[i, place:place + 2] = np.frombuffer(np.uint16(bits).tobytes(), np.uint8)
    if name == "MXFP4":
        raw[:6, 0] = [0, 1, 2, 127, 254, 255]
    flat = raw.reshape(1, -1)
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(flat.view(np.float32) if name == "F32" else flat.view(np.float16) if name == "F16" else flat, kind)
    arrays[name + ".raw"] = raw.reshape(-1)
    arrays[name + ".values"] = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
OUT.mkdir(parents=True, exist_ok=True)
np.savez_compressed(OUT / "gguf_quants.npz", **arrays)

plain = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, dtype=np.int64), "c": np.zeros((0, 4), np.float16),
         "d": np.array([True, False]), "e": np.arange(5, dtype=np.uint8), "f": np.linspace(0, 1, 5), "g": np.arange(3, dtype=np.int32)}
np.savez(OUT / "numpy_savez.npz", **plain)
np.savez_compressed(OUT / "numpy_compressed.npz", **plain)
