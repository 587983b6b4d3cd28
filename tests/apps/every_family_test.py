#!/usr/bin/env python3
"""The main job (main_job.py) on every tiny checkpoint of tests/golden/models, one or more a family, with a tokenizer of letters or with
images: as a Hugging Face folder and, where there is one, as GGUF."""
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import gguf_file  # noqa: E402
import reading  # noqa: E402
import tiny  # noqa: E402
from main_job import GOLDEN, MainJobTest, golden_model  # noqa: E402
from program import ROOT, main  # noqa: E402

CASES = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())
# No gate and fused projections; experts, one shared by all; sinks; images.
OF_OTHER_BUILD = ["gpt2_tied", "qwen2_moe_mixed", "gpt_oss_sinks", "clip_vision_alone"]


class EveryFamilyTest(MainJobTest):
    def check(self, results, name):
        points = np.load(GOLDEN / name / "reference.npz").files
        gate = ["gate"] * any(point.startswith("layer.0.") and point.endswith("gate_out") for point in points)
        self.assertEqual(list(reading.weights(results)[0]["modules"]), ["q", "k", "v", "o", *gate, "up", "down"])
        for write in reading.layers(results, "prompt", "writes"):
            at = write["largest"]
            self.assertAlmostEqual(at["resid_in"] + at["attention"] + at["mlp"], at["resid_out"], 3)

    def test_every_family(self):
        families, names = {}, []
        for name in CASES:
            with self.subTest(name):
                folder, images = golden_model(name, self.dir)
                family = name.rsplit("_", 1)[0]
                results, _ = self.report(folder, name, *images, figures="plot" if family not in families else "none", text=not images)
                families.setdefault(family, results["model"]["family"])
                self.check(results, name)
                names.append(name)
                if (GOLDEN / name / "model.gguf").exists():
                    model = gguf_file.copy_with_tokenizer(GOLDEN / name / "model.gguf", self.dir / f"{name}.gguf",
                                                          list(tiny.letters()["model"]["vocab"]))
                    other, _ = self.report(model, name + "_gguf", figures="none")
                    self.check(other, name)
                    for key in ("layers", "width", "heads", "kv_heads", "head_width", "mlp_width", "vocabulary", "parameters"):
                        self.assertEqual(other["model"][key], results["model"][key], key)
                    for batch in ("prompt", "corpus"):
                        for mine, theirs in zip(reading.layers(other, batch, "resid_out"), reading.layers(results, batch, "resid_out"),
                                                strict=True):
                            self.assertAlmostEqual(mine["max"] / theirs["max"], 1, 3)
        self.compare(names)
        self.open_pages([*(name + ".report" for name in OF_OTHER_BUILD), names[0] + ".comparison"])
        rows = (ROOT / "src/outliers/models/families.cpp").read_text().split("#define OUTLIERS_DECLARE")[0]
        self.assertEqual(set(families.values()), set(re.findall(r"row\((\w+)\)", rows)))
        self.assert_saw_every_value("every_family")


if __name__ == "__main__":
    main()
