#!/usr/bin/env python3
"""Writes small quantised weights and what they are dequantised to, for tests/io/quantized_test.cpp: each case as NAME.json
(quantization_config), NAME.safetensors and NAME.npz (float32).

compressed-tensors and bitsandbytes pack and unpack themselves; FP8 blocks and MXFP4 are unpacked by transformers. GPTQ and AWQ do not
install on a CPU: they are packed here by the layouts in GPTQModel 7.7.0 (nn_modules/qlinear, utils/model.py) and AutoAWQ 0.2.9
(awq/modules/linear/gemm.py), and unpacked by their formulas; --autoawq DIR, the unpacked source package, checks the latter
with its own awq/utils/packing_utils.py.

usage: io_quantized.py [--autoawq DIR]     seed 0; torch 2.13.0, transformers 5.23.0, compressed-tensors 0.20.0, bitsandbytes 0.50.2
"""
import argparse
import importlib.util
import json
import pathlib

import bitsandbytes
import numpy as np
import torch
from compressed_tensors.compressors import NaiveQuantizationCompressor, PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/io/quantized"


def write(name, config, tensors, weights):
    (OUT / f"{name}.json").write_text(json.dumps(config) + "\n")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, OUT / f"{name}.safetensors")
    np.savez_compressed(OUT / f"{name}.npz", **{k: v.float().numpy() for k, v in weights.items()})
    print(name, sum((OUT / f"{name}.{e}").stat().st_size for e in ("json", "safetensors", "npz")), "bytes")


def fp8():
    values = torch.randn(12, 16) * 3
    scales = torch.rand(3, 2) * 0.1 + 0.01
    q = (values / scales.repeat_interleave(4, 0).repeat_interleave(8, 1) / 40).to(torch.float8_e4m3fn)
    whole = Fp8Dequantize(None)._dequantize_one(q, scales, torch.float32)
    per_tensor = Fp8Dequantize(None)._dequantize_one(q, scales[:1, :1], torch.float32)
    # The last blocks cut short, as DeepSeek's kv_a_proj: the same as the padded weight's.
    write("fp8", {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [4, 8]},
          {"a.weight": q, "a.weight_scale_inv": scales, "cut.weight": q[:10, :13], "cut.weight_scale_inv": scales,
           "one.weight": q, "one.weight_scale_inv": scales[0, 0], "one.input_scale": torch.ones(()), "norm.weight": torch.ones(16)},
          {"a.weight": whole, "cut.weight": whole[:10, :13], "one.weight": per_tensor})


def compressed(name, compressor, rows=16, columns=32, dtype=torch.bfloat16, form="pack-quantized", **args):
    weights = QuantizationArgs(**args)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    w = (torch.randn(rows, columns) + 0.3).to(dtype)
    if weights.strategy == "tensor":
        blocks = w.reshape(1, -1)
    elif weights.strategy == "channel":
        blocks = w
    elif weights.strategy == "group":
        blocks = w.reshape(rows, -1, weights.group_size)
    else:
        height, width = weights.block_structure
        blocks = w.reshape(rows // height, height, columns // width, width).transpose(1, 2).flatten(2)
    scale, zero = calculate_qparams(blocks.amin(-1), blocks.amax(-1), weights)
    if weights.strategy == "channel":
        scale, zero = scale.reshape(-1, 1), zero.reshape(-1, 1)
    state = {"weight": w, "weight_scale": scale.to(dtype), "weight_zero_point": zero}
    if weights.symmetric:
        del state["weight_zero_point"]
    packed = compressor.compress(state, scheme)
    plain = compressor.decompress(packed, scheme)["weight"]
    config = {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed", "ignore": ["lm_head"],
              "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": None, "output_activations": None,
                                            "weights": json.loads(weights.model_dump_json())}}}
    tensors = {f"m.{k}": v for k, v in packed.items()}
    tensors["m.input_scale"] = torch.ones(1)
    tensors["plain.weight"] = torch.ones(2, 2)
    write("compressed_" + name, config, tensors, {"m.weight": plain, "plain.weight": torch.ones(2, 2)})


def four_bits():
    w = torch.randn(20, 32)
    for quant_type in ("nf4", "fp4"):
        tensors, weights = {}, {}
        for nested, dtype in ((False, torch.float32), (True, torch.bfloat16), (True, torch.float16)):
            name = f"{'nested' if nested else 'plain'}_{str(dtype)[6:]}"
            q, state = bitsandbytes.functional.quantize_4bit(w.to(dtype), blocksize=64, compress_statistics=nested, quant_type=quant_type)
            tensors[f"{name}.weight"] = q
            tensors |= {f"{name}.weight.{k}": v.clone() for k, v in state.as_dict(packed=True).items()}
            weights[f"{name}.weight"] = bitsandbytes.functional.dequantize_4bit(q, state)
        write(f"bitsandbytes_{quant_type}", {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": quant_type},
              tensors, weights)


def eight_bits():
    w = (torch.randn(6, 16) * torch.tensor([1.0, 2, 3, 4, 5, 6]).reshape(-1, 1)).half()
    q, scales, _ = bitsandbytes.functional.int8_vectorwise_quant(w)
    write("bitsandbytes_int8", {"quant_method": "bitsandbytes", "load_in_8bit": True},
          {"a.weight": q, "a.SCB": scales, "a.weight_format": torch.zeros((), dtype=torch.uint8)},
          {"a.weight": bitsandbytes.functional.int8_vectorwise_dequant(q, scales)})


def words(values, bits, order=None):
    """[..., n] of 0 .. 2^bits - 1 -> int32 [..., n * bits / 32]; word k's value i is that of `order`[i]."""
    per_word = 32 // bits
    grouped = values.long().reshape(*values.shape[:-1], -1, per_word)[..., order or list(range(per_word))]
    packed = (grouped << (torch.arange(per_word) * bits)).sum(-1)
    return torch.where(packed >= 2 ** 31, packed - 2 ** 32, packed).int()


def gptq(name, bits, group_size, columns=16, act_order=False, first_format=True):
    rows = 32
    groups = rows // group_size if group_size > 0 else 1
    q = torch.randint(0, 2 ** bits, (rows, columns))
    zeros = torch.randint(1, 2 ** bits, (groups, columns))
    scales = (torch.rand(groups, columns) * 0.1 + 0.001).half()
    index = torch.arange(rows) // (group_size if group_size > 0 else rows)
    if act_order:
        index = index[torch.randperm(rows)]
    weight = (scales[index] * (q - zeros[index]).half()).t()
    config = {"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": act_order, "sym": False,
              "checkpoint_format": "gptq" if first_format else "gptq_v2"}
    tensors = {"m.qweight": words(q.t(), bits).t(), "m.qzeros": words(zeros - 1 if first_format else zeros, bits), "m.scales": scales,
               "m.bias": torch.zeros(columns).half()}
    if act_order:
        tensors["m.g_idx"] = index.int()
    write("gptq_" + name, config, tensors, {"m.weight": weight, "m.bias": torch.zeros(columns)})


def awq(source):
    rows, columns, group_size = 32, 24, 16
    q, zeros = torch.randint(0, 16, (rows, columns)), torch.randint(0, 16, (rows // group_size, columns))
    scales = (torch.rand(rows // group_size, columns) * 0.1 + 0.001).half()
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    tensors = {"m.qweight": words(q, 4, order), "m.qzeros": words(zeros, 4, order), "m.scales": scales}
    index = torch.arange(rows) // group_size
    weight = (q - zeros[index]).half() * scales[index]
    if source:
        spec = importlib.util.spec_from_file_location("packing_utils", source / "awq/utils/packing_utils.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert torch.equal(module.dequantize_gemm(tensors["m.qweight"], tensors["m.qzeros"], scales, 4, group_size), weight)
        print("AutoAWQ's own unpacking agrees")
    write("awq", {"quant_method": "awq", "bits": 4, "group_size": group_size, "version": "gemm", "zero_point": True}, tensors,
          {"m.weight": weight.t()})


def mxfp4():
    """Experts as gpt-oss keeps them, with the smallest scale and large ones."""
    experts, outputs, groups = 3, 5, 2
    blocks = torch.randint(0, 256, (experts, outputs, groups, 16), dtype=torch.uint8)
    scales = torch.randint(0, 251, (experts, outputs, groups), dtype=torch.uint8)
    scales[0, 0] = 0
    write("mxfp4", {"quant_method": "mxfp4"}, {"m.down_proj_blocks": blocks, "m.down_proj_scales": scales},
          {"m.down_proj": convert_moe_packed_tensors(blocks, scales)})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--autoawq", type=pathlib.Path)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    torch.manual_seed(0)
    fp8()
    naive, pack = NaiveQuantizationCompressor, PackedQuantizationCompressor
    compressed("int8_channel", naive, form="naive-quantized", num_bits=8, type="int", strategy="channel", symmetric=True)
    compressed("int8_asymmetric", naive, form="int-quantized", num_bits=8, type="int", strategy="channel", symmetric=False,
               dtype=torch.float16)
    compressed("float8_tensor", naive, form="float-quantized", num_bits=8, type="float", strategy="tensor", symmetric=True)
    compressed("float8_block", naive, form="float-quantized", num_bits=8, type="float", strategy="block", block_structure=[8, 16],
               symmetric=True)
    compressed("int4_group", pack, num_bits=4, type="int", strategy="group", group_size=8, symmetric=True)
    compressed("int4_asymmetric", pack, num_bits=4, type="int", strategy="group", group_size=16, symmetric=False, dtype=torch.float16)
    compressed("int8_packed", pack, columns=30, num_bits=8, type="int", strategy="channel", symmetric=True, dtype=torch.float32)
    compressed("int2_packed", pack, num_bits=2, type="int", strategy="group", group_size=8, symmetric=True)
    four_bits()
    eight_bits()
    gptq("int4", 4, 8)
    gptq("int4_act_order", 4, 8, act_order=True)
    gptq("int8_v2", 8, -1, first_format=False)
    gptq("int2", 2, 16)
    awq(arguments.autoawq)
    mxfp4()


if __name__ == "__main__":
    main()
