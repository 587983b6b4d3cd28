"""What the tests read of a report's results.json (docs/results.md)."""
import json


def load(directory, **options):
    """results.json of a report; options: of json.loads."""
    return json.loads((directory / "results.json").read_text(), **options)


def layers(results, name, part):
    """One measurement of an input, by layer."""
    return [layer["inputs"][name][part] for layer in results["layers"]]


def weights(results):
    return [layer["weights"] for layer in results["layers"]]


def the_input(results, name):
    return next(one for one in results["inputs"] if one["name"] == name)


def lifecycle(results, name="prompt"):
    """The life cycle of a prompt's outlier."""
    return next(one for one in results["lifecycle"]["prompts"] if one["input"] == name)


def parts(layer):
    """The sum of what a layer adds to a value of the residual stream."""
    return (sum(layer["heads"]) + layer["attention_bias"] + sum(n["product"] for n in layer["neurons"]) + layer["other_neurons"]
            + layer["mlp_bias"] + layer["norm"])


def life(results, name="prompt"):
    """What a prompt tells of an outlier's life."""
    return next(one for one in results["summary"]["lives"] if one["input"] == name)
