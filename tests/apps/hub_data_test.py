#!/usr/bin/env python3
"""Corpora of data sets on the Hub, hf://datasets/ORG/NAME[@REVISION]/FILE: what is fetched, where to, and what is said where it
cannot be."""
import gzip
import json
import os
import pathlib
import shutil
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hub_case import FETCH, HubTest  # noqa: E402
from hub_server import HubServer, half_then, on, times  # noqa: E402
from hub_test import tree  # noqa: E402
from program import PROGRAM, ROOT, main, run  # noqa: E402

PARTS = {f"data/test-0000{i}-of-00003.txt": f"Part {i}. The sea was calm and the crew slept.\n".encode() * 12 for i in range(3)}
ADDRESS = "hf://datasets/org/text/data/test-*.txt"
ROWS = ROOT / "tests/golden/text/parquet"


class DataSetTest(HubTest):
    def paths(self, address, **variables):
        return [pathlib.Path(line) for line in self.succeed(address, env=self.env | variables, program=FETCH).splitlines()]

    def text(self, **traits):
        return self.hub("datasets/org/text", PARTS | {"README.md": b"# text", "data/train.txt": b"not this"}, **traits)

    def nobody(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{free.getsockname()[1]}"

    def test_same_cache_and_patterns_as_hugging_face(self):
        golden = json.loads((ROOT / "tests/golden/hub/data_set.json").read_text())
        files = {name: bytes.fromhex(data) for name, data in golden["files"].items()}
        self.hub("datasets/org/text", files, large=golden["large"])
        found = self.paths("hf://datasets/org/text/data/test-*")
        self.assertEqual([p.read_bytes() for p in found], [data for name, data in sorted(files.items()) if "test-" in name])
        self.assertEqual(tree(self.cache), golden["cache"])
        # Their cache is ours without a question.
        theirs = self.dir / "theirs"
        for name, content in golden["cache"].items():
            place = theirs / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(content[3:]) if content.startswith("-> ") else place.write_bytes(bytes.fromhex(content))
        self.server.reset()
        found = self.paths("hf://datasets/org/text/data/test-*", HF_HUB_CACHE=str(theirs), HF_HUB_OFFLINE="1")
        self.assertEqual(len(found), 2)
        self.assertEqual(self.server.seen(), [])
        self.assertGreater(len(golden["patterns"]), 8)
        for pattern, names in golden["patterns"].items():
            if names:
                snapshot = self.cache / "datasets--org--text/snapshots" / golden["commit"]
                self.assertEqual([str(p.relative_to(snapshot)) for p in self.paths(f"hf://datasets/org/text/{pattern}")], names, pattern)
            else:
                self.refused(r"datasets/org/text has no file none\* at main; see http", f"hf://datasets/org/text/{pattern}")

    def test_revisions(self):
        repository = self.text()
        tag = repository.push("v1.0", {"a.txt": b"tagged"})
        repository.push("refs/convert/parquet", {"default/test/0000.parquet": b"converted"})
        repository.push("refs/pr/12", {"a.txt": b"proposed"})
        repository.push("some/branch", {"a.txt": b"branched"})
        for address, wanted in (("@v1.0/a.txt", b"tagged"), (f"@{tag}/a.txt", b"tagged"), ("@refs/pr/12/a.txt", b"proposed"),
                                ("@refs/convert/parquet/default/test/*.parquet", b"converted"), ("@some%2Fbranch/a.txt", b"branched")):
            [path] = self.paths("hf://datasets/org/text" + address)
            self.assertEqual(path.read_bytes(), wanted)
        # A commit that is there is asked about no more.
        self.server.reset()
        self.paths(f"hf://datasets/org/text@{tag}/a.txt")
        self.assertEqual(self.server.seen(), [])
        self.refused("datasets/org/text has no branch, tag or commit nosuch; see http.*/datasets/org/text/tree/main",
                     "hf://datasets/org/text@nosuch/a.txt")

    def test_what_is_no_address(self):
        for address, why in (("hf://org/text/a.txt", "a corpus on the Hub is written hf://datasets/OWNER/NAME"),
                             ("hf://datasets/org", "no data set has such a name"),
                             ("hf://datasets/org/te--xt/a", "no data set has such a name"),
                             ("hf://datasets/../x/a", "no data set has such a name"), ("hf://datasets/org/text", "names no file"),
                             ("hf://datasets/org/text/", "names no file"), ("hf://datasets/org/text@main", "names no file"),
                             ("hf://datasets/org/text@a b/c", "no branch, tag or commit has such a name"),
                             ("hf://datasets/org/text@..%2F..%2Fx/c", "no branch, tag or commit has such a name")):
            self.refused(why, address)
        self.assertEqual(self.server.seen(), [])
        self.refuse(2, "names its revision and file itself", "fetch", ADDRESS, "--revision", "main", env=self.env)

    def test_missing_and_gated(self):
        self.text()
        self.refused("datasets/org/text has no file data/tain.txt at main; did you mean data/train.txt",
                     "hf://datasets/org/text/data/tain.txt")
        self.refused("datasets/org/text: data is a folder; name its files, as in hf://datasets/org/text/data/\\*.parquet",
                     "hf://datasets/org/text/data")
        self.refused("hf://datasets/org/none/a.txt: http.* has no such repository; a private one needs HF_TOKEN",
                     "hf://datasets/org/none/a.txt")
        # A model of that name is no data set, and the other way round.
        self.hub("org/model", self.tiny)
        self.refused("has no such repository", "hf://datasets/org/model/config.json")
        self.refused("org/text: no such file or directory here, and http.* has no such repository", "org/text")
        self.hub("datasets/org/gated", PARTS, gated=True)
        self.refused("org/gated is gated: ask for access at http.*/datasets/org/gated, then set HF_TOKEN",
                     "hf://datasets/org/gated/data/*.txt")
        self.hub("datasets/org/private", PARTS, private=True)
        self.refused("no such repository; a private one needs HF_TOKEN", "hf://datasets/org/private/data/*.txt")
        self.assertEqual(len(self.paths("hf://datasets/org/private/data/*.txt", HF_TOKEN=HubServer.TOKEN)), 3)

    def test_without_the_hub(self):
        self.text()
        for variables in ({"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "1"}):
            self.refused(r"hf://datasets/org/text/data/test-\*.txt: the cache .* has not all of it; unset HF_HUB_OFFLINE", ADDRESS,
                         **variables)
        self.refused(r"hf://datasets/org/text/data/test-\*.txt: the Hub cannot be reached: .*; check the network", ADDRESS,
                     HF_ENDPOINT=self.nobody())
        self.assertEqual(self.server.seen(), [])
        [first] = self.paths("hf://datasets/org/text/data/test-00000-of-00003.txt")
        self.assertEqual(self.paths("hf://datasets/org/text/data/test-00000-of-00003.txt", HF_ENDPOINT=self.nobody()), [first])
        # Of three shards one is no corpus.
        self.refused("has not all of it", ADDRESS, HF_HUB_OFFLINE="1")
        self.refused("cannot be reached", ADDRESS, HF_ENDPOINT=self.nobody())
        there = self.paths(ADDRESS)
        for variables in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": self.nobody()}):
            self.assertEqual(self.paths(ADDRESS, **variables), there)
        shutil.rmtree(self.cache / "datasets--org--text/blobs")  # links that lead nowhere are no files
        self.refused("has not all of it", ADDRESS, HF_HUB_OFFLINE="1")

    def test_transfers_that_break(self):
        self.text(large=100)
        data = PARTS["data/test-00001-of-00003.txt"]
        self.server.faults = [times(2, on("GET", "cdn", "test-00001", half_then(data, lambda handler: handler.cut()))),
                              times(1, on("GET", "cdn", "test-00002", lambda handler: handler.answer(503)))]
        self.assertEqual([p.read_bytes() for p in self.paths(ADDRESS)], list(PARTS.values()))
        self.server.faults = [on("GET", "cdn", "train", lambda handler: handler.answer(200, b"not thiZ"))]
        self.hub("datasets/org/damaged", {"train.txt": b"not this"}, large=1)
        self.refused("came damaged twice: its hash is", "hf://datasets/org/damaged/train.txt")
        self.server.faults = [lambda handler, *_: handler.answer(200, b"<html>Please log in</html>")]
        self.refused("does not answer as a Hub does", "hf://datasets/org/other/a.txt")

    def perplexity(self, *corpora, **variables):
        return json.loads(self.succeed("perplexity", self.model, "--json", "--context", 32, "--corpus", *corpora,
                                       env=self.env | variables))

    def test_is_a_corpus(self):
        self.text()
        self.model = self.dir / "tiny"
        self.model.mkdir()
        for name, content in self.tiny.items():
            (self.model / name).write_bytes(content)
        # The shards are one text, in their order.
        (self.dir / "whole.txt").write_bytes(b"<|endoftext|>\n".join(PARTS.values()))
        here, there = self.perplexity(self.dir / "whole.txt"), self.perplexity(ADDRESS)
        self.assertEqual(there["text"].pop("corpora"), [ADDRESS])
        here["text"].pop("corpora")
        self.assertEqual(there["text"], here["text"])
        self.assertEqual(there["nll_nats"], here["nll_nats"])
        self.assertEqual(self.perplexity(ADDRESS, HF_HUB_OFFLINE="1")["nll_nats"], here["nll_nats"])
        # Of every form that a file here may have, whose blob has no name.
        files = {"rows.jsonl": (ROWS / "rows.jsonl").read_bytes(), "rows.json.gz": gzip.compress((ROWS / "rows.jsonl").read_bytes())}
        if os.environ.get("OUTLIERS_WITH_PARQUET"):
            files["rows.parquet"] = (ROWS / "good_snappy_v1.parquet").read_bytes()
        self.hub("datasets/org/rows", files, large=100)
        wanted = self.perplexity(ROWS / "rows.jsonl")["nll_nats"]
        for name in files:
            self.assertEqual(self.perplexity(f"hf://datasets/org/rows/{name}")["nll_nats"], wanted, name)
        # The other commands read it, too.
        source = f"hf://datasets/org/text@main/{list(PARTS)[0]}"
        for command in (["report", self.model, "--no-figures"], ["check", self.model, "--json"],
                        ["intervene", self.model, "--edit", "layer.1.resid_out[massive]=zero", "--context", 32]):
            out = [] if command[0] == "check" else ["-o", self.dir / command[0]]
            sized = ["--sequences", 2, "--tokens", 32] if command[0] in ("report", "check") else []
            done = run(*command, *out, *sized, "--corpus", source, env=self.env)
            self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads((self.dir / "report/results.json").read_text())
        self.assertEqual(results["inputs"][1]["source"], source)
        self.refuse(1, "org/text has no file none.txt at main", "report", self.model, "-o", self.dir / "none", "--no-figures", "--corpus",
                    "hf://datasets/org/text/none.txt", env=self.env)
        self.assertFalse((self.dir / "none").exists())
        self.assertEqual(self.succeed("fetch", source, env=self.env, program=[PROGRAM]), self.succeed(source, env=self.env, program=FETCH))


if __name__ == "__main__":
    main()
