#!/usr/bin/env python3
"""Whether the tests that ran read every golden: a golden that nothing reads proves nothing.

  goldens_read.py mark      sets the time of the last reading of every file in tests/golden far back
  goldens_read.py check     names those that were not read since; exit code 1 where there are any

scripts/test.sh calls both around the default tests. Where the file system does not note readings (noatime), check says so and
passes.
"""
import os
import pathlib
import sys
import tempfile

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
LONG_AGO = 86400 * 365  # 1971, before any time of change, so that relatime notes the next reading


def forget_reading(path):
    os.utime(path, (LONG_AGO, os.stat(path).st_mtime))


def was_read(path):
    return os.stat(path).st_atime > LONG_AGO


def readings_are_noted():
    with tempfile.NamedTemporaryFile(dir=GOLDEN, prefix=".probe-") as probe:
        probe.write(b"x")
        probe.flush()
        forget_reading(probe.name)
        pathlib.Path(probe.name).read_bytes()
        return was_read(probe.name)


def main():
    files = sorted(p for p in GOLDEN.rglob("*") if p.is_file() and not p.name.startswith("."))
    if sys.argv[1:] == ["mark"]:
        for path in files:
            forget_reading(path)
    elif sys.argv[1:] == ["check"]:
        unread = [p for p in files if not was_read(p)]
        if unread and not readings_are_noted():
            print("the file system does not note readings, so whether tests read every golden is not known")
            return
        for path in unread:
            print(f"{path.relative_to(GOLDEN)}: no test reads it")
        sys.exit(1 if unread else 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
