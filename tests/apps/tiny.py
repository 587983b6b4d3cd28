"""A tiny Llama checkpoint with a planted outlier, written without any library of the field.

The first token's embedding is large in channel 7. In layer 1, neuron 5 of the MLP reads that channel and writes a large
value to channel 3; in the last layer, neuron 9 reads channel 3 and takes it away again. So a report must say: born in layer
1, column 5, channel 3, token 0; removed in the last layer.
"""
import json
import pathlib
import struct

import numpy as np

L, D, H, HK, WIDTH, F, POSITIONS = 4, 32, 4, 2, 8, 48, 64
BOS = 256


def byte_alphabet():
    """The printable stand-ins of byte-level BPE (GPT-2's table): printable Latin-1 bytes stand for themselves."""
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    table, extra = {}, 0
    for b in range(256):
        if b in printable:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return [table[b] for b in range(256)]


def tokenizer():
    vocab = {piece: i for i, piece in enumerate(byte_alphabet())}
    vocab["<|bos|>"] = BOS
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": BOS, "content": "<|bos|>", "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [BOS], "tokens": ["<|bos|>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": []},
    }


def letters():
    """A tokenizer whose few tokens fit the vocabularies of tests/golden/models."""
    few = tokenizer()
    few["added_tokens"], few["post_processor"] = [], None
    few["model"]["vocab"] = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyzSTW.\u0120\u010a")}
    return few


def config():
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "num_hidden_layers": L,
            "num_attention_heads": H, "num_key_value_heads": HK, "head_dim": WIDTH, "intermediate_size": F, "vocab_size": BOS + 1,
            "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False, "bos_token_id": BOS}


def weights():
    random = np.random.default_rng(7)

    def normal(*shape):
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    w = {"model.embed_tokens.weight": normal(BOS + 1, D), "model.norm.weight": np.ones(D, np.float32), "lm_head.weight": normal(BOS + 1, D)}
    # Other tokens are large elsewhere, so that the norm does not make much of what attention mixes into these channels.
    w["model.embed_tokens.weight"][:BOS] *= 10
    w["model.embed_tokens.weight"][:BOS, [3, 7]] = 0
    w["model.embed_tokens.weight"][BOS, 7] = 2.0
    for layer in range(L):
        p = f"model.layers.{layer}."
        w[p + "self_attn.q_proj.weight"] = normal(H * WIDTH, D)
        w[p + "self_attn.k_proj.weight"] = normal(HK * WIDTH, D)
        w[p + "self_attn.v_proj.weight"] = normal(HK * WIDTH, D)
        w[p + "self_attn.o_proj.weight"] = normal(D, H * WIDTH) / 5
        w[p + "mlp.gate_proj.weight"] = normal(F, D)
        w[p + "mlp.up_proj.weight"] = normal(F, D)
        w[p + "mlp.down_proj.weight"] = normal(D, F)
        w[p + "input_layernorm.weight"] = np.ones(D, np.float32)
        w[p + "post_attention_layernorm.weight"] = np.ones(D, np.float32)
    born, gone = "model.layers.1.mlp.", f"model.layers.{L - 1}.mlp."
    for p, neuron, channel in ((born, 5, 7), (gone, 9, 3)):
        for name in ("gate_proj.weight", "up_proj.weight"):
            w[p + name][neuron] = 0
            w[p + name][neuron, channel] = 4.0
    # rmsnorm makes a lone channel sqrt(D); silu(4 sqrt(D)) * 4 sqrt(D) is 16 D.
    w[born + "down_proj.weight"][3, 5] = 2.0
    w[gone + "down_proj.weight"][3, 9] = -2.0
    return w


def write_safetensors(path, tensors):
    """tensors: name -> float32 array. The format: 8 bytes of header length, JSON header, raw data."""
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            out.write(np.ascontiguousarray(array).tobytes())


def read_safetensors(path):
    """name -> (dtype in the file, array); bfloat16 as float32."""
    raw = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from("<Q", raw)
    tensors = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        plain = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "BF16": np.uint16}[entry["dtype"]]
        array = np.frombuffer(raw[begin:end], plain).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = (entry["dtype"], array)
    return tensors


def write_model(directory, change_weights=None, change_config=None):
    """Writes the model as a Hugging Face directory; the two functions may edit what is written."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    w, c = weights(), config()
    if change_weights:
        change_weights(w)
    if change_config:
        change_config(c)
    write_safetensors(directory / "model.safetensors", w)
    (directory / "config.json").write_text(json.dumps(c))
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer(), ensure_ascii=False))
    return directory
