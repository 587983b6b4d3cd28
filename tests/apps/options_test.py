#!/usr/bin/env python3
"""One spelling for one thing: options of one name are the same in every command, and take the same values."""
import json
import pathlib
import re
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import ProgramTest, main  # noqa: E402

# Of one name and another meaning, by command: said in docs/hub.md and docs/perplexity.md.
APART = {("tokenize", "--file"), *((command, name) for command in ("perplexity", "intervene") for name in ("--bos", "--corpus"))}
# What these do differs with what the command writes or reads; their values do not.
USE_DIFFERS = {"--output", "--prompt", "--dtype", "--edit", "--images", "--sequences"}
SPELLINGS = {np.float32: ("float32", "fp32", "f32", "float", "FP32"), np.uint16: ("bfloat16", "bf16", "BF16"),
             np.float16: ("float16", "fp16", "f16", "half", "Half")}


class OptionsTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")

    def commands(self):
        text = self.succeed("--help")
        return re.findall(r"^  ([a-z][a-z-]*) +\S", text[text.index("Subcommands:"):], re.M)

    def options(self, command):
        """--name -> (short form, what its value is called, help)."""
        text = self.succeed(command, "--help")
        found = {}
        for short, name, value, use in re.findall(r"^  (-\w,)?(--[\w-]+)(.*?)(?:\n +| {2,})(.*)$", text[text.index("Options:"):], re.M):
            value = re.sub(r" (REQUIRED|Excludes:.*)$", "",
                           re.split(r"[:=]", value)[0].replace(" REQUIRED", "")).split(" Excludes")[0].strip()
            found[name] = (short, value, use)
        return found

    def test_options_of_one_name_are_one(self):
        commands = self.commands()
        self.assertGreaterEqual(len(commands), 9)
        seen = {}
        for command in commands:
            for name, (short, value, use) in self.options(command).items():
                if (command, name) in APART:
                    continue
                value = "PATH" if name == "--output" else value  # a FILE of capture, a DIR of the others
                first, *known = seen.setdefault(name, (command, short, value, use))
                self.assertEqual((short, value), tuple(known[:2]), f"{name} of {first} and {command}")
                if name not in USE_DIFFERS:
                    self.assertEqual(use, known[2], f"{name} of {first} and {command}")
        for name in ("--output", "--force", "--dtype", "--bos", "--revision", "--adapter", "--json"):
            self.assertIn(name, seen)

    def test_help_shows_all_spellings_of_a_dtype(self):
        for command in ("report", "capture", "export"):
            _, value, use = self.options(command)["--dtype"]
            self.assertEqual(value, "DTYPE")
            self.assertIn("float32 (fp32, f32, float), bfloat16 (bf16) or float16 (fp16, f16, half)", use)

    def test_dtypes(self):
        for dtype, spellings in SPELLINGS.items():
            for i, name in enumerate(spellings):
                with self.subTest(name):
                    out = self.dir / f"{name}-model"
                    self.succeed("export", self.model, "-o", out, "--dtype", name)
                    written = {d for d, _ in tiny.read_safetensors(out / "model.safetensors").values()}
                    self.assertEqual(written, {{np.float32: "F32", np.uint16: "BF16", np.float16: "F16"}[dtype]})
                    self.assertEqual(json.loads((out / "outliers-export.json").read_text())["dtype"], spellings[0])
                    self.succeed("capture", self.model, "--prompt", "x", "--dtype", name, "-o", self.dir / f"{name}.npz")
                    bits = {np.float32: 24, np.uint16: 8, np.float16: 11}[dtype]
                    self.assertEqual(np.load(self.dir / f"{name}.npz")["precision"].tolist(), [bits])
                    if i == 1:  # a report takes longer
                        self.succeed("report", self.model, "-o", self.dir / f"{name}-report", "--dtype", name, "--tokens", 8, "--sequences",
                                     1, "--no-figures")
                        self.assertEqual(reading.load(self.dir / f"{name}-report")["run"]["dtype"], spellings[0])
        for command in (("export", self.model, "-o", self.dir / "x"), ("capture", self.model, "--prompt", "x", "-o", self.dir / "x.npz"),
                        ("report", self.model, "-o", self.dir / "x")):
            self.refuse(2, r"--dtype: 'int8' is no dtype; known: .*float16 \(fp16, f16, half\)", *command, "--dtype", "int8")
        self.refuse(2, "--dtype: 'auto' is no dtype", "export", self.model, "-o", self.dir / "x", "--dtype", "auto")
        for name in ("fp32", "Native", "FLOAT"):
            self.succeed("capture", self.model, "--prompt", "x", "--store", name, "--force", "-o", self.dir / "stored.npz")
        self.refuse(2, "--store", "capture", self.model, "--prompt", "x", "--store", "half", "-o", self.dir / "x.npz")

    def test_letters_of_either_case(self):
        for option, value in (("--bos", "NEVER"), ("--device", "CPU"), ("--dtype", "AUTO"), ("--memory", "16gib")):
            self.succeed("capture", self.model, "--prompt", "x", option, value, "--force", "-o", self.dir / "case.npz")

    def test_prompt_file(self):
        (self.dir / "prompt.txt").write_text("The sea was calm.")
        read = {}
        for name, more in (("a", ("--prompt", "The sea was calm.")), ("b", ("--prompt-file", self.dir / "prompt.txt")),
                           ("c", ("--prompt-file", "-"))):
            self.succeed("report", self.model, "-o", self.dir / name, "--tokens", 8, "--sequences", 1, "--no-figures", *more,
                         text_in="The sea was calm.")
            read[name] = reading.the_input(reading.load(self.dir / name), "prompt")["ids"]
        self.assertEqual(read["a"], read["b"])
        self.assertEqual(read["a"], read["c"])
        self.refuse(2, "standard input", "report", self.model, "-o", self.dir / "d", "--prompt-file", "-", "--corpus", "-")
        text = self.succeed("compare", self.dir / "a", self.dir / "b", "-o", self.dir / "both", "--json")
        self.assertEqual(json.loads(text), json.loads((self.dir / "both/comparison.json").read_text()))


if __name__ == "__main__":
    main()
