#!/usr/bin/env python3
"""Perplexity when massive activations are set to zero or to their mean: the tables of arXiv 2402.17762 and 2503.22329.

usage: massive_perplexity.py MODEL [-o FILE] [--bos never|every] [--texts wikitext,c4,pg19] [--layer N] [--controls N]
                             [--wikitext FILE] [--c4 FILE] [--pg19 FILE] [--calibration FILE]

As in 2503.22329, a report of 10 sequences of RedPajama's sample finds the first layer whose output has massive activations (abs > 100
and > 1000 medians); there they are set to zero, or to the mean of their channel: of initial tokens one, of all others another.
WikiText-2's test set whole, 100 windows of C4 and PG-19; 4096 tokens (GPT-2: 1024), with a BOS in each window or without one.
Expect for Llama-2 7B without BOS 5.121, 8115, 5.128 on WikiText-2; for GPT-2 30.219, and nearly the same when reset.
What differs from theirs: README.md. Time and memory: README.md.
"""
from common import LONG, REDPAJAMA, Study, inputs_of, main, of_layers, seed_option, text_options, value


def options(parser):
    text_options(parser, ["wikitext", "c4", "pg19"])
    seed_option(parser, 1)
    parser.add_argument("--bos", choices=("never", "every"), help="(default: as published, else never)")
    parser.add_argument("--context", type=int, metavar="N", help=f"tokens of a window (default: the study's: {LONG}, for GPT-2 1024)")
    parser.add_argument("--layer", type=int, metavar="N", help="where they are reset (default: the first that has any)")
    parser.add_argument("--controls", type=int, default=0, metavar="N",
                        help="runs that reset as many random values, beside each (default: 0)")
    parser.add_argument("--calibration", default=REDPAJAMA, metavar="FILE",
                        help="by which the layer is found (default: RedPajama's sample)")
    parser.add_argument("--calibration-sequences", type=int, default=10, metavar="N", help="(default: the study's 10)")


def first_massive(results):
    """The first layer whose output has massive activations in the corpus, or None."""
    out = of_layers(results, inputs_of(results, "corpus")[0], "resid_out")
    return next((layer for layer, found in enumerate(out) if found["massive_count"] > 0), None)


def edits_of(layer):
    """zero and mean, as --edit takes them. Initial tokens have a mean of their own: theirs are smaller in some models."""
    point = f"layer.{layer}.resid_out"
    return [f"{point}[massive]=zero", f"{point}[massive,token=0]=mean;{point}[massive,token=1..-1]=mean"]


def study():
    s = Study(__file__, __doc__, options)
    bos = s.args.bos or next((b for b in ("never", "every") if s.fact(f"reset.{b}.context")), "never")
    context = s.args.context or s.fact(f"reset.{bos}.context", LONG)
    as_published = s.fact(f"reset.{bos}.context") == context
    layer = s.args.layer
    if layer is None:
        results, _ = s.report(s.args.calibration, s.args.calibration_sequences, context, bos="always" if bos == "every" else "never")
        layer = first_massive(results)
    s.add("first layer with massive activations", layer, f"reset.{bos}.layer")
    if layer is None:
        s.note("no layer's output has massive activations, so there is nothing to reset; --layer names one all the same")
        return s.finish()
    for text in s.args.texts:
        words = ["--corpus", getattr(s.args, text), "--context", context, "--bos", bos, *s.windows_of(text)]
        for edit in edits_of(layer):
            words += ["--edit", edit]
        if s.args.controls:
            words += ["--controls", s.args.controls]
        runs = s.result("intervene", "interventions.json", *words)[0]["runs"]
        edited = [run for run in runs if "control_of" not in run]
        for run, name in zip(edited, ("plain", "zero", "mean")):
            s.add(f"{text}: {'as it is' if name == 'plain' else 'set to ' + name}", value(run["ppl"]),
                  f"reset.{bos}.{text}.{name}" if as_published else None)
            controls = [one["ppl"] for one in runs if one.get("control_of") == run["name"] and one["ppl"] is not None]
            if controls:
                s.add(f"{text}: as many random values set to {name}", sum(controls) / len(controls))
    return s.finish()


if __name__ == "__main__":
    main(study)
