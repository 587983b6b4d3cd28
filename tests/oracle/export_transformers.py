#!/usr/bin/env python3
"""Exports the tiny models of tests/golden/models by `outliers export` and loads them in transformers: the logits, or of models of
images the output of the encoder, have to be those of reference.npz (made from the original by models_tiny.py and
models_vision.py), from safetensors and from GGUF.

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

from models_points import decoder_of, vision_tower

LEFT_OUT = {"gemma3_caps": "transformers' own attention passes Gemma 3's cap of the scores over"}
MODELS = pathlib.Path(__file__).resolve().parent.parent / "golden/models"


def difference(source, out):
    """Of the output in transformers from reference.npz, over the largest; NaN where tensors are missing or left over."""
    reference = np.load(source.parent / "reference.npz")
    # The eager attention adds Falcon's ALiBi twice.
    attention = "sdpa" if source.parent.name == "falcon_alibi" else "eager"
    images = "pixel_values" in reference
    kind = getattr(transformers,
                   transformers.AutoConfig.from_pretrained(out).architectures[0]) if images else transformers.AutoModelForCausalLM
    model, loading = kind.from_pretrained(
        out, dtype=torch.float64, attn_implementation=attention, output_loading_info=True)
    problems = {k: v for k, v in loading.items() if v}
    if problems:
        print(problems)
        return float("nan")
    if images:
        tower, options = vision_tower(model)
        pixels = torch.from_numpy(reference["pixel_values"]).double()
        with torch.no_grad():
            last = decoder_of(tower)(pixel_values=pixels, **options(pixels)).last_hidden_state.numpy()
        wanted = reference["layer.1.resid_out" if tower.config.model_type == "clip_vision_model" else "final_norm_out"]
        return np.abs(last - wanted).max() / np.abs(wanted).max()
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
            print(f"{name}: the output differs by {value:.2g} of the largest")
            if not value < 1e-5:
                failed.append(name)
    print(f"{compared} compared, failed: {failed or 'none'}")
    sys.exit(0 if compared and not failed else 1)


if __name__ == "__main__":
    main()
