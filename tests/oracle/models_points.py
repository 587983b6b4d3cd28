"""The named points of a forward pass, read from a transformers model: shared by the scripts that write goldens and by
capture_transformers.py. Names and meanings are those of src/outliers/models/points.h; "layer.3.down_in", "logits".

Works on decoders built of input_layernorm, self_attn.{q,k,v,o}_proj, mlp.{gate,up,down}_proj, as Llama, Qwen2 and Gemma 3 are.
"""
import contextlib
import sys

import torch


def decoder_of(model):
    """The module that has embed_tokens, layers and norm, inside whatever wraps it."""
    for module in model.modules():
        if hasattr(module, "layers") and hasattr(module, "embed_tokens") and hasattr(module, "norm"):
            return module
    raise SystemExit(f"{type(model).__name__} has no decoder of layers, embed_tokens and norm")


def heads(x, width):
    """[B,T,H*d] -> [B,H,T,d]"""
    return x.unflatten(-1, (-1, width)).transpose(1, 2)


class Points:
    """Collects tensors by name while a model runs; `wanted` decides by name, `take` gets (name, tensor)."""

    def __init__(self, model, take, wanted=lambda name: True):
        self.model, self.take, self.wanted = model, take, wanted
        self.layer_of_attention = {}
        self.handles = []

    def show(self, name, x):
        if self.wanted(name):
            self.take(name, x)

    def on_output(self, module, name, shape=lambda x: x):
        def hook(_, args, output):
            self.show(name, shape(output[0] if isinstance(output, tuple) else output))
        self.handles.append(module.register_forward_hook(hook))

    def on_input(self, module, name):
        def hook(_, args, kwargs):
            self.show(name, args[0] if args else kwargs["hidden_states"])
        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

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
        probs = torch.softmax(logits, -1)
        layer = self.layer_of_attention[module]
        self.show(f"layer.{layer}.attn_logits", logits)
        self.show(f"layer.{layer}.attn_probs", probs)
        return (probs.to(value.dtype) @ value).transpose(1, 2).contiguous(), None

    @contextlib.contextmanager
    def attached(self):
        decoder = decoder_of(self.model)
        modules = set()
        for i, layer in enumerate(decoder.layers):
            attn, mlp, name = layer.self_attn, layer.mlp, f"layer.{i}."
            d = attn.head_dim
            self.layer_of_attention[attn] = i
            modules.add(sys.modules[type(attn).__module__])
            before_mlp = getattr(layer, "pre_feedforward_layernorm", None) or layer.post_attention_layernorm
            self.on_input(layer, name + "resid_in")
            self.on_output(layer.input_layernorm, name + "attn_norm_out")
            for part, projection, norm in (("query", "q_proj", "q_norm"), ("key", "k_proj", "k_norm")):
                if hasattr(attn, norm):
                    self.on_output(getattr(attn, norm), name + part)
                else:
                    self.on_output(getattr(attn, projection), name + part, lambda x, d=d: heads(x, d))
            self.on_output(attn.v_proj, name + "value", lambda x, d=d: heads(x, d))
            self.on_output(attn.o_proj, name + "attn_out")
            self.on_input(before_mlp, name + "resid_mid")
            self.on_output(before_mlp, name + "mlp_norm_out")
            self.on_output(mlp.gate_proj, name + "gate_out")
            self.on_output(mlp.act_fn, name + "act_out")
            self.on_output(mlp.up_proj, name + "up_out")
            self.on_input(mlp.down_proj, name + "down_in")
            self.on_output(mlp.down_proj, name + "down_out")
            self.on_output(layer, name + "resid_out")
        self.on_output(decoder.norm, "final_norm_out")
        originals = {m: m.eager_attention_forward for m in modules}
        for module in modules:
            module.eager_attention_forward = self.attention
        try:
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
