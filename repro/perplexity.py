#!/usr/bin/env python3
"""Perplexity on WikiText-2, C4 and PG-19 under stated conditions.

usage: perplexity.py MODEL [-o FILE] [--context N] [--bos PLACE] [--texts wikitext,c4,pg19] [--wikitext FILE] [--c4 FILE] [--pg19 FILE]

By default as papers on quantisation have it: WikiText-2's test set, windows of 2048 tokens, the BOS as the tokenizer puts it in front
of the whole text. Expect 5.47 for Llama-2 7B. With --context 4096 --bos never it is 5.12, as arXiv 2503.22329 has it.
What the conditions change, and what others do: docs/perplexity.md. Time and memory: README.md.
"""
from common import Study, main, text_options, value


def options(parser):
    text_options(parser, ["wikitext"])
    parser.add_argument("--context", type=int, default=2048, metavar="N", help="tokens of a window (default: 2048)")
    parser.add_argument("--bos", choices=("model", "every", "first", "never"), default="model", help="(default: model)")


def study():
    s = Study(__file__, __doc__, options)
    for text in s.args.texts:
        words = ["--corpus", getattr(s.args, text), "--context", s.args.context, "--bos", s.args.bos, *s.windows_of(text)]
        result, _ = s.result("perplexity", "perplexity.json", *words)
        reset = s.fact(f"reset.{s.args.bos}.context") == s.args.context
        s.add(f"{text}, {result['text']['windows']} windows", value(result["ppl"]),
              f"reset.{s.args.bos}.{text}.plain" if reset else f"perplexity.{text}.{s.args.context}" if s.args.bos == "model" else None)
        s.add(f"{text}: bits per byte", value(result["bits_per_byte"]))
    return s.finish()


if __name__ == "__main__":
    main(study)
