#!/usr/bin/env python3
"""Writes small LoRA adapters and the weights that PEFT makes with them, for tests/io/adapter_test.cpp and
tests/apps/formats_test.py. Each case is a folder: the adapter as PEFT saves it, then as a case edits it, and merged.npz
(float32, the changed tensors only) of what PeftModel.from_pretrained reads from it: by merge_and_unload, or, where the
base ties its output matrix to its embedding, by what the modules compute, which there is not the same. base.txt names a
folder in tests/golden/models, or gpt2, whose weights are the other way round: gpt2.safetensors here. options.json holds
LoraConfig's fields and their defaults.

usage: io_adapters.py     seed 0; torch 2.13.0, transformers 5.23.0, peft 0.21.2
"""
import dataclasses
import json
import pathlib
import shutil
import warnings

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
OUT = GOLDEN / "io/adapters"
torch.set_grad_enabled(False)
warnings.simplefilter("ignore")


def llama(name="llama_untied"):
    return transformers.AutoModelForCausalLM.from_pretrained(GOLDEN / "models" / name, dtype=torch.float32)


def gpt2():
    torch.manual_seed(1)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11, n_positions=8))


def computed(model):
    """The weights with which the embedding and the output matrix compute."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return {"model.embed_tokens.weight": embedding(torch.arange(model.config.vocab_size)),
            "lm_head.weight": head(torch.eye(model.config.hidden_size)).T}


def write(name, base, options, edit=None, rename=None, tied=False, save="auto"):
    make = gpt2 if base == "gpt2" else lambda: llama(base)
    torch.manual_seed(0)
    folder = OUT / name
    peft = get_peft_model(make(), LoraConfig(**options))
    for parameter_name, parameter in peft.named_parameters():
        if "lora_" in parameter_name or "modules_to_save" in parameter_name or "trainable_tokens" in parameter_name:
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (2 if "magnitude" in parameter_name else 0))  # in place: some are tied
        elif parameter_name.endswith("bias") and parameter.requires_grad:
            parameter.add_(0.2 * torch.randn_like(parameter))
    peft.peft_config["default"].base_model_name_or_path = "base"
    peft.save_pretrained(folder, save_embedding_layers=save)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text()) | (edit or {})
    for key, value in config.items():  # sets have any order
        config[key] = sorted(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    tensors = {k: v.clone() for k, v in load_file(folder / "adapter_model.safetensors").items()}
    loaded = PeftModel.from_pretrained(make(), folder)
    if tied:
        ends = computed(loaded.base_model.model)
        merged = loaded.merge_and_unload().state_dict() | ends
        if torch.equal(*ends.values()):
            merged.pop("lm_head.weight")
    else:
        merged = loaded.merge_and_unload().state_dict()
    if rename:
        save_file({rename(k): v for k, v in tensors.items()}, folder / "adapter_model.safetensors")
    if base == "gpt2":
        stored = {k.removeprefix("transformer."): v.clone() for k, v in gpt2().state_dict().items() if k != "lm_head.weight"}
        save_file(stored, OUT / "gpt2.safetensors")
    else:
        stored = load_file(GOLDEN / "models" / base / "model.safetensors")
    (folder / "base.txt").write_text(base + "\n")
    changed = {}
    for key, value in merged.items():
        own = key if key in stored or not key.startswith("transformer.") else key.removeprefix("transformer.")
        if key == "lm_head.weight" and own not in stored and not tied:
            continue
        if own not in stored or not torch.allclose(value.float(), stored[own].float(), rtol=0, atol=0):
            changed[own] = value.float().numpy()
    np.savez_compressed(folder / "merged.npz", **changed)
    print(name, sorted(changed), sum(f.stat().st_size for f in folder.iterdir()), "bytes")


def named(key):
    """With the adapter's name in it, as a state dict of the running model has it."""
    for part in ("lora_A", "lora_B", "modules_to_save"):
        key = key.replace(f".{part}.", f".{part}.default.")
    return key.replace("lora_embedding_A", "lora_embedding_A.default").replace("lora_embedding_B", "lora_embedding_B.default")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    default = LoraConfig(r=8)
    fields = {f.name: None if f.name == "runtime_config" else getattr(default, f.name) for f in dataclasses.fields(LoraConfig)}
    (OUT / "options.json").write_text(json.dumps(fields, indent=1, default=str) + "\n")

    q = dict(r=2, lora_alpha=3, target_modules=["q_proj"])
    write("plain", "llama_untied", dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj", "embed_tokens"],
                                        rank_pattern={"layers.1.self_attn.q_proj": 2}, alpha_pattern={"down_proj": 7}), save=False)
    write("rslora", "llama_untied", dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["o_proj"], layers_to_transform=[1],
                                         modules_to_save=["input_layernorm"]))
    write("fan_in_fan_out", "gpt2", dict(r=2, lora_alpha=3, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"]))
    write("base_layers", "llama_untied", dict(r=2, lora_alpha=3, target_modules=["embed_tokens", "lm_head"]))
    write("bias_lora_only", "llama_untied", q | dict(bias="lora_only"))
    write("bias_all", "llama_untied", q | dict(bias="all", layers_to_transform=[0]))
    write("lora_bias", "llama_untied", q | dict(lora_bias=True))
    write("dora", "llama_untied", dict(r=2, lora_alpha=3, use_dora=True, target_modules=["k_proj", "embed_tokens"]), save=False)
    write("dora_fan_in_fan_out", "gpt2", dict(r=2, lora_alpha=3, use_dora=True, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"]))
    # The first pattern that matches counts, from the left end of a name on or after a dot.
    write("patterns", "llama_untied", dict(r=2, lora_alpha=3, target_modules=r".*\.(q|k)_proj",
                                           rank_pattern={r"^model\.layers\.(?!0\.).*q_proj": 3, "proj": 5, "q_proj": 1},
                                           alpha_pattern={r".*\.1\..*": 7, "k_proj": 2}))
    both = dict(r=2, lora_alpha=3, target_modules=["q_proj", "k_proj"])
    for name, edit in dict(
        target_modules={"target_modules": ["k_proj"]}, target_pattern={"target_modules": r"model\.layers\.[01]\.self_attn\.q_proj"},
        all_linear={"target_modules": "all-linear"}, exclude_modules={"exclude_modules": ["q_proj"]},
        exclude_pattern={"exclude_modules": r".*\.0\..*"}, layers_to_transform={"layers_to_transform": [1], "layers_pattern": "layers"},
        layer_to_transform={"layers_to_transform": 0}, fan_in_fan_out_of_linears={"fan_in_fan_out": True}, dropout={"lora_dropout": 0.5},
    ).items():
        write(name, "llama_untied", both, edit=edit)
    write("saved", "llama_untied", dict(r=2, lora_alpha=3, target_modules=["k_proj"], modules_to_save=["lm_head"]),
          rename=lambda k: k.replace("lm_head.", "lm_head.modules_to_save.default."))
    write("names", "llama_untied", dict(r=2, lora_alpha=3, target_modules=["k_proj", "embed_tokens"], modules_to_save=["norm"]),
          rename=named, save=False)
    write("tokens", "llama_untied", dict(r=2, lora_alpha=3, target_modules=["k_proj"], trainable_token_indices=[1, 7, 52]))
    write("tokens_by_module", "llama_untied",
          dict(r=2, lora_alpha=3, target_modules=["k_proj"], trainable_token_indices={"embed_tokens": [3], "lm_head": [0, 5]}))
    for start in (False, "gaussian", "orthogonal", "mica"):
        write(f"start_{start}".lower(), "llama_untied", q | dict(init_lora_weights=start))
    write("velora", "llama_untied", q | dict(velora_config={"num_groups": 2, "scale": 1.0}))
    for name, more in dict(
        embedding=dict(target_modules=["embed_tokens"]), both=dict(target_modules=["embed_tokens", "lm_head"]),
        head=dict(target_modules=["lm_head"]), tying=dict(target_modules=["embed_tokens"], ensure_weight_tying=True),
        saved_head=dict(target_modules=["k_proj"], modules_to_save=["lm_head"]),
        saved_embedding=dict(target_modules=["k_proj"], modules_to_save=["embed_tokens"]),
        saved_tying=dict(target_modules=["k_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
        tokens=dict(target_modules=["k_proj"], trainable_token_indices=[2, 4]),
    ).items():
        write(f"tied_{name}", "llama_tied", dict(r=2, lora_alpha=3, layers_to_transform=None) | more, tied=True)


if __name__ == "__main__":
    main()
