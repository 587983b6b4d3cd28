"""The named points of a forward pass, read from a transformers model: shared by the scripts that write goldens and by
capture_transformers.py. Names and meanings are those of src/outliers/run/points.h; "layer.3.down_in", "logits".

LAYOUTS says by model_type where a decoder's parts are; what it does not list is built like Llama.
"""
import contextlib
import functools
import sys

import torch

# Modules of a layer. qkv: one module for all three, and how its output is to be split; clip: of its output; gate_up: `up` gives both.
# resid_mid: the module that reads it; None where the block is parallel (the sum of resid_in and attn_out then).
# attn_added, mlp_added: the module that gives what is added to the residual, where it is not the projection (or the mixture) itself.
LLAMA = dict(body=("embed_tokens", "layers", "norm"), attn="self_attn", q="q_proj", k="k_proj", v="v_proj", o="o_proj", q_norm="q_norm",
             k_norm="k_norm", gate="mlp.gate_proj", act="mlp.act_fn", up="mlp.up_proj", down="mlp.down_proj",
             resid_mid="post_attention_layernorm")
# Encoders of images. `parts` of the body may be dotted; final: what is applied to the last layer's output, where the model
# does so for the CLS token alone.
VIT = dict(body=("embeddings", "layers", "layernorm"), attn="attention", gate=None, act="mlp.activation_fn", up="mlp.fc1", down="mlp.fc2",
           resid_mid="layernorm_after")


POST_NORMS = dict(attn_added="post_attention_layernorm", mlp_added="post_feedforward_layernorm")


def dinov2(config):
    mlp = dict(gate="mlp.gate_proj", act="mlp.act_fn", up="mlp.up_proj", down="mlp.down_proj") if config.use_swiglu_ffn else {}
    return {**VIT, "body": ("embeddings", "encoder.layer", "layernorm"), "resid_mid": "norm2", "attn_added": "layer_scale1",
            "mlp_added": "layer_scale2", **mlp}


def thirds(x):
    return x.chunk(3, -1)


def grouped(config, n_kv):
    """How NeoX and Falcon lay out a fused projection: by key head, its queries, its key, its value. -> [B,T,heads*d] each"""
    d = config.hidden_size // config.num_attention_heads

    def split(x):
        rows = x.unflatten(-1, (n_kv, -1, d))
        return [part.flatten(2) for part in (rows[..., :-2, :], rows[..., -2, :], rows[..., -1, :])]
    return split


def gpt_neox(config):
    return dict(body=("embed_in", "layers", "final_layer_norm"), attn="attention", o="dense", gate=None, act="mlp.act",
                qkv=("query_key_value", grouped(config, config.num_attention_heads)), up="mlp.dense_h_to_4h", down="mlp.dense_4h_to_h",
                resid_mid=None if config.use_parallel_residual else "post_attention_layernorm")


def opt(config):
    return dict(body=("embed_tokens", "layers", "final_layer_norm"), o="out_proj", gate=None, act="activation_fn", up="fc1", down="fc2",
                resid_mid="final_layer_norm" if config.do_layer_norm_before else "fc1")


def phi3(config):
    d = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    return dict(qkv=("qkv_proj", lambda x: x.split((q, kv, kv), -1)), gate=None, up="mlp.gate_up_proj", act="mlp.activation_fn",
                gate_up=True)


def falcon(config):
    n_kv = config.num_kv_heads if config.new_decoder_architecture else 1 if config.multi_query else config.num_attention_heads
    parallel = config.new_decoder_architecture or config.parallel_attn
    return dict(body=("word_embeddings", "h", "ln_f"), attn="self_attention", o="dense", gate=None, act="mlp.act",
                qkv=("query_key_value", grouped(config, n_kv)), up="mlp.dense_h_to_4h", down="mlp.dense_4h_to_h",
                resid_mid=None if parallel else "post_attention_layernorm", scores=softmax_shown)


@contextlib.contextmanager
def softmax_shown(points, decoder):
    """Falcon and MPT call softmax themselves, once a layer: their scores are seen there. ALiBi's bias, which they count from
    another key, is counted from the query's own. Falcon's eager attention adds it to a mask that has it already (its SDPA path
    does not): it is left out there."""
    module, original = sys.modules[type(decoder).__module__], torch.nn.functional.softmax
    builders = {n: getattr(module, n) for n in ("build_alibi_tensor", "build_mpt_alibi_tensor") if hasattr(module, n)}
    config = points.model.config
    factor = 1.0 if config.model_type == "mpt" else (config.hidden_size // config.num_attention_heads) ** -0.5
    biases, layers = [], iter(range(config.num_hidden_layers))

    def build(*args, name, **kwargs):
        biases.append(builders[name](*args, **kwargs))
        return biases[-1]

    def softmax(x, *args, **kwargs):
        logits = x.to(torch.promote_types(x.dtype, torch.float32)).masked_fill(x < -1e30, float("-inf"))
        if biases:
            by_key = biases[0].reshape(-1, config.num_attention_heads, biases[0].shape[-1], 1)[:1] * factor
            logits = logits - by_key[:, :, -x.shape[-2]:]
        probs = points.show_scores(next(layers), logits)
        return probs if points.edits else original(x, *args, **kwargs)

    def without_alibi(module, args, kwargs):
        return args, {**kwargs, "alibi": None if kwargs["alibi"] is None else torch.zeros_like(kwargs["alibi"])}

    if config.model_type == "falcon":
        points.handles += [m.register_forward_pre_hook(without_alibi, with_kwargs=True) for m in points.layer_of_attention]
    try:
        torch.nn.functional.softmax = softmax
        for name in builders:
            setattr(module, name, functools.partial(build, name=name))
        yield
    finally:
        torch.nn.functional.softmax = original
        for name, builder in builders.items():
            setattr(module, name, builder)


LAYOUTS = {
    "vit": VIT,
    "vit_mae": VIT,
    "dinov2": dinov2,
    "dinov2_with_registers": dinov2,
    "clip_vision_model": {**VIT, "body": ("embeddings", "encoder.layers", "post_layernorm"), "attn": "self_attn", "o": "out_proj",
                          "resid_mid": "layer_norm2", "final": lambda body: body.post_layernorm},
    "gpt2": dict(body=("wte", "h", "ln_f"), attn="attn", qkv=("c_attn", thirds), o="c_proj", gate=None, act="mlp.act", up="mlp.c_fc",
                 down="mlp.c_proj", resid_mid="ln_2"),
    "gemma2": dict(resid_mid="pre_feedforward_layernorm", **POST_NORMS),
    "gemma3_text": dict(resid_mid="pre_feedforward_layernorm", **POST_NORMS),
    "qwen3": dict(norm_before_transpose=True),
    "gpt_neox": gpt_neox,
    "opt": opt,
    "phi": dict(body=("embed_tokens", "layers", "final_layernorm"), o="dense", q_norm="q_layernorm", k_norm="k_layernorm", gate=None,
                act="mlp.activation_fn", up="mlp.fc1", down="mlp.fc2", resid_mid=None),
    "phi3": phi3,
    "falcon": falcon,
    "mpt": lambda config: dict(body=("wte", "blocks", "norm_f"), attn="attn", qkv=("Wqkv", thirds), o="out_proj", gate=None, act="ffn.act",
                               up="ffn.up_proj", down="ffn.down_proj", resid_mid="norm_2", clip=config.attn_config.clip_qkv,
                               scores=softmax_shown),
    "olmo": lambda config: dict(clip=config.clip_qkv),
    "olmo2": dict(resid_mid="mlp", **POST_NORMS),
    "qwen3_moe": dict(norm_before_transpose=True),
    "stablelm": lambda config: dict(q_norm="q_layernorm", k_norm="k_layernorm",
                                    resid_mid=None if config.use_parallel_residual else "post_attention_layernorm"),
}


def layout_of(model):
    config = model.config.get_text_config()
    own = LAYOUTS.get(config.model_type, {})
    return {**LLAMA, **(own(config) if callable(own) else own)}


def decoder_of(model):
    """The module that has the embedding, the layers and the final norm, inside whatever wraps it."""
    parts = layout_of(model)["body"]
    for module in model.modules():
        if all(hasattr(module, part.split(".")[0]) for part in parts):
            return module
    raise SystemExit(f"{type(model).__name__} has no decoder of {', '.join(parts)}")


def heads(x, width):
    """[B,T,H*d] -> [B,H,T,d]"""
    return x.unflatten(-1, (-1, width)).transpose(1, 2)


def vision_tower(model):
    """The image tower of a model of images, and what its forward pass needs beside the pixel values [B,C,H,W] to see all patches in
    their order."""
    tower = getattr(model, "vision_model", model)

    def options(pixel_values):
        if tower.config.model_type != "vit_mae":
            return {}
        tower.config.mask_ratio = 0.0
        patch = tower.config.patch_size
        patches = (pixel_values.shape[2] // patch) * (pixel_values.shape[3] // patch)
        return {"noise": torch.arange(float(patches)).expand(pixel_values.shape[0], -1)}
    return tower, options


class Points:
    """Collects tensors by name while a model runs; `wanted` decides by name, `take` gets (name, tensor). With `edits`, what it
    returns flows on in the tensor's place; nothing: the tensor itself."""

    def __init__(self, model, take, wanted=lambda name: True, edits=False):
        self.model, self.take, self.wanted, self.edits = model, take, wanted, edits
        self.layout = layout_of(model)
        self.layer_of_attention = {}
        self.handles = []

    def show(self, name, x):
        edited = self.take(name, x) if self.wanted(name) else None
        return edited if self.edits and edited is not None else x

    @staticmethod
    def written(x, shape, shaped):
        """x with `shaped` where shape() took its entries from."""
        x = x.clone(memory_format=torch.contiguous_format)
        x.view(-1)[shape(torch.arange(x.numel()).view_as(x)).reshape(-1)] = shaped.reshape(-1)
        return x

    def through(self, name, x, shape):
        """Shows shape(x). -> x as it flows on"""
        shaped = shape(x)
        edited = self.show(name, shaped)
        return x if edited is shaped else self.written(x, shape, edited)

    def on_output(self, module, name, shape=lambda x: x):
        def hook(_, args, output):
            if isinstance(output, tuple):
                return (self.through(name, output[0], shape), *output[1:])
            return self.through(name, output, shape)
        self.handles.append(module.register_forward_hook(hook))

    def on_input(self, module, name, shape=lambda x: x):
        def hook(_, args, kwargs):
            if args:
                return (self.through(name, args[0], shape), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": self.through(name, kwargs["hidden_states"], shape)}
        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def show_scores(self, layer, logits, sinks=None):
        """logits: float32 or wider, masked entries -inf; sinks: [H], join each row's sum. -> probabilities"""
        logits = self.show(f"layer.{layer}.attn_logits", logits)
        if sinks is None:
            probs = torch.softmax(logits, -1)
        else:
            column = sinks.view(1, -1, 1, 1).expand(*logits.shape[:-1], 1)
            probs = torch.softmax(torch.cat([logits, column], -1), -1)[..., :-1]
        return self.show(f"layer.{layer}.attn_probs", probs)

    def attention(self, module, query, key, value, attention_mask, scaling=None, softcap=None, s_aux=None, **_):
        """Plain attention that shows its logits (masked entries -inf) and probabilities, in float64 where the model is."""
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        logits = query @ key.transpose(2, 3) * scaling
        if softcap:
            logits = torch.tanh(logits / softcap) * softcap
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if attention_mask is not None:  # transformers' own: 0 where a query sees a key, very negative elsewhere
            logits = logits.masked_fill(attention_mask[..., :key.shape[2]] != 0, float("-inf"))
        probs = self.show_scores(self.layer_of_attention[module], logits, s_aux)
        return (probs.to(value.dtype) @ value).transpose(1, 2).contiguous(), None

    def head_width(self, attn):
        config = self.model.config.get_text_config()
        return getattr(attn, "head_dim", None) or config.hidden_size // config.num_attention_heads

    def attach_projections(self, layer, attn, name):
        """Queries, keys and values as they are after bias, clip and QK-norm, before rotary."""
        at, clip, d = self.layout, self.layout.get("clip"), self.head_width(attn)

        def as_heads(x):
            x = x.clamp(-clip, clip) if clip is not None and x.is_floating_point() else x  # else places
            if x.dim() == 4:  # the output of a norm over each head
                return x.transpose(1, 2) if at.get("norm_before_transpose") else x
            return heads(x, d)

        if "qkv" not in at:
            for point, part in (("query", "q"), ("key", "k"), ("value", "v")):
                norm = getattr(attn, at.get(part + "_norm", ""), None)
                self.on_output(norm or getattr(attn, at[part]), name + point, as_heads)
            return getattr(attn, at["q"])
        module, split = at["qkv"]
        for i, point in enumerate(("query", "key", "value")):
            self.on_output(getattr(attn, module), name + point, lambda x, i=i: as_heads(split(x)[i]))
        return getattr(attn, module)

    def attach_experts(self, mlp, name, shaped):
        """A mixture of experts: of each token the experts that it passes, in their order, [B,T,k,...]."""
        router, experts = mlp.get_submodule("router" if hasattr(mlp, "router") else "gate"), mlp.experts

        def whole(x):
            return x.view(*shaped["x"].shape[:2], *x.shape[1:])

        def routed(_, args, output):
            logits, weights, index = output
            if not self.edits:  # else they are shown before they choose
                self.show(name + "router_logits", whole(logits))
            self.show(name + "experts.index", whole(index))
            shaped["index"] = whole(index)
            return logits, self.through(name + "experts.weight", weights, whole), index

        def passed(module, args, kwargs, output):
            x, index, weights = (*args, *kwargs.values())

            def show(point, value):
                return self.show(f"{name}experts.{point}", whole(value)).reshape(value.shape)
            bias = getattr(module, "gate_up_proj_bias", None)
            if bias is None:  # [E,out,in]
                gate, up = torch.einsum("nd,nkfd->nkf", x, module.gate_up_proj[index]).chunk(2, -1)
                act = show("act_out", module.act_fn(show("gate_out", gate)))
                product = show("down_in", act * show("up_out", up))
                out = torch.einsum("nkf,nkdf->nkd", product, module.down_proj[index])
            else:  # gpt-oss: [E,in,out], columns of gate and up in turns
                gate_up = torch.einsum("nd,nkdf->nkf", x, module.gate_up_proj[index]) + bias[index]
                cut = show("gate_out", gate_up[..., ::2]).clamp(max=module.limit)
                act = show("act_out", cut * torch.sigmoid(cut * module.alpha))
                up = show("up_out", gate_up[..., 1::2])
                product = show("down_in", act * (up.clamp(-module.limit, module.limit) + 1))
                out = torch.einsum("nkf,nkfd->nkd", product, module.down_proj[index]) + module.down_proj_bias[index]
            result = (show("down_out", out) * weights[..., None]).sum(1).to(output.dtype)
            if self.edits:
                return result
            torch.testing.assert_close(result, output)

        if self.edits:
            self.edit_router(router, name + "router_logits", whole)
        self.on_input(mlp, name + "mlp_norm_out")
        self.on_output(mlp, name + "down_out")
        self.handles += [router.register_forward_hook(routed), experts.register_forward_hook(passed, with_kwargs=True)]
        if hasattr(mlp, "shared_expert"):
            shared = mlp.shared_expert
            if self.edits:  # what gives the edited weight
                self.handles.append(mlp.shared_expert_gate.register_forward_hook(lambda _, args, x: torch.logit(
                    self.show(name + "shared.weight", whole(torch.sigmoid(x)))).view_as(x)))
            else:
                self.on_output(mlp.shared_expert_gate, name + "shared.weight", lambda x: whole(torch.sigmoid(x)))
            for module, point in ((shared.gate_proj, "gate_out"), (shared.act_fn, "act_out"), (shared.up_proj, "up_out"),
                                  (shared.down_proj, "down_out")):
                self.on_output(module, f"{name}shared.{point}", whole)
            self.on_input(shared.down_proj, name + "shared.down_in", whole)

    def edit_router(self, router, name, whole):
        """Its scores are edited where it forms them: they choose."""
        original = torch.nn.functional.linear

        def before(*_):
            torch.nn.functional.linear = lambda *args: self.through(name, original(*args), whole)

        def after(*_):
            torch.nn.functional.linear = original
        self.handles += [router.register_forward_pre_hook(before), router.register_forward_hook(after)]

    def edit_resid_mid(self, added, name, shaped):
        """The sum is edited by what is added."""
        def hook(_, args, output):
            x = output[0] if isinstance(output, tuple) else output
            edited = self.show(name, shaped["x"] + x) - shaped["x"]
            return (edited, *output[1:]) if isinstance(output, tuple) else edited
        self.handles.append(added.register_forward_hook(hook))

    def attach_layer(self, layer, i):
        at, name = self.layout, f"layer.{i}."
        attn = layer.get_submodule(at["attn"])
        self.layer_of_attention[attn] = i
        self.on_input(layer, name + "resid_in")
        projection = self.attach_projections(layer, attn, name)
        self.on_input(attn if self.edits else projection, name + "attn_norm_out")  # what all projections read
        width = self.head_width(attn)
        self.on_input(getattr(attn, at["o"]), name + "o_in", lambda x: heads(x, width))
        self.on_output(getattr(attn, at["o"]), name + "attn_out")
        self.on_output(layer.get_submodule(at["attn_added"]) if "attn_added" in at else getattr(attn, at["o"]), name + "attn_added")
        # OPT's MLP is of [B*T,D].
        shaped = {}
        self.handles.append(layer.register_forward_pre_hook(
            lambda _, args, kwargs: shaped.update(x=args[0] if args else kwargs["hidden_states"]), with_kwargs=True))

        def whole(x):
            return x.view(*shaped["x"].shape[:2], -1)
        if self.edits and at["resid_mid"] != "fc1":
            added = layer.get_submodule(at["attn_added"]) if "attn_added" in at else getattr(attn, at["o"])
            self.edit_resid_mid(added, name + "resid_mid", shaped)
        elif self.edits:  # the norm of the sum
            self.on_output(layer.self_attn_layer_norm, name + "resid_mid")
        elif at["resid_mid"] is None:
            self.on_output(getattr(attn, at["o"]), name + "resid_mid", lambda x: shaped["x"] + x)
        else:
            self.on_input(layer.get_submodule(at["resid_mid"]), name + "resid_mid", whole)
        self.on_output(layer, name + "resid_out")
        routed = hasattr(getattr(layer, "mlp", None), "experts")
        self.on_output(layer.get_submodule(at.get("mlp_added") or ("mlp" if routed else at["down"])), name + "mlp_added", whole)
        if routed:
            self.attach_experts(layer.mlp, name, shaped)
            return attn
        up = layer.get_submodule(at["up"])
        # What gate and up both read.
        mlp = layer.get_submodule(at["up"].rpartition(".")[0]) if self.edits and "." in at["up"] else up
        self.on_input(mlp, name + "mlp_norm_out", whole)
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
        return attn

    @contextlib.contextmanager
    def attached(self):
        decoder = decoder_of(self.model)
        _, layers, norm = self.layout["body"]
        layers = decoder.get_submodule(layers)
        modules = {sys.modules[type(self.attach_layer(layer, i)).__module__] for i, layer in enumerate(layers)}
        last = getattr(decoder, norm)
        if last is None:
            self.on_output(layers[-1], "final_norm_out")
        elif "final" in self.layout:
            self.on_output(layers[-1], "final_norm_out", self.layout["final"](decoder))
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
    def run_images(self, pixel_values, **options):
        """pixel_values: [B,C,H,W]. Runs the encoder without its heads, and gives what it returns."""
        assert self.model.config._attn_implementation == "eager"
        with self.attached():
            return decoder_of(self.model)(pixel_values=pixel_values, **options)

    @torch.no_grad()
    def run(self, ids):
        """ids: int64 [B,T]. The model must use the eager implementation of attention."""
        assert self.model.config._attn_implementation == "eager"
        with self.attached():
            if self.wanted("logits"):
                return self.show("logits", self.model(input_ids=ids, use_cache=False).logits)
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
