#!/usr/bin/env python3
"""The program's tokenizer beside Hugging Face's, in turn, in one run, on one core: GPT-2's vocabulary on English text.

usage: tokenizer_peer.py [TEXT...] [--tokenizer NAME] [--rounds 5]
TEXT defaults to the program's own corpus. NAME is one of tests/oracle/real_tokenizers.py (default gpt2), which must have fetched
it. Needs a Python with tests/oracle/requirements.txt. Prints a table of medians, and one JSON line for the record.

- tokenizers: encode_batch_fast of the Rust library, one thread; transformers: the call that users write, tokenizer(documents);
- outliers: bench/tokenizer_bench, one pass after another in one process (first: its word cache is empty).
All three must give the same ids.
"""
import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("OUTLIERS_BUILD") or ROOT / "build/release")
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
sys.path.insert(0, str(ROOT / "tests/oracle"))


def documents(path):
    raw = pathlib.Path(path).read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode(errors="replace")
    parts = [[]]
    for line in text.split("\n"):
        parts.append([]) if line == "<|endoftext|>" else parts[-1].append(line)
    if len(parts) == 1:
        return [text]
    found = ["\n".join(lines) for lines in parts]
    return [one for one in found[:-1] + [found[-1].removesuffix("\n")] if one.strip()]


def fnv(rows):
    value = 0x811C9DC5
    for row in rows:
        for token in row:
            value = (value ^ token) * 0x01000193 & 0xFFFFFFFF
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", type=pathlib.Path, default=[ROOT / "src/outliers/text/data/state_of_the_union.txt.gz"])
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from real_tokenizers import cache, gpt2_json
    folder = cache() / args.tokenizer
    spec = gpt2_json(folder) if args.tokenizer == "gpt2" else json.loads((folder / "tokenizer.json").read_text())
    plain = Tokenizer.from_str(json.dumps(spec))
    fast = PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=10 ** 12)
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    for text in args.texts:
        texts = documents(text)
        size = sum(len(one.encode()) for one in texts)
        ours, rust, python = [], [], []
        for _ in range(args.rounds):
            run = subprocess.run([BUILD / "bench/tokenizer_bench", folder, text, "--repeat", "3"], check=True, stdout=subprocess.PIPE,
                                 text=True)
            row = json.loads(run.stdout)
            ours.append(row)
            begin = time.perf_counter()
            batch = plain.encode_batch_fast(texts, add_special_tokens=False)
            rust.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            called = fast(texts, add_special_tokens=False)["input_ids"]
            python.append(time.perf_counter() - begin)
        ids = [one.ids for one in batch]
        assert ids == called
        if (size, len(texts), fnv(ids)) != (row["bytes"], row["documents"], row["hash"]):
            sys.exit(f"{text}: the ids or the documents differ: {size} {len(texts)} {fnv(ids)} {row}")
        middle = lambda seconds: size / 1e6 / statistics.median(seconds)
        rows = {"outliers, first pass": middle([r["seconds"][0] for r in ours]),
                "outliers, warm": middle([s for r in ours for s in r["seconds"][1:]]),
                "tokenizers": middle(rust), "transformers": middle(python)}
        print(f"{text.name}: {size / 1e6:.2f} MB, {row['tokens']} tokens, {len(texts)} documents, {args.tokenizer}, one core, "
              f"medians of {args.rounds}, equal ids")
        for name, speed in rows.items():
            print(f"{name:24}{speed:8.1f} MB/s")
        print(json.dumps({"text": text.name, "tokenizer": args.tokenizer, "commit": commit, "bytes": size,
                          "ours": [r["seconds"] for r in ours], "tokenizers": rust, "transformers": python}))


if __name__ == "__main__":
    main()
