#!/usr/bin/env python3
"""Goldens of tests/text/beside_test.cpp: ids of AutoTokenizer for small tokenizers with all kinds of files beside them.

Written with transformers 5.23.0 and tokenizers 0.23.3; nothing is random. A row has the files of a folder, texts, and their ids.
"""
import gzip
import json
import os
import pathlib
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
import tokenizers
import transformers
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
