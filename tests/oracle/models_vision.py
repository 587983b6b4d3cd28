#!/usr/bin/env python3
"""Writes the models of images in tests/golden/models/: random ones of two layers with unusual sizes, and what transformers
computes from them in float64 at every named point.

Per case: config.json and model.safetensors (bfloat16), as transformers saves them, reference.npz (pixel_values, then every
point; float32). GGUF has no such architectures.
Versions: torch 2.13.0, transformers 5.23.0, safetensors 0.8.0. Seeds: a case's place in the list, so new ones come last.
usage: models_vision.py [CASE ...]
"""
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers

from models_points import Points, decoder_of, vision_tower

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/models"
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3)

# class, config, images [B, height, width]
CASES = {
    # A grid that is no square, patches that are none; with a head.
    "vit_rectangle": (transformers.ViTForImageClassification, transformers.ViTConfig(
        **SIZES, intermediate_size=36, image_size=[12, 10], patch_size=[4, 5], num_labels=5), (2, 12, 10)),
    # No biases of q, k, v; heads of 10; edge pixels that fill no patch; what masked training and pooling add.
    "vit_masked": (transformers.ViTForMaskedImageModeling, transformers.ViTConfig(
        hidden_size=20, num_hidden_layers=2, num_attention_heads=2, intermediate_size=34, image_size=14, patch_size=4, qkv_bias=False,
        hidden_act="gelu_new", layer_norm_eps=1e-5, encoder_stride=4), (1, 14, 14)),
    "vit_mae_whole": (transformers.ViTMAEForPreTraining, transformers.ViTMAEConfig(
        **SIZES, intermediate_size=40, image_size=15, patch_size=5, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=18), (2, 15, 15)),
    "dinov2_head": (transformers.Dinov2ForImageClassification, transformers.Dinov2Config(
        **SIZES, mlp_ratio=2, image_size=12, patch_size=4, num_labels=5), (2, 12, 12)),
    # Positions stretched from 3 x 3 to 5 x 4, with pixels left over; no biases of q, k, v.
    "dinov2_stretched": (transformers.Dinov2Model, transformers.Dinov2Config(
        **SIZES, mlp_ratio=3, image_size=15, patch_size=5, qkv_bias=False, layer_norm_eps=1e-4), (1, 27, 23)),
    # As the giant one: SwiGLU. Positions shrunk from 7 x 7 to 3 x 5, which shows the filter.
    "dinov2_with_registers_shrunk": (transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersConfig(
        **SIZES, mlp_ratio=2, use_swiglu_ffn=True, num_register_tokens=3, image_size=28, patch_size=4), (2, 12, 20)),
    "dinov2_with_registers_stretched": (transformers.Dinov2WithRegistersForImageClassification, transformers.Dinov2WithRegistersConfig(
        hidden_size=20, num_hidden_layers=2, num_attention_heads=5, mlp_ratio=3, num_register_tokens=1, image_size=8, patch_size=4,
        num_labels=4), (1, 16, 12)),
    "clip_vision_alone": (transformers.CLIPVisionModel, transformers.CLIPVisionConfig(
        **SIZES, intermediate_size=36, image_size=12, patch_size=4), (2, 12, 12)),
    # Beside its text tower.
    "clip_vision_beside": (transformers.CLIPModel, transformers.CLIPConfig(
        projection_dim=18, vision_config=dict(hidden_size=20, num_hidden_layers=2, num_attention_heads=2, intermediate_size=28,
                                              image_size=10, patch_size=5, hidden_act="gelu", layer_norm_eps=1e-4),
        text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20, vocab_size=30,
                         max_position_embeddings=9, bos_token_id=0, eos_token_id=1, pad_token_id=0)), (1, 10, 10)),
}


def build(kind, config, seed):
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = kind(config).double().eval()
    for name, parameter in model.named_parameters():
        values = torch.randn_like(parameter)
        if "norm" in name or "layrnorm" in name or "lambda1" in name:
            values = values * 0.3 + (0.0 if name.endswith("bias") else 1.0)
        elif name.endswith("bias"):
            values *= 0.5
        elif parameter.dim() > 1 and "embed" not in name:
            values *= 1.5 / parameter[0].numel() ** 0.5
        elif name.endswith(("projection.weight", "patch_embedding.weight")):
            values *= 1.5 / parameter[0].numel() ** 0.5
        parameter.data.copy_(values.bfloat16())
    return model


def write_case(name, seed, kind, config, shape):
    model = build(kind, config, seed)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tower, options_of = vision_tower(model)
    tower.config._attn_implementation = "eager"
    batch, height, width = shape
    pixels = (torch.randn(batch, 3, height, width) * 1.5).bfloat16().double()
    options = options_of(pixels)
    points = {}

    def take(point, x):
        assert point not in points, f"{point} was shown twice"
        points[point] = x.detach().clone()
    output = Points(tower, take).run_images(pixels, **options)
    plain = decoder_of(tower)
    plain.config._attn_implementation = "sdpa"  # not what collected the points
    reference = plain(pixel_values=pixels, **options)
    last = points["layer.1.resid_out" if tower.config.model_type == "clip_vision_model" else "final_norm_out"]
    torch.testing.assert_close(last, output.last_hidden_state, rtol=0, atol=0)
    torch.testing.assert_close(last, reference.last_hidden_state, rtol=1e-6, atol=1e-6)
    if tower.config.model_type == "clip_vision_model":
        torch.testing.assert_close(points["final_norm_out"][:, 0], output.pooler_output, rtol=0, atol=0)
    np.savez_compressed(folder / "reference.npz", pixel_values=pixels.float().numpy(), **{k: v.float().numpy() for k, v in points.items()})
    tower.config._attn_implementation = None
    if tower.config.model_type == "vit_mae":
        tower.config.mask_ratio = 0.75
    model.bfloat16().save_pretrained(folder)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: {len(points)} points, {size} bytes, {[f.name for f in folder.iterdir()]}")


if __name__ == "__main__":
    for number, (case, arguments) in enumerate(CASES.items()):
        if not sys.argv[1:] or case in sys.argv[1:]:
            write_case(case, number, *arguments)
