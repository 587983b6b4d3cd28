#!/usr/bin/env python3
"""What large models take: memory, bytes read, and the price of a memory limit (docs/size.md).

usage: size.py holes [--memory 6GB] [--dtype auto]        Llama-2 70B's shapes in files of holes, 138 GB that take no disk
       size.py limit [--memory 1000MB] [--rounds 3]       a random bfloat16 checkpoint of Qwen2 1.5B's shapes, 3.1 GB in --dir,
                                                          with and without the limit in turn
Exits with 1 where a number is not what it should be: the peak above the limit, a byte read twice or not at all, results that
differ. --dir (default: a new folder in TMPDIR) is removed at the end unless --keep is given.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("OUTLIERS_BUILD") or ROOT / "build/release") / "outliers"
sys.path.insert(0, str(ROOT / "tests/apps"))
import reading  # noqa: E402
import tiny  # noqa: E402

SHARD = 10 * 10**9
LLAMA_70B = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=8192, num_hidden_layers=80, num_attention_heads=64,
                 num_key_value_heads=8, intermediate_size=28672, vocab_size=32000, max_position_embeddings=4096, rms_norm_eps=1e-5,
                 hidden_act="silu", tie_word_embeddings=False)
QWEN2_1_5B = dict(model_type="qwen2", architectures=["Qwen2ForCausalLM"], hidden_size=1536, num_hidden_layers=28, num_attention_heads=12,
                  num_key_value_heads=2, intermediate_size=8960, vocab_size=151936, max_position_embeddings=32768, rms_norm_eps=1e-6,
                  rope_theta=1e6, hidden_act="silu", tie_word_embeddings=True)


def shapes_of(config):
    """name -> shape, in the order of the layers."""
    D, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = D // config["num_attention_heads"]
    keys = config["num_key_value_heads"] * head
    shapes = {"model.embed_tokens.weight": (V, D)}
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        for name, rows in (("q", D), ("k", keys), ("v", keys)):
            shapes[p + f"self_attn.{name}_proj.weight"] = (rows, D)
            if config["model_type"] == "qwen2":
                shapes[p + f"self_attn.{name}_proj.bias"] = (rows,)
        shapes[p + "self_attn.o_proj.weight"] = (D, D)
        shapes[p + "mlp.gate_proj.weight"] = shapes[p + "mlp.up_proj.weight"] = (F, D)
        shapes[p + "mlp.down_proj.weight"] = (D, F)
        shapes[p + "input_layernorm.weight"] = shapes[p + "post_attention_layernorm.weight"] = (D,)
    shapes["model.norm.weight"] = (D,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (V, D)
    return shapes


def bytes_of(shape):
    return 2 * int(np.prod(shape))


def write_checkpoint(folder, config, dtype, values=None):
    """Sharded safetensors; values(name, shape) gives uint16 words, None leaves a hole."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = [[]]
    for name, shape in shapes_of(config).items():
        if sum(bytes_of(s) for _, s in shards[-1]) + bytes_of(shape) > SHARD:
            shards.append([])
        shards[-1].append((name, shape))
    files = {}
    for number, shard in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        header, offset = {}, 0
        for name, shape in shard:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + bytes_of(shape)]}
            offset += bytes_of(shape)
            files[name] = file
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / file, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for name, shape in shard if values else ():
                out.write(values(name, shape).tobytes())
            out.truncate(8 + len(text) + offset)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tiny.tokenizer(), ensure_ascii=False))


def random_words(seed):
    random = np.random.default_rng(seed)

    def values(name, shape):
        x = random.standard_normal(shape, np.float32)
        x *= 0.02
        if name.endswith("norm.weight"):
            x += 1
        bits = x.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return values


def report(model, out, *options, program=PROGRAM):
    """What a report left, and what it took: {results, arrays, peak (resident bytes of the process), seconds, cpu_seconds}."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(word) for word in (program, "report", model, "-o", out, "--force", *options)],
                               stdout=subprocess.DEVNULL)
    peak = ended = 0
    while not ended:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            peak = max([peak] + [int(line.split()[1]) * 1024 for line in status.split("\n") if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.05)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"the report failed with exit code {process.returncode}")
    seconds = time.perf_counter() - begin
    results = json.loads((out / "results.json").read_text())
    return {"results": results, "arrays": dict(np.load(out / "arrays.npz")), "peak": max(peak, results["run"]["peak_host_bytes"]),
            "seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def bytes_used(config, results, arrays):
    """What a report has to read: every tensor of the layers, and the rows of the embedding that occur."""
    rows = len(set(reading.the_input(results, "prompt")["ids"]) | set(arrays["corpus.ids"].flatten().tolist()))
    return sum(bytes_of(s) for n, s in shapes_of(config).items() if ".layers." in n) + rows * 2 * config["hidden_size"]


def bytes_of_text(text):
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("GB", 10**9), ("MB", 10**6)):
        if text.endswith(unit):
            return float(text[:-len(unit)]) * factor
    return float(text)


def holes(args, folder):
    config = dict(LLAMA_70B, num_hidden_layers=args.layers)
    write_checkpoint(folder / "model", config, "F16")
    stored = sum(f.stat().st_size for f in (folder / "model").iterdir())
    on_disk = sum(f.stat().st_blocks * 512 for f in (folder / "model").iterdir())
    limit = ["--memory", args.memory] if args.memory != "none" else []
    done = report(folder / "model", folder / "report", *limit, "--dtype", args.dtype, "--prompt", "Summer.", "--sequences", 1, "--tokens",
                  8)
    results = done["results"]
    run, used, prompt = results["run"], bytes_used(config, results, done["arrays"]), len(reading.the_input(results, "prompt")["ids"])
    print(json.dumps({"shapes": "Llama-2 70B", "layers": args.layers, "commit": run["commit"], "machine": run["machine"],
                      "dtype": run["dtype"], "memory": args.memory, "prompt_tokens": prompt, "stored_bytes": stored, "disk_bytes": on_disk,
                      "peak_bytes": done["peak"], "weight_bytes_used": used, "weight_bytes_read": run["weight_bytes_read"],
                      "seconds": round(done["seconds"], 1), "cpu_seconds": round(done["cpu_seconds"], 1),
                      **{f"{k}_seconds": round(v, 1) for k, v in run["seconds"].items()}}))
    within = args.memory == "none" or done["peak"] <= bytes_of_text(args.memory)
    return within and run["weight_bytes_read"] == used and prompt == 8


def differences(a, b, path="results"):
    """Where two results.json differ, but for times, memory and what was asked for."""
    if isinstance(a, dict) and isinstance(b, dict):
        changing = {"seconds", "first_product_seconds", "peak_host_bytes", "memory_limit_bytes",
                    "spilled_bytes"} if path == "results.run" else set()
        for key in sorted((a.keys() | b.keys()) - changing):
            yield from differences(a.get(key), b.get(key), f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{path}[{i}]")
    elif a != b:
        yield f"{path}: {a} and {b}"


def limit(args, folder):
    if not (folder / "model/config.json").exists():
        write_checkpoint(folder / "model", QWEN2_1_5B, "BF16", random_words(11))
    rounds, other = [], []
    common = ["--dtype", args.dtype, "--sequences", args.sequences, "--tokens", args.tokens, "--no-figures"]
    ok = True
    for _ in range(args.rounds):
        free = report(folder / "model", folder / "free", *common)
        bound = report(folder / "model", folder / "bound", *common, "--memory", args.memory)
        both, arrays = (free, bound), (free["arrays"], bound["arrays"])
        other += list(differences(free["results"], bound["results"]))
        other += [name for name in arrays[0].keys() | arrays[1].keys() if not np.array_equal(*(a.get(name) for a in arrays))]
        run = bound["results"]["run"]
        rounds.append({key: [round(side[key], 1) for side in both] for key in ("seconds", "cpu_seconds", "peak")})
        print(json.dumps({**rounds[-1], "spilled_bytes": run["spilled_bytes"]}), flush=True)
        used = bytes_used(QWEN2_1_5B, bound["results"], bound["arrays"])
        ok = ok and bound["peak"] <= bytes_of_text(args.memory) and run["spilled_bytes"] > 0
        ok = ok and all(side["results"]["run"]["weight_bytes_read"] == used for side in both)

    def ratio(key):
        return round(statistics.median(r[key][1] / r[key][0] for r in rounds), 3)
    print(json.dumps({"shapes": "Qwen2 1.5B", "commit": run["commit"], "machine": run["machine"], "dtype": run["dtype"],
                      "memory": args.memory, "sequences": args.sequences, "tokens": args.tokens, "rounds": args.rounds,
                      "median_ratio": ratio("seconds"), "median_cpu_ratio": ratio("cpu_seconds"), "differences": len(other)}))
    for line in other[:10]:
        print("differs:", line)
    return ok and not other


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["holes", "limit"])
    parser.add_argument("--memory", help="default: 6GB for holes (none: no limit), 1000MB for limit")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--layers", type=int, default=80, help="of the 70B model")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    args.memory = args.memory or {"holes": "6GB", "limit": "1000MB"}[args.what]
    folder = args.dir or pathlib.Path(tempfile.mkdtemp(prefix="outliers-size-"))
    try:
        return 0 if {"holes": holes, "limit": limit}[args.what](args, folder) else 1
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
