#!/usr/bin/env python3
"""Names on the Hub in place of paths: what is fetched of a repository, where to, and what is said where it cannot be."""
import json
import os
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from hub_case import LARGE, HubTest, sha256  # noqa: E402
from hub_server import git_blob  # noqa: E402
from program import ROOT, main  # noqa: E402


class NamesTest(HubTest):
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
        self.assertTrue(self.succeed("fetch", "org/tiny", "--revision", "main", "--file", "config.json",
                                     env=self.env).endswith("/config.json\n"))
        self.refuse(1, "org/none: no such file or directory here", "report", "org/none", "--no-figures", "-o", self.dir / "none",
                    env=self.env)
        self.assertFalse((self.dir / "none").exists())
        self.assertEqual(json.loads(self.succeed("inspect", "org/tiny", "--json", env=self.env))["model"]["name"], "org/tiny")
        self.assertEqual(json.loads(self.succeed("tokenize", "org/tiny@main", "--json", "--text", "hi", env=self.env))["ids"],
                         [tiny.BOS, ord("h"), ord("i")])
        self.assertIn("resid_out", self.succeed("capture", "org/tiny", "--points", "list", env=self.env))

    def test_a_path_wins(self):
        self.hub("org/tiny", self.tiny)
        model = tiny.write_model(self.dir / "org/tiny")
        self.assertEqual(self.succeed("fetch", "org/tiny", env=self.env, cwd=self.dir), "org/tiny\n")
        self.assertEqual(self.fetch(model, "--file", "config.json"), model / "config.json")
        self.refused("no such file: .*/org/tiny/x.gguf", model, "--file", "x.gguf")
        self.refused("a revision is for names on the Hub, and .*org/tiny is a path here", model, "--revision", "main", code=2)
        self.assertEqual(self.server.seen(), [])

    def test_shards(self):
        shards = {f"model-0000{i}-of-00003.safetensors": bytes([i]) * 50000 for i in (1, 2, 3)}
        index = json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(shards)}}).encode()
        self.hub("org/sharded", {"config.json": b"{}", "model.safetensors.index.json": index, "model-old.safetensors": LARGE, **shards},
                 large=1000)
        path = self.fetch("org/sharded")
        self.assertEqual({p.name for p in path.iterdir()}, {"config.json", "model.safetensors.index.json", *shards})
        # Without a network all of them have to be there.
        (path / "model-00002-of-00003.safetensors").unlink()
        self.refused("org/sharded: no such file or directory here, and the cache .* has not all of it; unset HF_HUB_OFFLINE", "org/sharded",
                     HF_HUB_OFFLINE="1")
        self.assertEqual(self.fetch("org/sharded"), path)
        self.assertEqual(self.fetch("org/sharded", HF_HUB_OFFLINE="1"), path)

    def test_ggufs(self):
        self.hub("org/one", {"config.json": b"{}", "mmproj-one.gguf": LARGE, "one-q8.gguf": LARGE[:200000]})
        self.assertEqual(self.fetch("org/one").name, "one-q8.gguf")
        files = {f"big-{tag}.gguf": tag.encode() * 40000 for tag in ("Q4_K", "Q4_K_M", "f16")}
        self.hub("org/many", files | {"README.md": b"hello"})
        self.refused(r"org/many holds 3 GGUF files; name one, as in org/many:big-Q4_K.gguf: big-Q4_K.gguf \(0.00 GB\), "
                     "big-Q4_K_M.gguf .*, big-f16.gguf", "org/many")
        for form in (["org/many:big-Q4_K_M.gguf"], ["org/many", "--file", "big-Q4_K_M.gguf"], ["org/many:q4_k_m"],
                     ["org/many@main:Q4_K_M"]):
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
        self.refused("org/several holds 2 GGUF files; name one, as in org/several:big-q4.gguf: big-q4.gguf .*, big-q8-00001-of-00003.gguf",
                     "org/several")
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
        self.assertEqual({p.name for p in self.fetch("org/old").iterdir()},
                         {"config.json", "pytorch_model.bin", "vocab.json", "merges.txt"})
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
                                 ({"HUGGINGFACE_HUB_CACHE": "${HOME}/c"}, "c"),
                                 ({"XDG_CACHE_HOME": str(self.dir / "d")}, "d/huggingface/hub"),
                                 ({"HF_HUB_CACHE": ""}, ".cache/huggingface/hub")):
            self.assertEqual(self.fetch("org/tiny", **variables).parents[3], self.dir / place)
        self.refused("cannot write to the cache /dev/null.*HF_HOME or HF_HUB_CACHE", "org/tiny", HF_HUB_CACHE="/dev/null/x")
        path = self.fetch("org/tiny", HF_HUB_CACHE=str(self.dir / "plain"), HF_HUB_DISABLE_SYMLINKS="1")
        self.assertFalse(path.is_symlink())
        self.assertEqual(path.read_bytes(), b"x")

    def test_neither_path_nor_name(self):
        for text in ("./x", "/no/where", "a/b/c", "x.gguf", "org/x.safetensors", "a--b", "-/x", "org/../x", "org/a b", "org/x:", "org/x@",
                     "é/x", "x" * 300, "datasets/a/b"):
            self.refused("no such file or directory: |required", text if not text.startswith("-") else "./" + text)
        self.assertEqual(self.server.seen(), [])

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
        self.refused("org/other: no such file or directory here, and the Hub cannot be reached: http://127.0.0.1:.*check the network",
                     "org/other", HF_ENDPOINT=nobody)
        self.refused("cannot be reached: http://no-such-host.invalid:80: .*resolve", "org/other", HF_ENDPOINT="http://no-such-host.invalid")
        self.refused("is no http or https address", "org/other", HF_ENDPOINT="ftp://x")

    def test_not_a_hub(self):
        self.server.faults = [lambda handler, *_: handler.answer(200, b"<html>Please log in to the network</html>")]
        self.refused("org/tiny: http.* does not answer as a Hub does; check HF_ENDPOINT and the proxy", "org/tiny")

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
        self.assertEqual(self.fetch("org/tiny", HF_HUB_CACHE=str(theirs), HF_HUB_OFFLINE="1"),
                         theirs / f"models--org--tiny/snapshots/{commit}")
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
