#!/usr/bin/env python3
"""The program beside transformers on one GGUF, in turn, in one run: load, bare forward, all statistics, memory.

usage: peer.py MODEL.gguf [--sequences 4] [--tokens 1024] [--dtype float32] [--threads 2] [--rounds 3]
Needs a Python with tests/oracle/requirements.txt. Prints a table of medians, and one JSON line for the record.

- load: from the start of a fresh process to the end of layer 0's first product (this program), to the return of
  from_pretrained (transformers, which has computed nothing by then);
- bare: the forward pass alone, hidden states only, weights already read; the same windows, no cache of keys and values;
- all: the same tokens and the default prompt with everything `outliers report` measures.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("OUTLIERS_BUILD") or ROOT / "build/release")


def load_transformers(path, dtype):
    import torch
    import transformers
    transformers.utils.logging.set_verbosity_error()
    return transformers.AutoModel.from_pretrained(path.parent, gguf_file=path.name, dtype=getattr(torch, dtype))


def report(args, out):
    """One `outliers report` in a process of its own; its results.json and the windows."""
    import numpy as np
    command = [BUILD / "outliers", "report", args.model, "-o", out, "--force", "--no-figures", "--bos", "never", "--dtype", args.dtype,
               "--sequences", args.sequences, "--tokens", args.tokens, "--threads", args.threads]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "results.json").read_text()), np.load(out / "arrays.npz")["corpus.ids"]


def ours(args):
    command = [BUILD / "bench/survey_and_bare", args.model, "--sequences", args.sequences, "--tokens", args.tokens, "--dtype", args.dtype,
               "--threads", args.threads, "--repeat", 1]
    return json.loads(subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.model = args.model.absolute()

    with tempfile.TemporaryDirectory() as folder:
        reports = [report(args, pathlib.Path(folder) / "report") for _ in range(args.rounds)]
    results, windows = reports[-1]
    first_product = statistics.median(r["run"]["first_product_seconds"] for r, _ in reports)
    peak = max(r["run"]["peak_host_bytes"] for r, _ in reports)

    import torch
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("highest")
    begin = time.perf_counter()
    model = load_transformers(args.model, args.dtype)
    load_peer = time.perf_counter() - begin
    ids = torch.from_numpy(windows)
    bare, everything, peer = [], [], []
    for _ in range(args.rounds):
        row = ours(args)
        bare.append(row["bare"]["forward"])
        everything.append(row["survey"]["forward"] + row["survey"]["statistics"])
        with torch.no_grad():
            begin = time.perf_counter()
            # Two sequences at a time, as this program's chunks of 2048 tokens.
            step = max(1, 2048 // args.tokens)
            for first in range(0, ids.shape[0], step):
                model(ids[first:first + step], use_cache=False)
            peer.append(time.perf_counter() - begin)

    middle = statistics.median
    file = args.model.stat().st_size
    rows = [
        ("load, s", first_product, load_peer, load_peer / first_product),
        ("bare forward, s", middle(bare), middle(peer), middle(p / b for p, b in zip(peer, bare))),
        ("all statistics / bare", middle(e / b for e, b in zip(everything, bare)), None, None),
        ("peak memory - file, GB", (peak - file) / 1e9, None, None),
    ]
    print(f"{args.model.name}, {args.sequences} x {args.tokens} tokens, {args.dtype}, {args.threads} threads, medians of {args.rounds}")
    print(f"{'':24}{'outliers':>12}{'transformers':>14}{'ratio':>8}")
    for name, a, b, ratio in rows:
        print(f"{name:24}{a:12.3f}" + (f"{b:14.3f}{ratio:8.2f}" if b is not None else ""))
    print(json.dumps({"model": args.model.name, "commit": results["run"]["commit"], "sequences": args.sequences, "tokens": args.tokens,
                      "dtype": args.dtype, "threads": args.threads, "first_product_seconds": first_product, "load_transformers": load_peer,
                      "bare": bare, "all": everything, "transformers": peer, "peak_host_bytes": peak, "file_bytes": file}))


if __name__ == "__main__":
    sys.exit(main())
