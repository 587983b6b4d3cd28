#!/usr/bin/env python3
"""Captures the points of one forward pass from transformers, in the format of `outliers capture`, for `outliers compare-layers`.

    capture_transformers.py MODEL OUT.npz|OUT.safetensors (--text TEXT | --ids 1,2,3 | --like CAPTURE)
                            [--points 'layer.*.resid_out,logits'] [--dtype float32] [--device cpu]

MODEL is a directory or Hub name that AutoModelForCausalLM loads, or a .gguf file. --like takes the ids of another
capture, so that both are of the same tokens; of a model of images (which AutoModel loads then) its pixel_values. Points
may use * as in the shell (layer.*.down_in); all of them by default. Attention is the eager implementation, with the
softmax in float32, or in float64 in a float64 run. Needs torch, transformers, safetensors and numpy; for .gguf files
also gguf and accelerate.
"""
import argparse
import fnmatch
import pathlib

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from models_points import Points, vision_tower

PRECISION = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}


def load(name, dtype, device, images=False):
    """The model and a function that loads its tokenizer."""
    path = pathlib.Path(name)
    where = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    source = path.parent if where else name
    kind = transformers.AutoModel if images else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(source, dtype=torch.float32 if where else getattr(torch, dtype),
                                                              attn_implementation="eager", **where)
    return model.to(device, getattr(torch, dtype)).eval(), lambda: transformers.AutoTokenizer.from_pretrained(source, **where)


def read_capture(path):
    return {k: torch.from_numpy(v) for k, v in np.load(path).items()
            if k in ("ids", "pixel_values")} if path.endswith(".npz") else load_file(path)


def ids_of(arguments, tokenizer, like):
    if arguments.ids:
        return torch.tensor([[int(i) for i in arguments.ids.split(",")]])
    if like:
        return like["ids"]
    return torch.tensor([tokenizer()(arguments.text).input_ids])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--text")
    given.add_argument("--ids")
    given.add_argument("--like")
    parser.add_argument("--points", default="*")
    parser.add_argument("--dtype", choices=PRECISION, default="float32")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if not arguments.out.endswith((".npz", ".safetensors")):
        parser.error("OUT should end in .npz or .safetensors")

    like = read_capture(arguments.like) if arguments.like else {}
    pixels = like.get("pixel_values")
    model, tokenizer = load(arguments.model, arguments.dtype, arguments.device, pixels is not None)
    ids = ids_of(arguments, tokenizer, like).long()
    patterns = [p.strip() for p in arguments.points.split(",")]
    tensors = {"ids": ids.cpu(), "precision": torch.tensor([PRECISION[arguments.dtype]])}
    if pixels is not None:
        model, options = vision_tower(model)
        tensors["pixel_values"] = pixels.float()
    given = len(tensors)
    points = Points(model, lambda name, x: tensors.__setitem__(name, x.detach().cpu().clone().contiguous()),
                    lambda name: any(fnmatch.fnmatchcase(name, p) for p in patterns))
    if pixels is None:
        points.run(ids.to(arguments.device))
    else:
        pixels = pixels.to(arguments.device, getattr(torch, arguments.dtype))
        points.run_images(pixels, **options(pixels))
    if len(tensors) == given:
        raise SystemExit(f"no point is called {arguments.points}")
    if arguments.out.endswith(".npz"):
        np.savez(arguments.out, **{k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in tensors.items()})
    else:
        save_file(tensors, arguments.out)
    print(f"{arguments.out}: {len(tensors) - given} points of {ids.shape[1]} tokens")


if __name__ == "__main__":
    main()
