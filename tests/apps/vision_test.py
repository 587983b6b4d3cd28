#!/usr/bin/env python3
"""Models of images from end to end: reports, captures and exports of the tiny ones in tests/golden/models, held against the points
that transformers computed (reference.npz)."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import PROGRAM, ROOT, ProgramTest, main  # noqa: E402

GOLDEN = ROOT / "tests/golden"
NAMES = sorted(p.name for p in (GOLDEN / "models").iterdir() if p.name.split("_")[0] in ("vit", "dinov2", "clip"))
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 10}}


class VisionTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)

    def model(self, name, copy=None):
        """A folder with the model, and its images as .npy."""
        folder = self.dir / (copy or name)
        if not folder.exists():
            folder.mkdir()
            for file in ("config.json", "model.safetensors"):
                shutil.copy(GOLDEN / "models" / name / file, folder)
            np.save(folder / "images.npy", np.load(GOLDEN / "models" / name / "reference.npz")["pixel_values"])
        return folder

    def report(self, model, out, *more, figures=False, images=None):
        stdout = self.succeed("report", model, "-o", self.dir / out, "--images", *(images or [model / "images.npy"]), *more,
                              *[] if figures else ["--no-figures"])
        return reading.load(self.dir / out), dict(np.load(self.dir / out / "arrays.npz")), stdout

    def planted(self, copy, token, value):
        """A ViT whose position embedding makes one token large."""
        folder = self.model("vit_rectangle", copy)
        tensors = {name: array.copy() for name, (_, array) in tiny.read_safetensors(folder / "model.safetensors").items()}
        tensors["vit.embeddings.position_embeddings"][0, token, 3] = value
        tiny.write_safetensors(folder / "model.safetensors", tensors)
        return folder

    def test_reports_of_every_family_agree_with_transformers(self):
        self.assertEqual(len(NAMES), 9)
        schema = json.loads((ROOT / "docs/results.schema.json").read_text())
        for name in NAMES:
            with self.subTest(name):
                model, reference = self.model(name), np.load(GOLDEN / "models" / name / "reference.npz")
                results, arrays, stdout = self.report(model, name + ".report")
                try:
                    import jsonschema
                except ImportError:
                    pass
                else:
                    jsonschema.Draft202012Validator(schema).validate(results)
                images, tokens = reference["pixel_values"].shape[0], reference["layer.0.resid_out"].shape[1]
                shown = results["images"]
                registers = shown["registers"]
                self.assertEqual(registers, 3 if "shrunk" in name else 1 if "registers_stretched" in name else 0)
                self.assertEqual(1 + registers + shown["rows"] * shown["columns"], tokens)
                corpus = reading.the_input(results, "corpus")
                self.assertEqual((corpus["sequences"], corpus["tokens_per_sequence"]), (images, tokens))
                self.assertEqual(shown["names"], ["images.npy"] if images == 1 else ["images.npy[0]", "images.npy[1]"])
                prompt = reading.the_input(results, "prompt")
                self.assertEqual(prompt["ids"], list(range(tokens)))
                names = ["[CLS]", *(f"[REG{i}]" for i in range(registers)),
                         *(f"r{r}c{c}" for r in range(shown["rows"]) for c in range(shown["columns"]))]
                self.assertEqual(prompt["tokens"], names)
                self.assertEqual(prompt["classes"], ["cls"] + ["register"] * registers + ["patch"] * (tokens - 1 - registers))
                self.assertEqual(results["model"]["vocabulary"], 0)
                for layer in range(2):
                    out = reference[f"layer.{layer}.resid_out"].astype(np.float64)
                    norms = np.linalg.norm(out, axis=-1)
                    np.testing.assert_allclose(arrays["corpus.resid_out.token_norm"][layer], norms, rtol=1e-5)
                    np.testing.assert_allclose(arrays["prompt.resid_out.token_norm"][layer], norms[:1], rtol=1e-5)
                    listed, patches = reading.layers(results, "corpus", "norms")[layer], norms[:, 1 + registers:]
                    self.assertAlmostEqual(listed["cls"]["median"], np.median(norms[:, 0]), 4)
                    self.assertAlmostEqual(listed["patches"]["median"], np.median(patches), 4)
                    self.assertAlmostEqual(listed["patches"]["max"], patches.max(), 4)
                    sequence, patch = np.unravel_index(patches.argmax(), patches.shape)
                    largest = listed["patches"]["largest"]
                    self.assertEqual((largest["sequence"], largest["token"], largest["token_text"]),
                                     (sequence, 1 + registers + patch, names[1 + registers + patch]))
                    self.assertEqual((listed["patches"]["high"], listed["patches"]["count"]), ((patches > 150).sum(), patches.size))
                    self.assertEqual("registers" in listed, registers > 0)
                    if registers:
                        np.testing.assert_allclose(listed["registers"]["each"], np.median(norms[:, 1:1 + registers], 0), rtol=1e-5)
                    self.assertAlmostEqual(reading.layers(results, "corpus", "resid_out")[layer]["max"], abs(out).max(), 3)
                    probs = reference[f"layer.{layer}.attn_probs"]
                    np.testing.assert_allclose(arrays["prompt.attention.probs"][layer], probs[0], atol=1e-5)
                    np.testing.assert_allclose(arrays["corpus.attention.key_scores"][layer], probs.mean(1).sum(1), atol=1e-4)
                    write = reading.layers(results, "prompt", "writes")[layer]["largest"]
                    self.assertAlmostEqual(write["resid_in"] + write["attention"] + write["mlp"], write["resid_out"], 3)
                self.assertEqual(results["summary"]["norms"]["patch_max"], reading.layers(results, "corpus", "norms")[1]["patches"]["max"])
                self.assertIn("norms", stdout)
                self.assertIn(f"{images} image", stdout)

    def test_finds_a_patch_of_high_norm(self):
        # Token 5 is the second patch of the third row.
        results, _, stdout = self.report(self.planted("planted", 5, 12000.0), "planted.report")
        summary, life = results["summary"], reading.life(results)
        self.assertEqual((summary["norms"]["high_patches"], summary["norms"]["high_share"]), (2, 1 / 6))
        self.assertEqual(reading.layers(results, "corpus", "norms")[1]["patches"]["largest"]["token_text"], "r2c0")
        self.assertEqual([(t["text"], t["class"]) for t in life["massive_tokens"]], [("r2c0", "patch")])
        self.assertEqual(life["massive_channels"], [3])
        self.assertEqual(reading.layers(results, "corpus", "resid_out")[1]["massive_tokens"],
                         [{"token_text": "r2c0", "class": "patch", "count": 2}])
        self.assertRegex(stdout.replace("\n            ", " "), r"17 % of patches \(2\) are above 150")
        results, _, stdout = self.report(self.planted("cls", 0, 12000.0), "cls.report")
        self.assertEqual(summary["norms"]["layer"], 1)
        self.assertEqual(reading.life(results)["massive_tokens"][0]["class"], "cls")
        self.assertIn("the CLS token", stdout)
        self.assertIn("no patch is above 150", stdout.replace("\n            ", " "))

    def test_ranks_split_the_images(self):
        model = self.model("dinov2_with_registers_shrunk")
        one, arrays, _ = self.report(model, "one-rank")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = str(s.getsockname()[1])
        started = [subprocess.Popen([PROGRAM, "report", model, "-o", self.dir / "two-ranks", "--no-figures", "--images",
                                     model / "images.npy"],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=os.environ | {"RANK": str(r), "WORLD_SIZE": "2", "LOCAL_RANK": str(r), "LOCAL_WORLD_SIZE": "2",
                                                      "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"})
                                                      for r in range(2)]
        for process in started:
            _, stderr = process.communicate(timeout=120)
            self.assertEqual((process.returncode, stderr), (0, ""))
        two, others = reading.load(self.dir / "two-ranks"), np.load(self.dir / "two-ranks/arrays.npz")
        self.assertEqual(two["run"]["ranks"], 2)
        for part in ("inputs", "images"):
            self.assertEqual(two[part], one[part])
        for batch in ("prompt", "corpus"):
            for a, b in zip(reading.layers(one, batch, "norms"), reading.layers(two, batch, "norms")):
                self.assertEqual(a["patches"]["largest"], b["patches"]["largest"])
                self.assertAlmostEqual(a["registers"]["max"], b["registers"]["max"], 4)
        self.assertEqual(sorted(arrays), sorted(others.files))
        for name in arrays:
            np.testing.assert_allclose(others[name], arrays[name], rtol=1e-5, atol=1e-6, err_msg=name)

    def test_reads_image_files_through_the_processor(self):
        model = self.model("vit_rectangle", "pictures")
        (model / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        folder = self.dir / "files"
        folder.mkdir()
        pixels = np.load(GOLDEN / "io/images/images.npz")
        for name in ("rgb.png", "palette.png", "rgb.jpg"):
            shutil.copy(GOLDEN / "io/images" / name, folder)
        np.save(folder / "array.npy", pixels["rgb.png"])
        results, arrays, stdout = self.report(model, "files.report", images=[folder], figures=True)
        self.assertEqual(results["images"]["names"], ["array.npy", "palette.png", "rgb.jpg", "rgb.png"])
        np.testing.assert_array_equal(arrays["corpus.resid_out.token_norm"][:, 0], arrays["corpus.resid_out.token_norm"][:, 3])
        self.assertFalse((arrays["corpus.resid_out.token_norm"][:, 1] == arrays["corpus.resid_out.token_norm"][:, 3]).all())
        self.assertEqual(reading.the_input(results, "prompt")["source"], "array.npy")
        if shutil.which("gnuplot"):
            made = {p.name for p in (self.dir / "files.report/figures").iterdir()}
            for name in ("norm_layers", "norm_map", "exist_attention", "exist_out"):
                self.assertLessEqual({name + ".pdf", name + ".svg", name + ".png"}, made)
        few, _, _ = self.report(model, "few.report", "--sequences", 2, images=[folder])
        corpus = reading.the_input(few, "corpus")
        self.assertEqual((corpus["sequences"], few["images"]["left_out"]), (2, 2))
        self.assertIn("(2 more left out)", corpus["source"])

    def test_captures_points_of_images(self):
        for name in ("clip_vision_alone", "dinov2_stretched"):
            model = self.model(name)
            for file in ("a.npz", "a.safetensors"):
                out = self.dir / (name + file)
                self.succeed("capture", model, "--images", model / "images.npy", "--points", "layer.*.*,final_norm_out", "-o", out)
                told = self.succeed("compare-layers", out, GOLDEN / "models" / name / "reference.npz")
                points = set(np.load(GOLDEN / "models" / name / "reference.npz").files) - {"pixel_values"}
                self.assertIn(f"{len(points)} points", told)
            got = np.load(self.dir / (name + "a.npz"))
            np.testing.assert_array_equal(got["pixel_values"], np.load(model / "images.npy"))
            other = self.dir / (name + "other.npz")
            np.save(model / "other.npy", np.load(model / "images.npy") + 1)
            self.succeed("capture", model, "--images", model / "other.npy", "--points", "layer.1.resid_out", "-o", other)
            self.refuse(1, "are captures of different images", "compare-layers", other, GOLDEN / "models" / name / "reference.npz")
        self.refuse(1, "there is no point 'logits': this model has no vocabulary", "capture", model, "--images", model / "images.npy",
                    "--points", "logits", "-o", self.dir / "x.npz")
        self.assertNotIn("\nlogits ", self.succeed("capture", model, "--points", "list"))

    def test_exports_open_again(self):
        model = self.model("clip_vision_beside", "exported.from")
        (model / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        out = self.dir / "exported"
        self.assertIn("preprocessor_config.json", self.succeed("export", model, "-o", out))
        self.assertEqual(json.loads((out / "preprocessor_config.json").read_text()), PROCESSOR)
        before, after = (self.report(m, m.name + ".norms", images=[model / "images.npy"])[0] for m in (model, out))
        for name in ("prompt", "corpus"):
            self.assertEqual(reading.layers(before, name, "norms"), reading.layers(after, name, "norms"), name)

    def test_inspects(self):
        text = self.succeed("inspect", self.model("dinov2_with_registers_shrunk"))
        self.assertIn("28 x 28 pixels (height x width), 4 x 4 a patch: CLS, 3 registers, 7 x 7 patches", text)
        self.assertIn("not causal", text)
        self.assertIn("LayerScale", text)
        self.assertNotIn("vocabulary", text)
        self.assertNotIn("tokenizer", text)

    def test_says_what_does_not_go_together(self):
        model, text = self.model("vit_rectangle"), tiny.write_model(self.dir / "text")
        images = model / "images.npy"
        out = ("-o", self.dir / "never")
        self.refuse(2, "reads images: name PNG, JPEG or .npy files, or a folder of them, with --images", "report", model, *out)
        self.refuse(2, "--images: .* reads text", "report", text, *out, "--images", images)
        for option, value in (("--prompt", "a"), ("--tokens", 8), ("--bos", "never"), ("--seed", 1), ("--corpus", images)):
            self.refuse(2, f"{option}: .* reads images", "report", model, *out, option, value, "--images", images)
        self.refuse(2, "reads images: name them with --images", "capture", model, "--prompt", "a", "-o", self.dir / "never.npz")
        self.refuse(2, "--images: .* reads text", "capture", text, "--images", images, "-o", self.dir / "never.npz")
        self.refuse(1, r"rgb.png: there is no preprocessor_config.json|there is no preprocessor_config.json beside", "report", model, *out,
                    "--images", GOLDEN / "io/images/rgb.png")
        (model / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        self.addCleanup((model / "preprocessor_config.json").unlink)
        self.refuse(1, "this is no PNG or JPEG image", "report", model, *out, "--images", GOLDEN / "io/images/images.npz")
        self.assertFalse((self.dir / "never").exists())


if __name__ == "__main__":
    main()
