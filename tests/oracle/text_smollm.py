#!/usr/bin/env python3
"""Writes tests/golden/text/real_smollm_ids.json.gz, for tests/text/real_models_test.cpp: ids of SmolLM2 135M's tokenizer for the strings of
real_models.jsonl.gz, and what they decode to where that is another text (its vocabulary lacks some bytes).

Vocabulary, merges and special tokens are the GGUF's own; what happens before them is what SmolLM2's tokenizer.json says (single
digits, then GPT-2's pattern). transformers drops the digits when it builds a tokenizer from the GGUF: the strings on which it then
differs are counted, and all of them have digits.
usage: text_smollm.py [SmolLM2-135M-Instruct.Q4_1.gguf]     tokenizers 0.23.3, transformers 5.23.0, gguf 0.19.0
"""
import gzip
import json
import pathlib
import sys
import unicodedata

import gguf
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from text_families import BYTES, digits, sequence
from text_sentencepiece import GOLDEN, fnv, strings

CONTROL = 3  # GGUF's type of special tokens


def tokenizer(path):
    pieces, types, merges = (gguf.GGUFReader(path).fields[f"tokenizer.ggml.{name}"].contents()
                             for name in ("tokens", "token_type", "merges"))
    added = [{"id": i, "content": piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, piece in enumerate(pieces) if types[i] == CONTROL]
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": sequence(digits(True), BYTES), "post_processor": None, "decoder": BYTES,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {piece: i for i, piece in enumerate(pieces)},
                  "merges": merges}}))


def main(path):
    own, built = tokenizer(path), AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    texts = strings()
    ids = [own.encode(text).ids for text in texts]
    differ = [text for text, row in zip(texts, ids) if built(text)["input_ids"] != row]
    assert all(any(unicodedata.category(c)[0] == "N" for c in text) for text in differ)
    decoded = {str(i): text for i, row in enumerate(ids) if (text := own.decode(row, skip_special_tokens=False)) != texts[i]}
    name = "real_smollm_ids.json.gz"
    golden = {"ids": ids[:120], "hashes": [fnv(row) for row in ids], "decoded": decoded}
    with gzip.GzipFile(GOLDEN / name, "wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps(golden, separators=(",", ":")).encode())
    print(name, len(texts), "strings,", (GOLDEN / name).stat().st_size, "bytes; transformers differs on", len(differ), "of them")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path.home() / ".cache/outliers/models/SmolLM2-135M-Instruct.Q4_1.gguf")
