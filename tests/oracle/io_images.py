#!/usr/bin/env python3
"""Writes tests/golden/io/images/: small PNG and JPEG files of every kind, and what Pillow makes of them.

images.npz holds by file name what Image.convert("RGB") gives after ImageOps.exif_transpose; files that are to be refused are not
in it. Versions: Pillow 12.2.0, numpy 2.4.6. Seed 0.
"""
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/io/images"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, *extra, interlace=0):
    """A PNG by hand, for what Pillow does not write. rows: bytes of each, without filter."""
    data = b"".join(b"\0" + row for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)) +
            b"".join(chunk(*e) for e in extra) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def adam7(pixels):
    """Rows of an interlaced RGB image, pass by pass."""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        for row in pixels[y0::dy, x0::dx]:
            if len(row):
                yield row.tobytes()


def main():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:19, 0:23]
    smooth = np.stack([x * 11, y * 13, (x + y) * 6], -1).clip(0, 255)
    pixels = (smooth * 0.8 + rng.integers(0, 50, smooth.shape)).clip(0, 255).astype(np.uint8)
    rgb, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    opaque = Image.fromarray(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]))
    clear = np.array(opaque)
    clear[3, 4, 3] = 254
    wide = rng.integers(0, 65536, (5, 6, 3)).astype(">u2")
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "rgb.png": saved(rgb, "PNG"), "grey.png": saved(grey, "PNG"), "opaque.png": saved(opaque, "PNG"),
        "palette.png": saved(rgb.quantize(20), "PNG"), "bilevel.png": saved(grey.convert("1"), "PNG"),
        "two_bits.png": png(5, 3, 2, 0, [bytes([0b00011011, 0b11000000]), bytes([0b11100100, 0]), bytes([0xFF, 0xFF])]),
        "wide.png": png(6, 5, 16, 2, [row.tobytes() for row in wide]),
        "interlaced.png": png(23, 19, 8, 2, adam7(pixels), interlace=1),
        # Pillow leaves gamma out of account.
        "gamma.png": png(23, 19, 8, 2, [row.tobytes() for row in pixels], (b"gAMA", struct.pack(">I", 100000))),
        "turned.png": saved(rgb, "PNG", exif=exif),
        "rgb.jpg": saved(rgb, "JPEG", quality=90), "fine.jpg": saved(rgb, "JPEG", quality=95, subsampling=0),
        "half.jpg": saved(rgb, "JPEG", quality=80, subsampling=1), "progressive.jpg": saved(rgb, "JPEG", quality=75, progressive=True),
        "grey.jpg": saved(grey, "JPEG", quality=85),
        "transparent.png": saved(Image.fromarray(clear), "PNG"),
        "key.png": png(5, 1, 8, 2, [pixels[0, :5].tobytes()], (b"tRNS", pixels[0, 2].astype(">u2").tobytes())),
        "wide_grey.png": png(6, 5, 16, 0, [row.tobytes() for row in wide[..., 0]]),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
    }
    refused = {"transparent.png", "key.png", "wide_grey.png", "cmyk.jpg"}
    for orientation in range(2, 9):
        exif[0x0112] = orientation
        files[f"orientation_{orientation}.jpg"] = saved(rgb.crop((0, 0, 9, 6)), "JPEG", exif=exif, quality=90)
    OUT.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, data in files.items():
        (OUT / name).write_bytes(data)
        if name not in refused:
            arrays[name] = np.array(ImageOps.exif_transpose(Image.open(OUT / name)).convert("RGB"))
    np.savez_compressed(OUT / "images.npz", **arrays)
    print(f"{len(files)} files, {len(arrays)} arrays, {sum(f.stat().st_size for f in OUT.iterdir())} bytes")


main()
