#!/usr/bin/env python3
"""inspect and tokenize from end to end on the tiny model."""
import json
import pathlib
import struct
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from command_case import CommandTest  # noqa: E402
from program import ROOT, main, run  # noqa: E402


class InspectTest(CommandTest):
    def test_inspect_counts_experts(self):
        stdout = self.succeed("inspect", ROOT / "tests/golden/models/qwen2_moe_mixed/model.safetensors")
        self.assertIn("E 4, k 2 of them for a token; Fe 18 neurons, Fs 14 of the shared one; in 1 of 2 layers", stdout)

    def test_text(self):
        stdout = self.succeed("inspect", self.model)
        parameters = sum(w.size for w in tiny.weights().values())
        for pattern in (r"model +tiny\n", rf"family +llama, {parameters:,} parameters, 190 kB in safetensors\n",
                        rf"L {tiny.L} layers, D {tiny.D} width, F {tiny.F} MLP width, V {tiny.BOS + 1} "
                        rf"vocabulary, {tiny.POSITIONS} positions\n",
                        rf"{tiny.H} heads, {tiny.HK} key/value heads, width {tiny.WIDTH}, rotary base 10000\n",
                        r"MLP +silu with a gate, RMS norm, epsilon 1e-05\n", r"tokenizer +byte-level BPE, 256 \+ 1 tokens\n",
                        rf"special +bos <\|bos\|> \({tiny.BOS}\)\n", r"encodings +F32 \(39 tensors, 190 kB\)\n",
                        rf"model\.layers\.0\.mlp\.down_proj\.weight +{tiny.D} x {tiny.F} +F32 +6\.14 kB\n"):
            self.assertRegex(stdout, pattern)

    def test_json(self):
        weights = tiny.weights()
        for path in (self.model, self.model / "model.safetensors"):
            description = json.loads(self.succeed("inspect", path, "--json"))
            self.assertEqual({t["name"]: (tuple(t["shape"]), t["encoding"], t["bytes"]) for t in description["tensors"]},
                             {name: (w.shape, "F32", w.nbytes) for name, w in weights.items()})
            model = description["model"]
            self.assertEqual((model["family"], model["layers"], model["width"], model["heads"], model["kv_heads"], model["head_width"],
                              model["mlp_width"], model["vocabulary"], model["positions"]),
                             ("llama", tiny.L, tiny.D, tiny.H, tiny.HK, tiny.WIDTH, tiny.F, tiny.BOS + 1, tiny.POSITIONS))
            self.assertEqual(model["parameters"], sum(w.size for w in weights.values()))
            self.assertEqual(model["weight_bytes"], sum(w.nbytes for w in weights.values()))
            self.assertEqual(description["traits"]["norm_epsilon"], 1e-5)
            self.assertEqual(description["traits"]["rotary"], [{"base": 10000.0, "width": tiny.WIDTH, "scaling": "none", "factor": 1.0}])
            self.assertEqual(description["tokenizer"]["special_tokens"], [{"id": tiny.BOS, "text": "<|bos|>", "role": "bos"}])
            self.assertNotIn("problem", description)

    def test_unknown_family_still_lists_tensors(self):
        model = tiny.write_model(self.dir / "family",
                                 change_config=lambda c: c.update(model_type="griffin", architectures=["GriffinForCausalLM"]))
        done = run("inspect", model)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Aoutliers: error: .*griffin.*llama.*\n\Z")
        self.assertRegex(done.stdout, r"model\.layers\.3\.mlp\.up_proj\.weight +48 x 32 +F32 ")
        done = run("inspect", model, "--json")
        self.assertEqual(done.returncode, 1)
        description = json.loads(done.stdout)
        self.assertEqual(len(description["tensors"]), len(tiny.weights()))
        self.assertIn("griffin", description["problem"])
        self.assertNotIn("model", description)

    def test_names_that_a_terminal_would_obey(self):
        def change(w):
            w["evil\x1b[2J\nname"] = np.zeros(3, np.float32)
        done = run("inspect", tiny.write_model(self.dir / "evil", change))
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"evil\\x1b\[2J\\nname +3 +F32")
        # The names in a GGUF are any bytes.
        name = b"\xff\xfe\x1b"
        header = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, 8, 0, 0)
        path = self.dir / "bytes.gguf"
        path.write_bytes(header + bytes(-len(header) % 32) + bytes(32))
        done = run("inspect", path, "--json")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(json.loads(done.stdout)["tensors"][0]["name"], "\ufffd\ufffd\x1b")
        self.assertIn(r"\xff\xfe\x1b", run("inspect", path).stdout)

    def test_no_checkpoint(self):
        for path in (self.dir / "missing.gguf", self.dir / "missing"):
            done = run("inspect", path)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, rf"\Aoutliers: error: no such file or directory: {path}\n\Z")
        self.refuse(2, "MODEL is required", "inspect")


class TokenizeTest(CommandTest):
    def tokenize(self, *more, **options):
        return json.loads(self.succeed("tokenize", self.model, "--json", *more, **options))

    def test_sources_of_text(self):
        text = "A\u00e9 1\n"
        wanted = [tiny.BOS, *text.encode()]
        path = self.dir / "text.txt"
        path.write_text(text)
        self.assertEqual(self.tokenize("--text", text)["ids"], wanted)
        self.assertEqual(self.tokenize("--file", path)["ids"], wanted)
        self.assertEqual(self.tokenize("--file", "-", text_in=text)["ids"], wanted)
        self.assertEqual(self.tokenize(text_in=text)["ids"], wanted)
        self.refuse(2, "--text excludes --file", "tokenize", self.model, "--text", text, "--file", path)
        self.refuse(1, "cannot read .*missing.txt: No such file", "tokenize", self.model, "--file", self.dir / "missing.txt")
        self.refuse(1, f"cannot read {self.dir}: .*directory", "tokenize", self.model, "--file", self.dir)

    def test_json(self):
        result = self.tokenize("--text", "h\u00e9 \n")
        self.assertEqual(result["pieces"], ["<|bos|>", "h", "\u00c3", "\u00a9", "\u0120", "\u010a"])
        self.assertEqual(result["tokens"], ["<|bos|>", "h", "\\xc3", "\\xa9", " ", "\\n"])

    def test_table(self):
        self.assertEqual(self.succeed("tokenize", self.model, "--text", "a b"),
                         "token   id  piece    text\n    0  256  <|bos|>  \"<|bos|>\"\n    1   97  a        \"a\"\n"
                         "    2   32  \u0120        \" \"\n    3   98  b        \"b\"\n")

    def test_bos(self):
        for policy, first in (("model", [tiny.BOS]), ("always", [tiny.BOS]), ("never", [])):
            self.assertEqual(self.tokenize("--bos", policy, "--text", "ab")["ids"], first + [97, 98])
            self.assertEqual(self.tokenize("--bos", policy, "--text", "")["ids"], first)
        self.assertEqual(self.tokenize("--bos", "always", "--text", "<|bos|>a")["ids"], [tiny.BOS, 97])
        self.refuse(2, "--bos", "tokenize", self.model, "--bos", "often", "--text", "a")

    def test_invalid_utf8(self):
        # As Python's errors="replace" does: one U+FFFD for a stray byte, one for a character cut short.
        text = b"a\xffb\xe2\x82"
        wanted = list(text.decode(errors="replace").encode())
        self.assertEqual(wanted.count(0xEF), 2)
        path = self.dir / "invalid.txt"
        path.write_bytes(text)
        self.assertEqual(self.tokenize("--bos", "never", "--file", path)["ids"], wanted)
        self.assertEqual(self.tokenize("--bos", "never", text_in=text.decode(errors="surrogateescape"), errors="surrogateescape")["ids"],
                         wanted)
        self.assertEqual(self.tokenize("--bos", "never", "--text", text)["ids"], wanted)

    def test_no_tokenizer(self):
        model = tiny.write_model(self.dir / "mute")
        (model / "tokenizer.json").unlink()
        self.refuse(1, "no tokenizer", "tokenize", model, "--text", "x")

    def test_what_stands_beside(self):
        model = tiny.write_model(self.dir / "beside")
        config = model / "tokenizer_config.json"
        config.write_text('{"model_max_length": 1000000000000000019884624838656, "x": [NaN, -Infinity], '
                          '"add_bos_token": false, "pad_token": "[PAD]"}')
        new = len(tiny.tokenizer()["model"]["vocab"])
        ids = json.loads(self.succeed("tokenize", model, "--text", "a[PAD]", "--json"))["ids"]
        self.assertEqual(ids[:2], [tiny.BOS, 97])
        self.assertGreaterEqual(ids[2], new)
        adds = [line for line in self.succeed("inspect", model).splitlines() if line.startswith("adds ")]
        self.assertEqual(len(adds), 1)
        self.assertRegex(adds[0], r"adds +BOS \S+ \(\d+\), no EOS: the post-processor of tokenizer\.json decides")
        self.assertEqual([t["id"] for t in json.loads(self.succeed("inspect", model, "--json"))["tokenizer"]["adds"]["before"]], [tiny.BOS])
        config.write_text('{\n"pad_token": [PAD]}')
        self.refuse(1, r"beside/tokenizer_config\.json: this is not valid JSON: line 2, column 15", "tokenize", model, "--text", "a")
        config.write_text('{"pad_token": 5}')
        self.refuse(1, r"beside/tokenizer_config\.json: pad_token: is not a string", "tokenize", model, "--text", "a")
        config.write_text('{"tokenizer_class": "T5TokenizerFast"}')
        self.refuse(1, r"beside/tokenizer_config\.json: the tokenizer_class \"T5Tokenizer\"", "tokenize", model, "--text", "a")
        config.write_text("")
        self.refuse(1, r"beside/tokenizer_config\.json: the file is empty", "tokenize", model, "--text", "a")

    def test_without_weights(self):
        golden = pathlib.Path(__file__).resolve().parent.parent / "golden/text"
        ids = lambda *words: json.loads(self.succeed("tokenize", *words, "--json"))["ids"]
        folder = self.dir / "vocabulary"
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps(tiny.tokenizer()))
        self.assertEqual(ids(folder, "--text", "ab"), [tiny.BOS, 97, 98])
        self.assertEqual(ids(folder / "tokenizer.json", "--text", "ab"), [tiny.BOS, 97, 98])
        (folder / "tokenizer.json").unlink()
        vocabulary = {piece: i for piece, i in tiny.tokenizer()["model"]["vocab"].items() if i < 256}
        (folder / "vocab.json").write_text(json.dumps(vocabulary | {"ab": 256}))
        (folder / "merges.txt").write_text("#version: 0.2\na b\n")
        self.assertEqual(ids(folder, "--text", "abc"), [256, 99])
        (folder / "tokenizer.model").write_bytes((golden / "bpe.model").read_bytes())
        # A file for itself is sentencepiece's; in a folder AutoTokenizer makes another tokenizer of it, without prefix and BOS.
        letters = [609, 312, 611, 608, 1]
        alone, generic, llama = [1, 553, *letters], [671, *letters], [553, *letters]
        self.assertEqual(ids(golden / "bpe.model", "--text", "Hello <s>"), alone)
        self.assertEqual(ids(folder, "--text", "Hello <s>"), generic)
        config = folder / "tokenizer_config.json"
        config.write_text('{"tokenizer_class": "LlamaTokenizer"}')
        self.assertEqual(ids(folder, "--text", "Hello <s>"), llama)
        config.write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
        self.refuse(1, r'vocabulary/tokenizer_config\.json: the tokenizer_class "XLMRobertaTokenizer".*save tokenizer\.json', "tokenize",
                    folder, "--text", "x")
        (folder / "tekken.json").write_text("{}")
        self.refuse(1, r"vocabulary/tekken\.json: stands beside tokenizer\.model", "tokenize", folder, "--text", "x")
        (folder / "tekken.json").unlink()
        config.unlink()
        (folder / "tokenizer.model").write_bytes((golden / "bpe.model").read_bytes()[:5000])
        self.refuse(1, "SentencePiece model", "tokenize", folder, "--text", "x")
        self.refuse(1, "there is no tokenizer here", "tokenize", self.dir, "--text", "x")
        self.refuse(1, "no such file", "tokenize", self.dir / "nowhere", "--text", "x")


if __name__ == "__main__":
    main()
