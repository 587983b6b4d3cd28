#!/usr/bin/env python3
"""The largest value of each layer's output: the result files of arXiv 2503.22329 (massive activations of many models).

usage: massive_layers.py MODEL [-o FILE] [--bos never|every] [--corpus FILE] [--sequences N] [--tokens N]

10 sequences of 4096 tokens (GPT-2: 1024) of RedPajama's sample, with a BOS in each or without: of each layer with massive activations
the mean over sequences of the largest abs value. Expect for GPT-2 without BOS 2480 in layer 2 to 3024 in layer 9, channel 447; for
Gemma 3 1B with BOS 2592 in layer 0 to 95232 in layer 18. Their numbers are rounded to bfloat16, by up to one part in 256.
The study draws 500 random documents; here windows come from random places. Time and memory: README.md.
"""
from common import LONG, REDPAJAMA, Study, inputs_of, main, of_layers, seed_option, value


def options(parser):
    seed_option(parser, 1)
    parser.add_argument("--bos", choices=("never", "every"), help="(default: as published, else never)")
    parser.add_argument("--corpus", default=REDPAJAMA, metavar="FILE", help=f"(default: {REDPAJAMA})")
    parser.add_argument("--sequences", type=int, default=10, metavar="N", help="(default: the study's 10)")
    parser.add_argument("--tokens", type=int, metavar="N", help=f"of each (default: the study's: {LONG}, for GPT-2 1024)")


def study():
    s = Study(__file__, __doc__, options)
    layers = range(s.known.shape[0] if s.known else 0)
    bos = s.args.bos or next((b for b in ("never", "every") if any(s.fact(f"massive.{b}.{layer}") for layer in layers)), "never")
    tokens = s.args.tokens or s.fact(f"reset.{bos}.context", LONG)
    results, folder = s.report(s.args.corpus, s.args.sequences, tokens, bos="always" if bos == "every" else "never")
    out = of_layers(results, inputs_of(results, "corpus")[0], "resid_out")
    massive = [layer for layer, found in enumerate(out) if found["massive_count"] > 0]
    for layer, found in enumerate(out):
        if layer in massive or s.fact(f"massive.{bos}.{layer}") is not None:
            s.add(f"layer {layer}", value(found["infinity_norm"]), f"massive.{bos}.{layer}")
    if massive:
        s.add(f"channels of massive activations in layer {massive[0]}", sorted({one["channel"] for one in out[massive[0]]["massive"]}),
              f"massive.{bos}.channels")
    else:
        s.note("no layer's output has massive activations: none above 100 and above 1000 medians")
    s.figures(folder, "pos_out_layers")
    return s.finish()


if __name__ == "__main__":
    main(study)
