"""Random models for models_tiny.py: transformers' modules with weights drawn here, and the tensors of a checkpoint of one."""
import torch
import transformers
from transformers.integrations.mxfp4 import convert_moe_packed_tensors


def build(kind, options, seed):
    torch.manual_seed(seed)
    # Token ids of the defaults lie outside these vocabularies.
    config = transformers.AutoConfig.for_model(kind, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager",
                                               experts_implementation="eager", **options)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or ".ln_" in name:
            values = torch.randn_like(parameter) * 0.3
            values += 0.0 if kind.startswith("gemma") or name.endswith("bias") else 1.0
        elif "bias" in name:
            values = torch.randn_like(parameter) * 0.5
        elif name.endswith("sinks"):
            values = torch.randn_like(parameter)
        elif "embed" in name or ".wte" in name or ".wpe" in name:
            values = torch.randn_like(parameter)
        else:
            inputs = parameter.shape[-1 if parameter.dim() == 3 and kind != "gpt_oss" else 1]
            values = torch.randn_like(parameter) * 1.5 / inputs ** 0.5
        parameter.data.copy_(values.bfloat16())
    return model


@torch.no_grad()
def settle_routers(model, ids):
    """Draws the weights of each router anew until no choice hangs on less than an eighth of the logits' spread, so that rounding
    to bfloat16 does not change which experts a token passes, nor their order."""
    for layer in model.model.layers:
        if not hasattr(layer.mlp, "experts"):
            continue
        router = layer.mlp.router if hasattr(layer.mlp, "router") else layer.mlp.gate
        seen = []
        handle = router.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        model(input_ids=ids)
        handle.remove()
        x = seen[0].reshape(-1, model.config.hidden_size)
        while True:
            router.weight.copy_((torch.randn_like(router.weight) * 2.5 / x.shape[1] ** 0.5).bfloat16())
            logits = torch.nn.functional.linear(x, router.weight, getattr(router, "bias", None))
            top = logits.topk(router.top_k + 1, -1).values
            if (top[:, :-1] - top[:, 1:]).min() > 0.125 * logits.std():
                break


def split_experts(tensors, config):
    """gate_up_proj and down_proj of all experts -> gate_proj, up_proj, down_proj, [E,out,in], as ".weight" and ".bias"."""
    result = {}
    for name, tensor in tensors.items():
        base, dot, part = name.rpartition(".mlp.experts.")
        if not dot:
            result[name] = tensor
            continue
        module = part.removesuffix("_bias")
        suffix = ".bias" if part.endswith("_bias") else ".weight"
        if config.model_type == "gpt_oss" and tensor.dim() == 3:
            tensor = tensor.transpose(1, 2)
        if module == "gate_up_proj":
            halves = (tensor[:, ::2], tensor[:, 1::2]) if config.model_type == "gpt_oss" else tensor.chunk(2, 1)
            for half, one in zip(("gate_proj", "up_proj"), halves):
                result[base + dot + half + suffix] = one.contiguous()
        else:
            result[base + dot + module + suffix] = tensor.contiguous()
    return result


@torch.no_grad()
def pack_experts(model):
    """Random MXFP4 in place of the experts' weights. -> name: (blocks, scales), uint8"""
    packed = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() != 3:
            continue
        E, inputs, outputs = parameter.shape
        blocks = torch.randint(0, 256, (E, outputs, inputs // 32, 16), dtype=torch.uint8)
        scales = torch.randint(121, 124, (E, outputs, inputs // 32), dtype=torch.uint8)
        parameter.copy_(convert_moe_packed_tensors(blocks, scales))
        packed[name] = blocks, scales
    return packed


def hugging_face_tensors(model, stored, packed):
    """The tensors of a checkpoint, by the names on disk."""
    tensors, kind = model.state_dict(), model.config.model_type
    for name, parts in packed.items():
        del tensors[name]
        tensors.update({name + "_blocks": parts[0], name + "_scales": parts[1]})
    if stored is None:
        apart = {}
        for name, tensor in split_experts(tensors, model.config).items():
            base, dot, part = name.rpartition(".experts.")
            if not dot:
                apart[name] = tensor
            for e in range(len(tensor) if dot else 0):
                apart[f"{base}.experts.{e}.{part}"] = tensor[e]
        tensors = apart
        if kind == "mixtral":
            for old, new in ((".mlp.", ".block_sparse_moe."), ("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
                tensors = {k.replace(old, new) if ".mlp." in k or ".block_sparse_moe." in k else k: v for k, v in tensors.items()}
    # transformers' own name, and that of the files that it writes
    return {"embed_out.weight" if kind == "gpt_neox" and k == "lm_head.weight" else k:
            (v if v.dtype == torch.uint8 else v.bfloat16()).contiguous() for k, v in tensors.items()}
