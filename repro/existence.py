#!/usr/bin/env python3
"""Where outliers are, in one layer: Figure 1 of arXiv 2502.06415, and its Figures 13 to 22 for other models.

usage: existence.py MODEL [-o FILE]

The prompt of the paper, without a BOS. Draws exist_down, exist_weight, exist_out and exist_attention, and compares the layer, the
neuron, the channels and the tokens with those that the paper's code has typed in for each model: here they are found.
Expect for Llama-2 7B layer 1, neuron 7890, channels 1415 and 2533, tokens 0 and 3. Of Llama-3 8B the column with the largest
max/mean is another than the neuron with the largest input.
Time and memory: README.md.
"""
from common import Study, largest_of_tokens, main, size_options, standing_out, value


def study():
    s = Study(__file__, __doc__, size_options(1, 128, None))
    results, folder = s.report(s.args.corpus, s.args.sequences, s.args.tokens)
    life = next((one for one in results["summary"]["lives"] if one["input"] == "prompt"), {})
    born = life.get("born_layer")
    if born is None:  # as the figures choose
        ratios = [(layer["inputs"]["prompt"]["resid_out"]["max"] or 0) / (layer["inputs"]["prompt"]["resid_out"]["median"] or 1)
                  for layer in results["layers"]]
        born = ratios.index(max(ratios))
        s.note(f"no outlier was found on the prompt; layer {born} has the largest max/median")
    layer = results["layers"][born]
    down, out = (layer["inputs"]["prompt"][point] for point in ("down_in", "resid_out"))
    s.add("layer", born, "existence.layer")
    s.add("neuron with the largest input of down_proj", down["top_channels"][0]["channel"], "existence.neuron")
    s.add("its value", value(down["max"]))
    channels = out["top_channels"]
    s.add("channels that stand out in the layer's output",
          sorted(channels[i]["channel"] for i in standing_out([one["max"] for one in channels])), "existence.channels")
    s.add("largest value of the layer's output", value(out["max"]), "existence.value")
    tokens = largest_of_tokens(folder / "arrays.npz", "prompt.resid_out", born)
    s.add("tokens that stand out there", standing_out(tokens), "existence.tokens")
    s.add("column of down_proj with the largest max/mean", layer["weights"]["modules"]["down"]["top_columns"][0]["column"],
          "existence.column")
    if born + 1 < len(results["layers"]):
        keys = results["layers"][born + 1]["inputs"]["prompt"]["attention"]["top_keys"]
        s.add("keys looked at most in the next layer", [key["key"] for key in keys[:2]])
    s.figures(folder, "exist_down", "exist_weight", "exist_out", "exist_attention")
    return s.finish()


if __name__ == "__main__":
    main(study)
