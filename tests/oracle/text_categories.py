"""Writes src/outliers/text/data/categories.inc: the classes of all code points, as the patterns of tokenizers 0.23.3 see them.

tokenizers runs its patterns with Oniguruma, which here knows Unicode 16; Debian's PCRE2 and utf8proc know 14 and 15. Asking
tokenizers itself makes the table right for it whatever the libraries at hand know.
"""
import pathlib

from tokenizers import Regex, pre_tokenizers

CLASSES = {"U": r"[\p{Lu}\p{Lt}]", "L": r"\p{Ll}", "O": r"[\p{Lm}\p{Lo}]", "M": r"\p{M}", "N": r"\p{N}", "S": r"[^\S\r\n]"}
TARGET = pathlib.Path(__file__).resolve().parent.parent.parent / "src/outliers/text/data/categories.inc"


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern + "+"), "removed", invert=True)
    for base in range(0, 0x110000, 4096):
        text = "".join(chr(c) for c in range(base, base + 4096) if not 0xD800 <= c < 0xE000)
        for piece, _ in split.pre_tokenize_str(text) if text else ():
            yield from map(ord, piece)


def main():
    table = ["."] * 0x110000
    for letter, pattern in CLASSES.items():
        for point in members(pattern):
            assert table[point] == ".", hex(point)
            table[point] = letter
    for point in (0x0A, 0x0D):
        assert table[point] == "."
        table[point] = "R"
    runs, start = [], 0
    for point in range(1, 0x110001):
        if point == 0x110000 or table[point] != table[start]:
            runs.append(f"{table[start]}{point - start:x}")
            start = point
    text = "".join(runs)
    lines = [text[i:i + 110] for i in range(0, len(text), 110)]
    TARGET.write_text("// Written by tests/oracle/text_categories.py: runs of code points from U+0000 on, a class "
                      "and a hexadecimal length each.\n"
                      + "\n".join(f'"{line}"' for line in lines) + "\n")
    print(len(runs), "runs", TARGET.stat().st_size, "bytes", {c: table.count(c) for c in "ULOMNSR."})


main()
