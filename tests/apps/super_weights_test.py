#!/usr/bin/env python3
"""Super weights and what is lost without them (`outliers report --measures criticality`) against transformers
(tests/oracle/eval_super_weights.py), and against `outliers intervene`."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from main_job import golden_model  # noqa: E402
from program import PROGRAM, ROOT, FolderTest, main  # noqa: E402

CASES = json.loads((ROOT / "tests/golden/eval/criticality.json").read_text())


def edit_of(weight):
    expert = "" if weight.get("expert") is None else f"expert={weight['expert']},"
    return f"weight.{weight['layer']}.down[{expert}row={weight['row']},column={weight['column']}"


class SuperWeightsTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {case["model"]: cls.planted(case) for case in CASES}

    @classmethod
    def planted(cls, case):
        """The model with the case's weights set."""
        source, folder = ROOT / "tests/golden/models" / case["model"], cls.dir / case["model"]
        folder.mkdir()
        shutil.copy(source / "config.json", folder)
        (folder / "tokenizer.json").write_text(json.dumps(tiny.letters_with_bos()))
        tensors = {name: array.copy() for name, (_, array) in tiny.read_safetensors(source / "model.safetensors").items()}
        for one in case["set"]:
            of_expert = {None: "", "shared": "shared_expert."}.get(one["expert"], f"experts.{one['expert']}.")
            name, = (n for n in tensors if n.endswith((f"layers.{one['layer']}.mlp.{of_expert}down_proj.weight",
                                                       f"h.{one['layer']}.mlp.c_proj.weight")))
            matrix = tensors[name].T if "c_proj" in name else tensors[name]  # GPT-2 keeps [in, out]
            matrix[one["row"], one["column"]] = one["value"]
        tiny.write_safetensors(folder / "model.safetensors", tensors)
        return folder

    def text_of(self, case):
        corpus = self.dir / "text.txt"
        corpus.write_text(case["text"])
        return corpus

    def report(self, case, *more, measure="criticality"):
        out = self.dir / "out"
        windows = len(case["window_nll_nats"]["plain"])
        self.stdout = self.succeed("report", self.models[case["model"]], "-o", out, "--force", "--no-figures", "--measures", measure,
                                   "--prompt", case["prompt"], "--corpus", self.text_of(case), "--bos", "never", "--sequences", windows,
                                   "--tokens", case["tokens"], "--threads", 1, *more)
        return reading.load(out)

    def check_found(self, got, case):
        wanted = case["found"]
        self.assertEqual(len(got["found"]), len(wanted))
        for i, (one, other) in enumerate(zip(got["found"], wanted)):
            self.assertEqual({key: one.get(key) for key in ("round", "layer", "expert", "row", "column", "token")},
                             {"round": i + 1, **{key: other[key] for key in ("layer", "expert", "row", "column", "token")}})
            for key in ("value", "down_in", "down_out"):
                np.testing.assert_allclose(one[key], other[key], rtol=2e-5)
        self.assertEqual({key: got["left"].get(key) for key in ("layer", "expert", "token", "channel")},
                         {key: case["left"][key] for key in ("layer", "expert", "token", "channel")})
        np.testing.assert_allclose(got["left"]["down_out"], case["left"]["down_out"], rtol=2e-5)

    def test_transformers_gives_the_same(self):
        self.assertTrue({"shared", None} < {one["expert"] for case in CASES for one in case["found"]})
        for case in CASES:
            with self.subTest(case["model"]):
                results = self.report(case)
                self.assertEqual(results["super_weights"]["input"], "prompt")
                self.check_found(results["super_weights"], case)
                got, wanted = results["criticality"], case["window_nll_nats"]
                self.assertEqual(got["input"], "corpus")
                self.assertEqual(got["tokens_scored"], len(wanted["plain"]) * (case["tokens"] - 1))
                np.testing.assert_allclose([got["nll_nats"], got["ppl"]], [np.mean(wanted["plain"]), np.exp(np.mean(wanted["plain"]))],
                                           rtol=1e-5)
                pairs = list(zip(got["weights"], wanted["weights"], strict=True))
                self.assertEqual("together" in got, len(pairs) > 1)
                pairs += [(got["together"], wanted["together"])] if len(pairs) > 1 else []
                for one, windows in pairs:
                    more = np.subtract(windows, wanted["plain"]) / np.log(10)
                    self.assertGreater(abs(more.mean()), 1e-3)
                    np.testing.assert_allclose(one["log10_ppl_ratio"], more.mean(), rtol=1e-4, atol=1e-6)
                    np.testing.assert_allclose(one["standard_error"], more.std(ddof=1) / len(more) ** 0.5, rtol=1e-3, atol=1e-6)
                seeds = [[c["seed"] for c in one["controls"]] for one in got["weights"]]
                self.assertEqual(seeds, [list(range(20 * i + 1, 20 * i + 21)) for i in range(len(seeds))])

    def test_controls_are_the_random_edits_of_the_same_matrix(self):
        case = CASES[0]
        got = self.report(case)["criticality"]
        edits = [f"{edit_of(w)},random={seed}]=zero" for i, w in enumerate(case["found"]) for seed in (20 * i + 1, 20 * i + 20)]
        edits += [";".join(f"{edit_of(w)},random={20 * i + 7}]=zero" for i, w in enumerate(case["found"]))]
        words = [word for edit in edits for word in ("--edit", edit)]
        out = json.loads(self.succeed("intervene", self.models[case["model"]], "--corpus", self.text_of(case), "--context", case["tokens"],
                                      "--bos", "never", "--threads", 1, "--json", *words))
        wanted = [run["effect"]["nll_difference"] / np.log(10) for run in out["runs"][1:]]
        mine = [one["controls"][k]["log10_ppl_ratio"] for one in got["weights"] for k in (0, 19)]
        mine.append(got["together"]["controls"][6]["log10_ppl_ratio"])
        np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-9)
        self.assertEqual(len(set(wanted)), len(wanted))
        self.assertEqual(got["together"]["controls"][6]["seed"], 7)
        damage = max(abs(value) for value in wanted)
        self.assertGreater(abs(got["weights"][0]["log10_ppl_ratio"]), damage, "a super weight is worth more than a random one")

    def test_words(self):
        text = self.report(CASES[1]) and " ".join(self.stdout.split())
        self.assertRegex(text, r"super layer 0 expert 2's down\[4, 13\] = .* \(reads .*, the row gives .*\); layer 1 the shared expert's")
        self.assertRegex(text, r"without them the largest output of a down projection is [\d.]+ in layer \d")
        self.assertRegex(text, r"without perplexity of corpus [\d.]+; without all 2 super weights x .* \(20 random ones at most x ")
        self.assertIn("of one alone at most, without layer", text)
        self.report(CASES[1], measure="super_weights")
        self.assertNotIn("random ones", self.stdout)

    def test_none(self):
        folder, more = golden_model("mixtral_experts", self.dir)
        self.assertFalse(more)
        out = self.dir / "none"
        stdout = self.succeed("report", folder, "-o", out, "--no-figures", "--measures", "criticality", "--prompt", "warm.", "--corpus",
                              self.text_of(CASES[0]), "--sequences", 2, "--tokens", 8, "--threads", 1)
        results = reading.load(out)
        self.assertEqual(results["super_weights"]["found"], [])
        self.assertNotIn("criticality", results)
        self.assertIn("none: no down projection gives more than 50, at most", " ".join(stdout.split()))

    def test_images(self):
        folder, more = golden_model("dinov2_with_registers_shrunk", self.dir)
        out = self.dir / "images"
        self.succeed("report", folder, "-o", out, "--no-figures", "--measures", "super_weights", *more)
        left = reading.load(out)["super_weights"]["left"]
        self.assertGreater(abs(left["down_out"]), 0)
        self.refuse(1, "the measure criticality has nothing to look at", "report", folder, "-o", self.dir / "never", "--measures",
                    "criticality", *more)

    def test_too_little_memory_for_all_branches_keeps_the_rest(self):
        case, corpus, out = CASES[0], self.dir / "long.txt", self.dir / "short"
        corpus.write_text("the sea was calm and the crew slept.\n" * 600)
        options = ("report", self.models[case["model"]], "-o", out, "--force", "--no-figures", "--threads", 1, "--prompt", case["prompt"],
                   "--corpus", corpus, "--bos", "never", "--sequences", 1500, "--tokens", case["tokens"], "--measures")
        error = self.refuse(1, "of memory are too few", *options, "super_weights", "--memory", "1MB")
        needed = int(re.search(r"(\d+) MB are needed", error).group(1))
        self.warn(["the measure criticality is left out: .* MB of memory are too few to run "], *options, "criticality",
                  "--memory", f"{needed + 25}MB")
        results = reading.load(out)
        self.assertEqual(results["run"]["measures"], ["super_weights"])
        self.check_found(results["super_weights"], case)
        self.assertNotIn("criticality", results)
        self.succeed(*options, "criticality", "--memory", f"{needed + 150}MB")
        self.assertEqual(reading.load(out)["run"]["measures"], ["super_weights", "criticality"])

    def test_ranks_find_the_same(self):
        case = CASES[0]
        one = self.report(case)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = str(s.getsockname()[1])
        out = self.dir / "ranks"
        command = [PROGRAM, "report", self.models[case["model"]], "-o", out, "--no-figures", "--measures", "criticality", "--prompt",
                   case["prompt"], "--corpus", self.text_of(case), "--bos", "never", "--sequences",
                   str(len(case["window_nll_nats"]["plain"])), "--tokens", str(case["tokens"]), "--threads", "1"]
        env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes = [subprocess.Popen(command, env={**env, "RANK": str(r), "LOCAL_RANK": str(r)}, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) for r in range(2)]
        ended = [(*p.communicate(timeout=120), p.returncode) for p in processes]
        self.assertEqual([(err, code) for _, err, code in ended], [("", 0)] * 2)
        two = reading.load(out)
        self.assertEqual(two["super_weights"], one["super_weights"])
        for a, b in zip(one["criticality"]["weights"], two["criticality"]["weights"], strict=True):
            np.testing.assert_allclose([c["log10_ppl_ratio"] for c in b["controls"]], [c["log10_ppl_ratio"] for c in a["controls"]],
                                       rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(b["log10_ppl_ratio"], a["log10_ppl_ratio"], rtol=1e-5)


if __name__ == "__main__":
    main()
