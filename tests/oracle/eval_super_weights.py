#!/usr/bin/env python3
"""Writes tests/golden/eval/super_weights.json: the super weights of the random models of tests/golden/models by arXiv 2411.07191, section
3.1, and tests/golden/eval/criticality.json: perplexities without such weights; by transformers in float64.

super_weights.json has a case a model: `spike`, the threshold that is low enough for it; `found`, in order, with layer, row, column,
expert ("shared" or a number), value, token, down_in and down_out; and `left`, the largest output when all are zero. The input is `ids`, or
the first image of the model's reference.npz. criticality.json has models in which a few weights are set by hand (`set`: of the layer's
down projection), a prompt, and a text in windows of `tokens`; of these nll_nats of each with the model as it is, without each of the
weights that were found on the prompt, and without all.
Versions: torch 2.13.0, transformers 5.23.0, tokenizers 0.22.2. No seeds.
usage: eval_super_weights.py
"""
import json
import pathlib
import sys

import numpy as np
import tokenizers
import torch
import transformers

from models_points import Points, decoder_of, layout_of, vision_tower

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "apps"))
import tiny  # noqa: E402

MODELS, OUT = HERE.parent / "golden/models", HERE.parent / "golden/eval"
MOST = 16
TEXT = "Summer is warm. Winter is cold.\nThe sea was calm and the crew slept.\n\n The ship sailed on.\n"
PROMPT = "The sea was."
# Layer, expert or None, row; the column is the neuron with the largest input on the prompt.
PLANTED = {"llama_untied": [(0, None, 3), (1, None, 7)], "qwen2_moe_shared": [(0, 2, 4), (1, "shared", 1)], "gpt2_tied": [(1, None, 2)]}


def load(name):
    folder = MODELS / name
    config = transformers.AutoConfig.from_pretrained(folder)
    of_images = hasattr(config, "patch_size") or hasattr(config, "vision_config")
    kind = transformers.AutoModel if of_images else transformers.AutoModelForCausalLM
    options = {} if of_images else {"experts_implementation": "eager"}
    if getattr(config, "quantization_config", None):
        options["quantization_config"] = transformers.Mxfp4Config(dequantize=True)
    model = kind.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", **options).eval()
    return (vision_tower(model)[0] if of_images else model).double(), of_images


def matrix(model, layer, expert):
    """The down projection as [D,F]: a view of what the model computes with."""
    body = decoder_of(model)
    layout = layout_of(model)
    block = body.get_submodule(layout["body"][1])[layer]
    if expert is None:
        down = block.get_submodule(layout["down"])
        return down.weight.data.T if isinstance(down, transformers.pytorch_utils.Conv1D) else down.weight.data
    if expert == "shared":
        return block.mlp.shared_expert.down_proj.weight.data
    experts = block.mlp.experts
    stacked = experts.down_proj.data[expert]
    return stacked.T if hasattr(experts, "down_proj_bias") else stacked


def points_of(model, of_images, given):
    found = {}
    if of_images:
        tower, options = vision_tower(model)  # it is one itself
        Points(tower, lambda name, x: found.__setitem__(name, x.detach().clone())).run_images(given.double(), **options(given))
    else:
        Points(model, lambda name, x: found.__setitem__(name, x.detach().clone())).run(given)
    return found


def outputs(points, layer):
    """[(expert of each row or None or "shared", token of each row, [N,F], [N,D])] of a layer's down projections."""
    name = f"layer.{layer}."
    if name + "experts.down_out" not in points:
        x = points[name + "down_out"][0]
        yield [None] * len(x), range(len(x)), points[name + "down_in"][0], x
        return
    index = points[name + "experts.index"][0]
    k = index.shape[-1]
    yield (index.flatten().tolist(), [t // k for t in range(index.numel())], points[name + "experts.down_in"][0].flatten(0, 1),
           points[name + "experts.down_out"][0].flatten(0, 1))
    if name + "shared.down_out" in points:
        x = points[name + "shared.down_out"][0]
        yield ["shared"] * len(x), range(len(x)), points[name + "shared.down_in"][0], x


def apart(values):
    """Whether the largest stands clear of the next, so that rounding does not choose."""
    top = values.flatten().topk(min(2, values.numel())).values
    return len(top) < 2 or top[1] < top[0] * (1 - 1e-5)


def search(model, of_images, given, layers, spike=None, share=None):
    """spike, or of the largest output of all a share. -> spike, found, left"""
    found = []
    while True:
        points = points_of(model, of_images, given)
        sizes = [torch.cat([out.abs().flatten() for *_, out in outputs(points, i)]) for i in range(layers)]
        if spike is None:
            spike = float(np.float32(share * max(s.max().item() for s in sizes)))
        left = int(np.argmax([s.max().item() for s in sizes]))
        first = next((i for i, s in enumerate(sizes) if s.max() > spike), None)
        assert all(abs(s.max().item() / spike - 1) > 1e-5 for s in sizes), "near the threshold"
        done = first is None or len(found) == MOST
        layer = left if done else first
        assert apart(sizes[layer])
        experts, tokens, ins, out = max(outputs(points, layer), key=lambda part: part[3].abs().max())
        row, channel = divmod(out.abs().argmax().item(), out.shape[1])
        if done:
            assert apart(torch.tensor([s.max().item() for s in sizes]))
            return spike, found, {"layer": layer, "expert": experts[row], "token": tokens[row], "channel": channel,
                                  "down_out": out[row, channel].item()}
        sizes_in = ins[row].abs().clone()
        for one in found:
            if (one["layer"], one["row"], one["expert"]) == (layer, channel, experts[row]):
                sizes_in[one["column"]] = 0
        assert apart(sizes_in) or (sizes_in == sizes_in.max()).sum() > 1, "no column stands out"  # gpt-oss clips: the first counts
        column = sizes_in.argmax().item()
        w = matrix(model, layer, experts[row])
        found.append({"layer": layer, "expert": experts[row], "row": channel, "column": column, "value": w[channel, column].item(),
                      "token": tokens[row], "down_in": ins[row, column].item(), "down_out": out[row, channel].item()})
        w[channel, column] = 0


def random_models():
    for folder in sorted(MODELS.iterdir()):
        if not (folder / "reference.npz").exists():
            continue
        for share in (0.5, 0.7, 0.4, 0.8):
            model, of_images = load(folder.name)
            reference = np.load(folder / "reference.npz")
            given = torch.from_numpy(reference["pixel_values" if of_images else "ids"])[:1]
            ids = [] if of_images else list(dict.fromkeys(given[0].tolist()))  # a token twice may be a spike twice
            given = given if of_images else torch.tensor([ids])
            layers = 1 + max(int(name.split(".")[1]) for name in reference.files if name.startswith("layer."))
            try:
                spike, found, left = search(model, of_images, given, layers, share=share)
                break
            except AssertionError as error:
                print(f"{folder.name}: {share} {error}")
        else:
            raise SystemExit(f"{folder.name}: no threshold is clear")
        print(f"{folder.name}: {len(found)}, {left}", flush=True)
        yield {"model": folder.name, "ids": ids, "spike": spike, "found": found, "left": left}


def nll(model, ids):
    with torch.no_grad():
        logs = torch.log_softmax(model(ids).logits[:, :-1].double(), -1)
    return (-logs.gather(-1, ids[:, 1:, None]).squeeze(-1).mean(1)).tolist()


def planted():
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tiny.letters_with_bos()))
    for name, weights in PLANTED.items():
        model, _ = load(name)
        config = model.config
        layers = getattr(config, "num_hidden_layers", None) or config.n_layer
        prompt = torch.tensor([tokenizer.encode(PROMPT, add_special_tokens=False).ids])
        size = 12
        ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
        ids = torch.tensor(ids[:len(ids) // size * size]).view(-1, size)
        changed = []
        for layer, expert, row in reversed(weights):  # the later is as it is without the earlier
            for e, _, ins, _ in outputs(points_of(model, False, prompt), layer):
                mine = ins[[i for i, one in enumerate(e) if one == expert]].abs()
                if len(mine):
                    column = mine.max(0).values.argmax().item()
                    value = float(np.float32(160 / mine.max().item()))
            matrix(model, layer, expert)[row, column] = value
            changed.append({"layer": layer, "expert": expert, "row": row, "column": column, "value": value})
        before = {key: value.clone() for key, value in model.state_dict().items()}
        windows = {"plain": nll(model, ids)}
        _, found, left = search(model, False, prompt, layers, spike=50.0)
        assert [{k: one[k] for k in changed[0]} for one in found] == changed[::-1], found
        windows["together"] = nll(model, ids)
        windows["weights"] = []
        for one in found:
            model.load_state_dict(before)
            matrix(model, one["layer"], one["expert"])[one["row"], one["column"]] = 0
            windows["weights"].append(nll(model, ids))
        print(name, found, left, {k: np.mean(v) for k, v in windows.items()}, flush=True)
        yield {"model": name, "set": changed, "prompt": PROMPT, "text": TEXT, "tokens": size,
               "found": found, "left": left, "window_nll_nats": windows}


def short(value):
    """With ten digits, which tell float32 apart."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [short(item) for item in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def write(name, cases):
    (OUT / name).write_text("[\n" + ",\n".join(json.dumps(short(case)) for case in cases) + "\n]\n")
    print((OUT / name).stat().st_size, "bytes")


if __name__ == "__main__":
    write("criticality.json", planted())
    write("super_weights.json", random_models())
