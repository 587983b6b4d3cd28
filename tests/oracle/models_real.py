#!/usr/bin/env python3
"""Writes tests/golden/models/real_*.npz: what transformers computes in float64 from the dequantised weights of the real GGUF files on
the prompt "Summer is warm. Winter is cold.\n": SmolLM2 135M and Qwen2.5-Coder 0.5B without BOS, Gemma 3 270M with BOS.

Whole tensors would be large, so each point keeps its 8 largest and 16 random entries and the largest value of every row (last dimension):
    ids [1,T]; names (UTF-8, one a line); indices [P,24] (flat); values [P,24]; row_offsets [P+1]; row_largest [rows]
Masked scores count as 0. Versions: torch 2.13.0, transformers 5.23.0, gguf 0.19.0. Needs about 12 GB of memory (SmolLM2 3 GB).
usage: models_real.py [--models DIRECTORY of the .gguf files] [NAME...]
"""
import argparse
import pathlib

import gguf
import numpy as np
import torch
import transformers

from models_points import all_points

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/models"
PROMPT = "Summer is warm. Winter is cold.\n"
MODELS = {"real_smollm": ("SmolLM2-135M-Instruct.Q4_1.gguf", False), "real_qwen": ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", False),
          "real_gemma": ("gemma-3-270m-q4_k_m.gguf", True)}


def load(path):
    """The model in float64, from the file's own weights."""
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32,
                                                              attn_implementation="eager").double().eval()
    weights = dict(model.named_parameters())
    checked = 0
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name in ("blk.0.ffn_down.weight", "blk.3.ffn_up.weight", "token_embd.weight"):
            name = {"blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
                    "blk.3.ffn_up.weight": "model.layers.3.mlp.up_proj.weight",
                    "token_embd.weight": "model.embed_tokens.weight"}[tensor.name]
            stored = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
            assert torch.equal(weights[name], stored.double()), f"{name} is not the file's"
            checked += 1
    assert checked == 3
    return model


def sample(x, random):
    """Flat indices of the 8 largest entries and 16 others."""
    flat = x.reshape(-1)
    largest = torch.topk(flat.abs(), 8).indices.numpy()
    return np.concatenate([largest, random.integers(0, flat.numel(), 16)]).astype(np.int32)


def main(directory, names):
    for out in names or MODELS:
        file, bos = MODELS[out]
        path = directory / file
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, gguf_file=file)
        ids = tokenizer(PROMPT, add_special_tokens=False).input_ids
        if bos:
            ids = [tokenizer.bos_token_id] + ids
        ids = torch.tensor([ids])
        points = all_points(load(path), ids)
        random = np.random.default_rng(5)
        indices, values, rows = [], [], []
        for x in points.values():
            x = x.double().masked_fill(x == float("-inf"), 0)
            indices.append(sample(x, random))
            values.append(x.reshape(-1)[torch.from_numpy(indices[-1]).long()].numpy())
            rows.append(x.abs().amax(-1).reshape(-1).numpy())
        OUT.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(OUT / f"{out}.npz", ids=ids.numpy(), names=np.frombuffer("\n".join(points).encode(), np.uint8),
                            indices=np.stack(indices), values=np.stack(values).astype(np.float32),
                            row_offsets=np.cumsum([0] + [len(r) for r in rows]), row_largest=np.concatenate(rows).astype(np.float32))
        print(out, ids.tolist(), len(points), (OUT / f"{out}.npz").stat().st_size, "bytes")
        for layer in (0, 2, 3, 11, 14):
            x = points[f"layer.{layer}.resid_out"][0, 0].abs()
            print(f"  layer {layer} token 0:", [(int(i), round(float(x[i]), 1)) for i in x.topk(3).indices])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".cache/outliers/models")
    args = parser.parse_args()
    main(args.models, args.names)
