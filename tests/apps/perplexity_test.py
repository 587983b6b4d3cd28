#!/usr/bin/env python3
"""`outliers perplexity` against transformers (tests/oracle/eval_perplexity.py) and against NumPy (tiny_forward.py)."""
import gzip
import json
import math
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
import tiny_forward  # noqa: E402
from program import PROGRAM, ROOT, FolderTest, main, run  # noqa: E402

VALUES = ("nll_nats", "nll_standard_error", "ppl", "bits_per_byte")


class PerplexityTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")

    def perplexity(self, model, *more, corpora=None, **options):
        files = corpora or [self.corpus]
        return json.loads(self.succeed("perplexity", model, "--corpus", *files, "--json", *more, **options))

    def windows(self, model, *more, **options):
        out = self.dir / "windows"
        shutil.rmtree(out, ignore_errors=True)
        printed = self.perplexity(model, "-o", out, *more, **options)
        result = json.loads((out / "perplexity.json").read_text())
        windows = result.pop("per_window")
        self.assertEqual(printed, result)
        self.assertEqual([w["window"] for w in windows], list(range(result["text"]["windows"])))
        for count in ("tokens_scored", "bytes_scored"):
            self.assertEqual(sum(w[count] for w in windows), result["text"][count])
        return result, windows

    def random_model(self, name):
        folder = self.dir / name
        if not folder.exists():
            folder.mkdir()
            for file in ("config.json", "model.safetensors"):
                shutil.copy(ROOT / "tests/golden/models" / name / file, folder)
            (folder / "tokenizer.json").write_text(json.dumps(tiny.letters_with_bos()))
        return folder

    def test_transformers_gives_the_same(self):
        cases = json.loads((ROOT / "tests/golden/eval/perplexity.json").read_text())
        self.assertGreater(len(cases), 8)
        for n, case in enumerate(cases):
            with self.subTest(case["model"], **case["options"]):
                files = []
                for i, text in enumerate(case["texts"]):
                    files.append(self.dir / f"{n}.{i}.txt")
                    files[-1].write_text(text)
                options = [word for name, value in case["options"].items() for word in (f"--{name}", value)]
                result, windows = self.windows(self.random_model(case["model"]), *options, corpora=files)
                self.assertEqual(result["text"]["tokens_scored"], case["tokens_scored"])
                self.assertEqual([(w["first_token"], w["tokens_scored"]) for w in windows],
                                 [(w["first_token"], w["tokens_scored"]) for w in case["windows"]])
                np.testing.assert_allclose([w["nll_nats"] for w in windows], [w["nll_nats"] for w in case["windows"]], rtol=5e-6)
                np.testing.assert_allclose(result["nll_nats"], case["nll_nats"], rtol=2e-6)
                np.testing.assert_allclose(result["ppl"], math.exp(case["nll_nats"]), rtol=2e-5)
                # The tokens are letters: a byte each.
                self.assertEqual(result["text"]["bytes_scored"], case["tokens_scored"])
                np.testing.assert_allclose(result["bits_per_byte"], result["nll_nats"] / math.log(2), rtol=1e-9)

    def test_blocks_of_the_vocabulary(self):
        """A vocabulary of three blocks of 8192, and tokens at their edges, against NumPy with whole logits."""
        V = 2 * 8192 + 100
        edges = {**{c: 8192 - 13 + i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")}, "T": V - 1, ".": 0}

        def wide(weights):
            random = np.random.default_rng(1)
            for name in ("model.embed_tokens.weight", "lm_head.weight"):
                weights[name] = (random.standard_normal((V, tiny.D)) * 0.5).astype(np.float32)
        model = tiny.write_model(self.dir / "wide", wide, lambda c: c.update(vocab_size=V))
        tokenizer = tiny.letters()
        others = [c for c in tokenizer["model"]["vocab"] if c not in edges]
        tokenizer["model"]["vocab"] = edges | {c: 100 + i for i, c in enumerate(others)}
        (model / "tokenizer.json").write_text(json.dumps(tokenizer))
        text = "The sea was calm and the crew slept. The wind rose. zyxwvutsrqponmlkjihgfedcba"
        corpus = self.dir / "wide.txt"
        corpus.write_text(text)
        ids = [tokenizer["model"]["vocab"][{" ": "\u0120"}.get(c, c)] for c in text]
        self.assertTrue({0, 8191, 8192, V - 1} <= set(ids))
        weights = {}
        tiny.write_model(self.dir / "again", lambda w: (wide(w), weights.update(w)))
        result, windows = self.windows(model, "--context", 26, corpora=[corpus])
        self.assertEqual(len(windows), len(text) // 26)
        for window in windows:
            part = ids[26 * window["window"]:][:26]
            logits = tiny_forward.forward(part, weights)["logits"][0]
            logs = logits - logits.max(1, keepdims=True)
            logs -= np.log(np.exp(logs).sum(1, keepdims=True))
            np.testing.assert_allclose(window["nll_nats"], -logs[np.arange(25), part[1:]].mean(), rtol=2e-6)

    def test_standard_error(self):
        result, windows = self.windows(self.model, "--context", 40, "--stride", 30)
        n = np.array([w["tokens_scored"] for w in windows])
        off = np.array([w["nll_nats"] for w in windows]) * n - result["nll_nats"] * n
        self.assertGreater(len(set(n)), 1)
        np.testing.assert_allclose(result["nll_standard_error"], math.sqrt(len(n) / (len(n) - 1) * (off ** 2).sum()) / n.sum(), rtol=1e-9)
        self.assertIsNone(self.perplexity(self.model, "--sequences", 1)["nll_standard_error"])

    def test_corpora(self):
        """Rows, also empty ones, and corpora are joined by a blank line."""
        rows, packed, plain = self.dir / "rows.jsonl", self.dir / "rows.jsonl.gz", self.dir / "rows.txt"
        texts = ["", "The sea was calm.\n", "", "The crew slept." * 20]
        rows.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
        packed.write_bytes(gzip.compress(rows.read_bytes()))
        plain.write_text("\n\n".join(texts + [self.CORPUS]))
        wanted = self.perplexity(self.model, corpora=[plain])
        (self.dir / "all.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts + [self.CORPUS]))
        field = ("--text-field", "body")
        for got in (self.perplexity(self.model, *field, corpora=[self.dir / "all.jsonl"]),
                    self.perplexity(self.model, *field, corpora=["-"], text_in=(self.dir / "all.jsonl").read_text())):
            self.assertEqual([got[v] for v in VALUES], [wanted[v] for v in VALUES])
        self.assertEqual(self.perplexity(self.model, *field, corpora=[packed])["text"]["corpora"], ["rows.jsonl.gz"])
        halves = [self.dir / "one.txt", self.dir / "two.txt"]
        halves[0].write_text("\n\n".join(texts))
        halves[1].write_text(self.CORPUS)
        got = self.perplexity(self.model, corpora=halves)
        self.assertEqual([got[v] for v in VALUES], [wanted[v] for v in VALUES])
        self.assertEqual(got["text"]["corpora"], ["one.txt", "two.txt"])

    def test_bytes_are_of_the_text(self):
        corpus = self.dir / "bytes.txt"
        corpus.write_text("\u00e9t\u00e9 \u4e2d\u6587 " * 30)
        result = self.perplexity(self.model, "--bos", "every", "--context", 11, corpora=[corpus])
        self.assertEqual(result["text"]["bytes_scored"], result["text"]["windows"] * 10)

    def test_memory_limit_changes_nothing(self):
        corpus = self.dir / "long.txt"
        corpus.write_text(self.CORPUS * 60)
        free = self.perplexity(self.model, "--context", 32, corpora=[corpus])
        line = self.refuse(1, "1 MB of memory are too few", "perplexity", self.model, "--corpus", corpus, "--context", 32, "--memory",
                           "1MB")
        least = float(line.split(" in float32: ")[1].split(" MB")[0]) * 1e6
        bound = self.perplexity(self.model, "--context", 32, "--memory", int(least + 3e6), corpora=[corpus])
        self.assertGreater(bound["run"]["spilled_bytes"], 1e6)
        if not os.environ.get("OUTLIERS_SANITIZE"):  # whose own memory counts, too
            self.assertLessEqual(bound["run"]["peak_host_bytes"], least + 3e6)
        self.assertEqual([free[v] for v in VALUES], [bound[v] for v in VALUES])

    def test_ranks_give_the_same(self):
        one = self.perplexity(self.model, "--context", 24, "--stride", 12, "--threads", 1)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = str(s.getsockname()[1])
        command = [PROGRAM, "perplexity", self.model, "--corpus", self.corpus, "--context", "24", "--stride", "12", "--json", "--threads",
                   "1"]
        env = {**os.environ, "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes = [subprocess.Popen(command, env={**env, "RANK": str(r), "LOCAL_RANK": str(r)}, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) for r in range(3)]
        ended = [(*p.communicate(timeout=120), p.returncode) for p in processes]
        self.assertEqual([(err, code) for _, err, code in ended], [("", 0)] * 3)
        self.assertEqual([out for out, _, _ in ended[1:]], ["", ""])
        three = json.loads(ended[0][0])
        self.assertEqual(three["run"]["ranks"], 3)
        self.assertEqual(three["text"], one["text"])
        np.testing.assert_allclose([three[v] for v in VALUES], [one[v] for v in VALUES], rtol=1e-6)

    def test_text_and_help(self):
        text = self.succeed("perplexity", self.model, "--corpus", self.corpus, "--context", 32, "-o", self.dir / "told")
        result = json.loads((self.dir / "told/perplexity.json").read_text())
        self.assertRegex(text, rf"(?m)^perplexity  {result['ppl']:.4f}; nll {result['nll_nats']:.5f} nats a token")
        self.assertIn(f"{result['text']['windows']} windows of 32 tokens, 32 apart; BOS model, id {tiny.BOS} in front of the text",
                      " ".join(text.split()))
        self.refuse(1, "told.* exists already.*--force", "perplexity", self.model, "--corpus", self.corpus, "-o", self.dir / "told")
        text = run("perplexity", "--help").stdout
        for option in ("--corpus FILE...", "--context N", "--stride N", "--bos PLACE", "--sequences N", "--memory SIZE", "-o,--output DIR"):
            self.assertIn(option, text)

    def test_without_a_corpus_takes_the_one_that_comes_along(self):
        result = json.loads(self.succeed("perplexity", self.model, "--sequences", 2, "--json"))
        self.assertEqual(result["text"]["corpora"], ["state-of-the-union"])
        self.assertEqual((result["text"]["context"], result["text"]["windows"]), (tiny.POSITIONS, 2))

    def test_mistakes(self):
        def refuse(pattern, *more, model=self.model, corpus=self.corpus, code=1):
            self.refuse(code, pattern, "perplexity", model, "--corpus", corpus, *more)
        short = self.dir / "short.txt"
        short.write_text("The sea.")
        refuse(r"the corpus short.txt has 9 tokens, fewer than one window of 64; .* \(--context, --corpus\)", corpus=short)
        refuse(r"gives 36 windows of 64 tokens, and 99 were asked for.* \(--sequences, --context, --corpus\)", "--sequences", 99)
        refuse(r"a window should have 65 tokens, but .* has 64 positions; ask for fewer \(--context\)", "--context", 65)
        refuse(r"windows that start 33 tokens apart leave some out, .*; ask for 32 at most \(--stride\)", "--context", 32, "--stride", 33)
        refuse("ask for 31 at most", "--context", 32, "--stride", 32, "--bos", "every")
        refuse("a window of 2 tokens has none to score|--context", "--context", 1, code=2)
        refuse("--bos", "--bos", "always", code=2)
        refuse("cannot be standard input twice", "-", corpus="-", code=2)
        refuse("PAR1|Parquet|parquet", corpus=self.parquet())
        def cut(weights):
            for name in ("model.embed_tokens.weight", "lm_head.weight"):
                weights[name] = weights[name][:100]
        few = tiny.write_model(self.dir / "few", cut, lambda c: c.update(vocab_size=100))
        refuse("the tokenizer of few gives id 256, but the model's vocabulary has 100: they do not belong together", model=few)
        headless = tiny.write_model(self.dir / "headless", lambda w: w.pop("lm_head.weight"))
        refuse("headless has no lm_head.weight, which gives the logits", model=headless)
        refuse("reads images; perplexity is of models of text", model=ROOT / "tests/golden/models/vit_rectangle")

    def parquet(self):
        path = self.dir / "rows.parquet"
        path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
        return path

    def test_names_where_values_stop_being_finite(self):
        def bad(weights):
            weights["model.layers.2.mlp.down_proj.weight"][5, 7] = np.nan
        self.refuse(1, r"the logits of window 0 are not finite: the first value that is not is NaN at layer.2.down_out, window 0, token 0, "
                       r"channel 5; .*\(--dtype\)", "perplexity", tiny.write_model(self.dir / "bad", bad), "--corpus", self.corpus)

        def bad_head(weights):
            weights["lm_head.weight"][9] = np.inf
        self.refuse(1, "the logits of window 0 are not finite, though all that enters the head is", "perplexity",
                    tiny.write_model(self.dir / "bad_head", bad_head), "--corpus", self.corpus)


if __name__ == "__main__":
    main()
