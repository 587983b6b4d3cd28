#!/usr/bin/env python3
"""Single weights without which a model is lost: the places in the table of arXiv 2411.07191.

usage: super_weights.py MODEL [-o FILE] [--corpus FILE] [--sequences N] [--tokens N]

Searched as the paper does, on 64 tokens of text: a down projection that gives more than 50 has one, which is set to zero, and so on
until none is left. Then the perplexity without them, as our options have it: on any text, not on the paper's tasks.
Expect for Llama-2 7B layer 1, row 2533, column 7890; for Mistral 7B v0.1 (1, 2070, 7310), for OLMo 1B 0724 (1, 1764, 1710).
The search goes on longer than the paper's list: what it finds beyond is in the last row. Time and memory: README.md.
"""
import re

from common import Study, main, size_options, value

PLACE = re.compile(r"weight\.(\d+)\.down\[row=(\d+),column=(\d+)\]")


def places(edits):
    """The [layer, row, column] that an edit of weights names."""
    return [[int(number) for number in place.groups()] for place in PLACE.finditer(edits)]


def study():
    s = Study(__file__, __doc__, size_options(2, 512, None))
    words = ["--edit", "super_weights=zero", "--bos", "model", "--sequences", s.args.sequences, "--context", s.args.tokens]
    if s.args.corpus:
        words += ["--corpus", s.args.corpus]
    results, _ = s.result("intervene", "interventions.json", *words)
    plain, edited = results["runs"][:2]
    found = places(edited["edits"])
    published = s.fact("super_weights", [])
    for place in published:
        s.add(f"layer {place[0]}, row {place[1]}, column {place[2]}", place in found)
        s.rows[-1].published, s.rows[-1].source = True, s.known.fact("super_weights")[1]
    s.add("perplexity with all weights", value(plain["ppl"]))
    s.add("perplexity without those found", value(edited["ppl"]))
    s.add("found beside the published ones (layer row column)", [place for place in found if place not in published])
    return s.finish()


if __name__ == "__main__":
    main(study)
