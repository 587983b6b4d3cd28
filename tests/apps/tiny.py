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


LETTERS_BOS = 32


def letters_with_bos():
    """The same with a BOS in front of every text."""
    few, whole = letters(), tokenizer()
    for name in ("added_tokens", "post_processor"):
        few[name] = json.loads(json.dumps(whole[name]).replace(str(BOS), str(LETTERS_BOS)))
    few["model"]["vocab"]["<|bos|>"] = LETTERS_BOS
    assert len(few["model"]["vocab"]) == LETTERS_BOS + 1
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


PLAIN = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
         "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64, "BOOL": np.bool_}
FLOAT8 = {"F8_E4M3": (4, 3, 0x7F), "F8_E5M2": (5, 2, 0x7C)}  # bits of exponent and fraction, the first code that is no number


def encode(array, dtype):
    """The bytes of an array in one of safetensors' dtypes; bfloat16 and float8 are rounded to the nearest."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    if dtype in FLOAT8:
        exponent_bits, fraction_bits, end = FLOAT8[dtype]
        codes = np.arange(end)
        exponent, fraction = codes >> fraction_bits, (codes & (1 << fraction_bits) - 1) / (1 << fraction_bits)
        values = np.where(exponent > 0, 1 + fraction, fraction) * 2.0 ** (np.maximum(exponent, 1) - (1 << exponent_bits - 1) + 1)
        nearest = abs(abs(array)[..., None] - values).argmin(-1)
        return (nearest + 128 * (array < 0)).astype(np.uint8).tobytes()
    return np.ascontiguousarray(array).astype(PLAIN[dtype]).tobytes()


def write_safetensors(path, tensors):
    """tensors: name -> float32 array, or (dtype, shape, bytes). The format: 8 bytes of header length, JSON header, raw data."""
    stored = {name: t if isinstance(t, tuple) else ("F32", t.shape, encode(t, "F32")) for name, t in tensors.items()}
    header, offset = {}, 0
    for name, (dtype, shape, raw) in stored.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(raw for _, _, raw in stored.values()))


def stored_safetensors(path):
    """name -> (dtype, shape, bytes)."""
    raw = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], raw[slice(*(8 + length + o for o in e["data_offsets"]))]) for name, e in header.items()}


def read_safetensors(path):
    """name -> (dtype in the file, array); bfloat16 as float32."""
    tensors = {}
    for name, (dtype, shape, raw) in stored_safetensors(path).items():
        array = np.frombuffer(raw, np.uint16 if dtype == "BF16" else PLAIN[dtype]).reshape(shape)
        tensors[name] = (dtype, (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array)
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
