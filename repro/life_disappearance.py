#!/usr/bin/env python3
"""How an outlier goes: Figure 9 of arXiv 2502.06415 (life cycle, disappearance).

usage: life_disappearance.py MODEL [-o FILE]

The prompt of the paper, without a BOS, and the layers that take the outlier away. Draws life_disappearance: all points of the MLP that
takes most. Expect for Llama-2 7B layer 30, neurons 3721 and 7006. Time and memory: README.md.
"""
from common import Study, main, standing_out, value


def written(layer):
    """What a layer adds, of the residual stream's units."""
    return sum(neuron["product"] for neuron in layer["neurons"]) + layer["other_neurons"] + sum(layer["heads"])


def study():
    s = Study(__file__, __doc__)
    life, _, folder = s.lifecycle()
    gone = life.get("disappearance")
    if gone is None:
        s.note("no layer takes the outlier away")
        return s.finish()
    most = max(gone["layers"], key=lambda layer: abs(written(layer)))
    parts = [abs(neuron["product"]) for neuron in most["neurons"]]
    s.add("layer that takes most", most["layer"], "life.removed")
    s.add("neurons that stand out in it", sorted(most["neurons"][i]["neuron"] for i in standing_out(parts)), "life.removers")
    s.add("value before", value(gone["before"]))
    s.add("value behind the last layer", value(gone["after"]))
    s.add("share that is cancelled", value(gone["cancelled"]))
    s.figures(folder, "life_disappearance")
    return s.finish()


if __name__ == "__main__":
    main(study)
