#!/usr/bin/env python3
"""Bad input from end to end: one line that says what and where, the right exit code, and nothing left behind."""
import os
import pathlib
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ProgramTest, full_disk, main  # noqa: E402


class BadInputTest(ProgramTest):
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

    def report(self, model=None, out="out", *more):
        return ("report", model or self.model, "-o", self.dir / out, "--sequences", 2, "--tokens", 16, "--corpus", self.corpus, *more)

    def refuse_report(self, pattern, *arguments, code=1, **options):
        before = sorted(p.name for p in self.dir.iterdir())
        message = self.refuse(code, pattern, *arguments, **options)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before, "something was left behind")
        return message

    # Usage.
    def test_unknown_option_names_the_nearest(self):
        self.refuse(2, r"unknown option --promt; did you mean --prompt\?", *self.report(), "--promt", "x")

    def test_unknown_command_names_the_nearest(self):
        self.refuse(2, r"unknown command reprot; did you mean report\?", "reprot")

    def test_no_command_or_model_or_output(self):
        self.refuse(2, "no command given")
        self.refuse(2, "MODEL", "report", "-o", self.dir / "out")
        self.refuse(2, "--output", "report", self.model)

    def test_wrong_values(self):
        for option, value, name in (("--bos", "sometimes", "--bos"), ("--dtype", "float8", "--dtype"), ("--sequences", "0", "--sequences"),
                                    ("--tokens", "-4", "--tokens"), ("--tokens", "many", "--tokens"), ("--seed", "-1", "--seed"),
                                    ("--threads", "-1", "--threads"), ("--device", "tpu!", "--device")):
            with self.subTest(option=option, value=value):
                self.refuse_report(name, "report", self.model, "-o", self.dir / "out", option, value, code=2)

    # What is no model.
    def test_no_such_file(self):
        self.refuse_report(r"no-such-model", *self.report(self.dir / "no-such-model.gguf"))

    def test_directory_without_a_checkpoint(self):
        empty = self.dir / "empty-directory"
        empty.mkdir(exist_ok=True)
        self.refuse_report(r"empty-directory.*safetensors", *self.report(empty))

    def test_files_that_are_no_checkpoint(self):
        noise = random.Random(1)
        for name, content in (("empty.gguf", b""), ("empty.safetensors", b""), ("random.gguf", noise.randbytes(4096)),
                              ("random.safetensors", noise.randbytes(4096)), ("text.gguf", b"This is not a model.\n" * 50),
                              ("version.gguf", b"GGUF" + struct.pack("<IQQ", 99, 0, 0)),
                              ("counts.gguf", b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62)),
                              ("length.safetensors", struct.pack("<Q", 2**63) + b"{}"),
                              ("json.safetensors", struct.pack("<Q", 8) + b"{\"a\": [[")):
            with self.subTest(name=name):
                path = self.dir / name
                path.write_bytes(content)
                self.refuse_report(name, *self.report(path))
                self.refuse(1, name, "inspect", path)

    def test_truncated_weights(self):
        whole = (self.model / "model.safetensors").read_bytes()
        for size in (4, 9, 300, len(whole) // 2, len(whole) - 1):
            with self.subTest(size=size):
                directory = tiny.write_model(self.dir / f"cut-{size}")
                (directory / "model.safetensors").write_bytes(whole[:size])
                self.refuse_report("model.safetensors", *self.report(directory))

    def test_unknown_family(self):
        model = tiny.write_model(self.dir / "family",
                                 change_config=lambda c: c.update(model_type="griffin", architectures=["GriffinForCausalLM"]))
        message = self.refuse_report("griffin", *self.report(model))
        for known in ("llama", "qwen2", "gemma3"):
            self.assertIn(known, message)

    def test_all_wrong_tensors_in_one_message(self):
        def change(w):
            del w["model.layers.2.mlp.up_proj.weight"]
            w["model.layers.1.self_attn.q_proj.weight"] = np.zeros((3, 5), np.float32)
            w["model.layers.0.mlp.extra_proj.weight"] = np.zeros((2, 2), np.float32)
        message = self.refuse_report("up_proj", *self.report(tiny.write_model(self.dir / "tensors", change)))
        self.assertRegex(message, r"model\.layers\.2\.mlp\.up_proj\.weight")
        self.assertRegex(message, r"model\.layers\.1\.self_attn\.q_proj\.weight.*3.*5")
        self.assertRegex(message, r"model\.layers\.0\.mlp\.extra_proj\.weight")

    def test_config(self):
        for name, text in (("no-json", "{"), ("no-object", "[]"), ("no-layers", "{\"model_type\": \"llama\"}")):
            with self.subTest(name=name):
                model = tiny.write_model(self.dir / name)
                (model / "config.json").write_text(text)
                self.refuse_report("config.json", *self.report(model))
        model = tiny.write_model(self.dir / "no-config")
        (model / "config.json").unlink()
        self.refuse_report("config.json", *self.report(model))
        for field, value in (("num_hidden_layers", -1), ("num_hidden_layers", 10**12), ("hidden_size", 0), ("num_attention_heads", 0),
                             ("num_key_value_heads", 3), ("rope_scaling", {"rope_type": "spiral", "factor": 2.0})):
            with self.subTest(field=field):
                model = tiny.write_model(self.dir / f"config-{field}-{abs(hash(str(value)))}",
                                         change_config=lambda c: c.update({field: value}))
                self.refuse_report(".", *self.report(model))

    def test_tokenizer(self):
        model = tiny.write_model(self.dir / "tokenizer")
        (model / "tokenizer.json").write_text("{\"model\": 3")
        self.refuse_report("tokenizer", *self.report(model))
        (model / "tokenizer.json").unlink()
        self.refuse_report("tokenizer", *self.report(model))

    # What is no text.
    def test_empty_prompt(self):
        self.refuse_report("prompt is empty", *self.report(), "--prompt", "")

    def test_corpus(self):
        for name, content, pattern in (("none.txt", b"", "none.txt"), ("short.txt", b"Hello", "short.txt|window"),
                                       ("bad.jsonl", b"{\"text\": \"a\"}\n{\"text\": ", "bad.jsonl.*2"),
                                       ("bad.jsonl.gz", b"no gzip", "bad.jsonl.gz"),
                                       ("fields.jsonl", b"{\"title\": \"x\", \"body\": \"y\"}",
                                        r"name one of its fields: body, title \(--text-field\)")):
            with self.subTest(name=name):
                path = self.dir / name
                path.write_bytes(content)
                self.refuse_report(pattern, "report", self.model, "-o", self.dir / "out", "--sequences", 2, "--tokens", 16, "--corpus",
                                   path)
        self.refuse_report("missing.txt", "report", self.model, "-o", self.dir / "out", "--corpus", self.dir / "missing.txt")

    def test_more_tokens_than_positions(self):
        self.refuse_report(f"{tiny.POSITIONS} positions", "report", self.model, "-o", self.dir / "out", "--tokens", tiny.POSITIONS + 1)
        self.refuse_report(f"{tiny.POSITIONS} positions", *self.report(), "--prompt", "x" * 200)

    # Where it cannot be written.
    def test_output_exists(self):
        out = self.dir / "exists"
        self.succeed(*self.report(None, "exists"))
        before = (out / "results.json").read_bytes()
        self.refuse_report("exists already.*--force", *self.report(None, "exists"))
        self.assertEqual((out / "results.json").read_bytes(), before)
        self.succeed(*self.report(None, "exists"), "--force", "--prompt", "Another one.")
        self.assertNotEqual((out / "results.json").read_bytes(), before)

    def test_force_spares_what_is_no_report(self):
        home = self.dir / "home"
        home.mkdir()
        (home / "thesis.tex").write_text("years of work")
        self.refuse_report("results.json", *self.report(None, "home"), "--force")
        self.assertTrue((home / "thesis.tex").exists())

    def test_output_that_cannot_be_made(self):
        self.refuse_report("cannot", "report", self.model, "-o", "/proc/outliers", "--corpus", self.corpus)
        (self.dir / "plain-file").write_text("")
        self.refuse_report("cannot", *self.report(None, "plain-file/out"))

    def test_full_disk(self):
        self.refuse_report("cannot write", *self.report(), preexec_fn=full_disk)

    def test_interrupt(self):
        before = sorted(p.name for p in self.dir.iterdir())
        process = subprocess.Popen([PROGRAM, *map(str, ("report", self.model, "-o", self.dir / "out", "--corpus", "/dev/stdin"))],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(2)  # it waits for the corpus now
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)  # nothing more comes from there
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(stderr, "outliers: error: interrupted; nothing was written\n")
        self.assertEqual(stdout, "")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before)

    @unittest.skipIf(os.environ.get("OUTLIERS_SANITIZE") == "address", "AddressSanitizer reserves terabytes of address space")
    def test_no_memory(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        huge = tiny.write_model(self.dir / "positions", change_config=lambda c: c.update(max_position_embeddings=1 << 20))
        text = self.dir / "long.txt"
        text.write_text("a b c d e f g h " * 65536)
        before = sorted(p.name for p in self.dir.iterdir())
        done = subprocess.run([PROGRAM, "report", str(huge), "-o", str(self.dir / "out"), "--corpus", str(text), "--sequences", "1",
                               "--tokens", str(1 << 19), "--threads", "1"], capture_output=True, text=True, preexec_fn=limit, timeout=300)
        if done.returncode == 127 or "error while loading shared libraries" in done.stderr:
            self.skipTest("the libraries alone need more than the limit")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"\Aoutliers: error: .*memory.*\n\Z")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before)


if __name__ == "__main__":
    main()
