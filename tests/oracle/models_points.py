"""The named points of a forward pass, read from a transformers model: shared by the scripts that write goldens and by
capture_transformers.py. Names and meanings are those of src/outliers/models/points.h; "layer.3.down_in", "logits".

LAYOUTS says by model_type where a decoder's parts are; what it does not list is built like Llama.
"""
import contextlib
import sys

import torch

# Modules of a layer, by the names of the points' documentation. qkv: one module for all three, and how its output is to be split.
# resid_mid: the module that reads it; None where the block is parallel (the sum of resid_in and attn_out then).
LLAMA = dict(body=("embed_tokens", "layers", "norm"), attn="self_attn", q="q_proj", k="k_proj", v="v_proj", o="o_proj", q_norm="q_norm",
             k_norm="k_norm", gate="mlp.gate_proj", act="mlp.act_fn", up="mlp.up_proj", down="mlp.down_proj",
             resid_mid="post_attention_layernorm")
LAYOUTS = {
    "gemma3_text": dict(resid_mid="pre_feedforward_layernorm"),
}


def layout_of(model):
    config = model.config.get_text_config()
    own = LAYOUTS.get(config.model_type, {})
    return {**LLAMA, **(own(config) if callable(own) else own)}


def decoder_of(model):
    """The module that has the embedding, the layers and the final norm, inside whatever wraps it."""
    parts = layout_of(model)["body"]
    for module in model.modules():
        if all(hasattr(module, part) for part in parts):
            return module
    raise SystemExit(f"{type(model).__name__} has no decoder of {', '.join(parts)}")


def heads(x, width):
    """[B,T,H*d] -> [B,H,T,d]"""
    return x.unflatten(-1, (-1, width)).transpose(1, 2)


class Points:
    """Collects tensors by name while a model runs; `wanted` decides by name, `take` gets (name, tensor)."""

    def __init__(self, model, take, wanted=lambda name: True):
        self.model, self.take, self.wanted = model, take, wanted
        self.layout = layout_of(model)
        self.layer_of_attention = {}
        self.handles = []

    def show(self, name, x):
        if self.wanted(name):
            self.take(name, x)

    def on_output(self, module, name, shape=lambda x: x):
        def hook(_, args, output):
            self.show(name, shape(output[0] if isinstance(output, tuple) else output))
        self.handles.append(module.register_forward_hook(hook))

    def on_input(self, module, name, shape=lambda x: x):
        def hook(_, args, kwargs):
            self.show(name, shape(args[0] if args else kwargs["hidden_states"]))
        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def show_scores(self, layer, logits):
        """logits: float32 or wider, masked entries -inf. -> probabilities"""
        probs = torch.softmax(logits, -1)
        self.show(f"layer.{layer}.attn_logits", logits)
        self.show(f"layer.{layer}.attn_probs", probs)
        return probs

    def attention(self, module, query, key, value, attention_mask, scaling=None, softcap=None, **_):
        """Plain attention that shows its logits (masked entries -inf) and probabilities, in float64 where the model is."""
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        logits = query @ key.transpose(2, 3) * scaling
        # Gemma 3's attention has the attribute, and transformers does not pass it on.
        softcap = softcap or getattr(module, "attn_logit_softcapping", None)
        if softcap:
            logits = torch.tanh(logits / softcap) * softcap
        # transformers' own mask: 0 where a query sees a key, very negative elsewhere.
        visible = attention_mask[..., :key.shape[2]] == 0
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).masked_fill(~visible, float("-inf"))
        probs = self.show_scores(self.layer_of_attention[module], logits)
        return (probs.to(value.dtype) @ value).transpose(1, 2).contiguous(), None

    def attach_projections(self, layer, attn, name):
        """Queries, keys and values as they are after bias, clip and QK-norm, before rotary."""
        config, at = self.model.config.get_text_config(), self.layout
        clip = self.layout.get("clip")
        d = getattr(attn, "head_dim", None) or config.hidden_size // config.num_attention_heads

        def as_heads(x):
            x = x if clip is None else x.clamp(-clip, clip)
            return x if x.dim() == 4 else heads(x, d)

        if "qkv" not in at:
            for point, part in (("query", "q"), ("key", "k"), ("value", "v")):
                norm = getattr(attn, at.get(part + "_norm", ""), None)
                self.on_output(norm or getattr(attn, at[part]), name + point, as_heads)
            return getattr(attn, at["q"])
        module, split = at["qkv"]
        for i, point in enumerate(("query", "key", "value")):
            self.on_output(getattr(attn, module), name + point, lambda x, i=i: as_heads(split(x)[i]))
        return getattr(attn, module)

    def attach_layer(self, layer, i):
        at, name = self.layout, f"layer.{i}."
        attn = layer.get_submodule(at["attn"])
        self.layer_of_attention[attn] = i
        self.on_input(layer, name + "resid_in")
        self.on_input(self.attach_projections(layer, attn, name), name + "attn_norm_out")
        self.on_output(getattr(attn, at["o"]), name + "attn_out")
        # OPT's MLP is of [B*T,D].
        shaped = {}
        self.handles.append(layer.register_forward_pre_hook(
            lambda _, args, kwargs: shaped.update(x=args[0] if args else kwargs["hidden_states"]), with_kwargs=True))

        def whole(x):
            return x.view(*shaped["x"].shape[:2], -1)
        if at["resid_mid"] is None:
            self.on_output(getattr(attn, at["o"]), name + "resid_mid", lambda x: shaped["x"] + x)
        else:
            self.on_input(layer.get_submodule(at["resid_mid"]), name + "resid_mid", whole)
        up = layer.get_submodule(at["up"])
        self.on_input(up, name + "mlp_norm_out", whole)
        if at["gate"]:
            self.on_output(layer.get_submodule(at["gate"]), name + "gate_out")
        if "gate_up" in at:
            for point, half in (("gate_out", 0), ("up_out", 1)):
                self.on_output(up, name + point, lambda x, half=half: x.chunk(2, -1)[half])
        else:
            self.on_output(up, name + "up_out", whole)
        down = layer.get_submodule(at["down"])
        if at["act"] is None:  # the same function of all layers: what the down projection reads, without a gate
            self.on_input(down, name + "act_out", whole)
        else:
            self.on_output(layer.get_submodule(at["act"]), name + "act_out", whole)
        self.on_input(down, name + "down_in", whole)
        self.on_output(down, name + "down_out", whole)
        self.on_output(layer, name + "resid_out")
        return attn

    @contextlib.contextmanager
    def attached(self):
        decoder = decoder_of(self.model)
        _, layers, norm = self.layout["body"]
        modules = {sys.modules[type(self.attach_layer(layer, i)).__module__] for i, layer in enumerate(getattr(decoder, layers))}
        last = getattr(decoder, norm)
        if last is None:
            self.on_output(getattr(decoder, layers)[-1], "final_norm_out")
        else:
            self.on_output(last, "final_norm_out")
        originals = {m: m.eager_attention_forward for m in modules if hasattr(m, "eager_attention_forward")}
        for module in originals:
            module.eager_attention_forward = self.attention
        try:
            with self.layout.get("scores", lambda points, decoder: contextlib.nullcontext())(self, decoder):
                yield
        finally:
            for module, original in originals.items():
                module.eager_attention_forward = original
            for handle in self.handles:
                handle.remove()

    @torch.no_grad()
    def run(self, ids):
        """ids: int64 [B,T]. The model must use the eager implementation of attention."""
        assert self.model.config._attn_implementation == "eager"
        with self.attached():
            if self.wanted("logits"):
                self.show("logits", self.model(input_ids=ids, use_cache=False).logits)
            else:
                decoder_of(self.model)(input_ids=ids, use_cache=False)


def all_points(model, ids):
    """Every point of one pass, name -> tensor."""
    found = {}

    def take(name, x):
        assert name not in found, f"{name} was shown twice"
        found[name] = x.detach().clone()

    Points(model, take).run(ids)
    return found
