#!/usr/bin/env python3
"""Writes tests/golden/models/edits.npz: what transformers computes in float64 from the random models of tests/golden/models when one
of their points, or some of their weights, are changed on the way.

Per model: MODEL.ids or MODEL.pixel_values, MODEL.classes (of tokens, made up), MODEL.edits (the edits, a line each) and MODEL.N, what the
N-th gives: logits, or final_norm_out of models of images; float32. The functions beside the edits below are what they say.
Versions: torch 2.13.0, transformers 5.23.0. No seeds.
usage: models_edits.py
"""
import contextlib
import pathlib

import numpy as np
import torch
import transformers

from models_points import Points, decoder_of, vision_tower

MODELS = pathlib.Path(__file__).resolve().parent.parent / "golden/models"
NAMES = ["llama_untied", "gemma2_caps", "gemma3_plain", "olmo2_norms", "gpt_neox_parallel", "falcon_grouped", "opt_before", "opt_after",
         "mpt_alibi", "qwen2_moe_shared", "gpt_oss_sinks", "dinov2_head"]
OTHER = 3  # a class of tokens


def scaled(y, factor, *index):
    y[index] = y[index] * factor
    return y


def filled(y, value, *index):
    y[index] = value
    return y


def replaced(y, operation, *index):
    y[index] = operation(y[index])
    return y


def mean_of_class(y, classes, *index):
    mean = y[classes == OTHER].mean(0)
    y[index] = mean.expand_as(y[index])
    return y


def largest(y, count, change, among=None):
    """change of the `count` largest entries by size, of those of `among` where it is given."""
    size = y.abs() if among is None else torch.where(among, y.abs(), -1)
    places = size.reshape(-1).argsort(descending=True, stable=True)[:count]
    flat = y.reshape(-1).clone()
    flat[places] = change(flat[places])
    return flat.view(y.shape)


def rows(y, *tokens):
    mask = torch.zeros_like(y, dtype=torch.bool)
    mask[:, list(tokens)] = True
    return mask


ALL = slice(None)
# By the point's name, after "layer.1."; what is not listed is as "resid_out".
OF_POINT = {
    "resid_out": ("[token=1..2,channel=0|-1]=scale(-3)", lambda y: scaled(y, -3, ALL, slice(1, 3), [0, -1])),
    "query": ("[head=1,token=2]=scale(-0.5)", lambda y: scaled(y, -0.5, ALL, 1, 2)),
    "key": ("[token=-1,channel=1..2]=value(0.7)", lambda y: filled(y, 0.7, ALL, ALL, -1, slice(1, 3))),
    "value": ("[head=0]=clamp(0.05)", lambda y: replaced(y, lambda v: v.clamp(-0.05, 0.05), ALL, 0)),
    "o_in": ("[head=1,token=0..1]=zero", lambda y: filled(y, 0, ALL, 1, slice(0, 2))),
    "attn_logits": ("[head=0,token=-1,key=1]=value(2.5)", lambda y: filled(y, 2.5, ALL, 0, -1, 1)),
    "attn_probs": ("[token=2..3,key=0]=zero", lambda y: filled(y, 0, ALL, ALL, slice(2, 4), 0)),
    "router_logits": ("[token=2,expert=1]=value(9)", lambda y: filled(y, 9, ALL, 2, 1)),
    "experts.weight": ("[token=1]=scale(0.5)", lambda y: scaled(y, 0.5, ALL, 1)),
    "shared.weight": ("[token=1|4]=scale(0.5)", lambda y: scaled(y, 0.5, ALL, [1, 4])),
    "final_norm_out": ("[token=0]=scale(2)", lambda y: scaled(y, 2, ALL, 0)),
    "logits": ("[channel=3]=value(-1)", lambda y: filled(y, -1, ALL, ALL, 3)),
}
OF_EXPERTS = ("[token=2..4,channel=1]=value(1.5)", lambda y: filled(y, 1.5, ALL, slice(2, 5), ALL, 1))

# Several operations and criteria: the edit, and a function of each site. They are made in the models below.
VARIOUS = [
    ("layer.0.resid_out[channel=2]=mean", {"layer.0.resid_out": lambda y: filled(y, y[..., 2].mean(), ..., 2)}),
    ("layer.0.resid_out[token=0]=mean", {"layer.0.resid_out": lambda y: replaced(y, lambda v: v.mean(0).expand_as(v), ALL, 0)}),
    ("layer.1.down_in[token=1..3]=median",
     {"layer.1.down_in": lambda y: replaced(y, lambda v: v.flatten(0, 1).median(0).values.expand_as(v), ALL, slice(1, 4))}),
    ("layer.1.query[token=1..-1]=mean",
     {"layer.1.query": lambda y: replaced(y, lambda v: v.mean((0, 2), keepdim=True).expand_as(v), ALL, ALL, slice(1, None))}),
    ("layer.1.resid_mid[top=3]=zero", {"layer.1.resid_mid": lambda y: largest(y, 3, torch.zeros_like)}),
    ("layer.1.attn_out[token=2,top=2]=clamp(0.001)",
     {"layer.1.attn_out": lambda y: largest(y, 2, lambda v: v.clamp(-0.001, 0.001), rows(y, 2))}),
    ("layer.0.resid_out[token=0|-1]=zero;layer.1.query[head=0]=zero;layer.1.resid_out[channel=4]=value(0.5)",
     {"layer.0.resid_out": lambda y: filled(y, 0, ALL, [0, -1]), "layer.1.query": lambda y: filled(y, 0, ALL, 0),
      "layer.1.resid_out": lambda y: filled(y, 0.5, ..., 4)}),
    ("layer.0..1.resid_out[channel=1]=scale(4)", {f"layer.{i}.resid_out": lambda y: scaled(y, 4, ..., 1) for i in (0, 1)}),
]
OF_CLASSES = [
    ("layer.0.resid_out[token=initial|other,channel=0..3]=zero",
     lambda y, c: filled(y, 0, *((c == 0) | (c == OTHER)).nonzero(as_tuple=True), slice(0, 4))),
    ("layer.0.resid_out[token=0]=mean(other)", lambda y, c: mean_of_class(y, c, ALL, 0)),
]
# The edit, the parameter of layer 1 of the model, and a function of it.
OF_WEIGHTS = {
    "llama_untied": [
        ("weight.1.down[row=2,column=3]=value(4)", "mlp.down_proj", lambda w: filled(w, 4, 2, 3)),
        ("weight.1.q[row=0..7]=scale(2)", "self_attn.q_proj", lambda w: scaled(w, 2, slice(0, 8))),
        ("weight.1.k=zero", "self_attn.k_proj", torch.zeros_like),
        ("weight.1.v[column=-1]=scale(5)", "self_attn.v_proj", lambda w: scaled(w, 5, ALL, -1)),
        ("weight.1.o[top=5]=zero", "self_attn.o_proj", lambda w: largest(w, 5, torch.zeros_like)),
        ("weight.1.gate=clamp(0.01)", "mlp.gate_proj", lambda w: w.clamp(-0.01, 0.01)),
        ("weight.1.up[column=1..2]=mean", "mlp.up_proj", lambda w: filled(w, w[:, 1:3].mean(), ALL, slice(1, 3))),
        ("weight.1.up[row=3]=median", "mlp.up_proj", lambda w: filled(w, w[3].median(), 3)),
    ],
    "qwen2_moe_shared": [
        ("weight.1.gate[expert=1]=scale(-2)", "mlp.experts.gate_up_proj", lambda w: scaled(w, -2, 1, slice(0, w.shape[1] // 2))),
        ("weight.1.up[row=0..3]=zero", "mlp.experts.gate_up_proj",
         lambda w: filled(w, 0, ALL, slice(w.shape[1] // 2, w.shape[1] // 2 + 4))),
        ("weight.1.down[expert=0|-1,column=2]=scale(6)", "mlp.experts.down_proj", lambda w: scaled(w, 6, [0, -1], ALL, 2)),
        ("weight.1.down[expert=shared]=zero", "mlp.shared_expert.down_proj", torch.zeros_like),
        ("weight.1.router[row=1]=scale(-3)", "mlp.gate", lambda w: scaled(w, -3, 1)),
    ],
}


class Edited:
    """A model and what it gives with edits."""

    def __init__(self, name):
        folder = MODELS / name
        config = transformers.AutoConfig.from_pretrained(folder)
        self.of_images = hasattr(config, "patch_size")
        kind = transformers.AutoModel if self.of_images else transformers.AutoModelForCausalLM
        options = {} if self.of_images else {"experts_implementation": "eager"}
        self.model = kind.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", **options).eval()
        reference = np.load(folder / "reference.npz")
        self.input = torch.from_numpy(reference["pixel_values" if self.of_images else "ids"])
        self.points = [p for p in reference.files if p.startswith("layer.1.") or p in ("final_norm_out", "logits")]

    def run(self, edits):
        """edits: by name of a point, a function of its tensor."""
        last, made, points = [], set(), None

        def take(name, x):
            if name in edits and name not in made:
                made.add(name)
                x = edits[name](x.detach().clone())
            if name == "final_norm_out":
                last.append(x)
            if name.endswith("experts.index"):
                self.index = x
            return x
        points = Points(self.model if not self.of_images else vision_tower(self.model)[0], take, edits=True)
        if self.of_images:
            tower, options = vision_tower(self.model)
            points.run_images(self.input.double(), **options(self.input))
            output = last[0]
        else:
            output = points.run(self.input)
        assert made == set(edits), (set(edits) - made, "not found")
        return output

    @contextlib.contextmanager
    def with_weight(self, parameter, change):
        module = decoder_of(self.model).layers[1].get_submodule(parameter.rpartition(".")[0] if "experts." in parameter else parameter)
        weight = getattr(module, parameter.rpartition(".")[2] if "experts." in parameter else "weight")
        before = weight.data
        weight.data = change(before.clone())
        yield
        weight.data = before


def cases(edited, name, classes):
    """The edit's text, and what it gives."""
    for point in edited.points:
        short = point.removeprefix("layer.1.")
        if short == "experts.index":
            continue
        of_experts = short.startswith("experts.") and short != "experts.weight"
        text, change = OF_EXPERTS if of_experts else OF_POINT.get(short, OF_POINT["resid_out"])
        yield point + text, edited.run({point: change})
    if name in ("llama_untied", "dinov2_head", "gemma3_plain"):
        for text, changes in VARIOUS:
            yield text, edited.run(changes)
        for text, change in OF_CLASSES:
            yield text, edited.run({"layer.0.resid_out": lambda y, change=change: change(y, classes)})
    if name == "qwen2_moe_shared":
        yield ("layer.1.experts.down_in[expert=1|-1]=scale(3)",
               edited.run({"layer.1.experts.down_in": lambda y: torch.where(
                   ((edited.index == 1) | (edited.index == edited.model.config.num_experts - 1))[..., None], 3 * y, y)}))
    for text, parameter, change in OF_WEIGHTS.get(name, ()):
        with edited.with_weight(parameter, change):
            yield text, edited.run({})


def main():
    arrays = {}
    for name in NAMES:
        edited = Edited(name)
        plain = edited.run({})
        shape = edited.run({}).shape[:2]
        classes = torch.arange(shape[0] * shape[1]).view(shape) * 7 % 11 % 4
        arrays[f"{name}.pixel_values" if edited.of_images else f"{name}.ids"] = edited.input.numpy()
        arrays[f"{name}.classes"] = classes.numpy()
        texts = []
        for text, output in cases(edited, name, classes):
            assert output.isfinite().all() and not torch.allclose(output, plain, rtol=1e-4, atol=1e-4), f"{name}: {text} does nothing"
            arrays[f"{name}.{len(texts)}"] = output.detach().float().numpy()
            texts.append(text)
        arrays[f"{name}.edits"] = np.frombuffer("\n".join(texts).encode(), np.uint8)
        print(f"{name}: {len(texts)} edits")
    np.savez_compressed(MODELS / "edits.npz", **arrays)
    print((MODELS / "edits.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
