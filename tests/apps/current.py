"""Reports in the current schema, whatever schema the program at hand writes: a comparison holds what it read."""
import base64
import json
import re
import tempfile
import zlib

from program import run


def results_of(directory):
    """results.json of a report, as its reader has it."""
    results = json.loads((directory / "results.json").read_text())
    if results["schema"] == "outliers-results/2":
        return results
    with tempfile.TemporaryDirectory() as folder:
        done = run("compare", directory, directory, "-o", folder + "/compared")
        assert done.returncode == 0, done.stderr
        with open(folder + "/compared/index.html") as page:
            packed = re.search(r'id="results-0">(.*?)</script>', page.read(), re.S).group(1)
        return json.loads(zlib.decompress(base64.b64decode(packed)))


def bring_up(directory):
    """Writes results.json of a report anew, in the current schema; returns it."""
    results = results_of(directory)
    (directory / "results.json").write_text(json.dumps(results))
    return results


def layers(results, name, part):
    """One measurement of an input, by layer."""
    return [layer["inputs"][name][part] for layer in results["layers"]]


def weights(results):
    return [layer["weights"] for layer in results["layers"]]


def the_input(results, name):
    return next(one for one in results["inputs"] if one["name"] == name)


def life(results, name="prompt"):
    return next(one for one in results["summary"]["lives"] if one["input"] == name)
