#!/usr/bin/env python3
"""Whether weights, activations and attention have their outliers at the same places: Table 1 of arXiv 2502.06415.

usage: alignment.py MODEL [-o FILE] [--corpus FILE] [--sequences N] [--tokens N]

10 sequences of 4096 tokens without a BOS. Of the layers whose down input has outliers, the share where the column of down_proj with
the largest max/mean is the neuron with the largest input (published: 100 %); of the outlier keys, the share whose token is an outlier
token in the layer before (95 %). Over all layers the first is another, much smaller number, which stands beside it.
The paper has one number for its models; it stands here for Llama-2 7B. Time and memory: README.md.
"""
from common import LONG, Study, main, size_options, value


def study():
    s = Study(__file__, __doc__, size_options(10, LONG))
    results, _ = s.report(s.args.corpus, s.args.sequences, s.args.tokens)
    found = results["summary"]["alignment"]
    layers = found["outlier_layers"]["layers"]
    s.add("weights and activations, layers with outliers", value(found["outlier_layers"]["share"]), "alignment.weights")
    s.add("these layers", [layer["layer"] for layer in layers])
    s.add("those of them that agree", [layer["layer"] for layer in layers if layer["aligned"]])
    s.add("weights and activations, all layers", value(found["weight_activation"]))
    s.add("activations and attention", value(found["activation_attention"]), "alignment.attention")
    return s.finish()


if __name__ == "__main__":
    main(study)
