"""The GGUF file of a transformers model, by the conventions of llama.cpp's converter (convert_hf_to_gguf.py): which keys, which
names, and which weights in another order."""
import gguf
import numpy as np
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models_random import split_experts

# GGUF's names of architectures, where they differ from model_type.
ARCHITECTURES = {"gemma3_text": "gemma3", "mistral": "llama", "gpt_neox": "gptneox", "phi": "phi2", "mixtral": "llama",
                 "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss"}


def first(config, *names):
    return next((value for value in (getattr(config, name, None) for name in names) if value is not None), None)


def permuted(w, n_head):
    """Rows of a head as llama.cpp's rotary wants them: channel i beside channel i + d/2."""
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def ungrouped(w, n_kv, d):
    """Rows by key head (its queries, its key, its value) -> all queries, all keys, all values."""
    rows = w.reshape(n_kv, -1, d, *w.shape[1:])
    return np.concatenate([part.reshape(-1, *w.shape[1:]) for part in (rows[:, :-2], rows[:, -2], rows[:, -1])])


def write_rope(writer, config, head_width):
    rope = config.rope_parameters
    scaling = rope.get("full_attention", rope)
    writer.add_rope_freq_base(scaling["rope_theta"])
    part = scaling.get("partial_rotary_factor", 1.0)
    if part != 1.0:
        writer.add_rope_dimension_count(int(head_width * part))
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if scaling["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(getattr(gguf.RopeScalingType, scaling["rope_type"].upper()))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["rope_type"] in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    if scaling["rope_type"] == "longrope":
        writer.add_rope_scaling_attn_factors(ROPE_INIT_FUNCTIONS["longrope"](config, torch.device("cpu"))[1])
        for length in ("short", "long"):
            writer.add_tensor(f"rope_factors_{length}.weight", np.array(scaling[length + "_factor"], np.float32))
    if scaling["rope_type"] == "llama3":
        # llama.cpp's converter stores what each frequency is divided by.
        plain = 1.0 / scaling["rope_theta"] ** (torch.arange(0, head_width, 2).float() / head_width)
        writer.add_tensor("rope_freqs.weight", (plain / ROPE_INIT_FUNCTIONS["llama3"](config)[0]).numpy())


def gguf_values(arch, name, values, config, n_kv, head_width):
    """A tensor as llama.cpp's converter writes it."""
    if arch in ("llama", "smollm3", "olmo"):
        if ".q_proj." in name:
            return permuted(values, config.num_attention_heads)
        if ".k_proj." in name:
            return permuted(values, n_kv)
    if arch.startswith("gemma") and name.endswith("norm.weight"):
        return values + 1
    if arch == "gpt2" and values.ndim == 2 and ".c_" in name:
        return values.T
    if arch in ("gptneox", "falcon") and "query_key_value" in name:
        return ungrouped(values, n_kv, head_width)
    return values


def write_gguf(path, model, packed=False, early=False):
    config = model.config
    arch = ARCHITECTURES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny " + arch)
    layers, n_head = config.num_hidden_layers, config.num_attention_heads
    writer.add_block_count(layers)
    writer.add_context_length(first(config, "max_position_embeddings", "max_seq_len"))
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(first(config, "intermediate_size", "n_inner", "ffn_hidden_size") or 4 * config.hidden_size)
    writer.add_head_count(n_head)
    n_kv = first(config, "num_key_value_heads", "num_kv_heads") or n_head
    if getattr(config, "multi_query", False) and not config.new_decoder_architecture:
        n_kv = 1
    writer.add_head_count_kv(n_kv)
    if getattr(config, "rms_norm_eps", None) is not None:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        writer.add_layer_norm_eps(first(config, "layer_norm_eps", "layer_norm_epsilon") or 1e-5)
    head_width = getattr(config, "head_dim", None) or config.hidden_size // n_head
    if head_width != config.hidden_size // n_head or arch.startswith("gemma") or arch == "llama":
        writer.add_key_length(head_width)
        writer.add_value_length(head_width)
    if getattr(config, "rope_parameters", None):
        write_rope(writer, config, head_width)
    # llama.cpp knows gpt-oss's pattern.
    if "sliding_attention" in (getattr(config, "layer_types", None) or []) and arch != "gpt-oss":
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([t == "sliding_attention" for t in config.layer_types])
    elif config.model_type in ("mistral", "mixtral", "phi3", "gpt_oss") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if arch in ("gemma2", "gemma3"):
        for value, add in ((config.attn_logit_softcapping, writer.add_attn_logit_softcapping),
                           (config.final_logit_softcapping, writer.add_final_logit_softcapping)):
            if value is not None:
                add(value)
        writer.add_attention_scale(config.query_pre_attn_scalar ** -0.5)
    if hasattr(config, "use_parallel_residual"):
        writer.add_parallel_residual(config.use_parallel_residual)
    clip = config.attn_config.clip_qkv if arch == "mpt" else getattr(config, "clip_qkv", None)
    if clip is not None:
        writer.add_clamp_kqv(clip)
    if arch == "mpt":
        writer.add_max_alibi_bias(config.attn_config.alibi_bias_max)
    if first(config, "num_experts_per_tok"):
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        if arch != "llama":
            writer.add_expert_feed_forward_length(first(config, "moe_intermediate_size", "intermediate_size"))
        # llama.cpp knows what the released models do.
        if getattr(config, "norm_topk_prob", None) not in (None, arch == "qwen3moe"):
            writer.add_expert_weights_norm(config.norm_topk_prob)
        if arch == "qwen2moe":  # written out, what llama.cpp takes for granted
            writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)
            writer.add_expert_weights_scale(1.0)
        if hasattr(config, "shared_expert_intermediate_size"):
            writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    names = gguf.get_tensor_name_map({a: k for k, a in gguf.MODEL_ARCH_NAMES.items()}[arch], layers)
    tensors = split_experts(model.state_dict(), config)
    for i in range(layers):  # StableLM's norms of each head become one tensor
        for norm in ("q_layernorm", "k_layernorm"):
            prefix = f"model.layers.{i}.self_attn.{norm}."
            parts = [tensors.pop(k) for k in [k for k in tensors if k.startswith(prefix + "norms.")]]
            if parts:
                tensors[prefix + "weight"] = torch.stack(parts)
    for name, tensor in tensors.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        base, suffix = (name, "weight") if name.endswith("sinks") else name.rsplit(".", 1)
        stored = f"{names.get_name(base)}.{suffix}"
        values = gguf_values(arch, name, tensor.double().numpy(), config, n_kv, head_width)
        if name.endswith("shared_expert_gate.weight"):
            values = values[0]
        if packed and values.ndim == 3:
            kind = gguf.GGMLQuantizationType.MXFP4
            writer.add_tensor(stored, gguf.quants.quantize(np.ascontiguousarray(values, np.float32), kind), raw_dtype=kind)
        elif values.ndim == 1 or suffix == "bias":
            writer.add_tensor(stored, values.astype(np.float32))
        else:
            raw = torch.from_numpy(np.ascontiguousarray(values)).bfloat16().view(torch.uint8).numpy()
            apart = early and values.ndim == 3
            for part, bytes_ in [(stored.replace("_exps", f".{e}"), x) for e, x in enumerate(raw)] if apart else [(stored, raw)]:
                writer.add_tensor(part, bytes_, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
