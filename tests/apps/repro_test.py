#!/usr/bin/env python3
"""The scripts of repro/: each on a real model through its own path, with few and short sequences, and what makes their tables."""
import contextlib
import importlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ROOT, main, models_directory  # noqa: E402

REPRO = ROOT / "repro"
sys.path.insert(0, str(REPRO))
import common  # noqa: E402
import published  # noqa: E402

SMOLLM = models_directory() / "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = ROOT / "src/outliers/text/data/state_of_the_union.txt.gz"
SCRIPTS = sorted(p.stem for p in REPRO.glob("*.py") if p.name not in ("common.py", "published.py"))
SHORT = ["--corpus", TEXT, "--sequences", 1, "--tokens", 128, "--seed", 0]


class TableTest(unittest.TestCase):
    def test_differences(self):
        row = common.Row("a number", 5.12, 5.0, "here")
        self.assertAlmostEqual(row.difference(), 0.12)
        self.assertAlmostEqual(row.relative(), 0.024)
        self.assertTrue(row.differs(0.02))
        self.assertFalse(row.differs(0.03))
        same, other = common.Row("a place", [1, 2], [1, 2]), common.Row("a place", [1, 3], [1, 2])
        self.assertEqual((same.difference(), other.difference()), (True, False))
        self.assertEqual((same.differs(1), other.differs(1)), (False, True))
        for unknown in (common.Row("a", 1.0), common.Row("a", None, 1.0), common.Row("a", None)):
            self.assertIsNone(unknown.difference())
            self.assertFalse(unknown.differs(0))
        self.assertEqual(common.Row("a", 3, 1, "s").as_json(),
                         {"what": "a", "published": 1, "ours": 3, "difference": False, "relative": None, "source": "s"})

    def test_text(self):
        lines = common.table([common.Row("ppl", 5.12, 5.0, "a paper"), common.Row("layer", 2, 1, "a paper"), common.Row("layer", 1, 1),
                              common.Row("large", 22153.4), common.Row("places", [[1, 2, 3]] * 5), common.Row("none", [])]).splitlines()
        self.assertEqual(lines[0].split(), ["published", "ours", "difference", "source"])
        self.assertEqual(lines[1].split(), ["ppl", "5", "5.12", "+0.12", "(+2.4%)", "a", "paper"])
        self.assertEqual(lines[2].split(), ["layer", "1", "2", "differs", "a", "paper"])
        self.assertEqual(lines[3].split(), ["layer", "1", "1", "same"])
        self.assertEqual(lines[4].split(), ["large", "-", "22,153", "-"])
        self.assertIn("1 2 3; 1 2 3; 1 2 3 ... (5)", lines[5])
        self.assertEqual(lines[6].split(), ["none", "-", "none", "-"])

    def test_arrays(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a.npz"
            x = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32)
            np.savez(path, x=x, y=x.astype(np.float64), n=np.arange(3))
            for name in "xy":
                shape, numbers = common.read_array(path, name)
                self.assertEqual(shape, (3, 4, 5))
                np.testing.assert_array_equal(np.array(numbers).reshape(shape), x)
            self.assertRaises(common.Failure, common.read_array, path, "n")
            np.testing.assert_array_equal(common.largest_of_tokens(path, "x", 1), abs(x[1]).max(1))
        self.assertEqual(common.standing_out([5, 1, 0.9, 0]), [0, 1])
        self.assertEqual(common.peaks([0, 9, 1, 1, 5, 2]), (1, 4))
        self.assertEqual(common.peaks([0, 5, 1, 1, 9, 2]), (4, 1))
        self.assertEqual(common.median([3.0, 1.0, 2.0, 9.0]), 2.0)

    def test_models_are_recognised(self):
        for key, model in published.MODELS.items():
            self.assertEqual(published.recognise(model.hub), key)
            self.assertEqual(published.recognise(key), key)
            self.assertEqual(published.recognise(f"/models/{model.hub.split('/')[1]}-GGUF/{model.hub.split('/')[1]}.Q4_K_M.gguf"), key)
            for name, (value, source) in model.facts.items():
                self.assertRegex(source, r"arXiv \d{4}\.\d{5}", (key, name))
                self.assertTrue(value is None or isinstance(value, (int, float, list)), (key, name))
        for other in ("meta-llama/Llama-2-7b-chat-hf", "gpt2-xl", "Mistral-7B-Instruct-v0.1", "Meta-Llama-3-8B-Instruct", "x", SMOLLM):
            self.assertIsNone(published.recognise(other))

    def test_all_are_listed(self):
        readme = (REPRO / "README.md").read_text()
        self.assertGreaterEqual(len(SCRIPTS), 13)
        for script in SCRIPTS:
            self.assertIn(f"`{script}.py`", readme)
            done = subprocess.run([sys.executable, REPRO / f"{script}.py", "--help"], capture_output=True, text=True)
            self.assertIn("MODEL", done.stdout, done.stderr)


class ScriptCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)

    def script(self, name, model, *words, code=0, known=None):
        """Runs a script's own code here, with `known` as one of the published models; its JSON and what it prints."""
        out = self.dir / "table.json"
        out.unlink(missing_ok=True)
        words = [f"{name}.py", model, "--program", PROGRAM, "--work", self.dir / "work", "-o", out, *words]
        printed = io.StringIO()
        with unittest.mock.patch.object(sys, "argv", list(map(str, words))), contextlib.redirect_stdout(printed), \
                unittest.mock.patch.dict(published.MODELS, known or {}):
            self.assertEqual(importlib.import_module(name).study(), code, printed.getvalue())
        return json.loads(out.read_text()), printed.getvalue()


class TinyTest(ScriptCase):
    """Without a real model: what is planted in the tiny one stands at its BOS, which the studies leave out."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")

    def test_nothing_to_reset(self):
        words = ["--texts", "wikitext", "--wikitext", TEXT, "--calibration", TEXT, "--context", 32, "--sequences", 2,
                 "--calibration-sequences", 1, "--seed", 0]
        table, printed = self.script("massive_perplexity", self.model, *words)
        self.assertIn("there is nothing to reset", printed)
        self.assertIsNone(table["rows"][0]["ours"])
        table, _ = self.script("massive_perplexity", self.model, *words, "--bos", "every")
        self.assertEqual([row["ours"] for row in table["rows"]][0], 1)
        self.assertEqual(len(table["rows"]), 4)

    def test_what_goes_wrong_is_one_line(self):
        for words, line in ((["life_emergence.py", self.model], "life_emergence.py: no outlier was found on the prompt"),
                            (["existence.py", self.dir / "none.gguf"], "outliers: error: .*no such file or directory"),
                            (["existence.py", self.model, "--program", "/none"], "existence.py: no program /none"),
                            (["perplexity.py", self.model, "--texts", "novels"], "--texts: novels: some of wikitext, c4, pg19")):
            words = [words[0], *words[1:], "--work", self.dir / "wrong"]
            words += [] if "--program" in words else ["--program", PROGRAM]
            done = subprocess.run([sys.executable, REPRO / words[0], *map(str, words[1:])], capture_output=True, text=True)
            self.assertIn(done.returncode, (1, 2), done.stderr)
            self.assertRegex(done.stderr.splitlines()[-1], line)
            self.assertNotIn("Traceback", done.stderr)


@unittest.skipUnless(SMOLLM.exists(), f"{SMOLLM} is not there; scripts/fetch_models.py fetches it")
class RealModelTest(ScriptCase):
    def ours(self, name, *words, **options):
        table, printed = self.script(name, SMOLLM, *words, **options)
        self.assertIn("no published numbers are known for this model", printed)
        self.assertTrue(all(row["published"] is None and row["difference"] is None for row in table["rows"]))
        self.assertTrue(all(pathlib.Path(file).stat().st_size > 0 for file in table["files"]))
        self.seen.add(name)
        return {row["what"]: row["ours"] for row in table["rows"]}, table

    def test_every_script(self):
        self.seen = set()
        ours, table = self.ours("existence", *SHORT)
        self.assertEqual((ours["layer"], ours["neuron with the largest input of down_proj"]), (11, 1229))
        self.assertEqual((ours["channels that stand out in the layer's output"], ours["tokens that stand out there"]), ([507], [0]))
        self.assertAlmostEqual(ours["largest value of the layer's output"] / 23147, 1, delta=0.005)
        self.assertEqual({pathlib.Path(f).stem for f in table["files"]}, {"exist_down", "exist_weight", "exist_out", "exist_attention"})
        self.assertEqual(table["commands"][0].split()[:2], ["outliers", "report"])

        ours, table = self.ours("positions_weights", *SHORT)
        self.assertTrue(table["costs"][0]["earlier"], "a report of the same command is taken again")
        self.assertEqual((ours["layer with the largest max/mean of down_proj"], ours["its column"]), (11, 1487))
        self.assertEqual(ours["column of layer 28"], 678)
        ours, _ = self.ours("positions_down", *SHORT)
        self.assertEqual((ours["first peak: layer"], ours["neuron with the largest value on the prompt"], ours["second peak: layer"],
                          ours["neurons that stand out there on the prompt"]), (11, 1229, 28, [678]))
        ours, _ = self.ours("positions_layer", *SHORT)
        self.assertEqual((ours["first layer with half of the largest value or more"], ours["last layer"]), (11, 27))
        self.assertEqual(ours["massive activations of the largest layer: the initial token"], 1)
        ours, _ = self.ours("positions_attention", *SHORT, "--key-sequences", 1, "--key-tokens", 128)
        self.assertGreater(ours["its score, of 128"], 64)
        self.assertEqual(sum(share for what, share in ours.items() if what.startswith("outlier keys of layer")), 1)
        ours, _ = self.ours("alignment", *SHORT)
        self.assertEqual((ours["these layers"], ours["those of them that agree"]), ([2, 11, 28], [2, 28]))
        ours, _ = self.ours("massive_layers", *SHORT)
        self.assertEqual(list(ours)[0], "layer 11")
        self.assertEqual(ours["channels of massive activations in layer 11"], [507])

        ours, _ = self.ours("life_emergence")
        self.assertEqual((ours["layer of birth"], ours["the largest value's channel"]), (11, 507))
        self.assertEqual(ours["neuron that writes most of it"], 1229)
        self.assertAlmostEqual(ours["sum of all that was written to it"] / ours["its value"], 1, delta=1e-4)
        ours, _ = self.ours("life_spread")
        self.assertGreater(ours["probability that outlier tokens receive"], 0.5)
        ours, _ = self.ours("life_disappearance")
        self.assertEqual((ours["layer that takes most"], ours["neurons that stand out in it"]), (28, [678]))

        ours, _ = self.ours("super_weights", "--tokens", 128, "--sequences", 1)
        self.assertIn([11, 507, 1229], ours["found beside the published ones (layer row column)"])
        texts = ["--wikitext", TEXT, "--context", 128, "--sequences", 2]
        plain, _ = self.ours("perplexity", *texts, "--bos", "never")
        ours, _ = self.ours("massive_perplexity", *texts, "--texts", "wikitext", "--calibration", TEXT, "--calibration-sequences", 1,
                            "--seed", 0, "--controls", 1)
        self.assertEqual(ours["first layer with massive activations"], 11)
        self.assertEqual(ours["wikitext: as it is"], plain["wikitext, 2 windows"])
        self.assertGreater(ours["wikitext: set to zero"], 100 * ours["wikitext: as it is"])
        self.assertAlmostEqual(ours["wikitext: set to mean"] / ours["wikitext: as it is"], 1, delta=0.05)
        self.assertAlmostEqual(ours["wikitext: as many random values set to zero"] / ours["wikitext: as it is"], 1, delta=0.05)
        self.assertEqual(self.seen, set(SCRIPTS))

    def test_published_numbers(self):
        def known(**facts):
            facts = {name.replace("_", ".", 1): (value, "arXiv 0000.00000") for name, value in facts.items()}
            return {"smollm": published.Model("SmolLM2", "x", "smollm2-135m", (30, 576, 1536), facts)}
        right = {"existence_layer": 11, "existence_neuron": 1229, "existence_value": 23100, "existence_channels": [507]}
        table, printed = self.script("existence", SMOLLM, *SHORT, "--fail-above", 1, known=known(**right))
        self.assertIn("published as SmolLM2", printed)
        rows = {row["what"]: row for row in table["rows"]}
        self.assertEqual([rows[w]["difference"] for w in ("layer", "neuron with the largest input of down_proj")], [True, True])
        self.assertLess(abs(rows["largest value of the layer's output"]["relative"]), 0.01)
        self.assertEqual(rows["layer"]["source"], "arXiv 0000.00000")
        # Rows that differ are told, and fail where that is asked for.
        for wrong in ({"existence_neuron": 1228}, {"existence_value": 20000}):
            table, printed = self.script("existence", SMOLLM, *SHORT, "--fail-above", 1, code=1, known=known(**(right | wrong)))
            self.script("existence", SMOLLM, *SHORT, known=known(**(right | wrong)))
        self.assertIn("(+15.7%)", printed)
        # Another model of that name.
        table, printed = self.script("existence", SMOLLM, *SHORT, "--as", "llama-2-7b", "--fail-above", 1)
        self.assertIn("note: --as says Llama-2 7B, but layers, width and MLP width are (30, 576, 1536)", printed)
        self.assertTrue(all(row["published"] is None for row in table["rows"]))


if __name__ == "__main__":
    main()
