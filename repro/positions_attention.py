#!/usr/bin/env python3
"""In which layers, heads and keys attention has outliers: the position study of arXiv 2502.06415.

usage: positions_attention.py MODEL [-o FILE] [--corpus FILE] [--key-sequences N] [--key-tokens N]

One sequence of 1024 tokens for layers and heads, 100 of 4096 for the keys, without a BOS. A key's score is its probability, mean
over heads, summed over queries; keys with a tenth of the tokens or more are outliers. Draws pos_attention_layers,
pos_attention_keys and pos_attention_heads.
Expect for Llama-2 7B 520 of 1024 in layer 2, 0.87 of a head's probability there; half of the keys are initial tokens. The paper's
code takes two keys of its sequence by number (0 and 19), and layer 3 for the keys; here outlier keys are found.
The paper draws 500 random documents of RedPajama's sample; here windows come from random places. Time and memory: README.md.
"""
from common import LONG, Study, add_classes, inputs_of, main, of_layers, size_options, value


def options(parser):
    size_options(1, 1024)(parser)
    parser.add_argument("--key-sequences", type=int, default=100, metavar="N", help="for the classes of keys (default: the study's 100)")
    parser.add_argument("--key-tokens", type=int, default=LONG, metavar="N", help=f"of each (default: the study's {LONG})")


def study():
    s = Study(__file__, __doc__, options)
    results, folder = s.report(s.args.corpus, s.args.sequences, s.args.tokens)
    attention = of_layers(results, inputs_of(results, "corpus")[0], "attention")
    largest = [layer["top3_mean"][0] or 0 for layer in attention]
    first = largest.index(max(largest))
    s.add("layer with the largest score of a key", first, "attention.layer")
    s.add(f"its score, of {s.args.tokens}", value(largest[first]), "attention.score" if s.args.tokens == 1024 else None)
    s.add("median of scores there", value(attention[first]["median"]))
    shares = [head["outlier_share"] for head in attention[first]["heads"]]
    s.add("outlier keys' share of a head's probability, mean", sum(shares) / len(shares), "attention.share")
    s.add("smallest of a head", value(min(shares)))
    s.add("largest of a head", value(max(shares)))
    s.figures(folder, "pos_attention_layers", "pos_attention_heads")
    results, folder = s.report(s.args.corpus, s.args.key_sequences, s.args.key_tokens)
    attention = of_layers(results, inputs_of(results, "corpus")[0], "attention")
    layer = s.fact("attention.keys_layer", first)
    add_classes(s, f"outlier keys of layer {layer}", attention[layer]["outlier_keys"], "attention")
    s.figures(folder, "pos_attention_keys")
    return s.finish()


if __name__ == "__main__":
    main(study)
