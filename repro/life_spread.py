#!/usr/bin/env python3
"""How an outlier reaches the other tokens: Figure 8 of arXiv 2502.06415 (life cycle, spread).

usage: life_spread.py MODEL [-o FILE]

The prompt of the paper, without a BOS, and one head of a late layer. Draws life_spread: input, norm, query, key, value, scores and
probabilities. For Llama-2 7B layer 27 and head 1, which the paper's code has typed in; of others the layer and head that give most
of their probability to outlier keys. The paper shows no numbers of it. Time and memory: README.md.
"""
from common import Study, main, value


def study():
    s = Study(__file__, __doc__)
    life, _, folder = s.lifecycle()
    chosen = {one["what"]: one["number"] for one in life["chosen"]}
    layer, head = chosen.get("spread"), chosen.get("head")
    s.add("layer", layer, "life.spread")
    s.add("head", head, "life.head")
    found = next((one for one in life["spread"] if one["layer"] == layer), None)
    if found is None:
        s.note("no outlier tokens at that layer's input")
    else:
        s.add("outlier tokens at its input", found["tokens"])
        for name, what in (("probability", "probability that outlier tokens receive"),
                           ("cosine_outlier", "cosine of queries with their keys"), ("cosine_other", "with other keys"),
                           ("value_ratio", "norm of their values over the others'"),
                           ("output_share", "their share of what the head mixes")):
            s.add(what, value(found[name][head]))
        s.add("probability that outlier tokens receive, mean over heads", sum(found["probability"]) / len(found["probability"]))
    s.figures(folder, "life_spread")
    return s.finish()


if __name__ == "__main__":
    main(study)
