#!/usr/bin/env python3
"""Names on the Hub in place of paths, against a small Hub on loopback (hub_server.py) that can misbehave."""
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import pathlib
import pty
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from hub_server import HubServer, commit_of, git_blob, half_then, on, stall, times  # noqa: E402
from program import PROGRAM, ROOT, ProgramTest, full_disk, main  # noqa: E402

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

    # What comes, and where to.
    def test_fetches_what_a_model_needs(self):
        extra = {"README.md": b"no", "pytorch_model.bin": LARGE, "model.gguf": LARGE, "onnx/model.onnx": LARGE, "tokenizer.model": b"older"}
        repository = self.hub("org/tiny", self.tiny | extra, large=10000, xet=True)
        commit = repository.revisions["main"]
        path = self.fetch("org/tiny")
        folder = self.cache / "models--org--tiny"
        self.assertEqual(path, folder / "snapshots" / commit)
        self.assertEqual({p.name: p.read_bytes() for p in path.iterdir()}, self.tiny)
        self.assertEqual((folder / "refs/main").read_text(), commit)
        for name, data in self.tiny.items():
            etag = sha256(data) if len(data) >= 10000 else git_blob(data)
            self.assertEqual(os.readlink(path / name), f"../../blobs/{etag}")
        self.assertEqual(len(self.blobs("org/tiny")), len(self.tiny))
        self.assertTrue((folder / ".no_exist" / commit / "generation_config.json").exists())
        self.assertFalse((folder / ".no_exist" / commit / "config.json").exists())
        # The second time one question is enough, and a commit needs none.
        self.server.reset()
        self.assertEqual(self.fetch("org/tiny"), path)
        self.assertEqual(len(self.server.seen()), 1)
        self.assertEqual(self.fetch("org/tiny", "--revision", commit), path)
        self.assertEqual(len(self.server.seen()), 1)
        # Others may have fetched less of a commit than a report needs.
        (path / "tokenizer.json").unlink()
        self.assertEqual(self.fetch("org/tiny", "--revision", commit), path)
        self.assertTrue((path / "tokenizer.json").exists())
        for name in self.tiny.keys() - {"model.safetensors"}:
            (path / name).unlink()
        self.assertEqual(self.fetch("org/tiny", "--revision", commit), path)
        self.assertEqual({p.name for p in path.iterdir()}, self.tiny.keys())

    def test_every_command_takes_a_name(self):
        self.hub("org/tiny", self.tiny)
        out = self.dir / "report"
        self.succeed("report", "org/tiny", "-o", out, "--no-figures", "--sequences", 1, "--tokens", 16, env=self.env, cwd=self.dir)
        self.assertEqual(json.loads((out / "results.json").read_text())["model"]["name"], "org/tiny")
        self.env["HF_HUB_OFFLINE"] = "1"
        self.assertTrue(self.succeed("fetch", "org/tiny", "--revision", "main", "--file", "config.json", env=self.env).endswith("/config.json\n"))
        self.refuse(1, "org/none: no such file or directory here", "report", "org/none", "--no-figures", "-o", self.dir / "none", env=self.env)
        self.assertFalse((self.dir / "none").exists())
        self.assertEqual(json.loads(self.succeed("inspect", "org/tiny", "--json", env=self.env))["model"]["name"], "org/tiny")
        self.assertEqual(json.loads(self.succeed("tokenize", "org/tiny@main", "--json", "--text", "hi", env=self.env))["ids"], [tiny.BOS, ord("h"), ord("i")])
        self.assertIn("resid_out", self.succeed("capture", "org/tiny", "--points", "list", env=self.env))

    def test_a_path_wins(self):
        self.hub("org/tiny", self.tiny)
        model = tiny.write_model(self.dir / "org/tiny")
        self.assertEqual(self.succeed("fetch", "org/tiny", env=self.env, cwd=self.dir), "org/tiny\n")
        self.assertEqual(self.fetch(model, "--file", "config.json"), model / "config.json")
        self.refused("no such file: .*/org/tiny/x.gguf", model, "--file", "x.gguf")
        self.refused("--revision is for names on the Hub, and .*org/tiny is a path here", model, "--revision", "main", code=2)
        self.assertEqual(self.server.seen(), [])

    def test_shards(self):
        shards = {f"model-0000{i}-of-00003.safetensors": bytes([i]) * 50000 for i in (1, 2, 3)}
        index = json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(shards)}}).encode()
        self.hub("org/sharded", {"config.json": b"{}", "model.safetensors.index.json": index, "model-old.safetensors": LARGE, **shards}, large=1000)
        path = self.fetch("org/sharded")
        self.assertEqual({p.name for p in path.iterdir()}, {"config.json", "model.safetensors.index.json", *shards})
        # Without a network all of them have to be there.
        (path / "model-00002-of-00003.safetensors").unlink()
        self.refused("org/sharded: no such file or directory here, and the cache .* has not all of it; unset HF_HUB_OFFLINE", "org/sharded", HF_HUB_OFFLINE="1")
        self.assertEqual(self.fetch("org/sharded"), path)
        self.assertEqual(self.fetch("org/sharded", HF_HUB_OFFLINE="1"), path)

    def test_ggufs(self):
        self.hub("org/one", {"config.json": b"{}", "mmproj-one.gguf": LARGE, "one-q8.gguf": LARGE[:200000]})
        self.assertEqual(self.fetch("org/one").name, "one-q8.gguf")
        files = {f"big-{tag}.gguf": tag.encode() * 40000 for tag in ("Q4_K", "Q4_K_M", "f16")}
        self.hub("org/many", files | {"README.md": b"hello"})
        self.refused(r"org/many holds 3 GGUF files; name one, as in org/many:big-Q4_K.gguf: big-Q4_K.gguf \(0.00 GB\), big-Q4_K_M.gguf .*, big-f16.gguf", "org/many")
        for form in (["org/many:big-Q4_K_M.gguf"], ["org/many", "--file", "big-Q4_K_M.gguf"], ["org/many:q4_k_m"], ["org/many@main:Q4_K_M"]):
            path = self.fetch(*form)
            self.assertEqual((path.name, path.read_bytes()), ("big-Q4_K_M.gguf", files["big-Q4_K_M.gguf"]))
        self.assertEqual([p.name for p in path.parent.iterdir()], ["big-Q4_K_M.gguf"])
        self.refused("has no file big-Q5_K_M.gguf; did you mean big-Q4_K_M.gguf", "org/many:big-Q5_K_M.gguf")
        self.refused("name the file once", "org/many:f16", "--file", "big-f16.gguf", code=2)
        self.assertEqual(self.fetch("org/many", "--file", "README.md").read_bytes(), b"hello")

    def test_files_that_belong_together(self):
        parts = {f"big-q8-0000{i}-of-00003.gguf": bytes([i]) * 40000 for i in (1, 2, 3)}
        self.hub("org/split", parts | {"mmproj-big.gguf": LARGE})
        for form in ("org/split", "org/split:Q8", "org/split:big-q8-00002-of-00003.gguf"):
            path = self.fetch(form)
            self.assertEqual({p.name for p in path.parent.iterdir()}, set(parts))
            self.assertEqual(self.fetch(form, HF_HUB_OFFLINE="1"), path)
        (path.parent / "big-q8-00003-of-00003.gguf").unlink()
        self.refused("has not all of it", "org/split", HF_HUB_OFFLINE="1")
        self.hub("org/several", parts | {"big-q4.gguf": LARGE})
        self.refused("org/several holds 2 GGUF files; name one, as in org/several:big-q4.gguf: big-q4.gguf .*, big-q8-00001-of-00003.gguf", "org/several")
        self.assertEqual({p.name for p in self.fetch("org/several:q8").parent.iterdir()}, set(parts))
        self.hub("org/incomplete", dict(list(parts.items())[:2]))
        self.refused("of the 3 parts of big-q8-00001-of-00003.gguf, big-q8-00003-of-00003.gguf is missing", "org/incomplete")
        shards = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 50000 for i in (1, 2)}
        self.hub("org/plain", {"config.json": b"{}", **shards})
        self.assertEqual({p.name for p in self.fetch("org/plain").parent.iterdir()}, {"config.json", *shards})
        index = json.dumps({"weight_map": {f"w{i}": "./" + name for i, name in enumerate(shards)}}).encode()
        self.hub("org/both", {"config.json": b"{}", "model.safetensors": LARGE, "model.safetensors.index.json": index, **shards})
        self.refused("org/both holds 2 checkpoints: model.safetensors and model.safetensors.index.json; name one of them", "org/both")
        self.assertEqual(self.fetch("org/both:model.safetensors").name, "model.safetensors")
        for file in ("model.safetensors.index.json", "model-00002-of-00002.safetensors"):
            self.assertEqual({p.name for p in self.fetch(f"org/both:{file}").parent.glob("model-*")}, set(shards))

    def test_other_forms_of_weights(self):
        self.hub("org/old", {"config.json": b"{}", "pytorch_model.bin": LARGE, "vocab.json": b"{}", "merges.txt": b"#"})
        self.assertEqual({p.name for p in self.fetch("org/old").iterdir()}, {"config.json", "pytorch_model.bin", "vocab.json", "merges.txt"})
        self.hub("org/odd", {"config.json": b"{}", "weights.safetensors": LARGE})
        self.assertEqual(self.fetch("org/odd").name, "weights.safetensors")
        self.hub("org/lora", {"adapter_config.json": b"{}", "adapter_model.safetensors": LARGE})
        self.assertEqual({p.name for p in self.fetch("org/lora").iterdir()}, {"adapter_config.json", "adapter_model.safetensors"})
        self.hub("org/none", {"README.md": b"nothing", "model.onnx": LARGE})
        self.refused("org/none holds no weights that can be read", "org/none")
        self.hub("single", self.tiny)
        self.assertEqual(self.fetch("single").parent.parent.name, "models--single")

    def test_revisions(self):
        repository = self.hub("org/tiny", {"model.gguf": b"first"})
        tag = repository.push("refs/pr/1", {"model.gguf": b"second"})
        for form in (["org/tiny@refs/pr/1"], ["org/tiny", "--revision", "refs/pr/1"], ["org/tiny", "--revision", tag]):
            self.assertEqual(self.fetch(*form).read_bytes(), b"second")
        self.assertEqual((self.cache / "models--org--tiny/refs/refs/pr/1").read_text(), tag)
        self.assertEqual(self.fetch("org/tiny").read_bytes(), b"first")
        self.refused("org/tiny has no branch, tag or commit nosuch; see", "org/tiny@nosuch")
        self.refused("no branch, tag or commit has such a name", "org/tiny", "--revision", "../../x", code=2)
        self.refused("name the revision once", "org/tiny@a", "--revision", "b", code=2)
        # A branch that moved on is fetched anew, and the old snapshot stays.
        repository.push("main", {"model.gguf": b"third"})
        self.assertEqual(self.fetch("org/tiny").read_bytes(), b"third")
        self.assertEqual(len(list((self.cache / "models--org--tiny/snapshots").iterdir())), 3)

    def test_where_the_cache_is(self):
        self.hub("org/tiny", {"model.gguf": b"x"})
        for variables, place in (({"HF_HOME": "~/a"}, "a/hub"), ({"HF_HUB_CACHE": "$HOME/b", "HF_HOME": "/nowhere"}, "b"),
                                 ({"HUGGINGFACE_HUB_CACHE": "${HOME}/c"}, "c"), ({"XDG_CACHE_HOME": str(self.dir / "d")}, "d/huggingface/hub"),
                                 ({"HF_HUB_CACHE": ""}, ".cache/huggingface/hub")):
            self.assertEqual(self.fetch("org/tiny", **variables).parents[3], self.dir / place)
        self.refused("cannot write to the cache /dev/null.*HF_HOME or HF_HUB_CACHE", "org/tiny", HF_HUB_CACHE="/dev/null/x")
        path = self.fetch("org/tiny", HF_HUB_CACHE=str(self.dir / "plain"), HF_HUB_DISABLE_SYMLINKS="1")
        self.assertFalse(path.is_symlink())
        self.assertEqual(path.read_bytes(), b"x")

    # Who may have it.
    def test_the_token_stays_at_home(self):
        self.hub("org/private", self.tiny, private=True, large=1000)
        self.refused("org/private: no such file or directory here, and http.* has no such repository; a private one needs HF_TOKEN", "org/private")
        self.server.reset()
        self.fetch("org/private", HF_TOKEN=f" {HubServer.TOKEN}\n")
        self.assertTrue(self.server.seen(where="cdn"))
        for _, _, headers in self.server.seen(where="hub"):
            self.assertEqual(headers["Authorization"], f"Bearer {HubServer.TOKEN}")
        for _, _, headers in self.server.seen(where="cdn"):
            self.assertNotIn("Authorization", headers)
        # In files; and a variable goes before them.
        (self.dir / ".cache/huggingface/token").write_text(HubServer.TOKEN)
        (self.dir / "other").write_text("hf_wrong\n")
        self.hub("org/private2", self.tiny, private=True)
        self.fetch("org/private2")
        self.hub("org/private3", self.tiny, private=True)
        message = self.refused("does not know the token in .*/other; renew or unset it", "org/private3", HF_TOKEN_PATH="~/other")
        self.assertNotIn("hf_wrong", message)
        self.refused("does not know the token in HF_TOKEN", "org/private3", HF_TOKEN="hf_wrong")
        self.refused("no such repository", "org/private3", HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        self.refused("the token in HF_TOKEN is no token", "org/private3", HF_TOKEN="a\r\nX-Evil: 1")

    def test_gated_and_missing(self):
        self.hub("org/gated", self.tiny, gated=True)
        self.refused("org/gated is gated: ask for access at http.*/org/gated, then set HF_TOKEN", "org/gated")
        self.refused("org/gated is gated, and the token in HF_TOKEN has no access to it; ask for access at", "org/gated", HF_TOKEN=HubServer.TOKEN)
        self.refused("org/nothing: no such file or directory here, and .* no such repository; a private one needs HF_TOKEN", "org/nothing")
        self.refused("no such repository, or not for the token in HF_TOKEN", "org/nothing", HF_TOKEN=HubServer.TOKEN)
        self.assertFalse(self.cache.exists() and any(self.cache.rglob("snapshots")))
        # What was open, and is gated since it moved on, stays what it was here.
        repository = self.hub("org/opened", {"model.gguf": b"first"})
        self.assertEqual(self.fetch("org/opened").read_bytes(), b"first")
        repository.push("main", {"model.gguf": b"second"})
        repository.gated = True
        self.assertEqual(self.fetch("org/opened").read_bytes(), b"first")

    def test_neither_path_nor_name(self):
        for text in ("./x", "/no/where", "a/b/c", "x.gguf", "org/x.safetensors", "a--b", "-/x", "org/../x", "org/a b", "org/x:", "org/x@", "é/x", "x" * 300, "datasets/a/b"):
            self.refused("no such file or directory: |required", text if not text.startswith("-") else "./" + text)
        self.assertEqual(self.server.seen(), [])

    # Without a Hub.
    def test_offline(self):
        self.hub("org/tiny", self.tiny)
        self.refused("HF_HUB_OFFLINE", "org/tiny", HF_HUB_OFFLINE="1")
        self.refused("HF_HUB_OFFLINE", "org/tiny", TRANSFORMERS_OFFLINE="yes")
        self.assertEqual(self.server.seen(), [])
        path = self.fetch("org/tiny")
        self.server.reset()
        self.assertEqual(self.fetch("org/tiny", HF_HUB_OFFLINE="ON"), path)
        self.assertEqual(self.server.seen(), [])
        # Nobody listens; the cache is used, and what is not in it is one line.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.assertEqual(self.fetch("org/tiny", HF_ENDPOINT=nobody), path)
        self.refused("org/other: no such file or directory here, and the Hub cannot be reached: http://127.0.0.1:.*check the network", "org/other", HF_ENDPOINT=nobody)
        self.refused("cannot be reached: http://no-such-host.invalid:80: .*resolve", "org/other", HF_ENDPOINT="http://no-such-host.invalid")
        self.refused("is no http or https address", "org/other", HF_ENDPOINT="ftp://x")

    def test_not_a_hub(self):
        self.server.faults = [lambda handler, *_: handler.answer(200, b"<html>Please log in to the network</html>")]
        self.refused("org/tiny: http.* does not answer as a Hub does; check HF_ENDPOINT and the proxy", "org/tiny")

    # Transfers that go wrong.
    def test_busy_server(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        calm = {"Retry_After": "0"}
        self.server.faults = [times(2, on("GET", "hub", "/api/", lambda h: h.answer(429, b"", **calm))),
                              times(2, on("HEAD", "hub", "/resolve/", lambda h: h.answer(503, b"", **calm))),
                              times(3, on("GET", "cdn", "/", lambda h: h.answer(500, b"", **calm)))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.server.reset()
        self.hub("org/busy", {"model.gguf": LARGE})
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(503, b"", **calm))]
        self.refused("org/busy: http.* answers 503; try again later", "org/busy")
        self.assertEqual(len(self.server.seen()), 6)
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(429, b"", Retry_After="3600"))]
        self.refused("too many requests; try again in 3600 s, or set HF_TOKEN", "org/busy")
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(429, b"", RateLimit='"api";r=0;t=900'))]
        self.refused("too many requests; try again in 901 s", "org/busy")
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(500, b"", **calm))]
        self.refused("answers 500; try again later", "org/busy")
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(403, b"expired"))]
        self.refused("http://127.0.0.1:.* answers 403 for model.gguf", "org/busy")

    def test_cut_connection(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(2, on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut())))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        ranges = [h.get("Range") for _, _, h in self.server.seen("GET", "cdn")]
        self.assertEqual(ranges, [None, "bytes=150000-", "bytes=225000-"])

    def test_stalled_connection(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, stall)))]
        self.assertEqual(self.fetch("org/tiny", HF_HUB_DOWNLOAD_TIMEOUT="1").read_bytes(), LARGE)

    def test_server_without_ranges(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut()))),
                              on("GET", "cdn", "/", lambda h: h.answer(200, LARGE))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.hub("org/wrong", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut()))),
                              times(1, on("GET", "cdn", "/", lambda h: h.answer(206, LARGE[:9], Content_Range=f"bytes 0-8/{len(LARGE)}"))),
                              times(1, on("GET", "cdn", "/", lambda h: h.answer(416, Retry_After="0")))]
        self.assertEqual(self.fetch("org/wrong").read_bytes(), LARGE)

    def test_goes_on_after_an_interrupt(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        sent = threading.Event()

        def wait(handler):
            sent.set()
            stall(handler)
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, wait)))]
        process = subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stderr=subprocess.PIPE, text=True)
        self.assertTrue(sent.wait(60))
        partial = self.cache / f"models--org--tiny/blobs/{sha256(LARGE)}.incomplete"
        for _ in range(200):
            if partial.exists() and partial.stat().st_size == 150000:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual((process.returncode, stderr), (130, "outliers: error: interrupted; the same command goes on where the transfer stopped\n"))
        self.server.reset()
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.assertEqual([h.get("Range") for _, _, h in self.server.seen("GET", "cdn")], ["bytes=150000-"])
        self.assertEqual(self.blobs("org/tiny"), [sha256(LARGE)])

    def test_damage(self):
        wrong = bytes(len(LARGE))
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", lambda h: h.answer(200, wrong)))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.hub("org/bad", {"model.gguf": LARGE})
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(200, wrong))]
        self.refused(f"org/bad: model.gguf came damaged twice: its hash is {sha256(wrong)}, not {sha256(LARGE)}", "org/bad")
        self.assertEqual(self.blobs("org/bad"), [])
        self.assertFalse((self.cache / "models--org--bad/refs").exists())
        # Small files are checked by git's hash.
        self.server.faults = [on("GET", "hub", "/resolve-cache/", lambda h: h.answer(200, b"{'}"))]
        self.hub("org/small", {"config.json": b"{ }", "model.gguf": LARGE})
        self.refused(f"config.json came damaged twice: its hash is {git_blob(b'{' + bytes([39]) + b'}')}, not {git_blob(b'{ }')}", "org/small", "--file", "config.json")
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(200, LARGE + b"more"))]
        self.refused("more than the 300000 bytes that the Hub announced", "org/bad")

    def test_a_damaged_partial_is_fetched_anew(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        blobs = self.cache / "models--org--tiny/blobs"
        blobs.mkdir(parents=True)
        for content in (b"x" * 1000, LARGE, LARGE + b"x"):
            (blobs / f"{sha256(LARGE)}.incomplete").write_bytes(content)
            self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
            shutil.rmtree(self.cache / "models--org--tiny/snapshots")
            (blobs / sha256(LARGE)).unlink()

    def test_full_disk(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.refuse(1, "cannot write .*incomplete: File too large; free some space", "org/tiny", env=self.env, program=FETCH, preexec_fn=lambda: full_disk(100000))
        self.server.faults = [on("HEAD", "hub", "/resolve/", lambda h: h.answer(200, b"", Content_Length=str(1 << 49), ETag=f'"{"0" * 64}"', X_Repo_Commit="0" * 40))]
        self.refused("org/tiny needs 562949953.4 MB, but .* has .* MB left; free some space", "org/tiny")

    def test_two_at_once(self):
        self.hub("org/tiny", self.tiny | {"model.safetensors": LARGE})
        self.server.faults = [on("GET", "cdn", "/", lambda h: time.sleep(0.3) or False)]
        processes = [subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        self.assertEqual(len({p.communicate(timeout=60)[0] for p in processes}), 1)
        self.assertEqual([p.returncode for p in processes], [0, 0, 0])
        self.assertEqual(len(self.server.seen("GET", "cdn")), 1)

    def test_waits_for_the_lock_of_others(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        lock = self.cache / f".locks/models--org--tiny/{sha256(LARGE)}.lock"
        lock.parent.mkdir(parents=True)
        with open(lock, "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            process = subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stdout=subprocess.PIPE, text=True)
            for _ in range(600):
                if self.server.seen("HEAD"):
                    break
                time.sleep(0.05)
            time.sleep(0.3)
            self.assertEqual(self.server.seen("GET", "cdn"), [])
            # The other has finished it meanwhile.
            blob = self.cache / f"models--org--tiny/blobs/{sha256(LARGE)}"
            blob.write_bytes(LARGE)
        self.assertEqual(pathlib.Path(process.communicate(timeout=60)[0].strip()).read_bytes(), LARGE)
        self.assertEqual(self.server.seen("GET", "cdn"), [])

    # Hostile answers.
    def test_hostile_answers(self):
        commit = commit_of("x")
        for name in ("../evil", "/evil", "a/../../evil", "a\\..\\evil", ""):
            listing = json.dumps({"sha": commit, "siblings": [{"rfilename": name}]}).encode()
            self.server.faults = [on("GET", "hub", "/api/", lambda h, body=listing: h.answer(200, body))]
            self.refused("which would lie outside of the repository", "org/evil")
        for sha in ("../../evil", "", 7, "A" * 40):
            listing = json.dumps({"sha": sha, "siblings": []}).encode()
            self.server.faults = [on("GET", "hub", "/api/", lambda h, body=listing: h.answer(200, body))]
            self.refused("does not answer as a Hub does", "org/evil")
        self.hub("org/evil", {"model.gguf": LARGE})
        for etag in ('"../../../evil"', '"/evil"', '""', '".."', '"' + "a" * 300 + '"'):
            self.server.faults = [on("HEAD", "hub", "/resolve/", lambda h, tag=etag: h.answer(200, b"", ETag=tag, X_Repo_Commit=commit))]
            self.refused("says neither the hash nor the length of model.gguf as a Hub does", "org/evil")
        self.server.faults = []
        for shard in ("../evil", 5):
            index = json.dumps({"weight_map": {"w": shard}}).encode()
            self.hub("org/evil", {"model.safetensors.index.json": index, "config.json": b"{}"})
            self.refused("which is not in the index's folder|names no file", "org/evil")
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(302, b"", Location="/api/models/org/evil/again"))]
        self.refused("more than 10 redirects", "org/evil")
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(302, b"", Location="file:///etc/passwd"))]
        self.refused("is no http or https address", "org/evil")
        self.assertEqual([p.name for p in self.dir.iterdir()], [".cache"])

    # On the way.
    def test_proxy(self):
        self.hub("org/tiny", {"model.gguf": b"small"})
        address = "http://hub.invalid"
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            self.server.reset()
            self.fetch("org/tiny", HF_ENDPOINT=address, HF_HOME=str(self.dir / variable), **{variable: self.server.hub_url})
            self.assertTrue(all(p.startswith(address) for _, p, _ in self.server.seen()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.refused("cannot be reached", "org/tiny", http_proxy=nobody, HF_HOME=str(self.dir / "e"))
        self.fetch("org/tiny", http_proxy=nobody, NO_PROXY="127.0.0.1", HF_HOME=str(self.dir / "f"))

    def test_tls(self):
        if shutil.which("openssl") is None:
            self.skipTest("makes a certificate with openssl")
        key, certificate = self.dir / "key", self.dir / "certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=127.0.0.1",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with contextlib.closing(HubServer(context)) as server:
            server.add("org/tiny", {"model.gguf": LARGE})
            self.refused("cannot be reached: .*certificate.*SSL_CERT_FILE", "org/tiny", HF_ENDPOINT=server.hub_url)
            trusting = {"HF_ENDPOINT": server.hub_url, "SSL_CERT_FILE": str(certificate)}
            server.faults = [on("GET", "cdn", "/", lambda h: h.answer(302, b"", Location=self.server.cdn_url + "/x"))]
            self.refused("redirects to http://127.0.0.1:.*, which is not encrypted", "org/tiny", **trusting)
            server.reset()
            self.assertEqual(self.fetch("org/tiny", **trusting).read_bytes(), LARGE)

    def test_progress_on_a_terminal(self):
        big = bytes(3000000)
        self.hub("org/tiny", {"model.gguf": big})

        def slow(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(big)))
            handler.end_headers()
            for i in range(6):
                handler.wfile.write(big[:500000])
                time.sleep(0.12)
            return True
        self.server.faults = [on("GET", "cdn", "/", slow)]
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        self.assertEqual(process.wait(60), 0)
        process.stdout.close()
        self.assertRegex(shown.decode(), r"fetching org/tiny: [12]/3 MB +[\d.]+ MB/s +0:\d\d left")

    def test_the_demo_takes_its_model_from_here(self):
        spec = importlib.util.spec_from_file_location("fetch_models", ROOT / "scripts/fetch_models.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        self.hub("org/demo", {"demo.gguf": LARGE})
        model = {"file": "demo.gguf", "hub": "org/demo", "sha256": sha256(LARGE)}
        with unittest.mock.patch.dict(os.environ, self.env, clear=True):
            self.assertFalse(script.from_cache(model, self.dir / "out"))
            self.assertTrue(script.from_hub(model, self.dir / "out"))
            self.assertEqual((self.dir / "out").read_bytes(), LARGE)
            # Another hash, no such file, a busy server, no server: never an error.
            self.assertFalse(script.from_hub(model | {"sha256": sha256(b"other")}, self.dir / "out"))
            self.assertFalse(script.from_hub(model | {"file": "other.gguf"}, self.dir / "out"))
            self.assertFalse(script.from_hub({"file": "demo.gguf", "sha256": sha256(LARGE)}, self.dir / "out"))
            self.server.faults = [on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut()))]
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.server.faults = [lambda handler, *_: handler.answer(503)]
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.server.faults = [lambda handler, *_: handler.cut()]
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.server.reset()
            os.environ["HF_HUB_OFFLINE"] = "1"
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.assertEqual(self.server.seen(), [])
            blobs = self.cache / "models--org--demo/blobs"
            blobs.mkdir(parents=True)
            (blobs / sha256(LARGE)).write_bytes(b"damaged")
            self.assertFalse(script.from_cache(model, self.dir / "out"))
            (blobs / sha256(LARGE)).write_bytes(LARGE)
            self.assertTrue(script.from_cache(model, self.dir / "out"))
            self.assertEqual((self.dir / "out").read_bytes(), LARGE)

    # Hugging Face's own tools write the same cache.
    def test_same_cache_as_hugging_face(self):
        golden = json.loads((ROOT / "tests/golden/hub/cache.json").read_text())
        files = {name: bytes.fromhex(data) for name, data in golden["files"].items()}
        self.hub("org/tiny", files, large=golden["large"])
        commit = self.server.repositories["org/tiny"].revisions["main"]
        path = self.fetch("org/tiny")
        self.assertEqual(path.name, golden["commit"])
        ours = tree(self.cache)
        for name, content in golden["cache"].items():
            self.assertEqual(ours.pop(name, None), content, name)
        # Beyond theirs, only what a single question told: files that are not there.
        self.assertEqual({n for n in ours if f".no_exist/{commit}" not in n}, set())
        # And the other way round: their cache, rebuilt, is ours without a question.
        self.server.reset()
        theirs = self.dir / "theirs"
        for name, content in golden["cache"].items():
            place = theirs / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(content[3:]) if content.startswith("-> ") else place.write_bytes(bytes.fromhex(content))
        self.assertEqual(self.fetch("org/tiny", HF_HUB_CACHE=str(theirs), HF_HUB_OFFLINE="1"), theirs / f"models--org--tiny/snapshots/{commit}")
        self.assertEqual(self.server.seen(), [])


def tree(folder):
    """path -> "-> target" or content in hexadecimal, of every file; lock files and the tag of the cache without content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = "" if name.endswith(".lock") or name == "CACHEDIR.TAG" else path.read_bytes().hex()
    return found


if __name__ == "__main__":
    main()
