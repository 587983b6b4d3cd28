#!/usr/bin/env python3
"""Writes small LoRA adapters and the weights that PEFT's merge_and_unload makes with them, for tests/io/adapter_test.cpp.
Each case is a folder: the adapter as PEFT saves it, merged.npz (float32, the changed tensors only), and for GPT-2, whose
weights are the other way round, its base.safetensors. The other base is tests/golden/models/llama_untied.

usage: io_adapters.py     seed 0; torch 2.13.0, transformers 5.23.0, peft 0.21.2
"""
import pathlib
import shutil

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
OUT = GOLDEN / "io/adapters"


def write(name, model, options, base, safe=True):
    torch.manual_seed(0)
    folder = OUT / name
    peft = get_peft_model(model, LoraConfig(**options))
    for parameter_name, parameter in peft.named_parameters():
        if "lora_" in parameter_name or "modules_to_save" in parameter_name:
            parameter.data = torch.randn_like(parameter) * 0.3
    peft.peft_config["default"].base_model_name_or_path = "base"
    peft.save_pretrained(folder, safe_serialization=safe, save_embedding_layers=False)
    for extra in ("README.md",):
        (folder / extra).unlink(missing_ok=True)
    merged = {k: v for k, v in peft.merge_and_unload().state_dict().items()}
    stored = base if base is not None else load_file(GOLDEN / "models/llama_untied/model.safetensors")
    names = {k: k if k in stored else k.removeprefix("transformer.") for k in merged}
    changed = {names[k]: v.float().numpy() for k, v in merged.items() if names[k] in stored and not torch.equal(v.float(), stored[names[k]].float())}
    np.savez_compressed(folder / "merged.npz", **changed)
    print(name, sorted(changed), sum(f.stat().st_size for f in folder.iterdir()), "bytes")


def llama():
    return transformers.AutoModelForCausalLM.from_pretrained(GOLDEN / "models/llama_untied", dtype=torch.float32)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    write("plain", llama(), dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj", "embed_tokens"],
                                 rank_pattern={"layers.1.self_attn.q_proj": 2}, alpha_pattern={"down_proj": 7}), None)
    write("rslora", llama(), dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["o_proj"], layers_to_transform=[1],
                                  modules_to_save=["input_layernorm"]), None)
    torch.manual_seed(1)
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11, n_positions=8))
    base = {k.removeprefix("transformer."): v.clone() for k, v in gpt2.state_dict().items() if k != "lm_head.weight"}
    write("fan_in_fan_out", gpt2, dict(r=2, lora_alpha=3, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"]), base)
    save_file(base, OUT / "fan_in_fan_out/base.safetensors")


if __name__ == "__main__":
    main()
