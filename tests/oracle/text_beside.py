#!/usr/bin/env python3
"""Goldens of tests/text/beside_test.cpp: ids of AutoTokenizer for small tokenizers with all kinds of files beside them.

Written with transformers 5.23.0, tokenizers 0.23.3 and sentencepiece 0.2.3; nothing is random. A row of beside.jsonl.gz
has the files of a folder, texts, and their ids. pieces.json.gz is about folders with a SentencePiece model and no tokenizer.json: a row has
the name of a model (a golden, or one of "models", as Latin-1), the files, the class that AutoTokenizer takes, and where in "ids" those of
"texts" stand; null where it does not open the folder or encode the text.
"""
import gzip
import json
import os
import pathlib
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

assert transformers.__version__ == "5.23.0" and tokenizers.__version__ == "0.23.3"
transformers.utils.logging.set_verbosity_error()
OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/text/beside.jsonl.gz"
SPECIAL = ["<s>", "</s>", "<|im_end|>"]
TEXTS = ["Hello on <|im_end|> x", "a<|extra|>b <|extra|> c [PAD] d<|im_end|>  e", "<s>ab</s> Hello", " Hello  ON <img>he</img> [unk]",
         "xHellox on-hello", "", "h\u00e9 12345 it's\n\n  3"]
rows = []


def byte_level(normalizer=None, template="<s> $A", pre=None):
    pieces = SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("l", "l"), ("h", "e"), ("he", "ll"), ("hell", "o"), ("o", "n"), ("\u0120", "H"), ("1", "2"), ("12", "3"), ("123", "4"),
              ("'", "s")]
    pieces += ["".join(m) for m in merges]
    t = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre or pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    if template:
        t.post_processor = processors.TemplateProcessing(single=template, pair=template + " $B",
                                                         special_tokens=[(s, t.token_to_id(s)) for s in SPECIAL if s in template])
    return t


def sentencepiece(unknown="<unk>"):
    """Like Llama 2's tokenizer.json: the dummy prefix is a normaliser's."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list("\u2581Helonab x") + []
    merges = [("l", "l"), ("e", "ll"), ("H", "ell"), ("Hell", "o"), ("\u2581", "Hello"), ("o", "n"), ("\u2581", "on"), ("\u2581", "\u2581")]
    pieces = list(dict.fromkeys(pieces + ["".join(m) for m in merges]))
    t = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges, unk_token=unknown, fuse_unk=True,
                             byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ("<unk>", "<s>", "</s>")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


def row(name, base=None, config=None, model=None, edit=None, texts=TEXTS, pair=False, **others):
    """pair: vocab.json and merges.txt instead of tokenizer.json; others: special_tokens_map, added_tokens."""
    content = json.loads((base or byte_level()).to_str())
    if edit:
        edit(content)
    files = {"tokenizer.json": content}
    if pair:
        merges = [m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]]
        files = {"vocab.json": content["model"]["vocab"], "merges.txt": "\n".join(["#version: 0.2", *merges, ""])}
    if config is not None:
        files["tokenizer_config.json"] = {"tokenizer_class": "PreTrainedTokenizerFast"} | config
        if files["tokenizer_config.json"]["tokenizer_class"] is None:
            del files["tokenizer_config.json"]["tokenizer_class"]
    if model is not None:
        files["config.json"] = model
    files |= {f"{key}.json": value for key, value in others.items()}
    with tempfile.TemporaryDirectory() as folder:
        for file, value in files.items():
            pathlib.Path(folder, file).write_text(value if isinstance(value, str) else json.dumps(value))
        try:
            t = transformers.AutoTokenizer.from_pretrained(folder)
            ids = [t(text).input_ids for text in texts]
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {str(error)[:150]}")
            return
        print(name, type(t).__name__)
    rows.append({"name": name, "files": files, "texts": texts, "ids": ids})


def token(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True} | flags


LISTED = {str(i): token(s) for i, s in enumerate(SPECIAL)}
FREE = byte_level().get_vocab_size()
row("no configuration", config={})
row("list as in tokenizer.json", config={"added_tokens_decoder": LISTED})
row("list has one more", config={"added_tokens_decoder": LISTED | {str(FREE): token("<|extra|>")}})
row("list numbers one otherwise", config={"added_tokens_decoder": LISTED
                                          | {str(FREE + 40): token("<|extra|>"), str(FREE + 7): token("[PAD]")}})
for flag in ("lstrip", "rstrip", "single_word", "normalized"):
    row(f"list changes {flag}", base=byte_level(normalizers.Lowercase()),
        config={"added_tokens_decoder": LISTED | {"2": token("<|im_end|>", **{flag: True})}})
row("list makes one ordinary", config={"added_tokens_decoder": LISTED | {"2": token("<|im_end|>", special=False)},
                                       "split_special_tokens": True})
row("list has an ordinary one, normalised", base=byte_level(normalizers.Lowercase()),
    config={"added_tokens_decoder": LISTED | {str(FREE): token("Hello", special=False, normalized=True)}})
row("list has an ordinary one that is a word of the vocabulary",
    config={"added_tokens_decoder": LISTED | {"400": token("on", special=False)}})
row("list has a named one that is ordinary",
    config={"added_tokens_decoder": LISTED | {str(FREE): token("[PAD]", special=False, normalized=True)}, "pad_token": "[PAD]",
            "split_special_tokens": True})
row("list lacks flags", config={"added_tokens_decoder": {str(FREE): {"content": "<|extra|>"},
                                                         str(FREE + 1): {"content": "[PAD]", "special": True}}})
row("additional_special_tokens", config={"additional_special_tokens": ["<|extra|>", "[PAD]"]})
row("additional and extra", config={"additional_special_tokens": ["<|extra|>"], "extra_special_tokens": ["[PAD]"]})
row("additional and empty extra", config={"additional_special_tokens": ["<|extra|>"], "extra_special_tokens": []})
row("additional and empty extra object", config={"additional_special_tokens": ["<|extra|>"], "extra_special_tokens": {}})
row("extra list", config={"extra_special_tokens": ["<|extra|>", "on"]})
row("extra object", config={"extra_special_tokens": {"image_token": "<img>", "end": "</img>"}})
row("extra with options", config={"extra_special_tokens": [{"__type": "AddedToken"} | token("<|extra|>", lstrip=True, rstrip=True)]})
row("other names of tokens", config={"image_token": "<img>", "boi_token": "<|extra|>", "pad_token": "[PAD]", "my_token": None,
                                     "other_token": 5})
row("all named", config={"pad_token": "[PAD]", "unk_token": "[unk]", "mask_token": "<img>", "cls_token": "</img>", "sep_token": "<|extra|>",
                         "bos_token": "<s>", "eos_token": "on"})
row("named with options", config={"pad_token": {"__type": "AddedToken"} | token("[PAD]", lstrip=True, special=False),
                                  "bos_token": {"__type": "AddedToken"} | token("<s>", rstrip=True)})
row("named of which the list has options",
    config={"pad_token": "[PAD]", "added_tokens_decoder": LISTED | {str(FREE): token("[PAD]", rstrip=True)}})
row("split_special_tokens", config={"split_special_tokens": True, "extra_special_tokens": ["<|extra|>"],
                                    "added_tokens_decoder": LISTED | {str(FREE): token("Hello", special=False)}})
row("flags of BOS and EOS", config={"add_bos_token": False, "add_eos_token": True, "bos_token": "<s>", "eos_token": "</s>"})
row("flags without a template", base=byte_level(template=None),
    config={"add_bos_token": True, "add_eos_token": True, "bos_token": "<s>", "eos_token": "</s>"})
row("what changes nothing", config={"clean_up_tokenization_spaces": True, "do_lower_case": True, "add_prefix_space": True,
                                    "padding_side": "left", "truncation_side": "left", "model_max_length": 4, "strip_accents": True,
                                    "chat_template": "x", "legacy": True, "model_input_names": ["input_ids"], "tokenizer_file": "/nowhere",
                                    "errors": "strict", "use_fast": False, "fix_mistral_regex": True, "fast_tokenizer_files": []})
row("special_tokens_map.json", config={},
    special_tokens_map={"pad_token": "[PAD]", "unk_token": token("[unk]", lstrip=True), "additional_special_tokens": ["<|extra|>"]})
row("special_tokens_map.json goes first", config={"pad_token": "<img>"}, special_tokens_map={"pad_token": "[PAD]"})
row("special_tokens_map.json beside a list", config={"added_tokens_decoder": LISTED}, special_tokens_map={"pad_token": "[PAD]"})
row("special_tokens_map.json, both lists", config={"extra_special_tokens": ["<|extra|>"]},
    special_tokens_map={"extra_special_tokens": ["[PAD]", token("<img>", rstrip=True)]})
row("special_tokens_map.json, additional beside extra", config={"extra_special_tokens": ["<|extra|>"]},
    special_tokens_map={"additional_special_tokens": ["[PAD]"]})
row("special_tokens_map.json, additional on both sides", config={"additional_special_tokens": ["<|extra|>"]},
    special_tokens_map={"additional_special_tokens": ["[PAD]"]})
row("special_tokens_map.json alone", special_tokens_map={"pad_token": "[PAD]"}, model={"model_type": "llama"})
row("special_tokens_map.json, an object", config={}, special_tokens_map={"extra_special_tokens": {"image_token": "<img>"}})
row("added_tokens.json", base=byte_level(normalizers.Lowercase()), config={"extra_special_tokens": ["<|extra|>"]},
    added_tokens={"<|extra|>": FREE + 1, "Hello": FREE, "<|im_end|>": 2})
row("added_tokens.json numbers one otherwise", base=byte_level(normalizers.Lowercase()), config={}, added_tokens={"<|im_end|>": FREE})
row("added_tokens.json beside a list", config={"added_tokens_decoder": LISTED}, added_tokens={"<|extra|>": FREE})
row("padding of tokenizer.json", config={},
    edit=lambda c: c.update(padding={"strategy": {"Fixed": 4}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 3,
                                     "pad_type_id": 0, "pad_token": "[PAD]"}))
row("padding of tokenizer.json beside a pad_token", config={"pad_token": "<img>"},
    edit=lambda c: c.update(padding={"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 3,
                                     "pad_type_id": 0, "pad_token": "[PAD]"}))
row("truncation of tokenizer.json", config={},
    edit=lambda c: c.update(truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}))
row("unk_token of the model that is an added token", config={},
    edit=lambda c: (c["model"].update(unk_token="[unk]"), c["added_tokens"].append(token("[unk]") | {"id": FREE})))
row("fields that tokenizers ignores", config={},
    edit=lambda c: (c["model"].update(new=1), c["pre_tokenizer"].update(new=10 ** 30), c["added_tokens"][0].update(new=None)))

for normalizer, content in ((normalizers.Strip(), " "), (normalizers.Replace("#", ""), "##"), (normalizers.Replace("#", ""), "#")):
    for flags in ({}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"lstrip": True, "rstrip": True}):
        t = byte_level(normalizer)
        t.add_tokens([AddedToken(content, normalized=True, **flags), AddedToken("ll", normalized=True)])
        row(f"emptied, {type(normalizer).__name__}, {content}, {' '.join(flags)}", base=t, config={},
            texts=["Hello on", "a  b<s>he  ", "#a # b##", "", "  x"])

# Classes that build their own pipeline from the vocabulary and the merges.
lower = lambda: byte_level(normalizers.Lowercase(),
                           pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                        pre_tokenizers.ByteLevel(add_prefix_space=True)]))
for name in ("GPT2Tokenizer", "Qwen2Tokenizer", "GPTNeoXTokenizer", "LlamaTokenizer", "GemmaTokenizer", "CodeGenTokenizer"):
    row(f"class {name} of a byte-level tokenizer", base=lower(), config={"tokenizer_class": name})
    row(f"class {name}Fast of a byte-level tokenizer", base=lower(),
        config={"tokenizer_class": name + "Fast", "bos_token": "<s>", "eos_token": "</s>", "add_prefix_space": True})
for name in ("LlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizerFast"):
    for extra in ({}, {"legacy": True}, {"legacy": False}, {"add_prefix_space": False}, {"add_prefix_space": True, "legacy": True},
                  {"add_bos_token": False}):
        row(f"class {name} of a SentencePiece tokenizer, {extra}", base=sentencepiece(),
            config={"tokenizer_class": name, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | extra)
for kind in ("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "opt",
             "phi", "phi3", "falcon", "mpt", "olmo", "olmo2", "stablelm", "smollm3", "gpt_oss"):
    row(f"model_type {kind}, no class", base=lower(), config={"tokenizer_class": None}, model={"model_type": kind})
    row(f"model_type {kind}, no configuration", base=lower(), model={"model_type": kind})
    for name in ("LlamaTokenizerFast", "GPT2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast", "GPTNeoXTokenizerFast"):
        row(f"model_type {kind}, class {name}", base=lower(), config={"tokenizer_class": name}, model={"model_type": kind})
    row(f"model_type {kind}, SentencePiece, class LlamaTokenizer", base=sentencepiece(), config={"tokenizer_class": "LlamaTokenizer"},
        model={"model_type": kind})
    row(f"model_type {kind}, SentencePiece, no class", base=sentencepiece(), config={"tokenizer_class": None}, model={"model_type": kind})
for name in ("GPT2Tokenizer", "CodeGenTokenizer", "Qwen2TokenizerFast", "GPTNeoXTokenizerFast"):
    for title, options in {"": {}, "add_bos_token": {"config": {"add_bos_token": True, "add_eos_token": True, "bos_token": "<s>",
                                                                "eos_token": "</s>"}},
                           "list": {"config": {"added_tokens_decoder": {str(FREE): token("<|extra|>", lstrip=True),
                                                                        str(FREE + 9): token("Hello", special=False, normalized=True)}}},
                           "named": {"config": {"pad_token": "[PAD]", "unk_token": None, "image_token": "<img>", "add_prefix_space": True}},
                           "older": {"special_tokens_map": {"pad_token": "[PAD]", "bos_token": token("<s>", rstrip=True)},
                                     "added_tokens": {"<|extra|>": FREE + 1, "<|im_end|>": 2, "[PAD]": FREE}}}.items():
        row(f"vocab.json, class {name}, {title}", pair=True,
            **(options | {"config": {"tokenizer_class": name} | options.get("config", {})}))
for kind in ("gpt2", "opt", "phi", "qwen2", "qwen3", "gpt_neox"):
    row(f"vocab.json, model_type {kind}", pair=True, model={"model_type": kind})
row("tokenizer_class of config.json", base=lower(), config={"tokenizer_class": None},
    model={"model_type": "llama", "tokenizer_class": "GPT2Tokenizer"})

with gzip.GzipFile(OUT, "wb", mtime=0) as file:
    file.write("".join(json.dumps(r) + "\n" for r in rows).encode())
print(len(rows), "rows,", OUT.stat().st_size, "bytes")

# ---- a SentencePiece model beside the other files, without tokenizer.json

PIECES = OUT.parent / "pieces.json.gz"
TYPES = [None, "", "llama", "mistral", "gemma", "gemma2", "t5"]
CLASSES = [None, {}, {"tokenizer_class": "LlamaTokenizer"}, {"tokenizer_class": "LlamaTokenizer", "legacy": False},
           {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True}, {"tokenizer_class": "GemmaTokenizer"}]
PIECE_TEXTS = ["Hello world", " Hello  world ", "the a<s>b", "<s>Hello</s> the", "", " ", "\n\n a\tb\n\n", "<unk> <table>ab</h1> [PAD]x",
               "na\u00efve \u65e5\u672c \U0001F600",
               "zq\u20ac\u00f1 \u00bd \u2460", "\u2581\u2581 the\u2581\u2581\u2581the", "\u2163 ab <|im_start|>user <|im_end|>\n hi",
                   "<pad><bos><eos><mask> the",
               "<extra_id_0> a <extra_id_99>", "<0x41>", "\0\u200b...ss"]
pieces = {"texts": PIECE_TEXTS, "models": {}, "ids": [], "rows": []}


def small_model(control, unknown, words, byte_fallback, **spec):
    """A model whose scores are not its ranks, with pieces of all types, as the model's bytes."""
    m = sentencepiece_model_pb2.ModelProto()
    kinds = m.SentencePiece
    listed = [(c, kinds.UNKNOWN if c == unknown else kinds.CONTROL) for c in control]
    listed += [(f"<0x{b:02X}>", kinds.BYTE) for b in range(256 if byte_fallback else 0)]
    listed += [(w, kinds.USER_DEFINED) for w in ("\n\n", "\u2581\u2581", "<table>", "<|im_start|>")]
    listed += [(w, kinds.UNUSED if w == "zq" else kinds.NORMAL) for w in words]
    for i, (piece, kind) in enumerate(listed):
        m.pieces.add(piece=piece, type=kind, score=-float(i * 7 % 13) / 2 - 1 if kind == kinds.NORMAL else 0)
    for key, value in dict(byte_fallback=byte_fallback, unk_piece=unknown, unk_id=control.index(unknown), **spec).items():
        setattr(m.trainer_spec, key, value)
    return m.SerializeToString().decode("latin-1")


WORDS = ["\u2581", *"Helo wrdthabnuvimgsz.1<", "\u2581H", "el", "lo", "ll", "\u2581Hello", "Hello", "Hel", "wor", "\u2581wor", "ld",
         "\u2581world", "th", "the", "\u2581the", "\u2581a", "ab", "ss",
         "zq", "us", "er", "user", "\u2581\u2581\u2581", "\u2581the\u2581"]
pieces["models"] = {
    "like gemma": small_model(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], "<unk>", WORDS, True, model_type=2, pad_id=0, eos_id=1,
        bos_id=2, eos_piece="<eos>", bos_piece="<bos>"),
    "like t5": small_model(["<pad>", "</s>", "<unk>"], "<unk>", WORDS, False, model_type=1, pad_id=0, eos_id=1, bos_id=-1),
    "like yi": small_model(["[UNK]", "<s>", "</s>"], "[UNK]", WORDS, True, model_type=2, bos_piece="", eos_id=-1)}


def piece_row(name, model, kind=None, config=None, file="tokenizer.model", **others):
    """kind: config.json's model_type, "" for none, or the file's whole content."""
    files = {f"{key}.json": value for key, value in others.items()}
    if kind is not None:
        files["config.json"] = kind if isinstance(kind, dict) else {"model_type": kind} if kind else {}
    if config is not None:
        files["tokenizer_config.json"] = config
    content = pieces["models"][model].encode("latin-1") if model in pieces["models"] else (OUT.parent / f"{model}.model").read_bytes()
    out = {"name": f"{name}, {model}", "model": model, "file": file, "files": files, "class": None, "ids": None}
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, file).write_bytes(content)
        for key, value in files.items():
            pathlib.Path(folder, key).write_text(json.dumps(value))
        try:
            t = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception:  # ids stay null
            pieces["rows"].append(out)
            return
    ids = []
    for text in PIECE_TEXTS:
        try:
            ids.append(t(text).input_ids)
        except Exception:  # an unknown character without an unknown token
            ids.append(None)
    if ids not in pieces["ids"]:
        pieces["ids"].append(ids)
    pieces["rows"].append(out | {"class": type(t).__name__, "ids": pieces["ids"].index(ids)})


def marked(content, **flags):
    return {"__type": "AddedToken"} | token(content, **flags)


STANDARD = {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>")}
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
OPTIONS = {
    "list": {"added_tokens_decoder": STANDARD},
    "longer list": {"added_tokens_decoder": STANDARD | {"900": token("<|im_end|>", rstrip=True), "901": token("[PAD]", special=False,
        normalized=True)}},
    "list that spells a piece otherwise": {"added_tokens_decoder": {"1": token("<|im_end|>")}},
    "list that spells a piece of merges otherwise": {"added_tokens_decoder": {"499": token("<|im_end|>")}},
    "list that spells the unknown piece otherwise": {"added_tokens_decoder": {"0": token("[PAD]")}},
    "list that spells two pieces equally": {"added_tokens_decoder": {"2": token("[PAD]"), "1": token("[PAD]", special=False)}},
    "additional_special_tokens": {"additional_special_tokens": ["<|im_end|>"]},
    "extra_special_tokens": {"extra_special_tokens": ["<|im_end|>"]},
    "empty extra_special_tokens": {"extra_special_tokens": []},
    "extra_special_tokens null": {"extra_special_tokens": None},
    "extra_special_tokens, an object": {"extra_special_tokens": {"image_token": "[PAD]"}},
    "names": NAMES | {"pad_token": "[PAD]"},
    "names of others": {"bos_token": "<bos>", "eos_token": "the", "unk_token": "<mask>", "pad_token": None},
    "null": {"bos_token": None, "unk_token": None, "add_bos_token": True},
    "objects": {"bos_token": marked("<s>", normalized=True, special=False), "eos_token": marked("</s>", lstrip=True, rstrip=True),
        "add_bos_token": True},
    "an object of another name": {"z_token": "<mask>", "image_token": marked("<|im_end|>", lstrip=True)},
    "add_eos_token": {"add_eos_token": True}, "legacy": {"legacy": True}, "no prefix": {"add_prefix_space": False},
    "split_special_tokens": {"split_special_tokens": True, "eos_token": "the"},
    "extra_ids": {"extra_ids": 3}, "no extra_ids": {"extra_ids": 0, "bos_token": "<s>", "add_bos_token": True},
    "what changes nothing": {"sp_model_kwargs": {}, "clean_up_tokenization_spaces": True, "model_max_length": 5,
        "use_default_system_prompt": True, "padding_side": "left"}}
BESIDE = {
    "map": {"special_tokens_map": {"bos_token": token("<s>", normalized=True), "pad_token": "[PAD]", "eos_token": None}},
    "map with additional_special_tokens": {"special_tokens_map": {"additional_special_tokens": ["<|im_end|>"]}},
    "map with extra_special_tokens": {"special_tokens_map": {"extra_special_tokens": ["<|im_end|>"]}},
    "map with extra_special_tokens, an object": {"special_tokens_map": {"extra_special_tokens": {"image_token": "<|im_end|>"}}},
    "added_tokens.json": {"added_tokens": {"<|im_end|>": 900, "[PAD]": 901}}}

for model in ("bpe", "bpe_plain", "unigram"):
    for kind in TYPES:
        for config in CLASSES:
            piece_row(f"model_type {kind!r}, {config}", model, kind, config)
    for kind in ("mixtral", "phi3", "gemma3_text", "stablelm", "olmo2", "internlm2", "umt5", "gpt_neox", "qwen2", "bert", "xlm-roberta",
                 "baichuan"):
        for name in (None, "LlamaTokenizer", "T5Tokenizer", "XLMRobertaTokenizer", "PreTrainedTokenizerFast", "LLaMATokenizer"):
            piece_row(f"model_type {kind}, class {name}", model, kind, {"tokenizer_class": name} if name else None)
for model in ("bpe", "bpe_plain", "unigram", "unigram_bytes", *pieces["models"]):
    for name in (None, "LlamaTokenizer", "GemmaTokenizer", "T5Tokenizer", "CodeLlamaTokenizer"):
        config = {"tokenizer_class": name} if name else {}
        for title, options in OPTIONS.items():
            piece_row(f"class {name}, {title}", model, "llama", config | options)
        for title, files in BESIDE.items():
            piece_row(f"class {name}, {title}", model, "llama", config, **files)
        for kind in ("llama", "mistral", "internlm2", "baichuan", None):
            piece_row(f"auto_map, {kind}, class {name}", model, kind, config | {"auto_map": {"AutoTokenizer": ["here.OwnTokenizer", None]}})
            piece_row(f"spiece.model, {kind}, class {name}", model, kind, config, file="spiece.model")

# What folders of the Hub have.
LLAMA = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "model_max_length": 2048,
         "clean_up_tokenization_spaces": False,
         "sp_model_kwargs": {}, "bos_token": marked("<s>", normalized=True, special=False), "eos_token": marked("</s>", normalized=True,
             special=False),
         "unk_token": marked("<unk>", normalized=True, special=False), "pad_token": None}
MAP = {key: {k: v for k, v in value.items() if k not in ("__type", "special")} for key, value in LLAMA.items() if isinstance(value,
       dict) and value}
PHI = {str(900 + i): token(s, rstrip=True) for i, s in enumerate(("<|endoftext|>", "<|im_start|>", "<|im_end|>"))}
TURNS = ["<start_of_turn>", "<end_of_turn>"]
SENTINELS = [f"<extra_id_{i}>" for i in range(100)]
piece_row("Llama 1", "bpe", "llama", LLAMA, special_tokens_map=MAP)
piece_row("Llama 2", "bpe", "llama", LLAMA | {"legacy": False, "padding_side": "right"}, special_tokens_map=MAP)
piece_row("fine-tuned Llama", "bpe", "llama", LLAMA | {"tokenizer_class": "LLaMATokenizer"},
          special_tokens_map=MAP | {"pad_token": "[PAD]"}, added_tokens={"[PAD]": 900})
piece_row("CodeLlama", "bpe", "llama", LLAMA | {"tokenizer_class": "CodeLlamaTokenizer", "prefix_token": "\u2581<PRE>",
          "fill_token": "<FILL_ME>"}, special_tokens_map=MAP)
for kind in ("mistral", "mixtral"):
    piece_row(kind, "bpe", kind, NAMES | {"tokenizer_class": "LlamaTokenizer", "legacy": True, "add_bos_token": True,
              "added_tokens_decoder": STANDARD, "additional_special_tokens": []})
piece_row("Phi-3", "bpe", "phi3", NAMES | {"tokenizer_class": "LlamaTokenizer", "legacy": False, "added_tokens_decoder": STANDARD | PHI,
          "pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})
piece_row("Yi", "like yi", "llama", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "legacy": True,
          "bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "unk_token": "[UNK]",
                                     "added_tokens_decoder": {"0": token("[UNK]"), "1": token("<|startoftext|>"),
                                         "262": token("<|im_start|>")}})
for kind in ("gemma", "gemma2"):
    piece_row(kind, "like gemma", kind, {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<bos>",
              "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
                                         "added_tokens_decoder": {"0": token("<pad>"), "2": token("<bos>"), "261": token("\n\n",
                                             special=False)}, "additional_special_tokens": TURNS})
piece_row("Gemma 3", "like gemma", "gemma3", {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "boi_token": "<start_of_image>",
          "image_token": "<image_soft_token>",
                                              "extra_special_tokens": {"boi_token": "<start_of_image>",
                                                  "image_token": "<image_soft_token>"}, "sp_model_kwargs": None})
piece_row("T5", "like t5", "t5", {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "additional_special_tokens": SENTINELS,
          "eos_token": "</s>"}, file="spiece.model")
piece_row("T5 without tokenizer_config.json", "like t5", "t5", file="spiece.model")
piece_row("mT5", "like t5", "mt5", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": None},
          file="spiece.model", special_tokens_map={"eos_token": "</s>"})
for kind in ("gpt2", "gpt_neox"):
    piece_row(f"{kind} with T5's", "like t5", kind, {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "bos_token": "<s>",
              "cls_token": "[CLS]", "additional_special_tokens": []}, file="spiece.model")
piece_row("class of config.json", "bpe", {"model_type": "llama", "tokenizer_class": "LlamaTokenizerFast"}, {})
piece_row("class of config.json for Mistral", "bpe", {"model_type": "mistral", "tokenizer_class": "LlamaTokenizer"},
          {"add_bos_token": True})

# tokenization_auto.py's lists: [class, whether it goes before the files' class] by model_type, and what classes there are.
auto = transformers.models.auto.tokenization_auto
configured = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
winning = auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
pieces["model_types"] = {kind: [name.removesuffix("Fast").replace("TokenizersBackend", ""), kind in winning]
                         for kind, name in auto.TOKENIZER_MAPPING_NAMES.items() if name and (kind in configured or kind in winning)}
pieces["known"] = sorted({name.removesuffix("Fast") for name in auto.TOKENIZER_MAPPING_NAMES.values() if name} - {"TokenizersBackend"})
with gzip.GzipFile(PIECES, "wb", mtime=0) as file:
    file.write(json.dumps(pieces, separators=(",", ":")).encode())
print(len(pieces["rows"]), "rows,", sum(r["ids"] is None for r in pieces["rows"]), "that AutoTokenizer does not open,",
      PIECES.stat().st_size, "bytes")
