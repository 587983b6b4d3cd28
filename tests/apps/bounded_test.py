#!/usr/bin/env python3
"""Small files that unpack to much: no more is held than is needed, and what is far too large is refused before it is unpacked."""
import gzip
import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ROOT, ProgramTest, main  # noqa: E402

MB = 10**6


def peak(*arguments, text_in=None):
    """(exit code, standard error, peak resident bytes) of the program."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=text_in or subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0)
        return child.returncode, err.read().decode(), usage.ru_maxrss * 1024


def png(path, width, height):
    """One colour, 1 bit a pixel: 1000 x 1000 pixels in a few hundred bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)) + chunk(b"IDAT", data)
                     + chunk(b"IEND", b""))


@unittest.skipIf(os.environ.get("OUTLIERS_SANITIZE"), "sanitizers take memory of their own")
class BoundedTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")
        (cls.dir / "small.txt").write_text("The ship sailed on. The sea was calm.\n" * 40)
        code, err, cls.least = peak(*cls.report("least"), "--corpus", cls.dir / "small.txt")
        assert code == 0, err

    @classmethod
    def report(cls, out):
        return ("report", cls.model, "-o", cls.dir / out, "--sequences", 2, "--tokens", 16, "--no-figures")

    def test_a_corpus_that_unpacks_to_gigabytes(self):
        rows = "".join(json.dumps({"id": i, "text": f"The ship sailed on, day {i}. The sea was calm."}) + "\n"
                       for i in range(100_000)).encode()
        packed = gzip.compress(rows, 1) * 300  # 2.4 GB
        path = self.dir / "huge.jsonl.gz"
        path.write_bytes(packed)
        code, err, most = peak(*self.report("huge"), "--corpus", path)
        self.assertEqual(code, 0, err)
        self.assertLess(most - self.least, 250 * MB)
        with open(path, "rb") as text_in:
            code, err, most = peak(*self.report("piped"), "--corpus", "-", text_in=text_in)
        self.assertEqual(code, 0, err)
        self.assertLess(most - self.least, 250 * MB)

    def test_windows_from_random_places_of_a_long_corpus(self):
        text = "".join(f"The ship sailed on, day {i}.\n" for i in range(1_000_000)).encode()
        path = self.dir / "long.txt.gz"
        path.write_bytes(gzip.compress(text, 1) * 4)  # 130 MB
        code, err, most = peak(*self.report("random"), "--corpus", path, "--seed", 3)
        self.assertEqual(code, 0, err)
        self.assertLess(most - self.least, 150 * MB)
        cat = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
        with cat.stdout as pipe:
            code, err, _ = peak(*self.report("pipe"), "--corpus", "-", "--seed", 3, text_in=pipe)
        cat.wait()
        self.assertEqual(code, 1)
        self.assertRegex(err, "^outliers: error: the corpus standard input has more than 64 MiB .*--seed.*\n$")

    def test_one_line_that_never_ends(self):
        path = self.dir / "line.jsonl.gz"
        path.write_bytes(gzip.compress(b'{"text": "') + gzip.compress(b"x" * (16 << 20)) * 64)  # 1 GB
        code, err, most = peak(*self.report("line"), "--corpus", path)
        self.assertEqual(code, 1)
        self.assertRegex(err, "line.jsonl.gz, line 1 is longer than 64 MiB")
        self.assertLess(most - self.least, 250 * MB)

    def captures(self, shape):
        paths = []
        for name in ("a.npz", "b.npz"):
            paths.append(self.dir / name)
            with zipfile.ZipFile(paths[-1], "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
                for array in ("ids", "layer.0.resid_out", "layer.1.resid_out"):
                    with out.open(f"{array}.npy", "w", force_zip64=True) as member:
                        header = io.BytesIO()
                        wanted = (1, 4) if array == "ids" else shape
                        np.lib.format.write_array_header_1_0(header,
                                                             {"descr": "<i8" if array == "ids" else "<f4", "fortran_order": False,
                                                              "shape": wanted})
                        member.write(header.getvalue())
                        left = int(np.prod(wanted)) * (8 if array == "ids" else 4)
                        while left > 0:
                            piece = min(left, 32 << 20)
                            member.write(bytes(piece))
                            left -= piece
        return paths

    def test_captures_that_unpack_to_much(self):
        least = None
        for shape in ((1, 4, 8), (1, 1 << 14, 1 << 10), (1, 1, 1 << 24), (1, 1 << 24, 1)):  # 64 MB an array
            code, err, most = peak("compare-layers", *self.captures(shape))
            self.assertEqual(code, 0, err)
            least = least or most
            self.assertLess(most - least, 100 * MB, shape)  # both files' whole array would be 128

    def test_images_far_larger_than_the_models_input(self):
        source = next(p for p in (ROOT / "tests/golden/models").iterdir() if p.name.startswith("vit"))
        model = self.dir / "vit"
        model.mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(source / file, model)
        size = json.loads((model / "config.json").read_text())["image_size"]
        edges = dict(zip(("height", "width"), size if isinstance(size, list) else [size, size]))
        (model / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor", "size": edges}))
        png(self.dir / "photo.png", 2000, 2000)
        png(self.dir / "huge.png", 8000, 8000)
        arguments = ("report", model, "--no-figures", "--images")
        code, err, least = peak(*arguments, self.dir / "photo.png", "-o", self.dir / "photo")
        self.assertEqual(code, 0, err)
        code, err, most = peak(*arguments, self.dir / "huge.png", "-o", self.dir / "images")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"huge.png: 8000 x 8000 pixels are too many; at most 4 million")
        self.assertLess(most, least + 30 * MB)

    def test_a_report_whose_arrays_claim_much(self):
        out = self.dir / "claims"
        shutil.copytree(self.dir / "least", out)
        arrays = dict(np.load(out / "arrays.npz"))
        arrays["prompt.down_in"] = np.zeros((1 << 26,), np.float32)
        np.savez_compressed(out / "arrays.npz", **arrays)
        code, err, most = peak("plot", out, "--only", "page")
        self.assertEqual(code, 1)
        self.assertIn("has the shape [67108864]", err)
        self.assertLess(most, self.least + 100 * MB)


if __name__ == "__main__":
    main()
