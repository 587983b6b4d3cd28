#!/usr/bin/env python3
"""Exports the tiny models of tests/golden/models by `outliers export` and loads them in transformers: the logits have to be
those of reference.npz (made from the original by models_tiny.py), from safetensors and from GGUF.

usage: export_transformers.py PROGRAM     transformers 5.23.0; writes nothing; exit code 1 where one differs, or a safetensors
checkpoint is not exported
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

LEFT_OUT = {"gemma3_caps": "transformers' own attention passes Gemma 3's cap of the scores over"}
MODELS = pathlib.Path(__file__).resolve().parent.parent / "golden/models"


def difference(source, out):
    """Of the logits in transformers from reference.npz, over the largest; NaN where tensors are missing or left over."""
    reference = np.load(source.parent / "reference.npz")
    # The eager attention adds Falcon's ALiBi twice.
    attention = "sdpa" if source.parent.name == "falcon_alibi" else "eager"
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float64, attn_implementation=attention, output_loading_info=True)
    problems = {k: v for k, v in loading.items() if v}
    if problems:
        print(problems)
        return float("nan")
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(reference["ids"])).logits.numpy()
    return np.abs(logits - reference["logits"]).max() / np.abs(reference["logits"]).max()


def main():
    compared, failed = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(MODELS.glob("*/model.*")):
            name = f"{source.parent.name}{source.suffix}"
            if source.suffix not in (".safetensors", ".gguf") or not (source.parent / "reference.npz").exists():
                continue
            if source.parent.name in LEFT_OUT:
                print(f"{name}: left out: {LEFT_OUT[source.parent.name]}")
                continue
            out = pathlib.Path(folder) / name
            done = subprocess.run([sys.argv[1], "export", source, "-o", out, "--dtype", "f32"], capture_output=True, text=True)
            if done.returncode != 0:
                print(f"{name}: not exported: {done.stderr.strip()}")
                if source.suffix == ".safetensors":
                    failed.append(name)
                continue
            compared += 1
            value = difference(source, out)
            print(f"{name}: logits differ by {value:.2g} of the largest")
            if not value < 1e-5:
                failed.append(name)
    print(f"{compared} compared, failed: {failed or 'none'}")
    sys.exit(0 if compared and not failed else 1)


if __name__ == "__main__":
    main()
