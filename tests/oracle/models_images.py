#!/usr/bin/env python3
"""Writes tests/golden/models/resample.npz and processors.npz: images, and what Pillow's resize and the image processors of
transformers (their form on Pillow) make of them.

resample.npz: IMAGE (uint8 [H,W,3]) and IMAGE.FILTER.HEIGHT.WIDTH, the filter by Pillow's number. processors.npz: per case
CASE.config (the JSON's bytes), CASE.image and CASE.pixel_values (float32).
Versions: Pillow 12.2.0, transformers 5.23.0, numpy 2.4.6. Seed 0.
"""
import json
import pathlib

import numpy as np
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/models"
KINDS = {"ViT": ViTImageProcessorPil, "CLIP": CLIPImageProcessorPil, "Bit": BitImageProcessorPil}

CASES = {
    "vit": ({"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 20, "width": 20}, "resample": 2,
             "do_rescale": True, "rescale_factor": 0.00392156862745098, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
             "image_std": [0.5, 0.5, 0.5]}, 0),
    # As files of the first versions say it.
    "vit_number": ({"feature_extractor_type": "ViTFeatureExtractor", "do_normalize": True, "do_resize": True, "size": 13,
                    "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}, 1),
    "vit_stretched": ({"image_processor_type": "ViTImageProcessorFast", "size": {"height": 31, "width": 45}, "resample": 1}, 0),
    "clip": ({"crop_size": 18, "do_center_crop": True, "do_normalize": True, "do_resize": True,
              "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
              "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
              "size": 18}, 0),
    "clip_tall": ({"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 17, "width": 16}, "size": {"shortest_edge": 19}},
                  1),
    # A crop larger than the image, an odd number of zeros around it.
    "bit_padded": ({"image_processor_type": "BitImageProcessor", "crop_size": {"height": 22, "width": 30}, "do_convert_rgb": True,
                    "size": {"shortest_edge": 15}, "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
                    0),
    "bit_plain": ({"image_processor_type": "BitImageProcessor", "do_resize": False, "do_rescale": False, "do_normalize": False,
                   "crop_size": {"height": 9, "width": 11}}, 1),
}


def main():
    rng = np.random.default_rng(0)

    def image(height, width):
        y, x = np.mgrid[0:height, 0:width]
        smooth = np.stack([np.sin(x / 3) * 127 + 128, np.cos(y / 4) * 127 + 128, (x * y) % 256], -1)
        return (smooth * 0.7 + rng.integers(0, 256, smooth.shape) * 0.3).clip(0, 255).astype(np.uint8)
    images = [image(24, 37), image(41, 23)]

    arrays = {}
    for number, pixels in enumerate(images):
        arrays[f"image{number}"] = pixels
        for resample in range(6):
            for height, width in ((24, 37), (7, 11), (24, 9), (50, 37), (33, 60), (3, 80), (1, 1)):
                resized = Image.fromarray(pixels).resize((width, height), resample=resample)
                arrays[f"image{number}.{resample}.{height}.{width}"] = np.array(resized)
    np.savez_compressed(OUT / "resample.npz", **arrays)

    arrays = {}
    for case, (config, number) in CASES.items():
        kind = next(k for n, k in KINDS.items() if n in config.get("image_processor_type", config.get("feature_extractor_type")))
        values = kind.from_dict(config)(images=Image.fromarray(images[number]), return_tensors="np")["pixel_values"]
        arrays[case + ".config"] = np.frombuffer(json.dumps(config).encode(), np.uint8)
        arrays[case + ".image"] = images[number]
        arrays[case + ".pixel_values"] = np.asarray(values)[0].astype(np.float32)
        print(case, values.shape, values.dtype)
    np.savez_compressed(OUT / "processors.npz", **arrays)


main()
