#!/usr/bin/env python3
"""Which files make up the model that a path names, what is refused as none, and files that change while they are read."""
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ROOT, ProgramTest, main  # noqa: E402

try:
    import torch
except ImportError:  # LibTorch may come without Python's part
    torch = None

GGUF = ROOT / "tests/golden/models/llama_untied/model.gguf"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of GGUF's plain types


def split_gguf(source, folder, stem, parts, **split):
    """The parts as gguf-split names and marks them: all metadata in the first, in each its number, their count and that of all tensors."""
    data = source.read_bytes()
    at = 24
    tensor_count, key_count = struct.unpack_from("<QQ", data, 8)

    def skip(kind, at):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(count):
                at = skip(element, at)
            return at
        return at + WIDTHS[kind]

    for _ in range(key_count):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at = skip(struct.unpack_from("<I", data, at)[0], at + 4)
    keys, infos = data[24:at], []
    for _ in range(tensor_count):
        begin = at
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 4
        infos.append((data[begin:at], struct.unpack_from("<Q", data, at)[0]))
        at += 8
    start = (at + 31) // 32 * 32
    ends = sorted([offset for _, offset in infos] + [len(data) - start])
    folder.mkdir(exist_ok=True)
    paths = []
    for part in range(parts):
        marks = {"split.no": ("<IH", 2, part), "split.count": ("<IH", 2, parts), "split.tensors.count": ("<Ii", 5, tensor_count)}
        marks |= {name.replace("_", "."): (*marks[name.replace("_", ".")][:2], value) for name, value in split.items()}
        own = infos[part::parts]
        head, body = b"", b""
        for info, offset in own:
            head += info + struct.pack("<Q", len(body))
            body += data[start + offset:start + ends[ends.index(offset) + 1]]
            body += b"\0" * (-len(body) % 32)
        more = b"".join(struct.pack("<Q", len(name)) + name.encode() + struct.pack(form, kind, value)
                        for name, (form, kind, value) in marks.items())
        counts = struct.pack("<IQQ", 3, len(own), len(marks) + (key_count if part == 0 else 0))
        text = b"GGUF" + counts + (keys if part == 0 else b"") + more + head
        paths.append(folder / f"{stem}-{part + 1:05}-of-{parts:05}.gguf")
        paths[-1].write_bytes(text + b"\0" * (-len(text) % 32) + body)
    return paths


class FoldersTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.corpus = cls.dir / "corpus.txt"
        cls.corpus.write_text("The ship sailed on. The sea was calm, and the crew slept.\n" * 40)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return self.dir / f"{self._testMethodName}-{name}"

    def command(self, model, *more):
        """A capture that writes self.out."""
        self.out = self.path("out.npz")
        return ("capture", model, "--ids", "5,6,7,8,9", "--points", "logits", "--force", "-o", self.out, *more)

    def logits(self, model, *more, warnings=()):
        self.warn(warnings, *self.command(model, *more))
        return np.load(self.out)["logits"]

    def same(self, a, b):
        np.testing.assert_array_equal(a, b)

    def shards(self, folder, factor=1.0, count=2, index=True, stem="model", prefix=""):
        """The tiny model's matrices times a factor, in shards."""
        tensors = {n: w * np.float32(factor) if w.ndim == 2 else w for n, w in tiny.weights().items()}
        names = sorted(tensors)
        home = {n: f"{stem}-{i * count // len(names) + 1:05}-of-{count:05}.safetensors" for i, n in enumerate(names)}
        for file in set(home.values()):
            tiny.write_safetensors(folder / file, {n: tensors[n] for n in names if home[n] == file})
        if index:
            (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {n: prefix + f for n, f in home.items()}}))
        return sorted(set(home.values()))

    def copy(self, name, whole=True):
        folder = self.path(name)
        shutil.copytree(self.model, folder)
        if not whole:
            (folder / WHOLE).unlink()
        return folder

    # Folders.
    def test_two_checkpoints(self):
        folder = self.copy("both")
        first = self.shards(folder, 0.5)[0]
        halves = self.copy("halves", whole=False)
        self.shards(halves, 0.5)
        whole, half = self.logits(self.model), self.logits(halves)
        self.assertGreater(np.abs(whole - half).max(), 0.1)
        both = rf"both holds 2 checkpoints: {INDEX} and {WHOLE}; name one of them, as in {INDEX} \(--file\)"
        for command in (("inspect", folder), self.command(folder), ("export", folder, "-o", self.path("export"), "--dtype", "f32"),
                        ("report", folder, "-o", self.path("report"), "--corpus", self.corpus)):
            self.refuse(1, both, *command)
        self.succeed("tokenize", folder, "--text", "abc")  # reads no weights
        for file, wanted in ((WHOLE, whole), (INDEX, half), (first, half)):
            self.same(self.logits(folder, "--file", file), wanted)
            self.same(self.logits(f"{folder}:{file}"), wanted)
            self.same(self.logits(folder / file), wanted)
        self.succeed("inspect", folder, "--file", WHOLE)
        self.succeed("export", folder, "-o", self.path("export"), "--dtype", "f32", "--file", INDEX)
        self.same(self.logits(self.path("export")), half)
        self.succeed("report", folder, "-o", self.path("report"), "--corpus", self.corpus, "--sequences", 2, "--tokens", 16, "--no-figures",
                     "--file", WHOLE)
        self.refuse(1, "no such file: .*none.safetensors", "inspect", folder, "--file", "none.safetensors")
        self.refuse(2, "name the file once", "inspect", f"{folder}:{WHOLE}", "--file", WHOLE)

    def test_index_of_the_whole_file(self):
        folder = self.copy("own")
        (folder / INDEX).write_text(json.dumps({"weight_map": {n: "./" + WHOLE for n in tiny.weights()}}))
        self.same(self.logits(folder), self.logits(self.model))

    def test_whole_file_beside_shards_without_an_index(self):
        folder = self.copy("whole")
        first = self.shards(folder, 0.5, index=False)[0]
        self.same(self.logits(folder, warnings=[f"{first} and the shards after it are ignored, since {WHOLE} is there"]),
                  self.logits(self.model))

    def test_shards_without_an_index(self):
        folder = self.copy("shards", whole=False)
        files = self.shards(folder, count=3, index=False)
        wanted = self.logits(self.model)
        for name in (folder, *(folder / file for file in files)):
            self.same(self.logits(name), wanted)
        self.succeed("report", folder, "-o", self.path("report"), "--corpus", self.corpus, "--sequences", 2, "--tokens", 16, "--no-figures")
        self.assertIn("safetensors", self.succeed("inspect", folder))
        self.succeed("export", folder, "-o", self.path("export"), "--dtype", "f32")
        self.same(self.logits(self.path("export")), wanted)
        (folder / files[1]).unlink()
        for name in (folder, folder / files[0]):
            self.refuse(1, rf"{files[1]} is missing, and so is an index \({INDEX}\)", "inspect", name)
        # Two series, both complete.
        other = self.copy("series", whole=False)
        self.shards(other, index=False)
        self.shards(other, count=3, index=False)
        self.refuse(1, "holds 2 checkpoints: model-00001-of-00002.safetensors and model-00001-of-00003.safetensors", "inspect", other)

    @unittest.skipIf(torch is None, "torch.save writes the files")
    def test_pytorch(self):
        folder = self.copy("bin", whole=False)
        state = {k: torch.from_numpy(v) for k, v in tiny.weights().items()}
        names = sorted(state)
        files = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
        for i, file in enumerate(files):
            torch.save({n: state[n] for n in names[i::2]}, folder / file)
        wanted = self.logits(self.model)
        for name in (folder, folder / files[1]):
            self.same(self.logits(name), wanted)
        torch.save({n: w * 2 for n, w in state.items()}, folder / "pytorch_model.bin")
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {n: files[i % 2] for i, n in enumerate(names)}}))
        self.refuse(1, r"pytorch_model.bin.index.json and pytorch_model.bin; name one", "inspect", folder)
        self.same(self.logits(folder, "--file", "pytorch_model.bin.index.json"), wanted)
        # By content, whatever the name.
        lightning = self.copy("lightning", whole=False)
        torch.save({"epoch": 3, "state_dict": state}, lightning / "last.ckpt")
        self.same(self.logits(lightning, "--file", "last.ckpt"), wanted)
        self.refuse(1, r"holds neither .* but last.ckpt; name it, as in last.ckpt \(--file\)", "inspect", lightning)
        torch.save(state, self.path("alone.ckpt"))
        self.refuse(1, r"alone.ckpt: there is no config.json beside it, which a PyTorch checkpoint needs",
                    *self.command(self.path("alone.ckpt")))

    def test_spellings_in_an_index(self):
        wanted = self.logits(self.model)
        for i, (prefix, there) in enumerate({"./": True, "weights/.././": True, "../": False, "/": False}.items()):
            with self.subTest(prefix=prefix):
                folder = self.copy(f"index-{i}", whole=False)
                self.shards(folder, prefix=prefix)
                if there:
                    self.same(self.logits(folder), wanted)
                else:
                    self.refuse(1, "which is not in the index's folder", "inspect", folder)
        folder = self.copy("below", whole=False)
        (folder / "weights").mkdir()
        self.shards(folder, prefix="weights/")
        for file in folder.glob("model-*"):
            file.rename(folder / "weights" / file.name)
        self.same(self.logits(folder), wanted)

    # Split GGUFs.
    def test_split_gguf(self):
        wanted = self.logits(GGUF)
        folder = self.path("split")
        parts = split_gguf(GGUF, folder, "m", 3)
        for name in (folder, *parts):
            self.same(self.logits(name), wanted)
        self.same(self.logits(folder, "--file", parts[2].name), wanted)
        self.assertIn("19,386 parameters", self.succeed("inspect", parts[1]))
        self.succeed("export", folder, "-o", self.path("export"), "--dtype", "f32")
        self.same(self.logits(self.path("export")), self.logits(parts[0]))
        shutil.copy(GGUF, folder / "mmproj-m.gguf")  # an image tower by its name
        self.same(self.logits(folder), wanted)
        shutil.copy(GGUF, folder / "whole.gguf")
        self.refuse(1, "holds 2 GGUF files: m-00001-of-00003.gguf and whole.gguf", "inspect", folder)
        parts[1].rename(folder / "kept")
        for name in (parts[0], parts[2]):
            self.refuse(1, "is one of 3 parts, and beside it m-00002-of-00003.gguf is missing", "inspect", name)
        (folder / "kept").rename(folder / "m2.gguf")
        self.refuse(1, r"m2.gguf is one of 3 parts, but is not called NAME-00001-of-00003.gguf", "inspect", folder / "m2.gguf")

    def test_parts_of_another_model(self):
        for split in (dict(split_no=0), dict(split_count=2), dict(split_tensors_count=7)):
            with self.subTest(split=split):
                folder = self.path("-".join(split))
                parts = split_gguf(GGUF, folder, "m", 3)
                strange = split_gguf(GGUF, self.path("strange"), "m", 3, **split)
                shutil.copy(strange[1], parts[1])
                self.refuse(1, "m-00002-of-00003.gguf is no part of the same model as .*m-00001-of-00003.gguf", "inspect", parts[0])
        folder = self.path("counts")
        parts = split_gguf(GGUF, folder, "m", 3, split_tensors_count=37)
        self.refuse(1, "hold 36 tensors, but split.tensors.count says 37", "inspect", parts[0])

    # What is no model.
    def test_adapter_as_model(self):
        folder = self.path("lora")
        folder.mkdir()
        tiny.write_safetensors(folder / "adapter_model.safetensors", {"base_model.model.x.lora_A.weight": np.zeros((1, 2), np.float32)})
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"}))
        for command in (("inspect", folder), self.command(folder), ("inspect", folder / "adapter_model.safetensors"),
                        ("report", folder, "-o", self.path("report")), ("export", folder, "-o", self.path("export"), "--dtype", "f32")):
            self.refuse(1, r"lora holds an adapter, not a model: give the model that it was trained on \(org/base\), and this as its "
                        r"adapter \(--adapter\)", *command)

    def test_docs_name_every_option_of_peft(self):
        table = (ROOT / "docs/formats.md").read_text().split("## LoRA adapters")[1].split("## Export")[0]
        for option in json.loads((ROOT / "tests/golden/io/adapters/options.json").read_text()):
            self.assertIn(f"`{option}`", table)

    def test_what_servers_send(self):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
        page = b"\n  <!DOCTYPE HTML><html><head><title>404</title></head></html>\n" * 5
        every = (WHOLE, "pytorch_model.bin", "m.gguf", "m.ckpt", INDEX, "adapter_config.json", "config.json", "tokenizer.json", "a.npz")
        for what, content, files in (("pointer of Git LFS", pointer, every), ("HTML page", page, every[:2]),
                                     ("compressed with gzip", b"\x1f\x8b\x08" + b"\0" * 40, every[1:2])):
            for i, file in enumerate(files):
                with self.subTest(what=what, file=file):
                    folder = self.copy(f"{what.split()[0]}-{i}", whole=file in ("config.json", "tokenizer.json"))
                    (folder / file).write_bytes(content)
                    named = (folder,) if file in (WHOLE, "pytorch_model.bin", "m.gguf", INDEX) else (folder, "--file", file)
                    other = {"adapter_config.json": ("inspect", self.model, "--adapter", folder), "config.json": ("inspect", folder),
                             "tokenizer.json": ("tokenize", folder, "--text", "x"),
                             "a.npz": ("compare-layers", folder / file, folder / file)}
                    command = other.get(file, ("inspect", *named))
                    self.refuse(1, f"{file}.* is (a |an )?{what}", *command)

    def test_only_regular_files(self):
        fifo, folder = self.path("fifo"), self.path("directory")
        os.mkfifo(fifo)
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            self.addCleanup(os.chdir, os.getcwd())
            os.chdir(self.dir)  # a socket's address is short
            listener.bind("a.socket")
            kinds = {"a FIFO": fifo, "a character device": pathlib.Path("/dev/zero"), "a socket": self.dir / "a.socket",
                     "a directory": folder}
            for what, path in kinds.items():
                every = (WHOLE, "config.json", "tokenizer.json", "model-00001-of-00001.safetensors", INDEX)
                for file in every if what == "a FIFO" else every[:2]:
                    with self.subTest(what=what, file=file):
                        model = self.copy(f"{what.replace(' ', '-')}-{file}", whole=file in ("config.json", "tokenizer.json"))
                        (model / file).unlink(missing_ok=True)
                        (model / file).symlink_to(path)
                        command = ("tokenize", model, "--text", "x") if file == "tokenizer.json" else ("inspect", model)
                        self.refuse(1, f"{file}: it is {what}, not a regular file", *command, timeout=20)
                if what not in ("a FIFO", "a character device"):
                    continue
                link = self.path(what.replace(" ", "-"))
                for end in ("", ".gguf", ".safetensors", ".bin", ".npz"):
                    name = link.with_name(link.name + "-as" + end)
                    name.symlink_to(path)
                    command = ("compare-layers", name, name) if end == ".npz" else ("inspect", name)
                    self.refuse(1, f"it is {what}", *command, timeout=20)
                    self.refuse(1, f"it is {what}", "tokenize", name, "--text", "x", timeout=20)
                for file in ("adapter_config.json", "adapter_model.safetensors"):
                    lora = self.path(f"{link.name}-{file}")
                    lora.mkdir()
                    (lora / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 1}')
                    (lora / file).unlink(missing_ok=True)
                    (lora / file).symlink_to(path)
                    self.refuse(1, f"{file}: it is {what}", "inspect", self.model, "--adapter", lora, timeout=20)

    # Files that change while they are read.
    def changed(self, change, model, file, *more):
        """What capture says when `file` changes after it was mapped and before its weights are read."""
        out = self.path("changed.npz")
        command = ("capture", model, "--prompt-file", "-", "--points", "logits", "--force", "-o", out, *more)
        process = subprocess.Popen([PROGRAM, *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        maps = pathlib.Path(f"/proc/{process.pid}/maps")
        deadline = time.time() + 60
        while str(file) not in maps.read_text() and time.time() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        change(file)
        stdout, stderr = process.communicate("the ship", timeout=60)
        return process.returncode, stderr, out

    def test_files_that_change(self):
        def cut(file):
            os.truncate(file, 4096)

        def empty(file):
            os.truncate(file, 0)

        def grow(file):
            with open(file, "ab") as f:
                f.write(b"x")

        def overwrite(file):
            content = file.read_bytes()
            with open(file, "r+b") as f:
                f.write(content)

        def replace(file):
            shutil.copy(file, file.with_name("new"))
            os.replace(file.with_name("new"), file)

        kinds = {"one": lambda folder: folder / WHOLE, "shards": lambda folder: folder / self.shards(folder)[1]}
        for kind, file_of in kinds.items():
            for change, said in ((cut, "was cut short"), (empty, "was cut short"), (grow, "has grown"), (overwrite, "was written to"),
                                 (replace, "was replaced")):
                with self.subTest(kind=kind, change=change.__name__):
                    folder = self.copy(f"{kind}-{change.__name__}", whole=kind == "one")
                    file = file_of(folder)
                    code, stderr, out = self.changed(change, folder, file)
                    self.assertEqual((code, stderr.count("\n")), (1, 1), stderr)
                    self.assertRegex(stderr, rf"outliers: error: .*{file.name} {said} by another program while it was read")
                    self.assertFalse(out.exists())
                    self.assertEqual([p.name for p in out.parent.iterdir() if "partial" in p.name], [])
        # What was removed is still there for who has it open.
        folder = self.copy("removed")
        self.assertEqual(self.changed(os.unlink, folder, folder / WHOLE)[:2], (0, ""))

    def test_adapter_that_changes(self):
        lora = self.path("lora")
        lora.mkdir()
        name = "base_model.model.model.layers.0.mlp.up_proj.lora_{}.weight"
        tensors = {name.format("A"): np.zeros((2, tiny.D), np.float32), name.format("B"): np.zeros((tiny.F, 2), np.float32)}
        tiny.write_safetensors(lora / "adapter_model.safetensors", tensors)
        (lora / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}')
        file = lora / "adapter_model.safetensors"
        code, stderr, _ = self.changed(lambda path: os.truncate(path, 0), self.model, file, "--adapter", lora)
        self.assertEqual(code, 1)
        self.assertRegex(stderr, "adapter_model.safetensors was cut short")


if __name__ == "__main__":
    main()
