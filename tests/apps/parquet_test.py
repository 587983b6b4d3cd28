#!/usr/bin/env python3
"""Parquet files as corpora of the program. How each form is read, and what damage does: tests/text/parquet_test.cpp."""
import json
import os
import pathlib
import random
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from bounded_test import MB, peak  # noqa: E402
from program import ROOT, FolderTest, main  # noqa: E402

ROWS = ROOT / "tests/golden/text/parquet"
SIZE = ["--context", 32]


@unittest.skipUnless(os.environ.get("OUTLIERS_WITH_PARQUET"), "this build has no pyarrow")
class ParquetTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / "tiny")

    def perplexity(self, *corpora, **options):
        result = json.loads(self.succeed("perplexity", self.model, "--json", *SIZE, "--corpus", *corpora, **options))
        result["text"].pop("corpora")
        return result["text"], result["nll_nats"], result["bits_per_byte"]

    def test_gives_the_numbers_of_the_same_rows_as_json(self):
        wanted = self.perplexity(ROWS / "rows.jsonl")
        self.assertGreater(wanted[0]["tokens_scored"], 300)
        for name in ("zstd_v2", "snappy_v1", "large_string", "dictionary", "two_columns", "nested_beside"):
            self.assertEqual(self.perplexity(ROWS / f"good_{name}.parquet"), wanted, name)
        # By a name that says nothing, as a blob of a cache has, from standard input that is a file, and beside another.
        shutil.copy(ROWS / "good_zstd_v2.parquet", self.dir / "blob")
        self.assertEqual(self.perplexity(self.dir / "blob"), wanted)
        with open(self.dir / "blob") as file:
            self.assertEqual(self.perplexity("-", stdin=file), wanted)
        both = self.perplexity(ROWS / "good_zstd_v2.parquet", ROWS / "rows.jsonl")
        self.assertEqual(both, self.perplexity(ROWS / "rows.jsonl", ROWS / "rows.jsonl"))

    def test_reports_and_random_windows(self):
        def inputs(corpus, seed):
            out = self.dir / f"{corpus.name}-{seed}"
            self.succeed("report", self.model, "-o", out, "--no-figures", "--corpus", corpus, "--sequences", 3, "--tokens", 48,
                         "--seed", seed)
            results = json.loads((out / "results.json").read_text())
            return results["inputs"][1]["source"], results["layers"]
        for seed in (0, 3):
            source, layers = inputs(ROWS / "good_gzip_v2.parquet", seed)
            self.assertEqual(source, "good_gzip_v2.parquet")
            self.assertEqual(layers, inputs(ROWS / "rows.jsonl", seed)[1])

    def test_one_line_for_what_is_refused(self):
        def refused(why, corpus, *more, **options):
            self.refuse(1, why, "perplexity", self.model, "--corpus", corpus, *SIZE, *more, **options)
        refused(r"no_text.parquet has no column of strings \"text\" or \"content\"; name one of its columns: body, title \(--text-field\)",
                ROWS / "no_text.parquet")
        refused("has no column of strings \"id\"", ROWS / "good_plain.parquet", "--text-field", "id")
        refused("encrypted.parquet is encrypted", ROWS / "encrypted.parquet")
        data = (ROWS / "good_plain.parquet").read_bytes()
        (self.dir / "cut.parquet").write_bytes(data[:len(data) // 2])
        refused("cut.parquet is cut short: it does not end as a Parquet file does; download it again", self.dir / "cut.parquet")
        (self.dir / "plain.parquet").write_text("The sea was calm.\n" * 99)
        refused("plain.parquet is no Parquet file, whatever its name says", self.dir / "plain.parquet")
        end, begin = os.pipe()
        os.write(begin, data)
        os.close(begin)
        with open(end) as pipe:
            refused("standard input is no text but a Parquet file, which cannot be read from a pipe", "-", stdin=pipe)

    @unittest.skipIf(os.environ.get("OUTLIERS_SANITIZE"), "sanitizers take memory of their own")
    def test_holds_a_page_and_not_a_row_group(self):
        import pyarrow
        import pyarrow.parquet
        words = random.Random(1).choices([f"word{i}" for i in range(5000)], k=50000)
        rows = [" ".join(words[i:] + words[:i]) for i in range(0, 50000, 71)]
        schema = pyarrow.schema({"text": pyarrow.string()})
        large = self.dir / "large.parquet"
        with pyarrow.parquet.ParquetWriter(large, schema, compression="zstd", use_dictionary=False) as writer:
            writer.write_table(pyarrow.table({"text": rows}), row_group_size=len(rows))
        self.assertGreater(sum(map(len, rows)), 200 * MB)
        arguments = ["perplexity", self.model, "--sequences", 4, *SIZE, "--corpus"]
        code, err, least = peak(*arguments, ROWS / "good_plain.parquet")
        self.assertEqual(code, 0, err)
        code, err, most = peak(*arguments, large)
        self.assertEqual(code, 0, err)
        # What is read ahead of a corpus is 64 MiB of text.
        self.assertLess(most - least, 140 * MB)


if __name__ == "__main__":
    main()
