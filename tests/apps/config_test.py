#!/usr/bin/env python3
"""What config.json and the tensors say of head, positions and keys, from end to end."""
import json
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import ProgramTest, main  # noqa: E402

IDS = ",".join(str(i) for i in range(5, 25))  # 20
UNTIED = r"'lm_head\.weight' is stored and differs from 'model\.embed_tokens\.weight'"


class ConfigTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.weights = tiny.weights()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def model(self, name, keys=None, weights=None):
        folder = self.dir / name
        tiny.write_model(folder)
        (folder / "config.json").write_text(json.dumps(tiny.config() | (keys or {})))
        if weights is not None:
            tiny.write_safetensors(folder / "model.safetensors", weights)
        return folder

    def captured(self, folder, warnings=(), points="layer.*.resid_out,logits"):
        out = folder.with_suffix(".npz")
        self.warn(warnings, "capture", folder, "--ids", IDS, "--points", points, "-o", out, "--force")
        return dict(np.load(out))

    def assert_equal(self, a, b, tolerance=0.0):
        for name in b:
            self.assertLessEqual(np.abs(a[name] - b[name]).max(), tolerance * np.abs(b[name]).max(), name)

    def test_stored_head_is_used(self):
        wanted = self.captured(self.model("untied"))
        tied = self.model("said", {"tie_word_embeddings": True})
        self.assert_equal(self.captured(tied, [UNTIED]), wanted)
        self.assertNotIn("tied embeddings", self.warn([UNTIED], "inspect", tied))
        # What is exported says so itself.
        self.warn([UNTIED], "export", tied, "-o", self.dir / "exported", "--dtype", "f32")
        self.assertIs(json.loads((self.dir / "exported/config.json").read_text())["tie_word_embeddings"], False)
        self.assert_equal(self.captured(self.dir / "exported"), wanted)

    def test_models_without_a_head(self):
        for name, cut in (("body", 0), ("bare", len("model."))):
            weights = {k[cut:]: v for k, v in self.weights.items() if k != "lm_head.weight"}
            folder = self.model(name, {"architectures": ["LlamaModel"]}, weights)
            self.assertIn("no head", self.succeed("inspect", folder))
            self.assertIs(json.loads(self.succeed("inspect", folder, "--json"))["traits"]["head"], False)
            self.refuse(1, r"no point 'logits'.*'lm_head\.weight'.*embed", "capture", folder, "--ids", IDS, "--points", "logits", "-o",
                        self.dir / "no.npz")
            self.assertNotIn("\nlogits", self.succeed("capture", folder, "--points", "list"))
            points = "layer.*.resid_out,final_norm_out"
            self.assert_equal(self.captured(folder, points=points), self.captured(self.model("whole"), points=points))
            report = self.dir / f"{name}-report"
            self.succeed("report", folder, "-o", report, "--sequences", "2", "--tokens", "16", "--no-figures", "--memory", "2GB")
            self.assertEqual(reading.life(reading.load(report))["born_layer"], 1)
            exported = self.dir / f"{name}-exported"
            self.succeed("export", folder, "-o", exported, "--dtype", "f32")
            self.assertEqual(set(tiny.read_safetensors(exported / "model.safetensors")), set(weights))
            self.assertIn("no head", self.succeed("inspect", exported))

    def test_positions_beyond(self):
        # Dynamic scaling is a larger base for a longer text (models/rotary.h).
        most, tokens, factor, width = 12, 20, 4.0, tiny.WIDTH
        base = 10000.0 * (factor * tokens / most - (factor - 1)) ** (width / (width - 2))
        wanted = self.captured(self.model("wide", {"rope_theta": base}))
        dynamic = self.model("dynamic", {"max_position_embeddings": most, "rope_scaling": {"type": "dynamic", "factor": factor}})
        beyond = r"there are 20 tokens, but dynamic has 12 positions"
        self.assert_equal(self.captured(dynamic, [beyond]), wanted, 1e-5)
        report = self.dir / "beyond"
        self.warn([r"prompt has \d+ tokens.* 12 positions", "a window should have 24 tokens.* 12 positions"], "report", dynamic, "-o",
                  report, "--prompt", "A text of more than twelve tokens.", "--tokens", "24", "--sequences", "2", "--no-figures")
        self.assertEqual(reading.the_input(reading.load(report), "corpus")["tokens_per_sequence"], 24)
        for scaling in ({"type": "linear", "factor": 4.0}, {"rope_type": "yarn", "factor": 4.0},
                        {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
                        {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}):
            self.captured(self.model("stretched", {"max_position_embeddings": most, "rope_scaling": scaling}), ["20 tokens.* 12 positions"])
        for scaling in (None, {"rope_type": "default"}):
            plain = self.model("plain", {"max_position_embeddings": most, "rope_scaling": scaling})
            self.refuse(1, "20 tokens.* 12 positions", "capture", plain, "--ids", IDS, "-o", self.dir / "no.npz")
            self.refuse(1, "24 tokens.* 12 positions", "report", plain, "-o", self.dir / "no", "--tokens", "24")

    def test_keys_of_other_families(self):
        wanted = self.captured(self.model("plain-llama"))
        keys = {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 100, "sliding_window": 4,
                "qk_norm": True, "use_sliding_window": True, "partial_rotary_factor": 0.5, "num_experts": 8, "n_embd": 7,
                "layer_types": ["sliding_attention"] * 4,
                "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}, "clip_qkv": "x"}
        other = self.model("with-others", keys)
        spoken = "".join(f"(?=.*{k}.* ignored)" for k in keys if k not in ("n_embd", "rope_parameters"))
        self.assert_equal(self.captured(other, [spoken, "rope_parameters: partial_rotary_factor.* ignored",
                                                "'n_embd' is ignored: 'hidden_size'"]), wanted)
        self.warn([spoken, "rope_parameters: partial", "n_embd"], "inspect", other)
        silent = {"torch_dtype": "float32", "use_cache": True, "pretraining_tp": 1, "sliding_window": None, "use_sliding_window": False,
                  "partial_rotary_factor": 1.0, "layer_types": ["full_attention"] * 4, "mlp_only_layers": []}
        self.assert_equal(self.captured(self.model("neutral", silent)), wanted)

    def test_unreadable(self):
        folder = self.model("unreadable")
        file = folder / "config.json"
        text = file.read_text()
        for content, pattern in (("", r"config\.json: .*JSON"), (text[:40], r"config\.json: .*JSON"),
                                 (text.replace('"rms_norm_eps": 1e-05', '"rms_norm_eps": null'), r"config\.json: 'rms_norm_eps' is null")):
            file.write_text(content)
            self.refuse(1, pattern, "inspect", folder)
        file.unlink()
        self.refuse(1, r"there is no config\.json", "inspect", folder)
        file.mkdir()
        self.refuse(1, r"config\.json: .*[Dd]irectory", "inspect", folder)


if __name__ == "__main__":
    main()
