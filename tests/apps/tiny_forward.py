"""The tiny Llama's forward pass in NumPy's float64, written from the papers' formulas: what captures are held against."""
import numpy as np

import tiny


def rms_norm(x, weight, epsilon):
    return x / np.sqrt((x ** 2).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x, base):
    """x [heads, T, d]: channel i and i + d/2 are a point of the plane, turned by position * base^(-2i/d)."""
    tokens, half = x.shape[1], x.shape[2] // 2
    angle = np.arange(tokens)[:, None] * base ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(ids, weights=None, edit=lambda name, x: x):
    """ids: one sequence. Returns all points by name, each with a batch of 1 in front. edit(name, x) gives what becomes of a layer's
    resid_out."""
    w = {name: array.astype(np.float64) for name, array in (weights or tiny.weights()).items()}
    c = tiny.config()
    epsilon, base, tokens = c["rms_norm_eps"], c["rope_theta"], len(ids)
    future = np.triu(np.ones((tokens, tokens), bool), 1)
    points = {}
    x = w["model.embed_tokens.weight"][list(ids)]
    for layer in range(tiny.L):
        p = f"model.layers.{layer}."

        def heads(y, count):
            return y.reshape(tokens, count, tiny.WIDTH).transpose(1, 0, 2)
        here = {"resid_in": x}
        here["attn_norm_out"] = y = rms_norm(x, w[p + "input_layernorm.weight"], epsilon)
        here["query"] = q = heads(y @ w[p + "self_attn.q_proj.weight"].T, tiny.H)
        here["key"] = k = heads(y @ w[p + "self_attn.k_proj.weight"].T, tiny.HK)
        here["value"] = v = heads(y @ w[p + "self_attn.v_proj.weight"].T, tiny.HK)
        # Each key/value head serves H / HK query heads that stand side by side.
        k, v = (np.repeat(y, tiny.H // tiny.HK, axis=0) for y in (rotate(k, base), v))
        scores = rotate(q, base) @ k.transpose(0, 2, 1) / np.sqrt(tiny.WIDTH)
        here["attn_logits"] = scores = np.where(future, -np.inf, scores)
        here["attn_probs"] = probs = softmax(scores)
        here["o_in"] = probs @ v
        mixed = here["o_in"].transpose(1, 0, 2).reshape(tokens, tiny.H * tiny.WIDTH)
        here["attn_out"] = here["attn_added"] = change = mixed @ w[p + "self_attn.o_proj.weight"].T
        here["resid_mid"] = x = x + change
        here["mlp_norm_out"] = y = rms_norm(x, w[p + "post_attention_layernorm.weight"], epsilon)
        here["gate_out"] = gate = y @ w[p + "mlp.gate_proj.weight"].T
        here["act_out"] = act = gate / (1 + np.exp(-gate))
        here["up_out"] = up = y @ w[p + "mlp.up_proj.weight"].T
        here["down_in"] = y = act * up
        here["down_out"] = here["mlp_added"] = change = y @ w[p + "mlp.down_proj.weight"].T
        here["resid_out"] = x = edit(f"layer.{layer}.resid_out", x + change)
        points.update({f"layer.{layer}.{name}": value[None] for name, value in here.items()})
    points["final_norm_out"] = y = rms_norm(x, w["model.norm.weight"], epsilon)[None]
    points["logits"] = y @ w["lm_head.weight"].T
    return points
