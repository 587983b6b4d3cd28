#!/usr/bin/env python3
"""Writes tests/golden/eval/interventions.json: what edits of random models of tests/golden/models do to their predictions, by
transformers in float64.

A case has a model, a text, a context, and runs, the first of them plain: the edits, nll_nats of each window, kl_nats and
top1_agreement against the plain run over all scored tokens, and of each layer max and median of abs resid_out and the sink rate. The
functions beside the edits below are what they say (models_edits.py).
Versions: torch 2.13.0, transformers 5.23.0, tokenizers 0.22.2. No seeds.
usage: eval_interventions.py
"""
import json

import tokenizers
import torch

from eval_perplexity import ONE, OUT, tiny, write
from models_edits import ALL, OF_WEIGHTS, Edited, filled, largest, replaced, scaled

POINTS = [
    {"layer.0.resid_out[token=0]=zero": {"layer.0.resid_out": lambda y: filled(y, 0, ALL, 0)}},
    {"layer.0.resid_out[channel=2]=mean": {"layer.0.resid_out": lambda y: filled(y, y[..., 2].mean(), ..., 2)}},
    {"layer.1.down_in[token=1..3]=median":
     {"layer.1.down_in": lambda y: replaced(y, lambda v: v.flatten(0, 1).median(0).values.expand_as(v), ALL, slice(1, 4))}},
    {"layer.1.resid_mid[top=3]=zero": {"layer.1.resid_mid": lambda y: largest(y, 3, torch.zeros_like)}},
    {"layer.0..1.resid_out[channel=1]=scale(4)": {f"layer.{i}.resid_out": lambda y: scaled(y, 4, ..., 1) for i in (0, 1)}},
    {"final_norm_out[token=2..-1]=scale(1.5)": {"final_norm_out": lambda y: scaled(y, 1.5, ALL, slice(2, None))}},
]
CASES = [("llama_untied", 8), ("gemma2_caps", 9), ("gpt_neox_parallel", 8), ("qwen2_moe_shared", 10), ("opt_after", 8)]


def state(points, layer):
    size = points[f"layer.{layer}.resid_out"].abs().flatten()
    first = points[f"layer.{layer}.attn_probs"][..., 0]  # [B,H,T]
    return {"max": size.max().item(), "median": size.quantile(0.5).item(), "sink_rate": (first.mean(-1) > 0.3).double().mean().item()}


def outcome(edited, changes):
    """Log-probabilities [B,T-1,V] of the tokens after the first, and the state of each layer."""
    points = {}

    def recorded(name, change):
        def keep(y):
            points[name] = change(y)
            return points[name]
        return keep
    layers = edited.model.config.num_hidden_layers
    names = [f"layer.{i}.{point}" for i in range(layers) for point in ("resid_out", "attn_probs")]
    edits = {name: recorded(name, changes.get(name, lambda y: y)) for name in {*names, *changes}}
    logits = edited.run(edits)
    return torch.log_softmax(logits.detach().double()[:, :-1], -1), [state(points, i) for i in range(layers)]


def compared(name, plain, logs, layers, targets):
    nll = -logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return {"edits": name, "window_nll_nats": nll.mean(1).tolist(), "kl_nats": (plain.exp() * (plain - logs)).sum(-1).mean().item(),
            "top1_agreement": (plain.argmax(-1) == logs.argmax(-1)).double().mean().item(), "layers": layers}


def cases():
    tokens = tokenizers.Tokenizer.from_str(json.dumps(tiny.letters_with_bos())).encode(ONE[0], add_special_tokens=False).ids
    for name, context in CASES:
        edited = Edited(name)
        count = len(tokens) // context
        edited.input = torch.tensor(tokens[:count * context]).view(count, context)
        targets = edited.input[:, 1:]
        plain, layers = outcome(edited, {})
        runs = [compared("", plain, plain, layers, targets)]
        for edits in POINTS:
            (text, changes), = edits.items()
            if "down_in" in text and "layer.1.down_in" not in edited.points:
                continue
            runs.append(compared(text, plain, *outcome(edited, changes), targets))
        for text, parameter, change in OF_WEIGHTS.get(name, ()):
            with edited.with_weight(parameter, change):
                runs.append(compared(text, plain, *outcome(edited, {}), targets))
        yield {"model": name, "options": {"context": context}, "text": ONE[0], "tokens_scored": targets.numel(), "runs": runs,
               "nll_nats": runs[0]["window_nll_nats"][0]}


if __name__ == "__main__":
    write("interventions.json", cases())
    print((OUT / "interventions.json").stat().st_size, "bytes")
