#!/usr/bin/env python3
"""Checks that the rooms include each other only in the allowed direction, and a few rules of the house.

The allowed edges are read from the DEPENDS of each room's CMakeLists.txt, so there is one place that states them; this
test holds that list itself against the levels below.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVEL = {"core": 0, "io": 1, "text": 1, "ops": 1, "stats": 1, "results": 1, "report": 2, "models": 2, "run": 3, "measures": 4, "train": 4,
         "eval": 4, "studies": 5, "api": 6}
problems = []


def declared(room):
    text = (ROOT / "src/outliers" / room / "CMakeLists.txt").read_text()
    match = re.search(r"DEPENDS\s+([a-z\s]+?)(?:LINK|SOURCES|PLAIN|\))", text)
    return set(match.group(1).split()) if match else set()


rooms = sorted(p.parent.name for p in (ROOT / "src/outliers").glob("*/CMakeLists.txt"))
allowed = {}
for room in rooms:
    allowed[room] = declared(room)
    for other in allowed[room]:
        if LEVEL[other] >= LEVEL[room]:
            problems.append(f"room {room} declares a link to {other}, which is not below it")


def reachable(room):
    seen, stack = set(), [room]
    while stack:
        for other in allowed.get(stack.pop(), ()):
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return seen


includes = 0
for path in sorted((ROOT / "src/outliers").rglob("*")):
    if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
        continue
    room = path.relative_to(ROOT / "src/outliers").parts[0]
    if room not in rooms:
        continue
    may = reachable(room) | {room}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'#include "outliers/([a-z_]+)/', line)
        if match:
            includes += 1
            if match.group(1) not in may:
                problems.append(f"{path.relative_to(ROOT)}:{number}: room {room} may not include room {match.group(1)}")
        if path.suffix in {".cu", ".cuh"} and re.match(r"#include <(ATen|torch|c10)", line):
            problems.append(f"{path.relative_to(ROOT)}:{number}: kernels compile without PyTorch's headers")

# The program has what any user of the library has: outliers.h, or api's headers, and of the rooms core alone, for its terminal.
FACE = {"api", "core"}
programs = 0
for path in sorted((ROOT / "apps").rglob("*")):
    if path.suffix not in {".h", ".cpp"} and path.name != "CMakeLists.txt":
        continue
    for number, line in enumerate(path.read_text().splitlines(), 1):
        included = re.match(r'#include [<"]outliers/([a-z_]+)(/|\.h)', line)
        programs += included is not None
        seen = {included.group(1)} - {"outliers"} if included else set()
        if path.name == "CMakeLists.txt":
            seen = set(re.findall(r"outliers::([a-z_]+)", line))
        for room in sorted(seen - FACE):
            problems.append(f"{path.relative_to(ROOT)}:{number}: the program may not use room {room}; api has what it needs")
assert programs > 0

# Compute code asks traits, never names.
families = set(re.findall(r'\.name = "([a-z0-9_]+)"',
                          "".join(p.read_text() for p in (ROOT / "src/outliers/models").glob("families/*.cpp"))))
assert {"llama", "qwen2", "gemma3"} <= families
for room in ("ops", "stats", "measures", "eval", "studies", "report", "io", "models", "run"):
    for path in (ROOT / "src/outliers" / room).rglob("*.cpp"):
        if path.parent.name == "families":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for family in families:
                if f'"{family}"' in line:
                    problems.append(f'{path.relative_to(ROOT)}:{number}: names the family "{family}"; use a trait')

# Nothing of ours is too long to be read: files of code, and lines of scripts (clang-format sees to those of C++).
LONGEST_FILE, LONGEST_LINE = 450, 140
CODE, SCRIPTS = {".cpp", ".h", ".cu", ".js", ".py", ".sh", ".css"}, {".py", ".sh"}
# What is still too long; an exception that is no longer needed has to go.
LONG_FILES = set()
LONG_LINES = set()
long_files, long_lines = set(), set()
for folder in ("apps", "bench", "examples", "repro", "scripts", "src", "tests"):
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix not in CODE or not path.is_file():
            continue
        name, lines = str(path.relative_to(ROOT)), path.read_text().splitlines()
        if len(lines) > LONGEST_FILE:
            long_files.add(name)
            if name not in LONG_FILES:
                problems.append(f"{name}: {len(lines)} lines; split it by sense into files of at most {LONGEST_FILE}")
        for number, line in enumerate(lines if path.suffix in SCRIPTS else (), 1):
            if len(line) > LONGEST_LINE:
                long_lines.add(name)
                if name not in LONG_LINES:
                    problems.append(f"{name}:{number}: a line of {len(line)} characters; {LONGEST_LINE} at most")
for name in sorted((LONG_FILES - long_files) | (LONG_LINES - long_lines)):
    problems.append(f"tests/architecture_test.py: {name} is no longer too long; take it off the list of exceptions")

# How a checkpoint stores its weights is no business of what computes with them.
for path in sorted((ROOT / "src/outliers").rglob("*")):
    room, name = path.relative_to(ROOT / "src/outliers").parts[0], path.name
    if path.suffix not in {".h", ".cpp"} or "models" not in reachable(room) or (room, name) == ("run", "layer_weights.cpp"):
        continue
    if re.search(r"models::Storage|\.storage\.", path.read_text()):
        problems.append(f"{path.relative_to(ROOT)}: reads models::Storage, which is for loading and writing")

# Each golden has a script that writes it, so that it can be made again. Whether tests read it: goldens_read.py.
goldens = ROOT / "tests/golden"
files = {p.relative_to(goldens) for p in goldens.rglob("*") if p.is_file()}
written = set()
for script, patterns in json.loads((ROOT / "tests/oracle/goldens.json").read_text()).items():
    if not (ROOT / "tests/oracle" / script).exists():
        problems.append(f"tests/oracle/goldens.json: there is no {script}")
    for pattern in patterns:
        found = {p.relative_to(goldens) for p in goldens.glob(pattern) if p.is_file()}
        written |= found
        if not found:
            problems.append(f"tests/oracle/goldens.json: {script}: no golden is named {pattern}")
for path in sorted(files - written):
    problems.append(f"tests/golden/{path}: no script of tests/oracle/goldens.json writes it")

for problem in problems:
    print(problem)
print(f"{len(rooms)} rooms, {includes} includes, {len(problems)} problems")
sys.exit(1 if problems or includes == 0 else 0)
