#!/usr/bin/env python3
"""Writes tests/golden/eval/perplexity.json: perplexities of random models of tests/golden/models by transformers in float64; with
--real also perplexity_real.json, of the dequantised weights of real GGUF files in float32.

A case has a model, the texts of its corpora, the command's options, and what comes of them: tokens_scored, nll_nats (mean per scored
token), and per window its scored tokens and their mean. The formula is the plain one: log-softmax of all logits of a window at a time.
The tokenizer of the random models is tests/apps/tiny.py's letters, with a BOS; tokenizers 0.22 reads it.
Versions: torch 2.13.0, transformers 5.23.0, tokenizers 0.22.2, gguf 0.19.0. No seeds.
usage: eval_perplexity.py [--real] [--models DIRECTORY of the .gguf files]
"""
import argparse
import gzip
import json
import pathlib
import sys

import tokenizers
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "apps"))
import tiny  # noqa: E402

MODELS, OUT = HERE.parent / "golden/models", HERE.parent / "golden/eval"
ONE = ["Summer is warm. Winter is cold.\nThe sea was calm and the crew slept.\n\n The ship sailed on.\n"]
TWO = ["The sea was calm.\nSummer is warm.\n", "Winter is cold and the sea is grey.\n"]
CASES = [
    ("llama_untied", ONE, dict(context=16)),
    ("llama_untied", ONE, dict(context=16, stride=5, bos="every")),
    ("llama_untied", TWO, dict(context=10, stride=3, bos="first")),
    ("llama_tied", ONE, dict(context=17, bos="never")),
    ("llama_tied", TWO, dict(context=12, bos="every", sequences=2)),
    ("gpt2_tied", ONE, dict(bos="never")),  # 12 positions: the default context
    ("gpt2_tied", ONE, dict(stride=1, context=7, sequences=20)),
    ("gemma2_caps", ONE, dict(context=20, stride=11)),
    ("mixtral_experts", ONE, dict(context=9, stride=4, bos="every")),
    ("opt_after", TWO, dict(context=11)),
    ("phi_partial", TWO, dict(context=8, stride=8, bos="never")),
]
REAL = {"SmolLM2-135M-Instruct.Q4_1.gguf": [dict(context=192, stride=128, sequences=3), dict(context=160, sequences=2, bos="every")],
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf": [dict(context=192, sequences=2)]}


def log_probabilities(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def evaluate(model, tokens, bos, has_bos_of_its_own, positions, context=None, stride=None, place="model", sequences=None):
    """tokens: of the whole text, without a BOS."""
    context = context or min(2048, positions)
    if place == "first" or (place == "model" and has_bos_of_its_own):
        text, unscored = [bos] + tokens, {0}
    else:
        text, unscored = list(tokens), set()
    each = [bos] if place == "every" else []
    size = context - len(each)
    scored, windows = set(unscored), []
    begin = 0
    while begin + size <= len(text) and (sequences is None or len(windows) < sequences):
        logs = log_probabilities(model, each + text[begin:begin + size])
        nll = []
        for i in range(begin, begin + size):
            before = i - begin + len(each) - 1  # the place whose logits are of token i
            if i in scored or before < 0:
                continue
            nll.append(-logs[before, text[i]].item())
            scored.add(i)
        windows.append({"first_token": begin, "tokens_scored": len(nll), "nll_nats": sum(nll) / len(nll)})
        begin += stride or size
    total = sum(w["tokens_scored"] for w in windows)
    return {"tokens_scored": total, "nll_nats": sum(w["nll_nats"] * w["tokens_scored"] for w in windows) / total, "windows": windows}


def random_models():
    for name, texts, options in CASES:
        model = transformers.AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float64, attn_implementation="eager",
                                                                  experts_implementation="eager").eval()
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tiny.letters_with_bos()))
        tokens = tokenizer.encode("\n\n".join(texts), add_special_tokens=False).ids
        positions = getattr(model.config, "n_positions", None) or model.config.max_position_embeddings
        given = {"place" if k == "bos" else k: v for k, v in options.items()}
        yield {"model": name, "texts": texts, "options": options,
               **evaluate(model, tokens, tiny.LETTERS_BOS, True, positions, **given)}


def real_models(directory):
    corpus = HERE.parent.parent / "src/outliers/text/data/state_of_the_union.txt.gz"
    text = gzip.decompress(corpus.read_bytes()).decode()[:6000]
    for file, cases in REAL.items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, gguf_file=file)
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, gguf_file=file, dtype=torch.float32,
                                                                  attn_implementation="eager").eval()
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        own = tokenizer("a").input_ids != tokenizer("a", add_special_tokens=False).input_ids
        for options in cases:
            given = {"place" if k == "bos" else k: v for k, v in options.items()}
            yield {"model": file, "characters": len(text), "options": options,
                   **evaluate(model, tokens, tokenizer.bos_token_id, own, model.config.max_position_embeddings, **given)}


def write(name, cases):
    OUT.mkdir(parents=True, exist_ok=True)
    lines = []
    for case in cases:
        print(case["model"], case["options"], case["tokens_scored"], case["nll_nats"], flush=True)
        lines.append(json.dumps(case))
    (OUT / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", action="store_true", help="the real models, too")
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".cache/outliers/models")
    args = parser.parse_args()
    write("perplexity.json", random_models())
    if args.real:
        write("perplexity_real.json", real_models(args.models))
