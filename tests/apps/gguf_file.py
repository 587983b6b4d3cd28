"""GGUF files for the tests, without any library of the field (the format: ggml's docs/gguf.md)."""
import pathlib
import struct

ALIGNMENT = 32
# name: GGUF's number, elements and bytes of a block
ENCODINGS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
             "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
             "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136), "I8": (24, 1, 1), "I16": (25, 1, 2),
             "I32": (26, 1, 4), "I64": (27, 1, 8), "F64": (28, 1, 8), "BF16": (30, 1, 2), "MXFP4": (39, 32, 17)}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, U32: 4, I32: 4, F32: 4, BOOL: 1, 10: 8, 11: 8, 12: 8}
NORMAL, CONTROL = 1, 3  # types of tokens


def _string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value):
    """GGUF's type of a value, and its bytes."""
    if isinstance(value, bool):
        return BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        return U32, struct.pack("<I", value)
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    if isinstance(value, str):
        return STRING, _string(value)
    kinds = {_value(item)[0] for item in value} or {STRING}
    return ARRAY, struct.pack("<IQ", *kinds, len(value)) + b"".join(_value(item)[1] for item in value)


def _entries(metadata):
    return b"".join(_string(key) + struct.pack("<I", _value(value)[0]) + _value(value)[1] for key, value in metadata.items())


def _padding(size):
    return bytes(-size % ALIGNMENT)


def write(path, metadata, tensors):
    """tensors: name -> (encoding, shape as PyTorch shows it, bytes)."""
    infos, data = b"", b""
    for name, (encoding, shape, raw) in tensors.items():
        infos += _string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        infos += struct.pack("<IQ", ENCODINGS[encoding][0], len(data))
        data += raw + _padding(len(raw))
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)) + _entries(metadata) + infos
    pathlib.Path(path).write_bytes(header + _padding(len(header)) + data)
    return path


def byte_level_tokenizer(pieces, size, bos=None):
    """Metadata of a byte-level BPE whose one merge makes "zz" of pieces, filled up to `size` tokens."""
    pieces = [*pieces, *(f"[unused{i}]" for i in range(size - len(pieces)))]
    keys = {"model": "gpt2", "pre": "gpt-2", "tokens": pieces, "token_type": [CONTROL if i == bos else NORMAL for i in range(size)],
            "merges": ["z z"]}
    if bos is not None:
        keys |= {"bos_token_id": bos, "add_bos_token": True}
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def copy_with_tokenizer(source, path, pieces):
    """Copies a GGUF that has no tokenizer, and gives it one of these pieces."""
    raw = pathlib.Path(source).read_bytes()
    _, version, tensors, keys = struct.unpack_from("<4sIQQ", raw)
    at = 24

    def skip(count, kind):
        nonlocal at
        for _ in range(count):
            if kind == STRING:
                at += 8 + struct.unpack_from("<Q", raw, at)[0]
            elif kind == ARRAY:
                inner, length = struct.unpack_from("<IQ", raw, at)
                at += 12
                skip(length, inner)
            else:
                at += WIDTHS[kind]

    for _ in range(keys):
        skip(1, STRING)
        at += 4
        skip(1, struct.unpack_from("<I", raw, at - 4)[0])
    end_of_keys = at
    for _ in range(tensors):
        name = raw[at + 8:at + 8 + struct.unpack_from("<Q", raw, at)[0]]
        skip(1, STRING)
        dimensions, = struct.unpack_from("<I", raw, at)
        if name == b"token_embd.weight":
            size, = struct.unpack_from("<Q", raw, at + 4 + 8)
        at += 4 + 8 * dimensions + 4 + 8
    added = byte_level_tokenizer([*pieces, "zz"], size)
    header = struct.pack("<4sIQQ", b"GGUF", version, tensors,
                         keys + len(added)) + raw[24:end_of_keys] + _entries(added) + raw[end_of_keys:at]
    pathlib.Path(path).write_bytes(header + _padding(len(header)) + raw[at + len(_padding(at)):])
    return path
