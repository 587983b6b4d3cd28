#!/usr/bin/env python3
"""capture, compare-layers, inspect and tokenize from end to end on the tiny model, against NumPy (tiny_forward.py)."""
import json
import pathlib
import struct
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
import tiny_forward  # noqa: E402
from program import ROOT, ProgramTest, full_disk, main, run  # noqa: E402

PROMPT = "The sea was calm."
IDS = [tiny.BOS, *PROMPT.encode()]
T = len(IDS)
EVERYTHING = "layer.*.*,*"


def uneven_norms(w):
    """A norm whose weights are 1 would pass without them."""
    random = np.random.default_rng(3)
    for name in w:
        if "norm" in name:
            w[name] = random.uniform(0.8, 1.2, tiny.D).astype(np.float32)


class CommandTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny", uneven_norms)
        weights = tiny.weights()
        uneven_norms(weights)
        cls.reference = tiny_forward.forward(IDS, weights)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def files(self):
        return sorted(p.name for p in self.dir.rglob("*"))

    def refuse_capture(self, pattern, *arguments, code=1, **options):
        before = self.files()
        self.refuse(code, pattern, "capture", self.model, *arguments, **options)
        self.assertEqual(self.files(), before, "something was left behind")

    def capture(self, name, *more, **options):
        """Writes the capture where it is not there yet, and returns its path."""
        path = self.dir / name
        if not path.exists():
            source = () if any(str(m).startswith(("--prompt", "--ids")) for m in more) else ("--prompt", PROMPT)
            self.succeed("capture", self.model, "-o", path, *source, *more, **options)
        return path

    def everything(self):
        return self.capture("everything.npz", "--points", EVERYTHING)

    def edited(self, name, change, source=None):
        """A capture written by NumPy: that of `source` after change(arrays)."""
        arrays = dict(np.load(source or self.everything()))
        change(arrays)
        np.savez(self.dir / name, **arrays)
        return self.dir / name

    def names(self, *points):
        path = self.dir / "names.npz"
        path.unlink(missing_ok=True)
        arrays = np.load(self.capture("names.npz", "--points", ",".join(points)))
        self.assertEqual(arrays.files[:2], ["ids", "precision"])
        return arrays.files[2:]


class CaptureTest(CommandTest):
    def check_values(self, arrays, relative=1e-5):
        for name, array in arrays.items():
            if name in ("ids", "precision"):
                continue
            wanted = self.reference[name]
            self.assertEqual(array.shape, wanted.shape, name)
            finite = np.isfinite(wanted)
            np.testing.assert_array_equal(array[~finite], wanted[~finite], name)
            error = abs(array[finite].astype(np.float64) - wanted[finite]).max()
            self.assertLess(error, relative * abs(wanted[finite]).max(), name)

    def test_all_points_are_numpys(self):
        arrays = dict(np.load(self.everything()))
        self.assertEqual(list(arrays), ["ids", "precision", *self.reference])
        np.testing.assert_array_equal(arrays["ids"], [IDS])
        np.testing.assert_array_equal(arrays["precision"], [24])
        self.assertEqual(arrays["layer.0.query"].shape, (1, tiny.H, T, tiny.WIDTH))
        self.assertEqual(arrays["layer.0.key"].shape, (1, tiny.HK, T, tiny.WIDTH))
        self.assertEqual(arrays["layer.0.attn_probs"].shape, (1, tiny.H, T, T))
        self.assertEqual(arrays["layer.0.down_in"].shape, (1, T, tiny.F))
        self.assertEqual(arrays["logits"].shape, (1, T, tiny.BOS + 1))
        self.check_values(arrays)

    def test_safetensors_holds_the_same(self):
        arrays = dict(np.load(self.everything()))
        tensors = tiny.read_safetensors(self.capture("everything.safetensors", "--points", EVERYTHING))
        self.assertEqual(set(tensors), set(arrays))
        for name, (dtype, values) in tensors.items():
            self.assertEqual(dtype, "I64" if name in ("ids", "precision") else "F32")
            np.testing.assert_array_equal(values, arrays[name], name)

    def test_default_points(self):
        stdout = self.succeed("capture", self.model, "-o", self.dir / "default.npz", "--prompt", PROMPT)
        self.assertEqual(np.load(self.dir / "default.npz").files, ["ids", "precision", *(f"layer.{i}.resid_out" for i in range(tiny.L))])
        self.assertRegex(stdout, rf"default\.npz: {tiny.L} points of {T} tokens\n\Z")

    def test_sources_of_tokens(self):
        text = self.dir / "prompt.txt"
        text.write_text(PROMPT)
        points = ("--points", "logits")
        wanted = np.load(self.capture("prompt.npz", *points))
        for name, source, options in (("file.npz", ("--prompt-file", text), {}), ("stdin.npz", ("--prompt-file", "-"), {"text_in": PROMPT}),
                                      ("ids.npz", ("--ids", ",".join(map(str, IDS))), {}), ("spaced.npz", ("--ids", " ".join(map(str, IDS))), {})):
            with self.subTest(name=name):
                got = np.load(self.capture(name, *source, *points, **options))
                for key in wanted.files:
                    np.testing.assert_array_equal(got[key], wanted[key])
        never = np.load(self.capture("never.npz", "--bos", "never", *points))
        np.testing.assert_array_equal(never["ids"], [IDS[1:]])

    def test_ids_need_no_tokenizer(self):
        model = tiny.write_model(self.dir / "mute")
        (model / "tokenizer.json").unlink()
        self.succeed("capture", model, "-o", self.dir / "mute.npz", "--ids", "3,1,2")
        self.refuse(1, "no tokenizer.*give token ids", "capture", model, "-o", self.dir / "mute2.npz", "--prompt", "x")

    def test_wrong_sources(self):
        out = ("-o", self.dir / "wrong.npz")
        self.refuse_capture("one of --prompt, --prompt-file and --ids", *out, code=2)
        self.refuse_capture("--prompt.* excludes|excludes.*--prompt", *out, "--prompt", "x", "--ids", "1", code=2)
        self.refuse_capture("'x,2' is no token id", *out, "--ids", "1,x,2", code=2)
        self.refuse_capture("--ids: there is no id", *out, "--ids", "", code=2)
        self.refuse_capture(f"token id {tiny.BOS + 1} .*vocabulary of {tiny.BOS + 1}", *out, "--ids", f"1,{tiny.BOS + 1}")
        self.refuse_capture("token id -1 ", *out, "--ids=-1")
        self.refuse_capture("prompt is empty", *out, "--prompt", "")
        self.refuse_capture("prompt is empty", *out, "--prompt-file", "-", text_in="")
        self.refuse_capture("cannot read .*missing.txt: No such file", *out, "--prompt-file", self.dir / "missing.txt")
        self.refuse_capture(f"cannot read {self.dir}: .*directory", *out, "--prompt-file", self.dir)
        self.refuse_capture(f"{tiny.POSITIONS} positions", *out, "--prompt", "x" * tiny.POSITIONS)

    def test_points(self):
        last = tiny.L - 1
        self.assertEqual(self.names("layer.-1.down_in"), [f"layer.{last}.down_in"])
        self.assertEqual(self.names("layer.1..2.key"), ["layer.1.key", "layer.2.key"])
        self.assertEqual(self.names("layer.-2..-1.down_*"), [f"layer.{i}.down_{s}" for i in (last - 1, last) for s in ("in", "out")])
        # In the order of computation, each once.
        self.assertEqual(self.names("logits", "layer.2.query", "layer.0.resid_out", "layer.*.query"),
                         ["layer.0.query", "layer.0.resid_out", *(f"layer.{i}.query" for i in range(1, tiny.L)), "logits"])
        self.assertEqual(self.names("*"), ["final_norm_out", "logits"])

    def test_points_list(self):
        stdout = self.succeed("capture", self.model, "--points", "list")
        rows = stdout.splitlines()
        self.assertEqual([row.split()[0].replace("layer.*", "layer.0") for row in rows[1:]],
                         [name for name in self.reference if name.startswith("layer.0.") or "." not in name])
        self.assertRegex(stdout, rf"layer\.\*\.key +\[B, Hk, T, d\] +B x {tiny.HK} x T x {tiny.WIDTH} ")
        self.assertRegex(stdout, rf"logits +\[B, T, V\] +B x T x {tiny.BOS + 1} ")

    def test_wrong_points(self):
        for points, pattern in (("layer.1.resid_ot", r"did you mean 'layer\.1\.resid_out'\?"), ("lyer.1.resid_out", r"did you mean 'layer\.N\.resid_out'\?"),
                                ("logit", r"did you mean 'logits'\?"), ("resid_out", r"write 'layer\.\*\.resid_out'"),
                                ("layer.0.logits", "write 'logits'"), (f"layer.{tiny.L}.key", f"layers 0 to {tiny.L - 1}"),
                                ("layer.2..1.key", "backwards"), ("layer.x.key", "'x'"), ("logits,", "empty item"),
                                ("qqqqqqqq", r"known: final_norm_out, logits, layer\.N\.resid_in")):
            with self.subTest(points=points):
                self.refuse_capture(pattern, "-o", self.dir / "wrong.npz", "--prompt", "x", "--points", points)

    def test_precision(self):
        # One run in bfloat16 in three files: NumPy has no bfloat16, so an .npz holds its values as float32.
        points = ("--points", "layer.*.down_in,layer.1.attn_probs,logits", "--dtype", "bfloat16")
        native = tiny.read_safetensors(self.capture("native.safetensors", *points, "--store", "native"))
        wide = tiny.read_safetensors(self.capture("wide.safetensors", *points, "--store", "float32"))
        npz = np.load(self.capture("native.npz", *points, "--store", "native"))
        for name, (dtype, values) in native.items():
            scores = name.endswith("attn_probs")
            self.assertEqual(dtype, "I64" if name in ("ids", "precision") else "F32" if scores else "BF16")
            self.assertEqual(wide[name][0], "I64" if name in ("ids", "precision") else "F32")
            np.testing.assert_array_equal(wide[name][1], values, name)
            np.testing.assert_array_equal(npz[name], values, name)
        np.testing.assert_array_equal(npz["precision"], [8])
        half = np.load(self.capture("half.npz", *points[:2], "--dtype", "float16", "--store", "native"))
        self.assertEqual((half["layer.0.down_in"].dtype, half["layer.1.attn_probs"].dtype), (np.float16, np.float32))
        np.testing.assert_array_equal(half["precision"], [11])
        self.check_values(dict(half), 5e-3)

    def test_output(self):
        self.refuse_capture("--output is required", "--prompt", "x", code=2)
        self.refuse_capture("wrong.txt: .*npz.*safetensors", "--prompt", "x", "-o", self.dir / "wrong.txt")
        self.refuse_capture("cannot write", "--prompt", "x", "-o", self.dir / "no-such-directory/a.npz")
        directory = self.dir / "directory.npz"
        directory.mkdir(exist_ok=True)
        self.refuse_capture("is a directory", "--prompt", "x", "-o", directory, "--force")

    def test_replaces_only_by_force(self):
        for name in ("force.npz", "force.safetensors"):
            with self.subTest(name=name):
                path = self.capture(name)
                before = path.read_bytes()
                self.refuse_capture("exists already.*--force", "-o", path, "--prompt", "x")
                # Nor does a failure that --force lets begin.
                self.refuse_capture("cannot write", "-o", path, "--prompt", "x" * 40, "--points", EVERYTHING, "--force", preexec_fn=full_disk)
                self.assertEqual(path.read_bytes(), before)
                self.succeed("capture", self.model, "-o", path, "--prompt", "x", "--force")
                self.assertNotEqual(path.read_bytes(), before)

    def test_full_disk(self):
        for name in ("full.npz", "full.safetensors"):
            self.refuse_capture("cannot write", "-o", self.dir / name, "--prompt", PROMPT, "--points", EVERYTHING, preexec_fn=full_disk)


class CompareLayersTest(CommandTest):
    def compare(self, a, b, *more):
        """What --json prints; the error line, where there is one, names its `first`."""
        done = run("compare-layers", a, b, "--json", *more)
        result = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if result["first"] is None else 1, done.stderr)
        self.assertEqual(done.stderr != "", result["first"] is not None)
        if result["first"]:
            self.assertRegex(done.stderr, rf"\Aoutliers: error: {result['first']} is the first point above tolerance: .*\n\Z")
        self.assertEqual([p["point"] for p in result["points"] if not p["within"]][:1], [result["first"]] if result["first"] else [])
        return result, {p["point"]: p for p in result["points"]}

    def test_equal_captures(self):
        path = self.everything()
        self.assertEqual(self.succeed("compare-layers", path, path), f"all {len(self.reference)} points are within tolerance\n")
        stdout = self.succeed("compare-layers", path, path, "--all")
        self.assertEqual(len(stdout.splitlines()), len(self.reference) + 2)
        result, points = self.compare(path, self.capture("everything.safetensors", "--points", EVERYTHING))
        self.assertEqual(list(points), list(self.reference))
        self.assertEqual({p["worst_absolute"] for p in points.values()}, {0.0})
        self.assertEqual((result["only_in_a"], result["only_in_b"]), ([], []))

    def test_against_numpy_itself(self):
        # A capture that is not ours: float64, without ids or precision.
        path = self.dir / "numpy.npz"
        np.savez(path, **self.reference)
        result, points = self.compare(self.everything(), path)
        self.assertIsNone(result["first"])
        self.assertEqual(len(points), len(self.reference))
        self.assertGreater(points["logits"]["worst_absolute"], 0)
        np.savez_compressed(path, ids=np.array(IDS, np.int32), **{name: np.asfortranarray(x) for name, x in self.reference.items()})
        self.assertIsNone(self.compare(self.everything(), path)[0]["first"])

    def test_names_the_first_point_that_differs(self):
        def change(arrays):
            arrays["layer.2.resid_out"][0, 3, 4] += 1000
            arrays["layer.1.key"][0, 1, 2, 3] += 50
            arrays["logits"][0, 0, 0] = np.nan
            del arrays["layer.0.query"]
        edited = self.edited("edited.npz", change)
        result, points = self.compare(edited, self.everything())
        self.assertEqual(result["first"], "layer.1.key")
        self.assertEqual(points["layer.1.key"]["place"], [0, 1, 2, 3])
        self.assertAlmostEqual(points["layer.1.key"]["worst_absolute"], 50, places=3)
        self.assertAlmostEqual(points["layer.1.key"]["a"] - points["layer.1.key"]["b"], 50, places=3)
        self.assertEqual([name for name, p in points.items() if not p["within"]], ["layer.1.key", "layer.2.resid_out", "logits"])
        self.assertEqual(points["logits"]["nonfinite"], 1)
        self.assertEqual((result["only_in_a"], result["only_in_b"]), ([], ["layer.0.query"]))
        done = run("compare-layers", edited, self.everything())
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"layer\.1\.key .*\[0, 1, 2, 3\] +above\n")
        self.assertNotIn("layer.0.key", done.stdout)
        self.assertIn("only in B: 1 point, the first layer.0.query\n", done.stdout)
        self.assertRegex(done.stderr, r"layer\.1\.key is the first point above tolerance: .* at \[0, 1, 2, 3\]\n")

    def test_tolerance(self):
        def change(arrays):
            arrays["logits"] *= 1.01
        edited = self.edited("scaled.npz", change)
        self.assertEqual(self.compare(edited, self.everything())[0]["first"], "logits")
        self.assertIsNone(self.compare(edited, self.everything(), "--tolerance", 0.02, "--row-tolerance", 0.02)[0]["first"])
        # A row on its own may be far off in a tensor that has a large value.
        self.assertEqual(self.compare(edited, self.everything(), "--tolerance", 0.02, "--row-tolerance", 0.005)[0]["first"], "logits")
        files = ("compare-layers", edited, self.everything())
        self.refuse(2, "--tolerance and --row-tolerance go together", *files, "--tolerance", 1)
        message = self.refuse(2, "--tolerance: .*-1 is no number of 0 or above", *files, "--tolerance", -1, "--row-tolerance", 1)
        self.assertLess(len(message), 150)
        self.refuse(2, "many", *files, "--tolerance", "many", "--row-tolerance", 1)

    def test_tolerance_is_by_precision(self):
        coarse = self.capture("coarse.npz", "--points", EVERYTHING, "--dtype", "bfloat16")
        result, points = self.compare(coarse, self.everything())
        self.assertIsNone(result["first"])
        self.assertGreater(points["logits"]["worst_relative"], 1e-3)

        def hide(arrays):
            del arrays["precision"]
        # What says float32 is held against float32's tolerance.
        self.assertIsNotNone(self.compare(self.edited("hidden.npz", hide, coarse), self.everything())[0]["first"])

    def test_other_shape(self):
        def change(arrays):
            arrays["layer.1.resid_mid"] = np.ascontiguousarray(arrays["layer.1.resid_mid"][:, :-1])
        result, points = self.compare(self.edited("shape.npz", change), self.everything())
        self.assertEqual(result["first"], "layer.1.resid_mid")
        self.assertEqual(points["layer.1.resid_mid"]["problem"], f"shape [1, {T - 1}, {tiny.D}] against [1, {T}, {tiny.D}]")

    def test_other_ids(self):
        other = self.capture("other.npz", "--prompt", PROMPT.upper())
        self.refuse(1, r"other\.npz and .*everything\.npz are captures of different token ids", "compare-layers", other, self.everything())

    def test_what_is_no_capture(self):
        path = self.everything()
        self.refuse(1, r"missing\.npz: No such file", "compare-layers", path, self.dir / "missing.npz")
        self.refuse(1, r"a\.txt: a capture is an \.npz or a \.safetensors", "compare-layers", path, self.dir / "a.txt")
        self.refuse(1, r"no point in common; points are named", "compare-layers", path, self.model / "model.safetensors")
        self.refuse(2, "B is required", "compare-layers", path)
        (self.dir / "noise.npz").write_bytes(b"no zip archive" * 50)
        self.refuse(1, r"noise\.npz is no \.npz file", "compare-layers", path, self.dir / "noise.npz")
        (self.dir / "cut.npz").write_bytes(path.read_bytes()[:-500])
        self.refuse(1, r"cut\.npz", "compare-layers", path, self.dir / "cut.npz")


class InspectTest(CommandTest):
    def test_inspect_counts_experts(self):
        stdout = self.succeed("inspect", ROOT / "tests/golden/models/qwen2_moe_mixed/model.safetensors")
        self.assertIn("E 4, k 2 of them for a token; Fe 18 neurons, Fs 14 of the shared one; in 1 of 2 layers", stdout)

    def test_text(self):
        stdout = self.succeed("inspect", self.model)
        parameters = sum(w.size for w in tiny.weights().values())
        for pattern in (r"model +tiny\n", rf"family +llama, {parameters:,} parameters, 190 kB in safetensors\n",
                        rf"L {tiny.L} layers, D {tiny.D} width, F {tiny.F} MLP width, V {tiny.BOS + 1} vocabulary, {tiny.POSITIONS} positions\n",
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
        model = tiny.write_model(self.dir / "family", change_config=lambda c: c.update(model_type="griffin", architectures=["GriffinForCausalLM"]))
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
        self.assertEqual(self.tokenize("--bos", "never", text_in=text.decode(errors="surrogateescape"), errors="surrogateescape")["ids"], wanted)
        self.assertEqual(self.tokenize("--bos", "never", "--text", text)["ids"], wanted)

    def test_no_tokenizer(self):
        model = tiny.write_model(self.dir / "mute")
        (model / "tokenizer.json").unlink()
        self.refuse(1, "no tokenizer", "tokenize", model, "--text", "x")

    def test_what_stands_beside(self):
        model = tiny.write_model(self.dir / "beside")
        config = model / "tokenizer_config.json"
        config.write_text('{"model_max_length": 1000000000000000019884624838656, "x": [NaN, -Infinity], "add_bos_token": false, "pad_token": "[PAD]"}')
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
        self.refuse(1, r'vocabulary/tokenizer_config\.json: the tokenizer_class "XLMRobertaTokenizer".*save tokenizer\.json', "tokenize", folder, "--text", "x")
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
