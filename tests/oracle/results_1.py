#!/usr/bin/env python3
"""Writes tests/golden/results/*: reports of schema outliers-results/1, which the program has to read for good.

  results_1.py PROGRAM     PROGRAM: `outliers` as of commit 6e413a7 (version 0.1.0), the last that wrote this schema

The models: tests/golden/models (experts of which one is shared; images, with registers; two layers each) and the planted outlier of
tests/apps/tiny.py, in float32 and, with weights that overflow, in float16. What depends on the machine is replaced. Needs numpy 2.4.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/apps"))
import tiny  # noqa: E402

MODELS, TARGET = ROOT / "tests/golden/models", ROOT / "tests/golden/results"
NEUTRAL = {"commit": "0", "machine": "a machine", "libtorch": "2", "first_product_seconds": 0.5, "peak_host_bytes": 1000000,
           "seconds": {"load": 0.25, "forward": 0.5, "statistics": 0.75, "report": 0.125}}


def golden_model(name, folder):
    shutil.copytree(MODELS / name, folder, ignore=shutil.ignore_patterns("*.gguf", "*.npz"))
    reference = np.load(MODELS / name / "reference.npz")
    if "pixel_values" in reference:
        np.save(folder / "images.npy", reference["pixel_values"])
        return ["--images", folder / "images.npy"]
    (folder / "tokenizer.json").write_text(json.dumps(tiny.letters()))
    return []


def overflow(weights):
    weights["model.layers.2.mlp.down_proj.weight"][3, 5] = 6e4
    weights["model.layers.2.mlp.up_proj.weight"][5] = 8


def main(program):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        words = scratch / "words.txt"
        words.write_text("the sea was calm. and the crew slept.\n" * 20)
        text = ["--prompt", "warm sea.", "--corpus", words, "--sequences", "2", "--tokens", "8"]
        tiny.write_model(scratch / "plain")
        tiny.write_model(scratch / "overflow", overflow)
        options = {"plain": text, "overflow": [*text, "--dtype", "float16"]}
        for name, model in {"experts": "qwen2_moe_shared", "images": "dinov2_with_registers_shrunk"}.items():
            options[name] = golden_model(model, scratch / name) or text
        for name, given in options.items():
            out, to = scratch / f"{name}.report", TARGET / name
            subprocess.run([program, "report", scratch / name, "-o", out, "--no-figures", "--threads", "1", *given], check=True,
                           stdout=subprocess.DEVNULL)
            results = json.loads((out / "results.json").read_text())
            assert results["schema"] == "outliers-results/1" and results["run"]["commit"].startswith("6e413a7"), program
            results["run"] |= NEUTRAL
            results["model"]["name"] = name
            to.mkdir(parents=True, exist_ok=True)
            (to / "results.json").write_text(json.dumps(results, ensure_ascii=False, separators=(",", ":")) + "\n")
            shutil.copy(out / "arrays.npz", to)


if __name__ == "__main__":
    main(*sys.argv[1:])
