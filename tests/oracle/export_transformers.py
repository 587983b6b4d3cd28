#!/usr/bin/env python3
"""Exports the tiny models of tests/golden/models by `outliers export` and loads them in transformers: the logits have to be
those of reference.npz (made from the original by models_tiny.py), from safetensors and from GGUF.

usage: export_transformers.py PROGRAM     transformers 5.23.0; writes nothing; exit code 1 where one differs
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

MODELS = pathlib.Path(__file__).resolve().parent.parent / "golden/models"


def main():
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(MODELS.glob("*/model.*")):
            if source.suffix not in (".safetensors", ".gguf") or not (source.parent / "reference.npz").exists():
                continue
            out = pathlib.Path(folder) / f"{source.parent.name}{source.suffix}"
            done = subprocess.run([sys.argv[1], "export", source, "-o", out, "--dtype", "f32"], capture_output=True, text=True)
            if done.returncode != 0:
                print(f"{source.parent.name}{source.suffix}: not exported: {done.stderr.strip()}")
                continue
            reference = np.load(source.parent / "reference.npz")
            model, loading = transformers.AutoModelForCausalLM.from_pretrained(
                out, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
            problems = {k: v for k, v in loading.items() if v}
            with torch.no_grad():
                logits = model(input_ids=torch.from_numpy(reference["ids"])).logits.numpy()
            wanted = reference["logits"]
            difference = np.abs(logits - wanted).max() / np.abs(wanted).max()
            worst = max(worst, difference)
            print(f"{source.parent.name}{source.suffix}: logits differ by {difference:.2g} of the largest {problems or ''}")
    sys.exit(0 if 0 < worst < 1e-5 else 1)


if __name__ == "__main__":
    main()
