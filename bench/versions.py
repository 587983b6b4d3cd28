#!/usr/bin/env python3
"""Two builds of the program in turn on one model: how long a report takes, and how much memory.

usage: versions.py OLD NEW [MODEL] [--rounds 5] [--options "--sequences 4 --tokens 1024"] [--new-options "..."]
OLD and NEW are programs. Without MODEL a random bfloat16 checkpoint of Qwen2.5 0.5B's shapes is written and removed again.
Prints a line a round, and the medians of the ratios new / old.
"""
import argparse
import json
import pathlib
import statistics
import tempfile

import size

QWEN2_0_5B = dict(size.QWEN2_1_5B, hidden_size=896, num_hidden_layers=24, num_attention_heads=14, intermediate_size=4864)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--options", default="--sequences 4 --tokens 1024")
    parser.add_argument("--new-options", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = args.model
        if model is None:
            model = folder / "model"
            size.write_checkpoint(model, QWEN2_0_5B, "BF16", size.random_words(11))
        common = [*args.options.split(), "--no-figures"]
        programs = {"old": (args.old, common), "new": (args.new, common + args.new_options.split())}
        rounds = []
        for number in range(args.rounds + 1):
            done = {}
            for side in ("old", "new") if number % 2 == 0 else ("new", "old"):
                program, options = programs[side]
                done[side] = size.report(model, folder / side, *options, program=program)
            if number == 0:  # reads the files into the cache
                continue
            for of_side in done.values():
                of_side.update(of_side["results"]["run"]["seconds"])
            keys = ("seconds", "cpu_seconds", "peak", "load", "forward", "statistics")
            rounds.append({key: [round(done[side][key], 2) for side in ("old", "new")] for key in keys})
            print(json.dumps(rounds[-1]), flush=True)
        ratios = {key: round(statistics.median(r[key][1] / r[key][0] for r in rounds), 3) for key in rounds[0]}
        more = statistics.median(r["peak"][1] - r["peak"][0] for r in rounds)
        print(json.dumps({"median_ratio": ratios, "median_peak_difference_mb": round(more / 1e6, 1), "rounds": args.rounds}))


if __name__ == "__main__":
    main()
