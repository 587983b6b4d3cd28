#!/usr/bin/env python3
"""Whether a report says what an older one of the same run said: every number and text of OLD (outliers-results/1 or /2) is looked for
in NEW (outliers-results/2), and has to be equal to the last bit. What NEW says beside that is not looked at.

  same_numbers.py OLD NEW [--products] [--key-scores] [--most N]

OLD and NEW are directories with results.json and arrays.npz. Differences are listed by their path in NEW; exit code 1 where there
are any. What changed in meaning may differ where an option allows it, and is counted:

  --products      writes: under a norm or LayerScale after the projection, a neuron's product is now what is added; what attention and
                  MLP add is now what was added, where it was the difference of two sums, which are rounded
  --key-scores    scores of keys in layers where sums of attention are not finite: now the mean of the heads that are; in arrays.npz
                  all of them in their last bits: now rounded once, from the mean in float64

Nothing here comes from the program: the form of /1 is told anew, as docs/results.md has it.
"""
import argparse
import collections
import json
import math
import pathlib
import re
import sys

import numpy as np

# Of the run itself, not of what it measured.
OF_THE_RUN = ("version", "commit", "libtorch", "machine", "seconds", "first_product_seconds", "peak_host_bytes", "peak_device_bytes")
LIFE = ("found", "born_layer", "peak_layer", "removed_layer", "massive_channels", "massive_tokens")
MODULES = ("gate", "up", "down")
INPUTS = ("prompt", "corpus")


def without(value, *names):
    return {key: item for key, item in value.items() if key not in names}


def expert_parts(layer):
    """The experts of a layer of /1's weights: their matrices, and what passed them by input."""
    matrices, passed = [], {name: [] for name in INPUTS}
    for expert in layer["experts"]:
        name = {"expert": expert["expert"]}
        matrices.append(name | {"modules": {module: expert[module] for module in MODULES if module in expert}})
        for one in INPUTS:
            if one in expert:
                passed[one].append(name | expert[one])
    return matrices, passed


def layer_of_1(old, l):
    inputs = {name: {point: without(old["activations"][name][point][l], "layer") for point in ("resid_out", "down_in")} for name in INPUTS}
    inputs["prompt"]["attention"] = without(old["attention"]["prompt"]["layers"][l], "layer")
    inputs["corpus"]["attention"] = without(old["attention"]["corpus"][l], "layer")
    inputs["prompt"]["writes"] = without(old["writes"][l], "layer")
    for name in INPUTS:
        if "norms" in old:
            inputs[name]["norms"] = without(old["norms"][name][l], "layer")
    weights = without(old["weights"][l], "layer", "experts")
    if "experts" in old["weights"][l]:
        weights["experts"], passed = expert_parts(old["weights"][l])
        for name in INPUTS:
            inputs[name]["experts"] = passed[name]
    return {"layer": l, "weights": weights, "inputs": inputs}


def summary_of_1(old):
    summary = without(old["summary"], *LIFE)
    summary["lives"] = [{"input": "prompt"} | {name: old["summary"][name] for name in LIFE}]
    places = [summary.get("first_nonfinite"), *summary["headroom"].values()]
    for place in places:
        if place is not None and "batch" in place:
            place["input"] = place.pop("batch")
    return summary


def from_1(old):
    """What /1 says, in the form of /2; without what is new there."""
    for layer in old["weights"]:  # experts that no token of an input chose are not listed of it any more
        for expert in layer.get("experts", []):
            for one in INPUTS:
                if expert.get(one, {}).get("tokens") == 0:
                    del expert[one]
    run = old["run"]
    prompt = {"name": "prompt", "kind": "prompt", "source": old["prompt"]["text"], "sequences": 1,
              "tokens_per_sequence": len(old["prompt"]["ids"]), "attention_maps": old["attention"]["prompt"]["probs_mean"] is not None}
    corpus = {"name": "corpus", "kind": "corpus", "source": run["corpus"], "sequences": run["sequences"],
              "tokens_per_sequence": run["tokens_per_sequence"]}
    new = {"model": old["model"], "run": without(run, "sequences", "tokens_per_sequence", "corpus"),
           "inputs": [prompt | without(old["prompt"], "text"), corpus], "summary": summary_of_1(old),
           "layers": [layer_of_1(old, l) for l in range(old["model"]["layers"])]}
    if "images" in old:
        new["images"] = old["images"]
    assert not lost(old, new), lost(old, new)
    return new


def values(value):
    """Every number and text below."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        yield repr(value)
        return
    for item in value:
        yield from values(item)


def lost(old, new):
    """What /1 says and its new form does not: but for the numbers of layers, which every part had, and the name of the maps."""
    known = {repr(l) for l in range(old["model"]["layers"])} | {"'prompt.attention.probs_mean'", "None"}
    gone = collections.Counter(values(without(old, "definitions"))) - collections.Counter(values(new))
    return [value for value in gone if value not in known]


class Comparison:
    def __init__(self, allow_products, allow_key_scores):
        self.allow_products, self.allow_key_scores = allow_products, allow_key_scores
        self.compared, self.allowed, self.differences = 0, 0, []
        self.not_finite = set()  # (input, layer) whose sums of attention are not all finite

    def note_not_finite(self, results):
        for layer in results["layers"]:
            for name, measured in layer["inputs"].items():
                if measured.get("attention", {}).get("nonfinite", 0) > 0:
                    self.not_finite.add((name, layer["layer"]))

    def may_differ(self, path):
        if self.allow_products and re.search(r"\.writes\.(largest|followed)\.(neurons|attention|mlp)\b", path):
            return True
        at = re.match(r"layers\[(\d+)\]\.inputs\.([^.]+)\.attention\b", path)
        if at:
            return self.allow_key_scores and (at[2], int(at[1])) in self.not_finite
        return path == "summary.alignment.activation_attention" and self.allow_key_scores and bool(self.not_finite)

    def differ(self, path, old, new):
        if self.may_differ(path):
            self.allowed += 1
        else:
            self.differences.append(f"{path}: {old} -> {new}")

    def compare(self, old, new, path=""):
        if isinstance(old, dict) and isinstance(new, dict):
            for name, value in old.items():
                below = f"{path}.{name}" if path else name
                if name in new:
                    self.compare(value, new[name], below)
                elif value != []:  # an empty list may be left out
                    self.differ(below, short(value), "nothing")
        elif isinstance(old, list) and isinstance(new, list):
            if len(old) != len(new):
                self.differ(path, f"{len(old)} entries", f"{len(new)} entries")
            for i, (a, b) in enumerate(zip(old, new)):
                self.compare(a, b, f"{path}[{i}]")
        else:
            self.compared += 1
            if type(old) is bool or type(new) is bool or isinstance(old, str) or isinstance(new, str):
                same = type(old) is type(new) and old == new
            else:
                same = old == new
            if not same:
                self.differ(path, short(old), short(new))

    def compare_arrays(self, old, new):
        for name in old.files:
            path = f"arrays.npz: {name}"
            if name not in new.files:
                self.differences.append(f"{path}: missing")
                continue
            a, b = old[name], new[name]
            self.compared += a.size
            if a.shape != b.shape or a.dtype != b.dtype:
                self.differences.append(f"{path}: {a.dtype} {list(a.shape)} -> {b.dtype} {list(b.shape)}")
                continue
            different = ~((a == b) | (np.isnan(a) & np.isnan(b))) if a.dtype.kind == "f" else a != b
            if name.endswith(".attention.key_scores") and self.allow_key_scores:
                for layer in range(len(a)):
                    if (name.split(".")[0], layer) in self.not_finite:
                        self.allowed += int(different[layer].sum())
                        different[layer] = False
                rounded = different & (np.abs(a - b) <= 2.0 ** -21 * np.abs(a))
                self.allowed += int(rounded.sum())
                different &= ~rounded
            if different.any():
                first = tuple(int(i) for i in np.argwhere(different)[0])
                largest = np.nanmax(np.abs(a[different].astype(np.float64) - b[different]))
                self.differences.append(f"{path}: {int(different.sum())} of {a.size} values, the first at {list(first)}: "
                                        f"{a[first]} -> {b[first]}; by at most {largest:.3g}")


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def read(directory):
    results = json.loads((pathlib.Path(directory) / "results.json").read_text(), parse_constant=lambda _: math.nan)
    schema = results.pop("schema")
    if schema == "outliers-results/1":
        return from_1(results)
    assert schema == "outliers-results/2", schema
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--products", action="store_true")
    parser.add_argument("--key-scores", action="store_true")
    parser.add_argument("--most", type=int, default=100, help="differences that are listed")
    options = parser.parse_args()
    old, new = read(options.old), read(options.new)
    old.pop("definitions", None)
    old["run"] = without(old["run"], *OF_THE_RUN)
    comparison = Comparison(options.products, options.key_scores)
    comparison.note_not_finite(old)
    comparison.compare(old, new)
    with np.load(pathlib.Path(options.old) / "arrays.npz") as before, np.load(pathlib.Path(options.new) / "arrays.npz") as after:
        comparison.compare_arrays(before, after)
    for line in comparison.differences[:options.most]:
        print(line)
    if len(comparison.differences) > options.most:
        print(f"and {len(comparison.differences) - options.most} more")
    print(f"{comparison.compared} values compared, {len(comparison.differences)} differences, {comparison.allowed} allowed")
    sys.exit(1 if comparison.differences or comparison.compared == 0 else 0)


if __name__ == "__main__":
    main()
