#!/usr/bin/env python3
"""In which layers, channels and tokens the outputs of layers have outliers: the position study of arXiv 2502.06415.

usage: positions_layer.py MODEL [-o FILE] [--corpus FILE] [--sequences N] [--tokens N]

10 sequences of 4096 tokens without a BOS: of each layer the three largest values and the median, means over sequences; massive
activations by the class of their token; the prompt for channels. Draws pos_out_layers, pos_out_tokens and pos_out_channels.
Expect for Llama-2 7B about 2400, 1400 and 770 in layers 1 to 29, in channels 1415 and 2533; half of the tokens are initial ones.
The paper draws 500 random documents of RedPajama's sample; here windows come from random places. Time and memory: README.md.
"""
from common import LONG, Study, add_classes, inputs_of, main, median, of_layers, plateau, size_options, value


def study():
    s = Study(__file__, __doc__, size_options(10, LONG))
    results, folder = s.report(s.args.corpus, s.args.sequences, s.args.tokens)
    out = of_layers(results, inputs_of(results, "corpus")[0], "resid_out")
    largest = [layer["top3_mean"][0] or 0 for layer in out]
    high = plateau(largest)
    s.add("first layer with half of the largest value or more", high[0], "out.first")
    s.add("last layer", high[-1], "out.last")
    for i, what in enumerate(("largest", "second", "third")):
        s.add(f"{what} value in these layers (median over layers)", value(median([out[layer]["top3_mean"][i] for layer in high])),
              f"out.top{i + 1}")
    s.add("median of abs values there", value(median([out[layer]["median"] for layer in high])), "out.median")
    if high[-1] + 1 < len(out):
        s.add("largest value in the layer behind them", value(largest[high[-1] + 1]))
    middle = of_layers(results, "prompt", "resid_out")[high[len(high) // 2]]
    s.add("two largest channels on the prompt, in the middle of them", sorted(one["channel"] for one in middle["top_channels"][:2]),
          "out.channels")
    add_classes(s, "massive activations of the largest layer", out[largest.index(max(largest))]["massive_tokens"], "out")
    s.figures(folder, "pos_out_layers", "pos_out_tokens", "pos_out_channels")
    return s.finish()


if __name__ == "__main__":
    main(study)
