#!/usr/bin/env python3
"""`outliers report --measures`: a report has what was chosen and what that needs, as a report of everything has it, and nothing else.
The table of measures and that of arrays are the docs', which the code writes (docs/measures.md, docs/results.md)."""
import json
import pathlib
import re
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from main_job import golden_model  # noqa: E402
from program import ROOT, FolderTest, main  # noqa: E402

try:
    import jsonschema
except ImportError:
    jsonschema = None

OF_OTHERS = {"experts": "mixtral_experts", "norms": "dinov2_with_registers_shrunk"}  # the rest is made for any model
NOT_OF_IMAGES = {"criticality", "vocabulary"}
# What a measure writes of an input; weights stand beside the inputs, and some write into summary and arrays.npz alone.
PARTS = {"activations": {"resid_out", "down_in"}, "attention": {"attention"}, "attention_maps": set(), "weights": set(),
         "experts": {"experts"}, "writes": {"writes"}, "prompt_values": set(), "norms": {"norms"}, "alignment": set(),
         "value_drain": {"values"}, "headroom": {"amax"}, "rounding": {"rounding"}, "weight_rounding": set(),
         "super_weights": set(), "criticality": set(), "sinks": {"values"}, "heads": {"values"}, "distribution": {"values"},
         "residual_sinks": {"values", "residual_sinks"}, "int8_outliers": {"values"}, "positions": {"values"}, "spectrum": {"values"},
         "collinearity": set(), "vocabulary": set()}
# What of the summary is there where all of these measures are.
TOLD = {"lives": {"activations"}, "headroom": {"activations"}, "sink_rate": {"attention"}, "alignment": {"alignment"}, "norms": {"norms"},
        "first_overflow": {"headroom"}, "secondary_sinks": {"attention"}, "super_experts": {"experts", "activations"},
        "inactive_heads": {"heads", "sinks"}}
AXES = {"spike": "activations", "sink": "attention", "drain": "value_drain"}


def rows(page, heading):
    """The cells of the table below a line of docs/`page`."""
    text = (ROOT / "docs" / page).read_text().split(heading + "\n", 1)[1]
    lines = re.match(r"\|[^\n]*\n\|[-|]*\n((?:\|.*\n)*)", text[text.index("|"):]).group(1).splitlines()
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# name -> [what, made for, needs, what it takes where it is made on request alone, source], in the order of the table
TABLE = {name: cells for name, *cells in rows("measures.md", "(`summary.first_nonfinite`).")}
ARRAYS = [(name, of, measure) for name, _, of, _, measure in rows("results.md", "<!-- arrays -->")]


def with_needs(*names):
    """The measures that these take along, in the order of the table."""
    found, more = set(), list(names)
    while more:
        name = more.pop()
        found.add(name)
        more += [need for need in TABLE[name][2].split(", ") if need]
    return [name for name in TABLE if name in found]


def arrays_of(measures, images):
    wanted = set()
    for name, of, measure in ARRAYS:
        if measure and measure not in measures or of == "inputs of images" and not images or ".life." in name:
            continue
        inputs = {"every input": ["prompt", "corpus"], "inputs of images": ["prompt", "corpus"], "corpora": ["corpus"]}.get(of, ["prompt"])
        wanted |= {name.replace("INPUT", one) for one in inputs}
    return wanted


class MeasuresTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {None: (tiny.write_model(cls.dir / "tiny"), ("--corpus", cls.corpus, "--sequences", 2, "--tokens", 24))}
        words = cls.dir / "words.txt"
        words.write_text("the sea was calm and the crew slept. " * 20)
        for measure, name in OF_OTHERS.items():
            folder, images = golden_model(name, cls.dir)
            cls.models[measure] = folder, images or ("--prompt", "warm.", "--corpus", words, "--sequences", 2, "--tokens", 8)
        cls.full = {}

    def report(self, of, out, *more):
        """Of the model that has the measure `of`; results, and a dict of the arrays."""
        model, options = self.models.get(of, self.models[None])
        self.succeed("report", model, "-o", self.dir / out, "--threads", 1, "--no-figures", *options, *more)
        results = reading.load(self.dir / out)
        if jsonschema:
            jsonschema.Draft202012Validator(json.loads((ROOT / "docs/results.schema.json").read_text())).validate(results)
        return results, dict(np.load(self.dir / out / "arrays.npz"))

    def everything(self, of):
        of = of if of in self.models else None
        if of not in self.full:
            self.full[of] = self.report(of, f"everything-{of}", "--measures", "all")
        return self.full[of]

    def check(self, of, measures, results, arrays):
        """That a report of `measures` has of a report of everything what is theirs."""
        full, full_arrays = self.everything(of)
        self.assertEqual(results["run"]["measures"], measures)
        for mine, whole in zip(results["layers"], full["layers"], strict=True):
            for part, by in (("weights", "weights"), ("rounding", "weight_rounding"), ("collinearity", "collinearity")):
                self.assertEqual(mine.get(part), whole[part] if by in measures else None)
            self.assertEqual(mine["inputs"].keys(), whole["inputs"].keys())
            for name, measured in mine["inputs"].items():
                parts = set.union(*(PARTS[measure] for measure in measures)) - ({"writes"} if name == "corpus" else set())
                both = whole["inputs"][name]
                # Each measure's values are some of all.
                wanted = {part: both[part] for part in parts if part in both and part != "values"}
                wanted |= {"values": {one: both["values"][one] for one in measured["values"]}} if "values" in parts else {}
                self.assertEqual(measured, wanted, name)
        for field in ("super_weights", "criticality", "vocabulary"):
            self.assertEqual(results.get(field), full.get(field) if field in measures else None)
        of_measures = {name for name in arrays if ".life." not in name}
        self.assertEqual(of_measures, arrays_of(measures, "images" in results))
        self.assertEqual("lifecycle" in results, {"activations", "attention"} <= set(measures))
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, full_arrays[name], name)
        none = {"first_nonfinite": None, "lives": [], "headroom": {}, "sink_rate": None,
                "alignment": {"weight_activation": None, "activation_attention": None}}
        told = {field for field, by in TOLD.items() if by <= set(measures) and field in full["summary"]}
        axes = [{axis: layer[axis] if by in measures else None for axis, by in AXES.items()} for layer in full["summary"]["axes"]["layers"]]
        found = [{axis: layer[axis] for axis in AXES} for layer in results["summary"].pop("axes", {"layers": []})["layers"]]
        self.assertEqual(found, axes if set(AXES.values()) & set(measures) else [])
        self.assertEqual(results["summary"], none | {field: full["summary"][field] for field in told})
        for one, whole in zip(results["inputs"], full["inputs"], strict=True):
            self.assertEqual(one["attention_maps"], "attention_maps" in measures and one["kind"] == "prompt")
            self.assertEqual(one.get("amax"), whole["amax"] if "headroom" in measures else None)
            self.assertEqual(one.get("int8_outliers"), whole["int8_outliers"] if "int8_outliers" in measures else None)
            self.assertEqual(one.get("kept_tokens", 0), whole["kept_tokens"] if "prompt_values" in measures else 0)
        values = {path.rsplit(".", 1)[1] for path, one in results["definitions"].items() if "shape" in one}
        self.assertEqual(values, set().union(*(measured.get("values", {}) for layer in results["layers"]
                                               for measured in layer["inputs"].values())))

    def test_docs_list_what_stands_here(self):
        self.assertEqual(set(TABLE), set(PARTS))
        self.assertEqual({measure for _, _, measure in ARRAYS} - {""} - set(TABLE), set())
        self.assertEqual(with_needs("alignment"), ["activations", "attention", "weights", "alignment"])

    def test_each_alone(self):
        for measure in TABLE:
            with self.subTest(measure):
                results, arrays = self.report(measure, measure, "--measures", measure)
                self.check(measure, with_needs(measure), results, arrays)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_figures_are_of_what_was_measured(self):
        for measure, wanted in (("attention_maps", {"exist_attention"}),
                                ("value_drain", {f"drain_{key}{of}" for key in ("top_key", "first_token", "smallest", "largest")
                                                 for of in ("", "_corpus")}), ("experts", set())):
            with self.subTest(measure):
                out = f"drawn-{measure}"
                self.report(measure, out, "--measures", measure)
                printed = self.succeed("plot", self.dir / out, "--formats", "svg")
                self.assertIn(f"{len(wanted) or 'no'} figures", printed)
                self.assertEqual({path.stem for path in (self.dir / out).glob("figures/*.svg")}, wanted)
                self.assertTrue(wanted or not (self.dir / out / "figures").exists())
        model, options = self.models["experts"]
        self.assertNotIn("figures", self.succeed("report", model, "-o", self.dir / "none", *options, "--measures", "experts"))
        self.assertFalse((self.dir / "none/figures").exists())
        self.refuse(1, "exist_out shows the measure prompt_values, which this report was made without", "plot", self.dir / "none", "--only",
                    "exist_out")

    def test_several(self):
        for named, wanted in (("value_drain,weights", with_needs("weights", "value_drain")), ("writes,attention,writes",
                              with_needs("attention", "writes")), ("all,weights", self.everything(None)[0]["run"]["measures"])):
            with self.subTest(named):
                results, arrays = self.report(None, named, "--measures", named)
                self.check(None, wanted, results, arrays)

    def test_everything_is_what_there_is_to_look_at(self):
        self.assertEqual(self.everything(None)[0]["run"]["measures"], [name for name in TABLE if name not in OF_OTHERS])
        for measure in OF_OTHERS:
            others = OF_OTHERS.keys() - {measure} | (NOT_OF_IMAGES if measure == "norms" else set())
            self.assertEqual(self.everything(measure)[0]["run"]["measures"], [name for name in TABLE if name not in others])

    def test_list(self):
        printed = self.succeed("report", self.models[None][0], "--measures", "list").splitlines()
        self.assertEqual([line.split()[0] for line in printed], list(TABLE))
        for line, (what, _, needs, takes, _) in zip(printed, TABLE.values()):
            more = (f"; takes along {needs}" if needs else "") + (f"; only where named: takes {takes}" if takes else "")
            self.assertEqual(line.split(None, 1)[1], what + more)

    def test_default_is_what_costs_little(self):
        results, _ = self.report(None, "default")
        self.assertEqual(results["run"]["measures"], [name for name in self.everything(None)[0]["run"]["measures"] if not TABLE[name][3]])
        self.assertIn("headroom", results["run"]["measures"])
        self.assertNotIn("rounding", results["run"]["measures"])

    def test_unknown(self):
        out = self.dir / "never"
        command = ("report", self.models[None][0], "-o", out, "--measures")
        self.refuse(2, r"there is no measure atention; did you mean attention\? \(--measures\)", *command, "atention")
        self.refuse(2, r"there is no measure weigths; did you mean weights\?", *command, "attention,weigths")
        self.refuse(2, r"there is no measure of-nothing-known; there are all, activations, .*, vocabulary \(--measures\)", *command,
                    "of-nothing-known")
        for measure in OF_OTHERS:
            self.refuse(1, f"the measure {measure} has nothing to look at in tiny", *command, measure)
        self.assertFalse(out.exists())

    def test_where_values_stop_being_finite_is_told_of_any(self):
        model = tiny.write_model(self.dir / "broken", lambda w: w["model.layers.2.mlp.up_proj.weight"].__setitem__((3, 5), np.nan))
        for measure in ("weights", "attention"):
            out = self.dir / f"broken-{measure}"
            self.succeed("report", model, "-o", out, "--measures", measure, *self.models[None][1], "--no-figures")
            first = reading.load(out)["summary"]["first_nonfinite"]
            self.assertEqual((first["layer"], first["point"], first["value"]), (2, "down_in", "NaN"))


if __name__ == "__main__":
    main()
