"""The main job of small models from end to end: a report, its page and figures, and a comparison, each held against the documented
schema and read again by the program. Used by every_format_test.py, every_quantisation_test.py and every_family_test.py."""
import json
import re
import shutil

import numpy as np

import browser
import reading
import tiny
from program import ROOT, FolderTest

try:
    import jsonschema
except ImportError:
    jsonschema = None

GOLDEN = ROOT / "tests/golden/models"
SCHEMA = json.loads((ROOT / "docs/results.schema.json").read_text())
# Which test has to see every value of an enumeration of the schema. One that no test writes is either needless or untested.
SEEN_BY = {"schema": "every_format", "model.format": "every_format", "run.dtype": "every_format", "run.bos": "every_format",
           "inputs[].kind": "every_format", "summary.first_nonfinite.value": "every_format", "summary.headroom, its names": "every_format",
           "findings[].severity": "every_format", "#/$defs/class": "every_family", "#/$defs/axis": "every_family",
           "#/$defs/expert": "every_family",
           "layers[].weights.modules, its names": "every_family", "layers[].weights.experts[].modules, its names": "every_family",
           "layers[].inputs.*.norms.patches.largest.class": "every_family",
           "layers[].rounding, its names": "every_family", "layers[].rounding.*.formats, its names": "every_format",
           "layers[].inputs.*.rounding.*.formats, its names": "every_format", "inputs[].amax.*.of_largest, its names": "every_format",
           "summary.first_overflow, its names": "every_format", "layers[].inputs.*.amax.*.of_largest, its names": "every_format",
           "lifecycle.prompts[].chosen[].what": "every_format",
           "lifecycle.prompts[].neurons[].drives[].module": "every_format"}


def resolved(schema, place):
    if "$ref" not in schema:
        return schema, place
    found = SCHEMA
    for part in schema["$ref"].split("/")[1:]:
        found = found[part]
    return found, schema["$ref"]


def parts(schema, place):
    """The schemas right below one: (place, schema, what of a value they are for)."""
    for choice in schema.get("anyOf", []):
        yield place, choice, lambda value: [value]
    for name, sub in schema.get("properties", {}).items():
        yield (f"{place}.{name}".lstrip("."), sub,
               lambda value, name=name: [value[name]] if isinstance(value, dict) and name in value else [])
    if "propertyNames" in schema:
        yield f"{place}, its names", schema["propertyNames"], lambda value: list(value) if isinstance(value, dict) else []
    if "additionalProperties" in schema:
        yield f"{place}.*", schema["additionalProperties"], lambda value: list(value.values()) if isinstance(value, dict) else []
    if "items" in schema:
        yield f"{place}[]", schema["items"], lambda value: value if isinstance(value, list) else []


def listed(schema):
    return schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else []


def enumerations(schema=SCHEMA, place="", known=None):
    """place -> the values that the schema lists there."""
    known = {} if known is None else known
    schema, place = resolved(schema, place)
    if listed(schema):
        known.setdefault(place, set()).update(listed(schema))
    for below, sub, _ in parts(schema, place):
        enumerations(sub, below, known)
    return known


def written(value, schema=SCHEMA, place=""):
    """Every listed value that `value` has: (place, value)."""
    schema, place = resolved(schema, place)
    if value in listed(schema):
        yield place, value
    for below, sub, pick in parts(schema, place):
        for part in pick(value):
            yield from written(part, sub, below)


def golden_model(name, parent):
    """Makes a folder of a model of tests/golden/models below `parent`, with a tokenizer of letters or with images beside it; the folder,
    and the options that name its images: none of a model of text."""
    folder = parent / name
    folder.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name / file, folder)
    reference = np.load(GOLDEN / name / "reference.npz")
    if "pixel_values" in reference:
        np.save(folder / "images.npy", reference["pixel_values"])
        return folder, ("--images", folder / "images.npy")
    (folder / "tokenizer.json").write_text(json.dumps(tiny.letters()))
    return folder, ()


class MainJobTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.words = cls.dir / "words.txt"
        cls.words.write_text("the sea was calm. and the crew slept.\n" * 20)
        cls.seen = set()

    def report(self, model, name, *options, figures="report", text=True):
        """Reports on a model into `name`; what the schema, the page and the figures must be. Returns results and arrays. figures: of
        report in all formats, of plot (quicker: as SVG) which reads the report back, or none."""
        out = self.dir / (name + ".report")
        if text:
            options = ("--prompt", "warm sea.", "--corpus", self.words, "--sequences", 2, "--tokens", 12, *options)
        # Threads that wait for each other cost most of the time where tests run side by side.
        stdout = self.succeed("report", model, "-o", out, "--threads", 1, "--measures", "all", *options,
                              *["--no-figures"] * (figures != "report"))
        if figures == "plot" and shutil.which("gnuplot"):
            self.succeed("plot", out, "--formats", "svg")
        results = json.loads((out / "results.json").read_text())
        if jsonschema:
            jsonschema.Draft202012Validator(SCHEMA).validate(results)
        self.seen.update(written(results))
        # The report was read back by the program's own reader to make its page.
        page = (out / "index.html").read_text()
        shown = json.loads(re.search('<script type="application/json" id="results">(.*?)</script>', page, re.S).group(1))
        for part in ("model", "run", "summary"):
            self.assertEqual(shown[part], reading.load(out)[part], part)
        self.assertIn(results["model"]["format"], stdout)
        if figures != "none" and shutil.which("gnuplot"):
            forms = ["svg"] if figures == "plot" else ["pdf", "png", "svg"]
            drawn = json.loads(re.search('<script type="application/json" id="index">(.*?)</script>', page, re.S).group(1))["figures"]
            self.assertGreaterEqual(len(drawn), 12)
            for figure, listed_forms in drawn.items():
                self.assertEqual(sorted(listed_forms), forms)
                for form in (*forms, "gp", "dat"):
                    self.assertGreater((out / "figures" / f"{figure}.{form}").stat().st_size, 0, f"{figure}.{form}")
        return results, dict(np.load(out / "arrays.npz"))

    def compare(self, names):
        """Compares the reports of these names."""
        out = self.dir / (names[0] + ".comparison")
        stdout = self.succeed("compare", *(self.dir / (name + ".report") for name in names), "-o", out)
        table = stdout.split("\n\n")[0]  # the files' line behind it folds where the path is long
        self.assertEqual(table.count("\n"), len(names))
        compared = json.loads((out / "comparison.json").read_text())["reports"]
        for name, one in zip(names, compared, strict=True):
            results = reading.load(self.dir / (name + ".report"))
            for part in ("model", "run", "summary"):
                self.assertEqual(one[part], results[part], name)

    def open_pages(self, names):
        """Opens the pages of reports and comparisons where there is a browser: each says that it is ready, and nothing in the console."""
        if browser.CHROMIUM and browser.CHROMEDRIVER:
            window = browser.Browser()
            self.addCleanup(window.close)
            for name in names:
                window.open(self.dir / name / "index.html")
                self.assertEqual(window.console(), [], name)

    def assert_saw_every_value(self, test):
        """Of the enumerations that are `test`'s, every value was in some report."""
        known = enumerations()
        self.assertEqual(set(known), set(SEEN_BY), "each enumeration of the schema has a test that sees all its values")
        for place, values in known.items():
            if SEEN_BY[place] == test:
                self.assertEqual({value for where, value in self.seen if where == place}, values, place)
