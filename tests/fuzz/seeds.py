#!/usr/bin/env python3
"""Beginnings for the fuzzer that are made, not copied. usage: seeds.py TARGET FOLDER [PROGRAM]"""
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "apps"))
import tiny  # noqa: E402


def corpus():
    """The first byte is the kind of file: .jsonl, .txt, and both compressed. Parquet is known by its own first bytes."""
    lines = b'{"text": "The sea was calm.\\n"}\n{"text": "na\\u00efve", "meta": {"n": [1, null]}}\n'
    for kind, content in enumerate((lines, b"The sea was calm.\n\nna\xc3\xafve", gzip.compress(lines), gzip.compress(b"The sea."))):
        yield str(kind), bytes([kind]) + content
    for name in ("plain", "zstd_v2", "two_columns", "delta_byte_array"):
        yield name, bytes([1]) + (TESTS / f"golden/text/parquet/good_{name}.parquet").read_bytes()


def vocab_merges():
    model = json.loads((TESTS / "golden/text/small_byte_level.json").read_text())["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    yield "golden", (json.dumps(model["vocab"]) + "\0#version: 0.2\n" + "\n".join(pairs)).encode()


def report(program):
    """A report of four tokens."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        text = folder / "corpus.txt"
        text.write_text("The sea was calm.")
        subprocess.run([program, "report", tiny.write_model(folder / "tiny"), "-o", folder / "out", "--prompt", "ab", "--corpus", text,
                        "--sequences", "1", "--tokens", "4", "--no-figures"], check=True, stdout=subprocess.DEVNULL)
        report = json.loads((folder / "out/results.json").read_text())
        yield "report", json.dumps(report, separators=(",", ":")).encode() + b"\0" + (folder / "out/arrays.npz").read_bytes()


def results(program):
    """What `report` has of today's schema, and the goldens of the first."""
    for name, content in report(program):
        yield name, content.split(b"\0")[0]
    for golden in (TESTS / "golden/results").iterdir():
        yield f"golden-{golden.name}", (golden / "results.json").read_bytes()


def interventions(program):
    """Of an edit with a control, on a few tokens."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        text = folder / "corpus.txt"
        text.write_text("The sea was calm. The crew slept.")
        subprocess.run([program, "intervene", tiny.write_model(folder / "tiny"), "-o", folder / "out", "--corpus", text, "--context", "8",
                        "--edit", "layer.1.resid_out[massive]=zero;weight.2.down=zero", "--controls", "1", "--no-figures"], check=True,
                       stdout=subprocess.DEVNULL)
        yield "interventions", json.dumps(json.loads((folder / "out/interventions.json").read_text()), separators=(",", ":")).encode()


if __name__ == "__main__":
    target, to = sys.argv[1:3]
    seeds = {"corpus": corpus, "vocab_merges": vocab_merges, "interventions": interventions, "report": report, "results": results}
    for name, content in seeds[target](*sys.argv[3:]):
        (pathlib.Path(to) / name).write_bytes(content)
