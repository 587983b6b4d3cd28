#!/usr/bin/env python3
"""Writes tests/golden/hub/cache.json: what huggingface_hub leaves in its cache after fetching a small repository from the
test's own server (tests/apps/hub_server.py). tests/apps/hub_test.py holds the program's cache against it, both ways. And
data_set.json: the same of files of a data set (hub_data_test.py), and what its file system finds for some patterns.
With --check OUTLIERS it also lets huggingface_hub open, offline, a cache that the program filled, and the program one of
huggingface_hub's. Written with huggingface_hub as transformers 5.23.0 brings it (requirements.txt); no seed: no chance.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "apps"))
from hub_server import HubServer  # noqa: E402

FILES = {"config.json": b'{"model_type": "llama"}\n', "tokenizer.json": b"{}", "model.safetensors": b"large" * 40}
LARGE = 100


def in_python(code, **variables):
    return subprocess.run([sys.executable, "-c", code], env=os.environ | variables, check=True, capture_output=True,
                          text=True).stdout.strip()


DATA = {"README.md": b"# data", "data/test-00000-of-00002.txt": b"first\n", "data/test-00001-of-00002.txt": b"second\n" * 50,
        "data/train.txt": b"more", "en/a/x.txt": b"x", "en/y.txt": b"y"}
PATTERNS = ["README.md", "data/*", "data/test-*.txt", "*/*.txt", "**/*.txt", "en/**", "data/t?ain.txt", "data/t[er]*-*", "*", "none*"]


def tree(folder):
    cache = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            cache[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            cache[name] = "" if name.endswith(".lock") or name == "CACHEDIR.TAG" else path.read_bytes().hex()
    return cache


def data_set():
    server = HubServer()
    commit = server.add("datasets/org/text", DATA, large=LARGE).revisions["main"]
    with tempfile.TemporaryDirectory() as folder:
        variables = {"HF_ENDPOINT": server.hub_url, "HF_HOME": folder, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                     "NO_PROXY": "*", "HF_HUB_CACHE": folder + "/theirs"}
        files = [name for name in DATA if name.startswith("data/test-")]
        in_python(f"from huggingface_hub import hf_hub_download as d\nfor f in {files}: d('org/text', f, repo_type='dataset')", **variables)
        cache = tree(pathlib.Path(folder) / "theirs")
    # Its file system asks the Hub for folders, which the server does not know; the rules of names are fsspec's.
    find = f"""
import fsspec, json
fs = fsspec.filesystem("memory")
for name in {list(DATA)}:
    fs.pipe("/text/" + name, b"x")
print(json.dumps({{p: sorted(f[len("/text/"):] for f in fs.glob("/text/" + p) if fs.isfile(f)) for p in {PATTERNS}}}))"""
    golden = {"large": LARGE, "files": {name: data.hex() for name, data in DATA.items()}, "commit": commit, "cache": cache,
              "patterns": json.loads(in_python(find))}
    (ROOT / "golden/hub/data_set.json").write_text(json.dumps(golden, indent=1) + "\n")
    server.close()


def main():
    data_set()
    server = HubServer()
    server.add("org/tiny", FILES, large=LARGE)
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = pathlib.Path(folder) / "theirs", pathlib.Path(folder) / "ours"
        variables = {"HF_ENDPOINT": server.hub_url, "HF_HOME": folder, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                     "NO_PROXY": "*"}
        download = f"from huggingface_hub import hf_hub_download as d\nfor f in {list(FILES)}: print(d('org/tiny', f))"
        in_python(download, HF_HUB_CACHE=str(theirs), **variables)
        cache = tree(theirs)
        if len(sys.argv) == 3 and sys.argv[1] == "--check":
            program = [sys.argv[2], "fetch", "org/tiny"]
            first = subprocess.run(program, env=os.environ | variables | {"HF_HUB_CACHE": str(ours)}, check=True, capture_output=True,
                                   text=True).stdout.strip()
            offline = variables | {"HF_HUB_OFFLINE": "1"}
            opened = in_python(download, HF_HUB_CACHE=str(ours), **offline).splitlines()
            assert opened == [f"{first}/{name}" for name in FILES], opened
            snapshot = "from huggingface_hub import snapshot_download as d; print(d('org/tiny'))"
            assert in_python(snapshot, HF_HUB_CACHE=str(ours), **offline) == first
            back = subprocess.run(program, env=os.environ | offline | {"HF_HUB_CACHE": str(theirs)}, check=True, capture_output=True,
                                  text=True).stdout.strip()
            assert back == str(theirs / "models--org--tiny/snapshots" / server.repositories["org/tiny"].revisions["main"]), back
            print("each opens the other's cache")
    golden = {"huggingface_hub": in_python("import huggingface_hub as h; print(h.__version__)"), "large": LARGE,
              "files": {name: data.hex() for name, data in FILES.items()},
              "commit": server.repositories["org/tiny"].revisions["main"], "cache": cache}
    target = ROOT / "golden/hub/cache.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(golden, indent=1) + "\n")
    server.close()


if __name__ == "__main__":
    main()
