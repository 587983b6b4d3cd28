#!/usr/bin/env python3
"""Writes tests/golden/report/shown.json: numbers and texts as reports show them, by the rule that docs/results.md gives, from
Python's decimal (exact, ROUND_HALF_UP) and unicodedata. The program's and the page's functions are held against it.

Needs Python 3.11 and nothing else; seed 7.
"""
import json
import pathlib
import random
import unicodedata
from decimal import ROUND_HALF_UP, Context, Decimal

TARGET = pathlib.Path(__file__).resolve().parent.parent / "golden/report/shown.json"
WIDE = Context(prec=2000)


def fixed(value, digits):
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP, context=WIDE):f}"


def scientific(value):
    rounded = Context(prec=2, rounding=ROUND_HALF_UP).create_decimal(Decimal(value))
    sign, digits, exponent = rounded.as_tuple()
    digits = (digits + (0, 0))[:2]
    return f"{'-' * sign}{digits[0]}.{digits[1]}e{rounded.adjusted()}"


def number(value):
    size = abs(value)
    if size >= 1e7:
        return scientific(value)
    if size >= 999.5:
        return f"{int(fixed(value, 0)):,}"
    if size >= 99.95:
        return fixed(value, 0)
    if size >= 9.995:
        return fixed(value, 1)
    if size >= 0.0995 or size == 0:
        return fixed(value, 2)
    if size >= 0.0001:
        text = f"{Context(prec=2, rounding=ROUND_HALF_UP).create_decimal(Decimal(value)):f}"
        return text.rstrip("0")
    return scientific(value)


def percent(share):
    value = share * 100
    return fixed(value, 1 if value != 0 and abs(value) < 9.95 else 0) + " %"


def size(value):
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{fixed(value, 0 if unit == 'bytes' or value >= 99.95 else 2 if value < 9.995 else 1)} {unit}"
        value /= 1000


def seconds(value):
    if value < 59.95:
        return fixed(value, 2 if value < 9.995 else 1) + " s"
    whole = int(value + 0.5)
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


# Default_Ignorable_Code_Point of Unicode 15 (DerivedCoreProperties.txt), without what is not assigned.
IGNORABLE = [(0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
             (0x202A, 0x202E), (0x2060, 0x2064), (0x2066, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
             (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0001, 0xE0001), (0xE0020, 0xE007F), (0xE0100, 0xE01EF)]


def visible(text):
    out, before = "", ""
    for c in text:
        point = ord(c)
        hidden = any(a <= point <= b for a, b in IGNORABLE) or unicodedata.category(c) in ("Zl", "Zp") or 0xFFF9 <= point <= 0xFFFB
        if 0xFE00 <= point <= 0xFE0F or unicodedata.name(c, "").startswith("MONGOLIAN FREE VARIATION"):
            hidden = False
        if point in (0x200C, 0x200D):
            hidden = not before or ord(before) < 0x300
        out += (f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}") if hidden else c
        before = "" if hidden else c
    return out


def main():
    rng = random.Random(7)
    ties = [k / 8 for k in range(0, 200)] + [k + 0.5 for k in (9, 10, 99, 100, 998, 999, 1000, 1001, 9_999, 103_794)]
    ties += [0.045, 2.675, 0.0995, 0.09949999, 9.995, 99.95, 999.5, 9999999.5]
    random_sizes = [rng.uniform(1, 10) * 10 ** rng.randint(-9, 12) for _ in range(300)]
    numbers = [v * sign for v in ties + random_sizes + [1e7, 12345678.0, 0.0001, 0.00009999, 2.5e-7, 103795, 23147.39]
               for sign in ((1, -1) if v else (1,))]
    shares = [k / 800 for k in range(0, 160)] + [rng.random() for _ in range(100)] + [0.0995, 0.09949, 1.0, 2.5, 0.125, 0.375, 1e-6]
    sizes = [0, 1, 12, 999, 1000, 999_499, 999_500, 397_808_192, 1_500_000_000, 98_362_432,
             5_000_000_000_000] + [rng.randint(0, 10 ** rng.randint(1, 13)) for _ in range(100)]
    times = [k / 8 for k in range(0, 100)] + [59.94, 59.95, 60.5, 3599.4, 3599.5, 7261] + [rng.uniform(0, 20_000) for _ in range(100)]
    texts = [chr(c) + "x" for a, b in IGNORABLE for c in range(a, b + 1)]
    texts += ["a" + chr(c) + "b" for c in (0x2028, 0x2029, 0xFFF9, 0xFFFA, 0xFFFB, 0x200C, 0x200D, 0x202E)]
    texts += [
        "\U0001F469\u200D\U0001F469\u200D\U0001F467", "\u2764\uFE0F", "\u0915\u094D\u200D\u0937",
        "\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645", "model\u202Efdp", "\u65E5\u672C\u8A9E e\u0301"]
    cases = {"number": [[v, number(v)] for v in numbers], "percent": [[v, percent(v)] for v in shares],
             "bytes": [[v, size(v)] for v in sizes], "seconds": [[v, seconds(v)] for v in times],
             "visible": [[t, visible(t)] for t in texts]}
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("{\n" + ",\n".join(f' "{name}": {json.dumps(rows)}' for name, rows in cases.items()) + "\n}\n")
    print({name: len(rows) for name, rows in cases.items()}, TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
