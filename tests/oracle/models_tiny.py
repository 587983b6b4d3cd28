#!/usr/bin/env python3
"""Writes tests/golden/models/: random models of two or three layers, one or more per family, with unusual sizes, and what
transformers computes from them in float64 at every named point.

Per case: config.json and model.safetensors (bfloat16), model.gguf (the same weights by GGUF's conventions: models_gguf.py),
reference.npz (ids, then every point; float32); a case that ends in False has no GGUF, for want of an architecture or a key there.
Beside them rotary.npz: frequencies by transformers' ROPE_INIT_FUNCTIONS for every kind of scaling.
Versions: torch 2.13.0, transformers 5.23.0, gguf 0.19.0, safetensors 0.8.0. Seeds: a case's place in the list, so new ones come last.
usage: models_tiny.py [CASE ...]
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models_gguf import write_gguf
from models_points import all_points
from models_random import build, hugging_face_tensors, pack_experts, settle_routers

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/models"
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "factor": 8.0}
# Where rounding the correction range would show.
OSS_YARN = {**YARN, "rope_theta": 150.0, "original_max_position_embeddings": 64, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}

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
    # Local and global layers with a rotary each, the global one stretched; a soft-cap of logits; query scale not 1/sqrt(d).
    "gemma3_caps": ("gemma3_text", dict(hidden_size=20, intermediate_size=34, num_hidden_layers=3, num_attention_heads=4,
                                        num_key_value_heads=2, head_dim=6, vocab_size=61, max_position_embeddings=64, sliding_window=6,
                                        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                                        query_pre_attn_scalar=9, final_logit_softcapping=30.0,
                                        rope_parameters={"full_attention": {"rope_theta": 1e6, **LINEAR},
                                                         "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}}), (1, 15)),
    # The plain kind, with windows by the pattern of every sixth; biases.
    "gemma3_plain": ("gemma3_text", dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
                                         num_key_value_heads=1, head_dim=12, vocab_size=41, max_position_embeddings=64, sliding_window=4,
                                         query_pre_attn_scalar=12, attention_bias=True), (2, 9)),
    # Transposed weights, one matrix for q, k and v, learnt positions.
    "gpt2_tied": ("gpt2", dict(n_embd=20, n_inner=28, n_layer=2, n_head=4, vocab_size=53, n_positions=12), (2, 6)),
    # Scores that fall with the layer's number.
    "gpt2_layers": ("gpt2", dict(n_embd=18, n_layer=2, n_head=3, vocab_size=47, n_positions=16, scale_attn_by_inverse_layer_idx=True,
                                 tie_word_embeddings=False, activation_function="relu"), (1, 8), False),
    "mistral_window": ("mistral", dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=6,
                                       num_key_value_heads=2, head_dim=6, vocab_size=51, max_position_embeddings=64, sliding_window=5),
                       (1, 11)),
    # QK-norm, biases of all four projections, a window in the upper layer.
    "qwen3_norms": ("qwen3", dict(hidden_size=20, intermediate_size=36, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3,
                                  head_dim=8, vocab_size=57, max_position_embeddings=64, attention_bias=True, use_sliding_window=True,
                                  sliding_window=4, max_window_layers=1), (1, 9)),
    "gemma2_caps": ("gemma2", dict(hidden_size=20, intermediate_size=34, num_hidden_layers=2, num_attention_heads=4,
                                   num_key_value_heads=2, head_dim=6, vocab_size=59, max_position_embeddings=64, sliding_window=5,
                                   query_pre_attn_scalar=10, attn_logit_softcapping=5.0, final_logit_softcapping=20.0), (1, 10)),
    "gemma_plain": ("gemma", dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
                                  num_key_value_heads=1, head_dim=10, vocab_size=43, max_position_embeddings=64), (2, 6)),
    # Partial rotary; rows of the fused projection by head.
    "gpt_neox_parallel": ("gpt_neox", dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                                           vocab_size=53, max_position_embeddings=64,
                                           rope_parameters={"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.5}),
                          (2, 6)),
    "gpt_neox_sequential": ("gpt_neox", dict(hidden_size=20, intermediate_size=34, num_hidden_layers=2, num_attention_heads=2,
                                             vocab_size=47, max_position_embeddings=64, use_parallel_residual=False, attention_bias=False,
                                             rope_parameters={"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.4}),
                            (1, 8)),
    "opt_before": ("opt", dict(hidden_size=24, ffn_dim=36, num_hidden_layers=2, num_attention_heads=3, vocab_size=51,
                               max_position_embeddings=16), (2, 6), False),
    # As OPT 350M: norms after the additions, narrow embeddings.
    "opt_after": ("opt", dict(hidden_size=24, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4, vocab_size=49,
                              max_position_embeddings=16, do_layer_norm_before=False, word_embed_proj_dim=14), (2, 7), False),
    "phi_partial": ("phi", dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, vocab_size=53,
                                max_position_embeddings=64, num_key_value_heads=1), (2, 6)),
    "phi_norms": ("phi", dict(hidden_size=32, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                              vocab_size=47, max_position_embeddings=64, qk_layernorm=True), (1, 7), False),
    # LongRoPE beyond the original length, partial; a window; tied.
    "phi3_long": ("phi3", dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
                               vocab_size=51, max_position_embeddings=32, original_max_position_embeddings=8, sliding_window=6,
                               tie_word_embeddings=True,
                               rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.75,
                                                "short_factor": [1.0, 1.1, 1.2], "long_factor": [1.5, 2.0, 3.0],
                                                "original_max_position_embeddings": 8}), (1, 11)),
    # The attention of 7B, 40B, 11B, and of the RefinedWeb models.
    "falcon_multi_query": ("falcon", dict(hidden_size=24, ffn_hidden_size=40, num_hidden_layers=2, num_attention_heads=3, vocab_size=53),
                           (2, 6)),
    "falcon_grouped": ("falcon", dict(hidden_size=24, ffn_hidden_size=36, num_hidden_layers=2, num_attention_heads=6, num_kv_heads=2,
                                      vocab_size=47, new_decoder_architecture=True, tie_word_embeddings=False), (1, 8)),
    "falcon_one_norm": ("falcon", dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2, vocab_size=41,
                                       new_decoder_architecture=True, num_ln_in_parallel_attn=1), (1, 6)),
    # 6 heads: no power of two. The slopes of so few are exact in bfloat16, to which transformers rounds their products.
    "falcon_alibi": ("falcon", dict(hidden_size=24, ffn_hidden_size=32, num_hidden_layers=2, num_attention_heads=6, vocab_size=43,
                                    alibi=True, multi_query=False, parallel_attn=False, bias=True), (2, 7), False),
    "mpt_alibi": ("mpt", dict(d_model=18, n_heads=6, n_layers=2, vocab_size=53, max_seq_len=32,
                              attn_config=dict(clip_qkv=1.0)), (2, 7)),
    "olmo_clip": ("olmo", dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                               vocab_size=47, max_position_embeddings=64, clip_qkv=1.0, tie_word_embeddings=True), (2, 6)),
    "olmo2_norms": ("olmo2", dict(hidden_size=20, intermediate_size=36, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                                  head_dim=4, vocab_size=51, max_position_embeddings=64), (1, 9)),
    # As StableLM 2 12B and 1.6B.
    "stablelm_parallel": ("stablelm", dict(hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
                                           num_key_value_heads=2, vocab_size=47, max_position_embeddings=64, use_parallel_residual=True,
                                           qk_layernorm=True), (1, 7)),
    "stablelm_sequential": ("stablelm", dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                                             num_key_value_heads=1, vocab_size=53, max_position_embeddings=64, use_qkv_bias=True,
                                             tie_word_embeddings=True,
                                             rope_parameters={"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.5}),
                            (2, 6)),
    # The fourth layer has no rotary.
    "smollm3_nope": ("smollm3", dict(hidden_size=20, intermediate_size=22, num_hidden_layers=4, num_attention_heads=4,
                                     num_key_value_heads=2, head_dim=6, vocab_size=43, max_position_embeddings=64), (1, 7)),
    # Shaped as TinyLlama 1.1B and SmolLM 135M are.
    "llama_tinyllama": ("llama", dict(hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=8,
                                      num_key_value_heads=1, vocab_size=51, max_position_embeddings=64, rms_norm_eps=1e-5), (1, 7)),
    "llama_smollm": ("llama", dict(hidden_size=36, intermediate_size=48, num_hidden_layers=2, num_attention_heads=9,
                                   num_key_value_heads=3, vocab_size=47, max_position_embeddings=64, tie_word_embeddings=True,
                                   rms_norm_eps=1e-5, rope_parameters={"rope_theta": 1e5, "rope_type": "default"}), (1, 7)),
}
CASES |= {
    # Experts stored apart, as Mixtral's are.
    "mixtral_experts": ("mixtral", dict(hidden_size=20, intermediate_size=26, num_hidden_layers=2, num_attention_heads=6,
                                        num_key_value_heads=2, head_dim=8, vocab_size=53, max_position_embeddings=64, sliding_window=5,
                                        num_local_experts=5, num_experts_per_tok=2), (2, 7)),
    # A shared expert with its gate; weights that do not sum to one.
    "qwen2_moe_shared": ("qwen2_moe", dict(hidden_size=20, intermediate_size=34, moe_intermediate_size=14,
                                           shared_expert_intermediate_size=22, num_hidden_layers=2, num_attention_heads=2,
                                           num_key_value_heads=1, num_experts=6, num_experts_per_tok=3, vocab_size=47,
                                           max_position_embeddings=64), (1, 7)),
    # The first layer's MLP is whole; weights that sum to one; no biases.
    "qwen2_moe_mixed": ("qwen2_moe", dict(hidden_size=24, intermediate_size=34, moe_intermediate_size=18,
                                          shared_expert_intermediate_size=14, num_hidden_layers=2, num_attention_heads=3,
                                          num_key_value_heads=1, num_experts=4, num_experts_per_tok=2, vocab_size=43,
                                          max_position_embeddings=64, mlp_only_layers=[0], norm_topk_prob=True, qkv_bias=False,
                                          tie_word_embeddings=True), (1, 6), False),
    # Every second layer has experts.
    "qwen3_moe_step": ("qwen3_moe", dict(hidden_size=20, intermediate_size=34, moe_intermediate_size=14, num_hidden_layers=3,
                                         num_attention_heads=6, num_key_value_heads=2, head_dim=8, num_experts=6,
                                         num_experts_per_tok=3, vocab_size=51, max_position_embeddings=64, decoder_sparse_step=2,
                                         norm_topk_prob=True), (1, 8), False),
    "qwen3_moe_norms": ("qwen3_moe", dict(hidden_size=20, intermediate_size=34, moe_intermediate_size=14, num_hidden_layers=2,
                                          num_attention_heads=6, num_key_value_heads=2, head_dim=8, num_experts=6,
                                          num_experts_per_tok=3, vocab_size=45, max_position_embeddings=64, norm_topk_prob=True),
                        (1, 7)),
    # Biases, a window.
    "qwen3_moe_stacked": ("qwen3_moe", dict(hidden_size=24, intermediate_size=30, moe_intermediate_size=16, num_hidden_layers=2,
                                            num_attention_heads=4, num_key_value_heads=2, head_dim=10, num_experts=5,
                                            num_experts_per_tok=2, vocab_size=49, max_position_embeddings=64, attention_bias=True,
                                            use_sliding_window=True, sliding_window=4), (1, 7), False),
    # A clamp that cuts.
    "gpt_oss_sinks": ("gpt_oss", dict(hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6,
                                      num_key_value_heads=2, head_dim=8, num_local_experts=5, num_experts_per_tok=2, vocab_size=53,
                                      max_position_embeddings=64, sliding_window=5, swiglu_limit=1.5, rope_parameters=OSS_YARN),
                      (1, 9), False),
    "gpt_oss_mxfp4": ("gpt_oss", dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=1, head_dim=10, num_local_experts=4, num_experts_per_tok=2, vocab_size=47,
                                      max_position_embeddings=64, sliding_window=4, rope_parameters=OSS_YARN), (1, 7)),
}
CASES["mixtral_early"] = ("mixtral", dict(hidden_size=16, intermediate_size=18, num_hidden_layers=2, num_attention_heads=2,
                                          num_key_value_heads=1, vocab_size=41, max_position_embeddings=64, num_local_experts=3,
                                          num_experts_per_tok=2, tie_word_embeddings=True), (1, 6))
EARLY = {"mixtral_early"}  # GGUF files with a tensor an expert, as they were until early 2024
# How a checkpoint keeps its experts, where not by expert: "stacked", as the model has them in memory, or "mxfp4".
STORED = {"qwen3_moe_stacked": "stacked", "gpt_oss_sinks": "stacked", "gpt_oss_mxfp4": "mxfp4"}


def write_case(name, seed, kind, options, shape, has_gguf=True):
    model = build(kind, options, seed)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ids = torch.randint(0, model.config.vocab_size, shape)
    packed = pack_experts(model) if STORED.get(name) == "mxfp4" else {}
    if getattr(model.config, "num_experts_per_tok", None):
        settle_routers(model, ids)
    points = all_points(model, ids)
    if getattr(model.config, "alibi", False):
        model.config._attn_implementation = "sdpa"  # the eager one adds Falcon's ALiBi twice
    plain = model(input_ids=ids).logits
    if getattr(model.config, "attn_logit_softcapping", None) is None:
        torch.testing.assert_close(points["logits"], plain, rtol=0, atol=2e-5)  # eager's softmax is float32
    np.savez_compressed(folder / "reference.npz", ids=ids.numpy(), **{k: v.float().numpy() for k, v in points.items()})
    tensors = hugging_face_tensors(model, STORED.get(name), packed)
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_diff_dict()
    if packed:
        config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    if has_gguf:
        write_gguf(folder / "model.gguf", model, bool(packed), name in EARLY)
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
    for number, (case, arguments) in enumerate(CASES.items()):
        if not sys.argv[1:] or case in sys.argv[1:]:
            write_case(case, number, *arguments)
    if not sys.argv[1:]:
        write_rotary()
