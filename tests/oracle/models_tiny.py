#!/usr/bin/env python3
"""Writes tests/golden/models/: random models of two or three layers, one or more per family, with unusual sizes, and what
transformers computes from them in float64 at every named point.

Per case: config.json and model.safetensors (bfloat16), model.gguf (the same weights by GGUF's conventions), reference.npz (ids, then
every point; float32). Beside them rotary.npz: frequencies by transformers' ROPE_INIT_FUNCTIONS for every kind of scaling.
Versions: torch 2.13.0, transformers 5.23.0, gguf 0.19.0, safetensors 0.8.0. Seeds: a case's place in the list.
"""
import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models_points import all_points

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/models"
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "factor": 8.0}

# Sizes are chosen so that no two of D, H*d, Hk*d, F, V, T agree and heads are no power of two apart.
CASES = {
    # Grouped heads, head width other than width/heads, all biases, untied, Llama 3's rotary.
    "llama_untied": ("llama", dict(hidden_size=30, intermediate_size=44, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                                   head_dim=8, vocab_size=53, max_position_embeddings=64, attention_bias=True, mlp_bias=True,
                                   rms_norm_eps=1e-5, rope_parameters={"rope_theta": 500.0, **LLAMA3}), (2, 7)),
    # Tied, one key/value head, no biases; rotary stretched linearly.
    "llama_tied": ("llama", dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
                                 head_dim=10, vocab_size=47, max_position_embeddings=64, tie_word_embeddings=True,
                                 rope_parameters={"rope_theta": 10000.0, **LINEAR}), (1, 17)),
    # Sliding windows shorter than the text in the upper layers only.
    "qwen2_window": ("qwen2", dict(hidden_size=24, intermediate_size=36, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3,
                                   vocab_size=59, max_position_embeddings=64, use_sliding_window=True, sliding_window=5,
                                   max_window_layers=1, rope_parameters={"rope_theta": 1e6, "rope_type": "default"}), (1, 14)),
    # YaRN, tied.
    "qwen2_yarn": ("qwen2", dict(hidden_size=28, intermediate_size=42, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                                 vocab_size=43, max_position_embeddings=64, tie_word_embeddings=True,
                                 rope_parameters={"rope_theta": 1e4, **YARN}), (1, 19)),
    # Local and global layers with a rotary each, the global one stretched; both soft-caps; query scale not 1/sqrt(d).
    "gemma3_caps": ("gemma3_text", dict(hidden_size=20, intermediate_size=34, num_hidden_layers=3, num_attention_heads=4,
                                        num_key_value_heads=2, head_dim=6, vocab_size=61, max_position_embeddings=64, sliding_window=6,
                                        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                                        query_pre_attn_scalar=9, attn_logit_softcapping=4.0, final_logit_softcapping=30.0,
                                        rope_parameters={"full_attention": {"rope_theta": 1e6, **LINEAR},
                                                         "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}}), (1, 15)),
    # The plain kind, with windows by the pattern of every sixth; biases.
    "gemma3_plain": ("gemma3_text", dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
                                         num_key_value_heads=1, head_dim=12, vocab_size=41, max_position_embeddings=64, sliding_window=4,
                                         query_pre_attn_scalar=12, attention_bias=True), (2, 9)),
}
ALIASES = {"gemma3_text": "gemma3"}


def build(kind, options, seed):
    torch.manual_seed(seed)
    # Token ids of the defaults lie outside these vocabularies.
    config = transformers.AutoConfig.for_model(kind, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager", **options)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            values = torch.randn_like(parameter) * 0.3 + (0.0 if kind.startswith("gemma") else 1.0)
        elif "bias" in name:
            values = torch.randn_like(parameter) * 0.5
        elif "embed" in name:
            values = torch.randn_like(parameter)
        else:
            values = torch.randn_like(parameter) * 1.5 / parameter.shape[1] ** 0.5
        parameter.data.copy_(values.bfloat16())
    return model


def permuted(w, n_head):
    """Rows of a head as llama.cpp's rotary wants them: channel i beside channel i + d/2."""
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(path, model):
    config = model.config
    arch = ALIASES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny " + arch)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if arch != "qwen2":
        writer.add_key_length(head_width)
        writer.add_value_length(head_width)
    rope = config.rope_parameters
    scaling = rope.get("full_attention", rope)
    writer.add_rope_freq_base(scaling["rope_theta"])
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if scaling["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(getattr(gguf.RopeScalingType, scaling["rope_type"].upper()))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    if scaling["rope_type"] == "llama3":
        # llama.cpp's converter stores what each frequency is divided by.
        plain = 1.0 / scaling["rope_theta"] ** (torch.arange(0, head_width, 2).float() / head_width)
        writer.add_tensor("rope_freqs.weight", (plain / ROPE_INIT_FUNCTIONS["llama3"](config)[0]).numpy())
    if "sliding_attention" in config.layer_types if getattr(config, "layer_types", None) else False:
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([t == "sliding_attention" for t in config.layer_types])
    if arch == "gemma3":
        for value, add in ((config.attn_logit_softcapping, writer.add_attn_logit_softcapping),
                           (config.final_logit_softcapping, writer.add_final_logit_softcapping)):
            if value is not None:
                add(value)
        writer.add_attention_scale(config.query_pre_attn_scalar ** -0.5)
    names = gguf.get_tensor_name_map({a: k for k, a in gguf.MODEL_ARCH_NAMES.items()}[arch], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        base, suffix = name.rsplit(".", 1)
        stored = f"{names.get_name(base)}.{suffix}"
        values = tensor.double().numpy()
        if arch == "llama" and ".q_proj." in name:
            values = permuted(values, config.num_attention_heads)
        if arch == "llama" and ".k_proj." in name:
            values = permuted(values, config.num_key_value_heads)
        if arch == "gemma3" and name.endswith("norm.weight"):
            values = values + 1
        if values.ndim == 1:
            writer.add_tensor(stored, values.astype(np.float32))
        else:
            raw = torch.from_numpy(np.ascontiguousarray(values)).bfloat16().view(torch.uint8).numpy()
            writer.add_tensor(stored, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_case(name, seed, kind, options, shape):
    model = build(kind, options, seed)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ids = torch.randint(0, model.config.vocab_size, shape)
    points = all_points(model, ids)
    plain = model(input_ids=ids).logits
    if getattr(model.config, "attn_logit_softcapping", None) is None:
        torch.testing.assert_close(points["logits"], plain, rtol=0, atol=1e-5)  # eager's softmax is float32
    np.savez_compressed(folder / "reference.npz", ids=ids.numpy(), **{k: v.float().numpy() for k, v in points.items()})
    tensors = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.config.to_diff_dict(), indent=1, sort_keys=True) + "\n")
    write_gguf(folder / "model.gguf", model)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: {len(points)} points, {size} bytes, logits up to {points['logits'].abs().max():.3g}")


def write_rotary():
    """Frequencies and attention factor of one config per scaling, for texts below and beyond the original length."""
    base = dict(hidden_size=64, num_attention_heads=4, max_position_embeddings=64, head_dim=16)
    short, long = [1.0 + 0.1 * i for i in range(8)], [2.0 + 0.5 * i for i in range(8)]
    scalings = {
        "linear": LINEAR, "dynamic": {"rope_type": "dynamic", "factor": 3.0}, "llama3": LLAMA3, "yarn": YARN,
        "yarn_mscale": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.4, "beta_fast": 8.0, "beta_slow": 2.0, "truncate": False},
        "longrope": {"rope_type": "longrope", "short_factor": short, "long_factor": long, "original_max_position_embeddings": 16},
    }
    arrays = {}
    for name, scaling in scalings.items():
        config = transformers.LlamaConfig(**base, rope_parameters={"rope_theta": 5000.0, **scaling})
        arrays[name + ".config"] = np.frombuffer(json.dumps(
            {"model_type": "llama", "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 8, "rope_theta": 5000.0,
             "rope_scaling": scaling, **base}).encode(), np.uint8)
        for tokens in (16, 100):
            frequencies, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, torch.device("cpu"), seq_len=tokens)
            arrays[f"{name}.{tokens}"] = frequencies.numpy()
        arrays[name + ".factor"] = np.float64(factor)
    np.savez_compressed(OUT / "rotary.npz", **arrays)


if __name__ == "__main__":
    for number, (case, (kind, options, shape)) in enumerate(CASES.items()):
        write_case(case, number, kind, options, shape)
    write_rotary()
