"""What the tests of single commands share: a tiny model whose norms have weights other than 1."""
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import ProgramTest  # noqa: E402


def uneven_norms(w):
    """A norm whose weights are 1 would pass without them."""
    random = np.random.default_rng(3)
    for name in w:
        if "norm" in name:
            w[name] = random.uniform(0.8, 1.2, tiny.D).astype(np.float32)


class CommandTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny", uneven_norms)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
