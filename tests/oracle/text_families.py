"""Goldens of tests/text/families_test.cpp: what each family's tokenizer.json does before BPE, by tokenizers 0.23.3, beside GGUF's
name for it.

The normalizer, pre_tokenizer and ignore_merges of each row are those of the family's own tokenizer.json. The vocabulary is the first
merges of GPT-2's (real_tokenizers.py fetch gpt2) for all of them: long enough that a wrong cut shows in the ids.
"""
import copy
import gzip
import json

from tokenizers import Tokenizer

from real_tokenizers import cache, gpt2_json
from text_sentencepiece import GOLDEN, strings, write

MERGES = 1500
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PLAIN = BYTES | {"use_regex": False}
NFC = {"type": "NFC"}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
UPPER, LOWER, TAIL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HEAD = r"[^\r\n\p{L}\p{N}]?"
DEEPSEEK = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
            "\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
# name: (normalizer, pre_tokenizer, ignore_merges, GGUF's names)
FAMILIES = {
    "gpt2": (None, BYTES, False, ["gpt-2", "phi-2", "roberta-bpe"]),
    "neox": (NFC, BYTES, False, ["mpt", "olmo", "gpt-neox"]),
    "llama3": (None, sequence(split(SHORT + r"|\p{N}{1,3}|" + REST), PLAIN), True,
               ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2", "smaug-bpe"]),
    "cl100k": (None, sequence(split(SHORT + r"|\p{N}{1,3}|" + REST), PLAIN), False, ["dbrx", "glm4", "chatglm-bpe"]),
    "qwen2": (NFC, sequence(split(SHORT + r"|\p{N}|" + REST), PLAIN), False, ["qwen2", "stablelm2", "megrez", "deepseek-r1-qwen"]),
    "qwen35": (NFC, sequence(split(SHORT[:-6] + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), PLAIN),
               False, ["qwen35"]),
    "gpt4o": (None, sequence(split(f"{HEAD}{UPPER}*{LOWER}+{TAIL}|{HEAD}{UPPER}+{LOWER}*{TAIL}" + r"|\p{N}{1,3}|" + SLASH), PLAIN), True,
              ["gpt-4o", "llama4"]),
    "tekken": (None, sequence(split(f"{HEAD}{UPPER}*{LOWER}+|{HEAD}{UPPER}+{LOWER}*" + r"|\p{N}|" + SLASH), PLAIN), True, ["tekken"]),
    "falcon": (None, sequence({"type": "Punctuation", "behavior": "Contiguous"}, BYTES, digits(False), split("[0-9][0-9][0-9]")), False,
               ["falcon"]),
    "starcoder": (None, sequence(digits(True), BYTES), False, ["starcoder", "refact", "smollm", "codeshell"]),
    "command-r": (NFC, sequence(digits(True), BYTES), False, ["command-r"]),
    "deepseek3": (None, sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), PLAIN), False, ["deepseek-v3"]),
}


def main():
    spec = gpt2_json(cache() / "gpt2")
    merges = spec["model"]["merges"][:MERGES]
    letters = [piece for piece, number in sorted(spec["model"]["vocab"].items(), key=lambda row: row[1])[:256]]
    vocab = {piece: i for i, piece in enumerate(letters + ["".join(merge) for merge in merges])}
    spec["model"] |= {"vocab": vocab, "merges": [" ".join(merge) for merge in merges]}
    spec["added_tokens"][0]["id"] = len(vocab)
    vocab["<|endoftext|>"] = len(vocab)
    rows, texts = [], strings()
    for name, (normalizer, pre_tokenizer, ignore_merges, names) in FAMILIES.items():
        one = copy.deepcopy(spec) | {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
        one["model"]["ignore_merges"] = ignore_merges
        tokenizer = Tokenizer.from_str(json.dumps(one))
        write(f"family_{name}_ids.json.gz", [tokenizer.encode(text).ids for text in texts])
        rows.append({"name": name, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "ignore_merges": ignore_merges, "gguf": names})
    with gzip.GzipFile(GOLDEN / "families.json.gz", "wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps({"base": spec, "families": rows}, separators=(",", ":")).encode())
    print("families.json.gz", (GOLDEN / "families.json.gz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
