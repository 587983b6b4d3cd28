#!/usr/bin/env python3
"""In which layers, modules and columns weights have outliers: the position study of arXiv 2502.06415.

usage: positions_weights.py MODEL [-o FILE]

max/mean of abs W over rows and columns of each projection; no text is needed. Draws pos_weight_layers, pos_weight_columns,
pos_weight_second and pos_weight_third.
Expect for Llama-2 7B 1170 in layer 1 (column 7890), 565 in layer 30 (7006) and 585 in layer 31 (3228).
Llama-3 8B's down_proj of layer 1 has its largest max/mean in column 12638, though neuron 2427 has the largest input.
Time and memory: README.md.
"""
from common import Study, main, median, size_options, value


def study():
    s = Study(__file__, __doc__, size_options(1, 128, None))
    results, folder = s.report(s.args.corpus, s.args.sequences, s.args.tokens)
    modules = [layer["weights"]["modules"] for layer in results["layers"]]
    scores = [layer["down"]["score"] for layer in modules]
    first = scores.index(max(scores))
    s.add("layer with the largest max/mean of down_proj", first, "weights.layer")
    s.add("its max/mean", value(scores[first]), "weights.score")
    s.add("its column", modules[first]["down"]["top_columns"][0]["column"], "weights.column")
    others = sorted((i for i in range(len(scores)) if i != first), key=lambda i: -scores[i])[:2]
    late = [layer for layer in range(len(scores)) if s.fact(f"weights.late.{layer}") is not None] or sorted(others)
    for layer in late:
        s.add(f"max/mean of layer {layer}", value(scores[layer]), f"weights.late.{layer}")
        s.add(f"column of layer {layer}", modules[layer]["down"]["top_columns"][0]["column"], f"weights.column.{layer}")
    s.add("median of all layers' down_proj", value(median(scores)))
    for name in sorted(set().union(*modules) - {"down"}):
        found = [layer[name]["score"] for layer in modules if name in layer]
        s.add(f"largest max/mean of {name}", value(max(found)))
    s.figures(folder, "pos_weight_layers", "pos_weight_columns", "pos_weight_second", "pos_weight_third")
    return s.finish()


if __name__ == "__main__":
    main(study)
