#!/usr/bin/env python3
"""Writes tests/golden/models/config_keys.json: which keys of config.json each family's class reads, and which goes first of two.

Found by experiment: a model of random weights, once from a config and once from the same with a key more. What transformers computes
from both says whether it reads the key. `bases`: the configs. `read`: [base, keys] that change the model. `ignored`: [base, keys] that
do not. `twice`: [base, winner, loser]: with both in one config it is the model of the winner alone.
What transformers cannot build is left out.
Versions: torch 2.13.0, transformers 5.23.0. Seeds: the names of the weights.
usage: models_config_keys.py
"""
import json
import logging
import os
import pathlib
import warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="critical")
import torch
import transformers
from transformers import CONFIG_MAPPING

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/models/config_keys.json"
IDS = torch.tensor([[3, 7, 11, 5, 2, 9, 13, 4, 8, 1, 6, 12, 10, 14, 15, 16, 17, 18, 19, 20]])
TYPES = ["sliding_attention", "full_attention", "full_attention"]
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 300.0}
SLOWER = {"rope_type": "linear", "factor": 2.0, "rope_theta": 900.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.5, 2.0, 3.0], "long_factor": [2.0, 2.5, 3.0, 4.0]}
SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=60,
             max_position_embeddings=64)
HEADS = dict(SIZES, head_dim=8)
EXPERTS = dict(num_experts=4, moe_intermediate_size=20, num_experts_per_tok=2)
WINDOW = dict(use_sliding_window=True, sliding_window=4)
IMAGES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=12, patch_size=4)

# By family a config, and what is added to it, where keys count only beside others.
BASES = {
    "llama": (SIZES, {}, {"rope_scaling": YARN}),
    "mistral": (SIZES, {}, {"rope_scaling": YARN}),
    "qwen2": (SIZES, {}, {"sliding_window": 4, "max_window_layers": 0}, WINDOW | {"max_window_layers": 2}, {"rope_scaling": YARN}),
    "qwen3": (HEADS, {}, {"sliding_window": 4, "max_window_layers": 0}, WINDOW | {"max_window_layers": 2}, {"rope_scaling": YARN}),
    "gemma": (HEADS, {}, {"rope_scaling": YARN}),
    "gemma2": (HEADS, {}, {"sliding_window": 4}, {"rope_scaling": YARN}),
    "gemma3_text": (HEADS | {"num_hidden_layers": 6}, {}),
    "gpt2": (dict(n_embd=32, n_layer=3, n_head=4, n_positions=64, vocab_size=60), {}),
    "gpt_neox": ({k: v for k, v in SIZES.items() if k != "num_key_value_heads"} | {"rotary_pct": 0.5}, {}, {"rope_scaling": YARN}),
    "opt": (dict(hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4, vocab_size=60, max_position_embeddings=64,
                 word_embed_proj_dim=32), {}),
    "phi": (SIZES, {}, {"rope_scaling": YARN}),
    "phi3": (SIZES, {}, {"rope_scaling": LONG}),
    "falcon": (dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, vocab_size=60, max_position_embeddings=64), {},
               {"new_decoder_architecture": True, "num_kv_heads": 2}, {"rope_scaling": YARN}),
    "mpt": (dict(d_model=32, n_layers=3, n_heads=4, vocab_size=60, max_seq_len=64), {}),
    "olmo": (SIZES, {}, {"rope_scaling": YARN}),
    "olmo2": (SIZES, {}, {"rope_scaling": YARN}),
    "stablelm": (SIZES | {"partial_rotary_factor": 0.5}, {}, {"rope_scaling": YARN}),
    "smollm3": (SIZES, {}, {"sliding_window": 4, "no_rope_layer_interval": 2}, WINDOW | {"no_rope_layer_interval": 2},
                {"rope_scaling": YARN}),
    "mixtral": (SIZES | {"num_local_experts": 4}, {}, {"rope_scaling": YARN}),
    "qwen2_moe": (SIZES | EXPERTS | {"shared_expert_intermediate_size": 24}, {}, WINDOW, {"sliding_window": 4},
                  {"rope_scaling": YARN, "mlp_only_layers": [1]}),
    "qwen3_moe": (HEADS | EXPERTS, {}, WINDOW, {"sliding_window": 4}, {"rope_scaling": YARN, "mlp_only_layers": [1]}),
    "gpt_oss": (HEADS | {"num_local_experts": 4}, {}, {"sliding_window": 4}),
    "vit": (IMAGES | {"intermediate_size": 48}, {}),
    "vit_mae": (IMAGES | {"intermediate_size": 48, "mask_ratio": 0.0}, {}),
    "dinov2": (IMAGES | {"mlp_ratio": 2}, {}),
    "dinov2_with_registers": (IMAGES | {"mlp_ratio": 2}, {}),
    "clip_vision_model": (IMAGES | {"intermediate_size": 48}, {}),
}

# No value is one that holds anyway.
KEYS = [
    {"head_dim": 12}, {"num_key_value_heads": 1}, {"num_kv_heads": 1}, {"n_head_kv": 1}, {"attention_bias": True},
    {"attention_bias": False}, {"mlp_bias": True}, {"qkv_bias": True}, {"qkv_bias": False}, {"use_qkv_bias": True},
    {"query_pre_attn_scalar": 100}, {"attn_logit_softcapping": 1.0}, {"final_logit_softcapping": 1.0}, {"rope_theta": 300.0},
    {"rope_scaling": LINEAR}, {"rope_parameters": LINEAR}, {"rope_local_base_freq": 50.0}, {"partial_rotary_factor": 0.75},
    {"rotary_pct": 0.75}, {"rotary_emb_base": 300.0}, {"rope_pct": 0.75}, {"original_max_position_embeddings": 8},
    {"use_sliding_window": True}, {"sliding_window": 4}, {"sliding_window": 6}, {"layer_types": TYPES}, {"sliding_window_pattern": 2},
    {"sliding_window_pattern": 4}, {"max_window_layers": 1}, {"num_local_experts": 3}, {"num_experts": 3}, {"num_experts_per_tok": 1},
    {"moe_intermediate_size": 12}, {"shared_expert_intermediate_size": 16}, {"norm_topk_prob": True}, {"decoder_sparse_step": 2},
    {"mlp_only_layers": [0]}, {"clip_qkv": 0.1}, {"no_rope_layers": [0, 1, 1]}, {"no_rope_layer_interval": 3}, {"qk_layernorm": True},
    {"use_parallel_residual": True}, {"use_parallel_residual": False}, {"new_decoder_architecture": True}, {"multi_query": False},
    {"parallel_attn": False}, {"num_ln_in_parallel_attn": 1}, {"bias": True}, {"alibi": True}, {"enable_bias": False},
    {"word_embed_proj_dim": 16}, {"do_layer_norm_before": False}, {"layer_norm_elementwise_affine": False},
    {"_remove_final_layer_norm": True}, {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}, {"swiglu_limit": 0.1},
    {"logit_scale": 0.5}, {"no_bias": False}, {"expansion_ratio": 2}, {"ffn_config": {"ffn_type": "mptglu"}},
    {"attn_config": {"clip_qkv": 0.1}}, {"attn_config": {"softmax_scale": 0.5}}, {"norm_type": "rmsnorm"}, {"lm_head_bias": True},
    {"intermediate_size": 40}, {"n_inner": 40}, {"ffn_dim": 40}, {"ffn_hidden_size": 40}, {"hidden_act": "relu"},
    {"hidden_activation": "relu"}, {"activation_function": "gelu"}, {"activation": "silu"}, {"rms_norm_eps": 0.5}, {"layer_norm_eps": 0.5},
    {"layer_norm_epsilon": 0.5}, {"n_embd": 16}, {"n_embed": 16}, {"d_model": 16}, {"num_hidden_layers": 2}, {"n_layer": 2},
    {"n_layers": 2}, {"num_attention_heads": 2}, {"n_head": 2}, {"n_heads": 2}, {"n_positions": 32}, {"n_ctx": 32},
    {"qk_norm": True}, {"use_qk_norm": True}, {"embedding_multiplier": 2.0}, {"attention_multiplier": 2.0}, {"residual_multiplier": 2.0},
    {"logits_scaling": 2.0}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"mlp_ratio": 3}, {"use_swiglu_ffn": True},
    {"num_register_tokens": 2},
]
# Old and new names, outer and inner ones: of each two, whichever goes first.
ROTARY = [({"rope_parameters": LINEAR}, {"rope_scaling": SLOWER}), ({"rope_theta": 50.0}, {"rope_parameters": LINEAR}),
          ({"rope_theta": 50.0}, {"rope_scaling": SLOWER})]
TWICE = {family: ROTARY for family in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi", "olmo", "olmo2", "stablelm",
                                       "smollm3", "mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "falcon")}
TWICE |= {
    "phi3": [({"rope_parameters": LONG}, {"rope_scaling": LONG | {"short_factor": [2.0, 2.0, 2.0, 2.0], "long_factor": [5.0] * 4}}),
             ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                                                   "partial_rotary_factor": 1.0}})],
    "phi": ROTARY + [({"partial_rotary_factor": 1.0}, {"rope_parameters": LINEAR | {"partial_rotary_factor": 0.75}})],
    "stablelm": ROTARY[:1] + [({"partial_rotary_factor": 1.0}, {"rope_parameters": LINEAR | {"partial_rotary_factor": 0.25}}),
                              ({"rope_pct": 0.25}, {"partial_rotary_factor": 1.0})],
    "gpt_neox": ROTARY[:1] + [({"rotary_emb_base": 300.0}, {"rope_theta": 50.0}), ({"rotary_emb_base": 300.0}, {"rope_scaling": SLOWER}),
                              ({"rotary_pct": 0.75}, {"partial_rotary_factor": 1.0}),
                              ({"rotary_pct": 1.0}, {"rope_parameters": LINEAR | {"partial_rotary_factor": 0.5}})],
    "llama": ROTARY + [({"rope_scaling": {"type": "linear", "factor": 4.0}}, {"rope_scaling": {"rope_type": "default"}})],
    "gpt2": [({"n_embd": 32}, {"hidden_size": 16}), ({"n_layer": 3}, {"num_hidden_layers": 2}), ({"n_head": 4}, {"num_attention_heads": 2}),
             ({"n_positions": 64}, {"max_position_embeddings": 48}), ({"n_inner": 40}, {"intermediate_size": 44}),
             ({"activation_function": "relu"}, {"hidden_act": "silu"}), ({"layer_norm_epsilon": 0.1}, {"rms_norm_eps": 0.5})],
    "mpt": [({"n_layers": 3}, {"num_hidden_layers": 2}), ({"n_heads": 4}, {"num_attention_heads": 2}),
            ({"d_model": 32}, {"hidden_size": 16})],
    "falcon": ROTARY + [({"hidden_size": 32}, {"n_embed": 16}), ({"num_hidden_layers": 3}, {"n_layer": 2}),
                        ({"num_attention_heads": 4}, {"n_head": 2}),
                        ({"num_kv_heads": 2, "new_decoder_architecture": True}, {"multi_query": False})],
    "mixtral": ROTARY + [({"num_local_experts": 4}, {"num_experts": 3})],
    "gpt_oss": ROTARY + [({"num_local_experts": 5}, {"num_experts": 4})],
    "qwen3_moe": ROTARY + [({"num_local_experts": 3}, {"num_experts": 4})],
    "qwen2_moe": ROTARY + [({"num_local_experts": 3}, {"num_experts": 4}),
                           (WINDOW | {"max_window_layers": 0}, WINDOW | {"layer_types": TYPES})],
    "qwen2": ROTARY + [(WINDOW | {"max_window_layers": 2}, WINDOW | {"layer_types": TYPES})],
    "qwen3": ROTARY + [(WINDOW | {"max_window_layers": 2}, WINDOW | {"layer_types": TYPES})],
    "smollm3": ROTARY + [({"no_rope_layers": [1, 0, 1]}, {"no_rope_layer_interval": 3}),
                         ({"sliding_window": 4, "use_sliding_window": False}, {"sliding_window": 4, "layer_types": TYPES})],
    "gemma": ROTARY + [({"hidden_activation": "relu"}, {"hidden_act": "silu"})],
    "gemma2": ROTARY + [({"hidden_activation": "relu"}, {"hidden_act": "silu"})],
    "gemma3_text": [({"sliding_window": 4, "sliding_window_pattern": 2}, {"sliding_window": 4, "layer_types": TYPES + TYPES}),
                    ({"rope_theta": 50.0}, {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 300.0}}}),
                    ({"rope_local_base_freq": 50.0},
                     {"rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}}),
                    ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
                     {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}}}),
                    ({"rope_theta": 300.0}, {"rope_scaling": {"rope_type": "default", "rope_theta": 50.0}}),
                    ({"hidden_activation": "relu"}, {"hidden_act": "silu"})],
}


def fill(model):
    model = model.float().eval()
    for name, weight in model.named_parameters():
        random = torch.Generator().manual_seed(sum(map(ord, name)))
        noise = torch.randn(weight.shape, generator=random)
        weight.copy_(1.0 + 0.3 * noise if "norm" in name and name.endswith("weight") else noise if weight.dim() < 2 else 1.5
                     * noise / weight.shape[-1] ** 0.5)
    return model


def outcome(config):
    """Shapes of all weights and what the model computes; None where there is no such model."""
    try:
        parsed = CONFIG_MAPPING[config["model_type"]].from_dict(json.loads(json.dumps(config)))
        if "image_size" in config:
            model = fill(transformers.AutoModel.from_config(parsed, attn_implementation="eager"))
            noise = {"noise": torch.arange(9.0)[None]} if config["model_type"] == "vit_mae" else {}
            values = model(pixel_values=torch.linspace(-2, 2, 3 * 12 * 12).view(1, 3, 12, 12), **noise).last_hidden_state
        else:
            values = fill(transformers.AutoModelForCausalLM.from_config(parsed, attn_implementation="eager"))
            model, values = values, values(input_ids=IDS).logits
    except Exception:
        return None
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}, values


def same(a, b):
    return a is not None and b is not None and a[0] == b[0] and bool((a[1] - b[1]).abs().max() <= 1e-5 * a[1].abs().max())


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    result = {"bases": [], "read": [], "ignored": [], "twice": []}
    for family, (sizes, *additions) in BASES.items():
        first = len(result["bases"])
        bases = [{"model_type": family, **sizes, **({} if "image_size" in sizes else dict(pad_token_id=0)), **more} for more in additions]
        plain = [outcome(base) for base in bases]
        bases, plain = [base for base, x in zip(bases, plain) if x], [x for x in plain if x]
        result["bases"] += bases
        for keys in KEYS:
            got = [None if any(base.get(k) == v for k, v in keys.items()) else outcome(base | keys) for base in bases]
            read = [i for i, x in enumerate(got) if x is not None and not same(plain[i], x)]
            if read:
                result["read"].append([first + read[0], keys])
            elif any(got) and all(x is None or same(plain[i], x) for i, x in enumerate(got)):
                result["ignored"].append([first + next(i for i, x in enumerate(got) if x), keys])
        for a, b in TWICE.get(family, []):
            base = {k: v for k, v in bases[0].items() if k not in a and k not in b}
            alone, both = [outcome(base | a), outcome(base | b)], outcome(base | a | b if "rope_scaling" not in a or "rope_scaling" not in b
                                                                          else
                                                                          base | {"rope_scaling": a["rope_scaling"] | b["rope_scaling"]})
            if same(*alone) or both is None or not any(same(both, x) for x in alone):
                print(f"left out: {family} {a} {b}: {'neither' if both else 'no model'}")
                continue
            winner, loser = (a, b) if same(both, alone[0]) else (b, a)
            result["twice"].append([base, winner, loser])
        print(family, len(result["read"]), len(result["ignored"]), len(result["twice"]), flush=True)
    rows = ",\n".join(f' "{name}": [\n' + ",\n".join("  " + json.dumps(row) for row in value) + "\n ]" for name, value in result.items())
    OUT.write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main()
