#!/usr/bin/env python3
"""`outliers capture --edit` on the tiny model, against NumPy (tiny_forward.py)."""
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
import tiny_forward  # noqa: E402
from program import ProgramTest, main, run  # noqa: E402

PROMPT = "The sea was calm."
IDS = [tiny.BOS, *PROMPT.encode()]


class EditsTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")

    def capture(self, *edits, points="layer.*.resid_out,logits"):
        path = self.dir / "captured.npz"
        options = [word for edit in edits for word in ("--edit", edit)]
        self.succeed("capture", self.model, "-o", path, "--force", "--prompt", PROMPT, "--points", points, *options)
        return np.load(path)

    def check(self, arrays, wanted):
        for name in arrays.files[2:]:
            np.testing.assert_allclose(arrays[name], wanted[name], rtol=1e-4, atol=1e-4 * abs(wanted[name]).max(), err_msg=name)

    def test_points(self):
        def edit(name, x):
            if name == "layer.0.resid_out":
                x = x.copy()
                x[0, 2], x[-1] = 7, x[-1] / 2
            return x
        arrays = self.capture("layer.0.resid_out[token=0,channel=2]=value(7); layer.0.resid_out[token=-1]=scale(0.5)")
        self.check(arrays, tiny_forward.forward(IDS, tiny.weights(), edit))
        plain = tiny_forward.forward(IDS, tiny.weights())
        self.assertGreater(abs(arrays["logits"] - plain["logits"]).max(), 1e-2)

    def test_classes_of_tokens(self):
        def edit(name, x):
            if name == "layer.0.resid_out":
                x = x.copy()
                x[[0, *(i for i, token in enumerate(IDS) if token == ord("."))]] = 0
            return x
        self.check(self.capture("layer.0.resid_out[token=initial|strong_delimiter]=zero"), tiny_forward.forward(IDS, tiny.weights(), edit))

    def test_weights_and_several_options(self):
        weights = {name: array.copy() for name, array in tiny.weights().items()}
        weights["model.layers.1.mlp.down_proj.weight"][1] *= 3
        weights["model.layers.0.self_attn.v_proj.weight"][:, -1] = 0
        arrays = self.capture("weight.1.down[row=1]=scale(3)", "weight.0.v[column=-1]=zero")
        self.check(arrays, tiny_forward.forward(IDS, weights))

    def test_no_effect(self):
        plain, edited = self.capture(), self.capture("layer.*.resid_out=scale(1);layer.0.down_in[massive]=zero;weight.*.o=scale(1)")
        for name in plain.files:
            np.testing.assert_array_equal(plain[name], edited[name])

    def test_help_and_mistakes(self):
        text = run("capture", "--help").stdout
        self.assertIn("--edit EDITS", text)
        self.assertIn("SITE[SELECTION]=OPERATION", text)
        arguments = ("capture", self.model, "-o", self.dir / "none.npz", "--prompt", PROMPT, "--edit")
        for edit, pattern in (("layer.0.resid_out", "has no operation; write SITE"),
                              ("layer.0.resid_oat=zero", "did you mean 'layer.0.resid_out'"),
                              ("layer.0.resid_out[token=99]=zero", f"token 99 of edit .* is outside the {len(IDS)} there are"),
                              ("layer.0.resid_out[channel=99999]=zero", "channel 99999 of edit"),
                              ("layer.0.resid_out[tokn=0]=zero", "did you mean 'token'"),
                              ("layer.0.resid_out=zeros", "did you mean 'zero'"),
                              ("", "empty item")):
            self.refuse(1, f"^outliers: error: .*{pattern}", *arguments, edit)
        self.assertFalse((self.dir / "none.npz").exists())
        self.succeed("capture", "--prompt", PROMPT, "-o", self.dir / "none.npz", "--edit", "logits=zero", self.model)


if __name__ == "__main__":
    main()
