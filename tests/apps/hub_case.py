"""What the tests of the Hub share: a small Hub on loopback (hub_server.py) that can misbehave, and an environment of its own."""
import hashlib
import os
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from hub_server import HubServer  # noqa: E402
from program import PROGRAM, ProgramTest  # noqa: E402

LARGE = random.Random(1).randbytes(300000)
VARIABLES = ("HF_", "HUGGING", "XDG_", "TRANSFORMERS_OFFLINE", "SSL_CERT", "REQUESTS_CA", "CURL_CA")
# `outliers fetch`, or what does the same and starts faster.
FETCH = [os.environ["OUTLIERS_HUB_TOOL"]] if "OUTLIERS_HUB_TOOL" in os.environ else [PROGRAM, "fetch"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class HubTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.server = HubServer()
        with tempfile.TemporaryDirectory() as folder:
            model = tiny.write_model(folder)
            cls.tiny = {p.name: p.read_bytes() for p in model.iterdir()}

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(VARIABLES) and not k.lower().endswith("_proxy")}
        self.env |= {"HOME": folder.name, "HF_ENDPOINT": self.server.hub_url}
        self.cache = self.dir / ".cache/huggingface/hub"
        self.server.reset()
        self.server.repositories.clear()

    def hub(self, name, files, **traits):
        return self.server.add(name, files, **traits)

    def fetch(self, *arguments, **variables):
        return pathlib.Path(self.succeed(*arguments, env=self.env | variables, program=FETCH).rstrip("\n"))

    def refused(self, pattern, *arguments, code=1, **variables):
        return self.refuse(code, pattern, *arguments, env=self.env | variables, program=FETCH)

    def blobs(self, name):
        return sorted(p.name for p in (self.cache / ("models--" + name.replace("/", "--")) / "blobs").iterdir())
