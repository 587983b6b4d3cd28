#!/usr/bin/env python3
"""Writes files of torch.save for tests/io/torch_file_test.cpp: every dtype, strided and shared views, both formats, shards,
and pickles that name what no checkpoint needs. The values are also in torch_values.npz, contiguous and as float64.

usage: io_torch_files.py     torch 2.13.0; all values are fixed
"""
import collections
import io
import json
import os
import pathlib
import re
import zipfile

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/io/torch"
DTYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64, "i32": torch.int32,
    "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool, "u16": torch.uint16, "u32": torch.uint32,
    "u64": torch.uint64, "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2,
}


def values(rows, columns, start):
    return (torch.arange(rows * columns, dtype=torch.float64).reshape(rows, columns) * 3 + start) % 100


def tensors():
    state = collections.OrderedDict()
    for number, (name, dtype) in enumerate(DTYPES.items()):
        state[name] = (values(3, 4, number) if dtype != torch.bool else values(3, 4, 0) % 2).to(dtype)
    base = values(6, 5, 7).float()
    state["base"] = base
    state["transposed"] = base.t()                       # shares base's storage
    state["narrow"] = base[1:4, 2:]                      # an offset and longer rows
    state["every_other"] = base.half()[::2, 1::2]
    state["cube"] = values(4, 6, 1).reshape(2, 3, 4).permute(2, 0, 1)
    state["bytes_t"] = values(4, 3, 2).to(torch.uint8).t()
    state["wide_t"] = values(4, 3, 2).t()
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 4)
    state["row"] = torch.arange(6).expand(1, 6)          # a stride of any size where the size is 1
    state["parameter"] = torch.nn.Parameter(values(2, 2, 5).float())
    state["tied"] = state["parameter"]
    state._metadata = collections.OrderedDict(version=1)  # as state_dict() has it
    return state


def double(tensor):
    return tensor.detach().double().contiguous().numpy()


def rezip(source, target, change=lambda name, data: data, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for info in old.infolist():
            data = change(info.filename, old.read(info.filename))
            if data is not None:
                new.writestr(zipfile.ZipInfo(info.filename), data, method)  # a fixed date: the same bytes each time


class Call:
    """Pickles as a call of `function` with `arguments`."""
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    state = tensors()
    torch.save(state, OUT / "zip.bin")
    torch.save(dict(state), OUT / "protocol4.bin", pickle_protocol=4)
    torch.save(state, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    np.savez_compressed(OUT / "torch_values.npz", **{name: double(tensor) for name, tensor in state.items()})
    rezip(OUT / "zip.bin", OUT / "deflated.bin", method=zipfile.ZIP_DEFLATED)

    small = {"a": torch.arange(4.0), "b": torch.arange(6.0).reshape(2, 3)}
    torch.save({"epoch": 3, "model": {"name": "small"}, "state_dict": small, "optimizer": {"lr": 0.1, "betas": (0.9, 0.95)}},
               OUT / "trainer.bin")
    torch.save({"a": small["a"]}, OUT / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": small["b"]}, OUT / "pytorch_model-00002-of-00002.bin")
    (OUT / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {"total_size": 40}, "weight_map": {
        "a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}))

    # What is refused. The pickles are written, never loaded.
    torch.save({"a": small["a"], "b": Call(os.system, "true")}, OUT / "hostile_system.bin")
    torch.save({"a": small["a"], "b": Call(eval, "1")}, OUT / "hostile_eval.bin", pickle_protocol=4)
    torch.save({"a": small["a"], "b": Call(os.system, "true")}, OUT / "hostile_legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), OUT / "hostile_module.bin")
    torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, OUT / "complex.bin")
    torch.save({"a": torch.ones(1).expand(1000)}, OUT / "expanded.bin")
    torch.save({"lr": 0.1}, OUT / "no_tensors.bin")
    torch.save({"model": small, "state_dict": {"a": small["b"]}}, OUT / "several.bin")
    rezip(OUT / "trainer.bin", OUT / "big_endian.bin", lambda name, data: b"big" if name.endswith("byteorder") else data)
    rezip(OUT / "trainer.bin", OUT / "short_storage.bin", lambda name, data: data[:-4] if name.endswith("data/0") else data)
    rezip(OUT / "trainer.bin", OUT / "no_storage.bin", lambda name, data: None if name.endswith("data/1") else data)
    buffer = io.BytesIO()
    torch.save(small, buffer, _use_new_zipfile_serialization=False)
    little = re.compile(rb"(little_endianq.)\x88")  # True
    assert little.search(buffer.getvalue())
    (OUT / "legacy_big_endian.bin").write_bytes(little.sub(lambda m: m[1] + b"\x89", buffer.getvalue()))
    print(sum(f.stat().st_size for f in OUT.iterdir()), "bytes in", len(list(OUT.iterdir())), "files")


if __name__ == "__main__":
    main()
