#!/usr/bin/env python3
"""A limit on memory from end to end: the same numbers from disk, each weight byte read once, one line where it cannot be."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import PROGRAM, ROOT, ProgramTest, full_disk, main, run  # noqa: E402

CORPUS = "The ship sailed on. The sea was calm, and the crew slept.\n"
WORDS = "the sea was calm and the crew slept. "


@unittest.skipIf(os.environ.get("OUTLIERS_SANITIZE"), "a sanitizer's own memory is many times the program's")
class SizeTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.corpus = cls.dir / "corpus.txt"
        cls.corpus.write_text(CORPUS * 4000)
        cls.words = cls.dir / "words.txt"
        cls.words.write_text(WORDS * 8000)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def options(self, out, *more, model=None, sequences=1000, tokens=40):
        return ("report", model or self.model, "-o", self.dir / out, "--sequences", sequences, "--tokens", tokens, "--no-figures",
                "--corpus", self.corpus if model is None else self.words, *(("--prompt", "warm.") if model else ()), *more)

    def needed(self, *command):
        """What the program says it needs at least, in bytes: with everything on disk and one sequence at a time."""
        message = self.refuse(1, r"1 MB of memory are too few to run .* in float32: .* are needed", *command, "--memory", "1MB")
        number, unit = re.search(r": ([\d.]+) ([MG]B) are needed", message).groups()
        return float(number) * {"MB": 1e6, "GB": 1e9}[unit]

    def read(self, out):
        return json.loads((self.dir / out / "results.json").read_text()), dict(np.load(self.dir / out / "arrays.npz"))

    def timeless(self, results):
        for field in ("seconds", "first_product_seconds", "peak_host_bytes", "memory_limit_bytes", "spilled_bytes"):
            results["run"].pop(field, None)
        return results

    def test_gives_the_same_numbers(self):
        """Families of other builds, one with experts that all tokens share; the tiny model's corpus does not fit."""
        models = [None]
        for name in ("gpt2_tied", "gemma3_caps", "mixtral_experts", "qwen2_moe_mixed"):
            folder = self.dir / name
            folder.mkdir()
            for file in ("config.json", "model.safetensors"):
                shutil.copy(ROOT / "tests/golden/models" / name / file, folder)
            (folder / "tokenizer.json").write_text(json.dumps(tiny.letters()))
            models.append(folder)
        for model in models:
            name = model.name if model else "tiny"
            with self.subTest(name):
                size = {} if model is None else {"sequences": 6000, "tokens": 8}
                self.compare_limited(name, lambda out: self.options(out, model=model, **size))

    def test_gives_the_same_numbers_of_images(self):
        folder = self.dir / "dinov2"
        folder.mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(ROOT / "tests/golden/models/dinov2_with_registers_shrunk" / file, folder)
        np.save(folder / "images.npy", np.random.default_rng(4).standard_normal((700, 3, 28, 28), np.float32))
        self.compare_limited("images", lambda out: ("report", folder, "-o", self.dir / out, "--images", folder / "images.npy",
                                                    "--sequences", 700, "--no-figures"))

    def compare_limited(self, name, command):
        self.succeed(*command(name + ".free"))
        # Room for the chunks of a run without a limit, but not for what waits on disk.
        limit = int(self.needed(*command(name + ".bound")) + 7e6)
        self.succeed(*command(name + ".bound"), "--memory", limit)
        (free, free_arrays), (bound, bound_arrays) = self.read(name + ".free"), self.read(name + ".bound")
        self.assertEqual(bound["run"]["memory_limit_bytes"], limit)
        self.assertGreater(bound["run"]["spilled_bytes"], 1e7)
        self.assertLessEqual(bound["run"]["peak_host_bytes"], limit)
        self.assertNotIn("spilled_bytes", free["run"])
        self.assertEqual(self.timeless(free), self.timeless(bound))
        self.assertEqual(free_arrays.keys(), bound_arrays.keys())
        for array in free_arrays:
            np.testing.assert_array_equal(free_arrays[array], bound_arrays[array], array)

    def test_a_gpu_keeps_to_the_limit(self):
        command = self.options("gpu", "--device", "cuda", sequences=100)
        result = run(*command)
        if result.returncode != 0 and "CUDA" in result.stderr:
            self.skipTest(result.stderr.strip())
        command += ("--force",)
        least = int(self.needed(*command))
        self.succeed(*command, "--memory", least)
        self.assertLessEqual(self.read("gpu")[0]["run"]["peak_host_bytes"], least)

    def test_captures_the_same_points(self):
        command = ("capture", self.model, "--prompt", "x" * 60, "--points", "layer.*.resid_out,logits")
        self.succeed(*command, "-o", self.dir / "free.npz")
        self.succeed(*command, "-o", self.dir / "bound.npz", "--memory", "4GiB")
        free, bound = np.load(self.dir / "free.npz"), np.load(self.dir / "bound.npz")
        for point in free.files:
            np.testing.assert_array_equal(free[point], bound[point], point)
        self.refuse(1, "1 MB of memory are too few", *command, "-o", self.dir / "none.npz", "--memory", "1MB")
        self.assertFalse((self.dir / "none.npz").exists())

    def test_a_large_limit_changes_nothing(self):
        self.succeed(*self.options("large", "--memory", "1TiB", sequences=3))
        results, _ = self.read("large")
        self.assertEqual(results["run"]["memory_limit_bytes"], 1 << 40)
        self.assertEqual(results["run"]["spilled_bytes"], 0)

    def test_sizes(self):
        for text, size in (("16GiB", 16 << 30), ("6GB", 6 * 10**9), ("1.5gib", 3 << 29), ("900 MiB", 900 << 20), ("2000000000", 2 * 10**9),
                           ("2T", 2 << 40)):
            with self.subTest(text):
                self.succeed(*self.options("sizes", "--memory", text, "--force", sequences=1))
                self.assertEqual(self.read("sizes")[0]["run"]["memory_limit_bytes"], size)
        for text in ("GiB", "6QB", "-6GB", "0", "six", "1e400", "nan", "6GB6"):
            with self.subTest(text):
                self.refuse(2, r"--memory: '.*' is no size; write a number with its unit, as in 16GiB or 6GB",
                            *self.options("none", f"--memory={text}"))
        self.assertFalse((self.dir / "none").exists())
        self.assertRegex(self.succeed("report", "--help"), r"--memory SIZE.*no limit")

    def test_too_small(self):
        message = self.refuse(1,
                              r"of which [\d.]+ MB are the weights of layer 0, .* raise the limit, or take a 16-bit dtype or fewer tokens "
                              r"\(--memory, --dtype, --tokens\)",
                              *self.options("none", "--memory", "2MB"))
        self.assertIn("one sequence of 40 tokens", message)
        self.assertFalse((self.dir / "none").exists())

    def test_reads_each_byte_once(self):
        self.succeed(*self.options("once", sequences=3), "--no-lifecycle")
        results, arrays = self.read("once")
        rows = np.unique(np.concatenate([arrays["corpus.ids"].flatten(), reading.the_input(results, "prompt")["ids"]])).size
        layers = sum(w.nbytes for name, w in tiny.weights().items() if ".layers." in name)
        head = sum(tiny.weights()[name].nbytes for name in ("model.norm.weight", "lm_head.weight"))  # the prompt's logits
        self.assertEqual(results["run"]["weight_bytes_read"], layers + rows * tiny.D * 4 + head)
        self.succeed(*self.options("without", sequences=3), "--measures", "activations")
        self.assertEqual(self.read("without")[0]["run"]["weight_bytes_read"], layers + rows * tiny.D * 4)
        # The life cycle is a second run, of the prompt and a few tokens of the corpus, which is shorter than what it takes of one.
        self.succeed(*self.options("twice", sequences=3))
        self.assertEqual(self.read("twice")[0]["run"]["weight_bytes_read"], 2 * (layers + rows * tiny.D * 4) + head)

    def test_full_disk(self):
        least = self.needed(*self.options("none"))
        before = sorted(p.name for p in self.dir.iterdir())
        self.refuse(1, f"does not fit the memory cannot be written to {re.escape(str(self.dir))}: File too large; "
                    "free some space, name another",
                    *self.options("none", "--memory", str(int(least + 1e6))), preexec_fn=lambda: full_disk(1 << 20),
                    env={name: value for name, value in os.environ.items() if name != "TMPDIR"})
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before)

    def test_goes_where_tmpdir_says(self):
        least = self.needed(*self.options("none"))
        self.refuse(1, r"cannot write to /proc/nowhere: .*; name a directory for what does not fit the memory by TMPDIR",
                    *self.options("none", "--memory", str(int(least + 1e6))), env={**os.environ, "TMPDIR": "/proc/nowhere"})

    def test_interrupt_leaves_no_file(self):
        least = self.needed(*self.options("none", sequences=3000))
        before = sorted(p.name for p in self.dir.iterdir())
        process = subprocess.Popen([PROGRAM, *map(str, self.options("none", "--memory", str(int(least + 1e6)), sequences=3000))],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        spilled = False
        while process.poll() is None and not spilled:
            try:
                links = [os.readlink(link) for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()]
            except OSError:
                continue
            spilled = any(".outliers-spill-" in link and link.endswith("(deleted)") for link in links)
            time.sleep(0.01)
        self.assertTrue(spilled, process.poll())
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(stderr, "outliers: error: interrupted; nothing was written\n")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before)


if __name__ == "__main__":
    main()
