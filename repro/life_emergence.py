#!/usr/bin/env python3
"""How an outlier comes about: Figure 7 of arXiv 2502.06415 (life cycle, emergence).

usage: life_emergence.py MODEL [-o FILE]

The prompt of the paper, without a BOS, and the MLP of the layer that writes the outlier. Draws life_emergence: all points of that MLP.
Expect for Llama-2 7B layer 1, neuron 7890, channels 1415 and 2533. Time and memory: README.md.
"""
from common import Study, main, standing_out, value


def study():
    s = Study(__file__, __doc__)
    life, results, folder = s.lifecycle()
    emergence, neuron = life["emergence"], life["neurons"][0]
    top = results["layers"][emergence["layer"]]["inputs"]["prompt"]["resid_out"]["top_channels"]
    s.add("layer of birth", emergence["layer"], "life.born")
    s.add("token", emergence["token"])
    s.add("channels that stand out in its output", sorted(top[i]["channel"] for i in standing_out([one["max"] for one in top])),
          "life.channels")
    s.add("the largest value's channel", emergence["channel"])
    s.add("its value", value(emergence["residual"]))
    s.add("sum of all that was written to it", value(emergence["sum"]))
    s.add("neuron that writes most of it", neuron["neuron"], "life.neuron")
    s.add("its part", value(neuron["product"]))
    for name in ("gate_out", "act_out", "up_out", "down_in"):
        if name in neuron:
            s.add(f"its {name}", value(neuron[name]))
    s.add("its weight of down_proj", value(neuron["weight"]))
    s.figures(folder, "life_emergence")
    return s.finish()


if __name__ == "__main__":
    main(study)
