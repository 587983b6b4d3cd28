#!/usr/bin/env python3
"""Writes tests/golden/stats/formats.npz: matrices, and what number formats make of them, for tests/stats/formats_test.cpp.

An element is the nearest of all numbers that ml_dtypes (e4m3, e5m2, e2m1) or the integers have, found by looking at each of them in
float64, ties to the even code; ml_dtypes' own cast has to say the same. Scales are float32, as stated in src/outliers/core/formats.h;
those of the Microscaling formats are of section 6.3 of the OCP specification (v1.0). Seed 0; numpy 2.4.6, ml_dtypes 0.6.0.
"""
import pathlib

import ml_dtypes
import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/stats"
F = np.float32


def values_of(dtype, bits):
    """The numbers of a format from 0 up, by their codes."""
    with np.errstate(invalid="ignore"):
        all_of = np.arange(2 ** (bits - 1), dtype=np.uint8).view(dtype).astype(np.float64)
    return all_of[np.isfinite(all_of)]


ELEMENTS = {"e4m3": values_of(ml_dtypes.float8_e4m3fn, 8), "e5m2": values_of(ml_dtypes.float8_e5m2, 8),
            "e2m1": np.unique(np.arange(8, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float64)),
            "int8": np.arange(128, dtype=np.float64)}
CASTS = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2, "e2m1": ml_dtypes.float4_e2m1fn}


def nearest(y, element):
    values = ELEMENTS[element]
    size = np.minimum(np.abs(y.astype(np.float64)), values[-1])
    above = np.clip(np.searchsorted(values, size), 1, len(values) - 1)
    low, high = size - values[above - 1], values[above] - size
    code = np.where((low < high) | ((low == high) & (above % 2 == 1)), above - 1, above)
    found = np.copysign(values[code], y)
    if element in CASTS:
        bound = F(values[-1])
        np.testing.assert_array_equal(np.clip(y, -bound, bound).astype(CASTS[element]).astype(np.float64), found)
    return found.astype(F)


def scaled(x, scale, element):
    some = np.where(scale > 0, scale, F(1))
    return np.where(scale > 0, nearest(x / some, element) * scale, F(0))


def blocks(x, size):
    more = -x.shape[1] % size
    return np.pad(x, ((0, 0), (0, more))).reshape(len(x), -1, size)


def unblocked(blocked, x):
    return blocked.reshape(len(x), -1)[:, :x.shape[1]]


def power_of_two(x, element, exponent):
    blocked = blocks(x, 32)
    amax = np.abs(blocked).max(2, keepdims=True).astype(np.float64)
    with np.errstate(divide="ignore"):
        shared = np.where(amax > 0, np.frexp(amax)[1] - 1 - exponent, -127)
    return unblocked(scaled(blocked, np.ldexp(1.0, np.clip(shared, -127, 127)).astype(F), element), x)


def nvfp4(x):
    blocked = blocks(x, 16)
    amax = np.abs(blocked).max(2, keepdims=True)
    whole = F(amax.max() / F(6 * 448))
    scale = nearest(amax / F(6) / (whole if whole > 0 else F(1)), "e4m3") * whole
    return unblocked(scaled(blocked, scale, "e2m1"), x)


FORMATS = {
    "fp8_e5m2": lambda x: nearest(x, "e5m2"),
    "fp8_e4m3": lambda x: scaled(x, F(np.abs(x).max() / F(448)), "e4m3"),
    "int8_tensor": lambda x: scaled(x, F(np.abs(x).max() / F(127)), "int8"),
    "int8_channel": lambda x: scaled(x, np.abs(x).max(1, keepdims=True) / F(127), "int8"),
    "nvfp4": nvfp4,
    "mxfp4": lambda x: power_of_two(x, "e2m1", 2),
    "mxfp8": lambda x: power_of_two(x, "e4m3", 8),
}


def matrices():
    random = np.random.default_rng(0)
    normal = random.standard_normal((6, 96)).astype(F)
    outlier = normal.copy()
    outlier[0, 5], outlier[3, 70] = 3000, -123.456
    wide = (random.standard_normal((5, 77)) * 2.0 ** random.integers(-30, 20, (5, 77))).astype(F)  # a last block cut short
    grid = (np.arange(-96, 96, dtype=F) / F(8)).reshape(2, 96)  # every number of e2m1 and every tie
    zeros = normal[:3].copy()
    zeros[1], zeros[2, 32:64] = 0, 0
    tiny = (random.standard_normal((2, 40)) * 2.0 ** -120).astype(F)  # scales at the end of e8m0's
    return {"normal": normal, "outlier": outlier, "wide": wide, "grid": grid, "zeros": zeros, "tiny": tiny, "zero": np.zeros((2, 32), F),
            "huge": (normal * F(2.0 ** 125)), "one": F([[5.0]])}


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, x in matrices().items():
        arrays[name] = x
        for fmt, rounded in FORMATS.items():
            if fmt == "fp8_e5m2" and name == "huge":
                continue
            arrays[f"{name}.{fmt}"] = np.ascontiguousarray(rounded(x), F)
    np.savez_compressed(OUT / "formats.npz", **arrays)
    print((OUT / "formats.npz").stat().st_size, "bytes")
