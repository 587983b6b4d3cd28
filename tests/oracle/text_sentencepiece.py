"""Goldens of tests/text/sentencepiece_test.cpp: sentencepiece 0.2.3 and tokenizers 0.23.3 (requirements.txt; no random choice is left).

  text_sentencepiece.py                          small .model files and Unigram tokenizer.json files, with ids
  text_sentencepiece.py check OUTLIERS MODEL     ids of a .model (any size) by the program beside sentencepiece's; writes nothing

The strings are those of real_models.jsonl.gz, whose rows hold them as Latin-1. Of the ids a golden keeps the first 120 rows
whole and a hash (FNV-1a of 32 bits over little-endian int32, folded to 16) of every row; "-" marks a row that is not compared.
"""
import base64
import copy
import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unicodedata

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, trainers

from text_strings import CODE, HAND, WORDS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/golden/text"


def strings():
    with gzip.open(GOLDEN / "real_models.jsonl.gz") as file:
        return [json.loads(line)["bytes"].encode("latin-1").decode(errors="replace") for line in file]


def training_lines():
    with gzip.open(ROOT / "src/outliers/text/data/state_of_the_union.txt.gz") as file:
        lines = file.read().decode()[:60000].split("\n")
    lines += [" ".join(WORDS[i:i + 7]) for i in range(0, len(WORDS), 3)] * 3 + CODE.split("\n") * 3 + [s for s in HAND if len(s) < 100] * 2
    return [line for line in lines if line.strip() and "\0" not in line]


def fnv(ids):
    value = 0x811C9DC5
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{(value ^ value >> 16) & 0xFFFF:04x}"


def write(name, rows):
    """rows: ids, or None where nothing is compared"""
    golden = {"ids": [row for row in rows[:120]], "hashes": ["-" if row is None else fnv(row) for row in rows]}
    with gzip.GzipFile(GOLDEN / name, "wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps(golden, separators=(",", ":")).encode())
    print(name, sum(row is not None for row in rows), "of", len(rows), "strings", (GOLDEN / name).stat().st_size, "bytes")


def rules():
    """Normalisation rules in small: some of NFKC, keys of several characters, spaces, deletions, and a key that begins another."""
    pairs = {}
    for low, high in ((0xA0, 0x17F), (0x2000, 0x206F), (0x2100, 0x214F), (0x2460, 0x24FF), (0xFB00, 0xFB06), (0xFF01, 0xFF5E)):
        for point in range(low, high + 1):
            plain = unicodedata.normalize("NFKC", chr(point))
            if plain != chr(point):
                pairs[chr(point)] = plain
    pairs |= {"\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u200b": "", "\u00ad": "", "\x7f": "", "e\u0301": "é", "A\u030a": "Å",
              "\u00bd": "1/2", "\u2103": " C ", "...": "…", "..": "‥", "\r\n": "\n", "\U0001F468\u200d\U0001F469": "MW", "ss": "ß",
              "각": "\u1100\u1161\u11a8"}
    return "".join(f"{' '.join(f'{ord(c):X}' for c in key)}\t{' '.join(f'{ord(c):X}' for c in value)}\n" for key, value in pairs.items())


def train(**options):
    with tempfile.TemporaryDirectory() as folder:
        out = io.BytesIO()
        tsv = pathlib.Path(folder) / "rules.tsv"
        tsv.write_text(rules())
        if options.pop("own_rules", False):
            options["normalization_rule_tsv"] = str(tsv)
        spm.SentencePieceTrainer.train(sentence_iterator=iter(training_lines()), model_writer=out, hard_vocab_limit=False, num_threads=1,
                                       minloglevel=2, **options)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(out.getvalue())
    # What only a trainer reads, paths among it.
    kept = {"model_type", "byte_fallback", "treat_whitespace_as_suffix", "unk_id", "bos_id", "eos_id", "pad_id", "unk_piece", "bos_piece",
            "eos_piece", "pad_piece"}
    for field in list(model.trainer_spec.DESCRIPTOR.fields):
        if field.name not in kept:
            model.trainer_spec.ClearField(field.name)
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    return model


MODELS = {
    "unigram": dict(model_type="unigram", vocab_size=700, own_rules=True, user_defined_symbols=["<table>", "▁▁", "Ⅳ", "ab"],
                    control_symbols=["<|im_start|>"]),
    "unigram_bytes": dict(model_type="unigram", vocab_size=900, normalization_rule_name="identity", byte_fallback=True,
                          treat_whitespace_as_suffix=True, remove_extra_whitespaces=False,
                          split_by_whitespace=False, max_sentence_length=200, pad_id=3),
    "bpe": dict(model_type="bpe", vocab_size=900, normalization_rule_name="identity", byte_fallback=True, remove_extra_whitespaces=False,
                split_digits=True, user_defined_symbols=["<table>", "</h1>", "[multimodal]"], allow_whitespace_only_pieces=True),
    "bpe_plain": dict(model_type="bpe", vocab_size=500, own_rules=True, add_dummy_prefix=False, character_coverage=0.98,
                      user_defined_symbols=["▁▁", "▁▁▁", "▁▁▁▁", "the"]),
}


def controls(model):
    return [p.piece for p in model.pieces if p.type in (p.CONTROL, p.UNKNOWN)]


def encode(model, texts):
    """The ids; None for strings that spell a control piece, which is a special token for transformers and the program, and plain text
    for sentencepiece."""
    processor = spm.SentencePieceProcessor(model_proto=model.SerializeToString())
    special = controls(model)
    for text in texts:
        yield None if any(piece in text for piece in special) else processor.encode(text)


def unigrams(texts, charsmap):
    """A Unigram tokenizer.json and patches of it, with tokenizers' ids."""
    tokenizer = Tokenizer(models.Unigram())
    lines = [line.replace(" ", "▁") for line in training_lines()]
    tokenizer.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=700, special_tokens=["<unk>", "<s>"], unk_token="<unk>",
                                                                 show_progress=False, max_piece_length=9))
    base = json.loads(tokenizer.to_str())
    # The trainer's order and last digits depend on the machine's threads: kept as the golden has them.
    base["model"]["vocab"] = [[piece, round(score, 6)] for piece, score in base["model"]["vocab"]]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    precompiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    bytes_ = [[f"<0x{b:02X}>", -20.0] for b in range(256)]
    vocab = base["model"]["vocab"]
    yield base, "plain", {}, {}
    yield base, "metaspace", {"normalizer": precompiled, "pre_tokenizer": metaspace, "decoder": metaspace}, {}
    yield base, "xlnet", {"normalizer": {"type": "Sequence",
                                         "normalizers": [precompiled, {"type": "Strip", "strip_left": False, "strip_right": True}, spaces]},
                          "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
                          "decoder": metaspace}, {}
    yield base, "bytes", {"decoder": {"type": "Sequence",
                                      "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                                   {"type": "ByteFallback"}, {"type": "Fuse"}]}}, {"vocab": vocab + bytes_,
                                                                                                   "byte_fallback": True}
    yield base, "some-bytes", {}, {"vocab": vocab + bytes_[:0x80] + bytes_[0xC0:0xD0], "byte_fallback": True}
    yield base, "equal-scores", {}, {"vocab": [[piece, -float(len(piece))] for piece, _ in vocab] + [["the", -2.5]]}


def goldens():
    texts = strings()
    for name, options in MODELS.items():
        model = train(**options)
        (GOLDEN / f"{name}.model").write_bytes(model.SerializeToString())
        print(f"{name}.model", len(model.pieces), "pieces", model.ByteSize(), "bytes,", len(model.normalizer_spec.precompiled_charsmap),
              "of rules")
        write(f"{name}_model_ids.json.gz", list(encode(model, texts)))
        charsmap = model.normalizer_spec.precompiled_charsmap or charsmap
    cases = []
    for base, name, patch, model_patch in unigrams(texts, charsmap):
        spec = copy.deepcopy(base)
        spec.update(patch)
        spec["model"].update(model_patch)
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        write(f"unigram_{name}_ids.json.gz", [tokenizer.encode(text).ids for text in texts])
        cases.append({"case": name, "patch": patch, "model": model_patch,
                      "decoded": [tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) for text in texts[:120]]})
    with gzip.GzipFile(GOLDEN / "small_unigram.json.gz", "wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps({"base": base, "cases": cases}, separators=(",", ":")).encode())
    print("small_unigram.json.gz", (GOLDEN / "small_unigram.json.gz").stat().st_size, "bytes")


def check(program, path):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(pathlib.Path(path).read_bytes())
    texts = strings()
    wrong = compared = 0
    for text, wanted in zip(texts, encode(model, texts)):
        if wanted is None:
            continue
        run = subprocess.run([program, "tokenize", path, "--bos", "never", "--json"], input=text.encode(), capture_output=True, check=True)
        compared += 1
        got = json.loads(run.stdout)["ids"]
        if got != wanted:
            wrong += 1
            print(ascii(text)[:100], "\n  sentencepiece", wanted[:40], "\n  outliers     ", got[:40])
    print(path, wrong, "of", compared, "strings differ")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(check(*sys.argv[2:]) if len(sys.argv) > 1 else goldens())
