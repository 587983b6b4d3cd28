#!/usr/bin/env python3
"""In which layers, neurons and tokens the inputs of down projections have outliers: the position study of arXiv 2502.06415.

usage: positions_down.py MODEL [-o FILE] [--corpus FILE] [--sequences N] [--tokens N]

10 sequences of 4096 tokens without a BOS: of each layer the three largest values and the median, means over sequences; the
prompt for neurons. Draws pos_down_layers, pos_down_removed, pos_down_channels and exist_down.
Expect for Llama-2 7B 1460 in layer 1, neuron 7890, and a second peak in layer 30, neurons 3721 and 7006.
The paper draws 500 random documents of RedPajama's sample; here windows come from random places. Time and memory: README.md.
"""
from common import LONG, Study, inputs_of, main, of_layers, peaks, size_options, standing_out, value


def study():
    s = Study(__file__, __doc__, size_options(10, LONG))
    results, folder = s.report(s.args.corpus, s.args.sequences, s.args.tokens)
    down = of_layers(results, inputs_of(results, "corpus")[0], "down_in")
    largest = [layer["top3_mean"][0] or 0 for layer in down]
    first, late = peaks(largest)
    if first > late:
        first, late = late, first
    prompt = of_layers(results, "prompt", "down_in")
    s.add("first peak: layer", first, "down.layer")
    s.add("largest value there, mean over sequences", value(largest[first]), "down.value")
    s.add("second", value(down[first]["top3_mean"][1]))
    s.add("median there", value(down[first]["median"]))
    s.add("neuron with the largest value on the prompt", prompt[first]["top_channels"][0]["channel"], "down.neuron")
    s.add("second peak: layer", late, "down.late_layer")
    s.add("largest value there, mean over sequences ", value(largest[late]))
    top = prompt[late]["top_channels"]
    s.add("neurons that stand out there on the prompt", sorted(top[i]["channel"] for i in standing_out([one["max"] for one in top])),
          "down.late_neurons")
    s.figures(folder, "pos_down_layers", "pos_down_removed", "pos_down_channels", "exist_down")
    return s.finish()


if __name__ == "__main__":
    main(study)
