"""The strings on which tokenizers are compared: awkward ones by hand, then random mixtures from a fixed seed."""
import random

SCRIPTS = {  # ranges of code points
    "latin": (0x41, 0x7A), "latin1": (0xA0, 0xFF), "latin_ext": (0x100, 0x24F), "ipa": (0x250, 0x2AF), "modifiers": (0x2B0, 0x2FF),
    "combining": (0x300, 0x36F), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x52F), "armenian": (0x531, 0x58F), "hebrew": (0x590, 0x5F4),
    "arabic": (0x600, 0x6FF), "devanagari": (0x900, 0x97F), "bengali": (0x980, 0x9FB), "tamil": (0xB82, 0xBFA), "thai": (0xE01, 0xE5B),
    "tibetan": (0xF00, 0xFDA), "georgian": (0x10A0, 0x10FF), "jamo": (0x1100, 0x11FF), "ethiopic": (0x1200, 0x139F),
    "cherokee": (0x13A0, 0x13FD), "khmer": (0x1780, 0x17F9), "mongolian": (0x1800, 0x18AA), "greek_ext": (0x1F00, 0x1FFE),
    "punctuation": (0x2000, 0x206F), "sub_super": (0x2070, 0x209C),
    "currency": (0x20A0, 0x20C0), "letterlike": (0x2100, 0x214F), "numbers": (0x2150, 0x218B), "arrows": (0x2190, 0x21FF),
    "maths": (0x2200, 0x22FF), "technical": (0x2300, 0x23FF), "enclosed": (0x2460, 0x24FF), "boxes": (0x2500, 0x25FF),
    "symbols": (0x2600, 0x26FF), "braille": (0x2800, 0x28FF), "cjk_punct": (0x3000, 0x303F), "hiragana": (0x3041, 0x309F),
    "katakana": (0x30A0, 0x30FF), "hangul_compat": (0x3131, 0x318E), "cjk": (0x4E00, 0x9FFF),
    "cjk_a": (0x3400, 0x4DBF), "hangul": (0xAC00, 0xD7A3), "private": (0xE000, 0xE0FF), "cjk_compat": (0xF900, 0xFAD9),
    "ligatures": (0xFB00, 0xFB4F), "fullwidth": (0xFF01, 0xFFEE), "specials": (0xFFF9, 0xFFFD), "gothic": (0x10330, 0x1034A),
    "math_alnum": (0x1D400, 0x1D7FF), "emoji": (0x1F300, 0x1F64F),
    "emoji2": (0x1F680, 0x1F9FF), "enclosed_sup": (0x1F100, 0x1F1FF), "cjk_b": (0x20000, 0x2A6DF), "tags": (0xE0020, 0xE007F),
    "ascii_controls": (0x00, 0x1F), "c1": (0x7F, 0x9F),
}
WORDS = """the of and to a in that it is was I for on you he be with as by at have are this not but had his they from she which or we an
there her were one do been all their has would will what if can when so said who them some could him into its then two out time
my about did your now me up other our more these like no over also new just don't I'll we've they're it's I'd y'all THE Don'T
IT'S tokenization antidisestablishmentarianism supercalifragilisticexpialidocious naïve café Zürich résumé jalapeño
getElementById snake_case_name kebab-case __init__ std::vector<int> printf("%d\\n") 0x1F 3.14159 1e-10 192.168.0.1 2024-01-31
12:34:56 $1,234.56 50% #hashtag @user https://example.com/a?b=c&d=e#f user@example.org C++ C# .NET e.g. i.e. etc. U.S.A. Ph.D.
's 't 're 've 'm 'll 'd 'S 'RE 'ſ 'Ll ’s ’t""".split()
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<tool_call>", "</tool_call>", "<think>", "<bos>", "<eos>",
            "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<unused0>", "<unused99>", "[multimodal]", "<s>", "</s>",
            "<table>", "</h1>", "<0x0A>", "<0x41>", "▁", "▁▁", "▁▁▁the", "Ġ", "Ġthe", "<|endoftext", "|>", "<|im_end|", "[INST]",
            "<image_soft_token>"]
BLANKS = [" ", "  ", "   ", "\n", "\n\n", "\t", "\t\t", "\r\n", "\r", " \n", "\n ", "\u00a0", "\u3000", "\u2009", "\u200b", "\u180e",
          "\u0085", "\u2028", "\v", "\f", "\x1c", "\x1f", "\ufeff"]
CODE = """def f(x: int = 3) -> list[str]:\n    if x != 0 and not (x % 2):\n\
        return [f"{i:>5}" for i in range(x)]\n\treturn None  # tabs\n
int main(int argc, char** argv) {\r\n  for (int i = 0; i < argc; ++i) std::cout << argv[i] << '\\n';\r\n  return 0;\r\n}\r\n
SELECT a.id, COUNT(*) FROM t AS a WHERE a.x >= 10 GROUP BY 1;\n<div class="a">\n    <table><tr><td>1</td></tr></table>\n</div>
{"a": [1, 2.5, null, true], "b": {"c": "\\u00e9\\n"}}\n$$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$$"""
HAND = ["", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\r\n\r\n", "a", " a", "a ", "  a", "a  ", "a  b", "a   b", "a\nb", "a \n b",
        "\n a", "a\n\n\nb", "\0", "a\0b", "\0\0\0", "\x01\x02\x7f", "Hello world", "Hello, world!", "Hello  world", " Hello",
        "Hello World\n", "Summer is warm. Winter is cold.\n", "Are you sure? Yes, absolutely!",
        "👨‍👩‍👧‍👦", "👩🏽‍💻 codes", "🏳️‍🌈🏴‍☠️", "🇩🇪🇫🇷🇯🇵", "✊🏿", "☺️☺", "e\u0301", "é", "ĺ́", "A\u030a", "\u212b", "\u1e9b\u0323",
        "q\u0307\u0323", "\u0344", "a\u0323\u0302", "ﬁ ﬀ ﬃ ﬆ", "각", "\u1100\u1161\u11a8", "가\u11a8", "\u0958", "\u2adc",
        "Ⅳ ½ ① ٣ ໓ 一二三 ²³", "1234567890", "12345 67890", "1,000,000.00", "0" * 50, "007", "a1b2c3", "x²+y²=z²", "İstanbul ıI",
        "straße STRASSE ẞ", "ΑΣ σς", "ǅ ǆ", "日本語のテキスト。", "中文分词测试，没有空格。", "한국어 문장입니다.", "Привет, как дела?", "مرحبا بالعالم", "שלום עולם",
        "नमस्ते दुनिया", "สวัสดีชาวโลก", "ภาษาไทยไม่มีเว้นวรรค", "Γειά σου Κόσμε", "ქართული", "አማርኛ", "தமிழ் மொழி", "བོད་སྐད་", "ខ្មែរ",
        "ᠮᠣᠩᠭᠣᠯ", "'s 't 're 've 'm 'll 'd", "'S'T'RE", "it'ſ", "'ﬆ", "don’t", "''''", "\"quoted\"", "--- *** ___ === ...", "!!!???", "…",
        "a.b.c", "a..b", "....", ".\n.\n", "!\n\n?", "-\r\n-", " \n \n ", "\n \n", "   \n", "\t \t", " \t a", "\u00a0a", "a\u3000b",
        "\u2003\u2003x", "x\u180ey", "x\u0085y", "x\u2028y", "\u200b", "\ufeffBOM", "zero\u200dwidth\u200cjoin",
        "a" * 1000, " " * 1000, "\n" * 100, "\t" * 70, "-" * 333, "ab" * 500, "日" * 300, "🙂" * 100, "=" * 80 + "\n" + "#" * 79, "<" * 64,
        "\u0301" * 40, "▁" * 33, " " * 31 + "x", " " * 32 + "x", " " * 33 + "x", "\n" * 31, "\n" * 32, "\n" * 33, "\t" * 31, "\t" * 32,
        "x" + " " * 15 + "y", "if a:\n        b\n\t\tc", "a ▁b", "▁▁ ▁", " ▁ ", "<table>\n<tr>", "text<|endoftext|>text", "<bos>text",
        " <bos> text", "<|im_start|>user\nhi<|im_end|>\n", "<eos><eos>", "a<unk>b", "<start_of_turn>user\n<end_of_turn>",
        # young code points
        "\u1c89\u1c8a", "\U000105c0", "\U0001e5d0", "\U00011f02", "\U00031350", "\U00010570", "\ua7cb", "\u0c5c", "\U0001fae8",
        "\U0001f6dc"]
INVALID = [b"\xff", b"\xc3", b"\xc3\x28", b"\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"\xf0\x9fa", b"\xed\xa0\x80", b"\xc0\xaf",
           b"\xf5\x80\x80\x80", b"a\x80b\xbfc", b"\xf4\x90\x80\x80", b"ok \xe4\xb8 not", b"\xe0\x80\x80", b"\xf0\x80\x80\x80",
           b"\xfe\xff\x00a", b"caf\xe9", b"\xe4\xb8\xad\xe4\xb8", b"\xf0\x9f\x98\x80\xf0\x9f", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"]


def mixture(rng):
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(WORDS))
        elif kind < 0.55:
            low, high = SCRIPTS[rng.choice(list(SCRIPTS))]
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))))
        elif kind < 0.65:
            parts.append("".join(rng.choice("0123456789") for _ in range(rng.randint(1, 12))))
        elif kind < 0.75:
            parts.append("".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randint(1, 6))))
        elif kind < 0.80:
            parts.append(rng.choice(SPECIALS))
        elif kind < 0.85:
            parts.append(rng.choice(HAND)[:40])
        elif kind < 0.90:
            start = rng.randrange(len(CODE))
            parts.append(CODE[start:start + rng.randint(5, 60)])
        else:
            parts.append(rng.choice(BLANKS) * rng.choice([1, 1, 1, 2, 3, 4, 5, 8, 16]))
        if rng.random() < 0.5:
            parts.append(rng.choice(BLANKS[:10]))
    return "".join(parts)


def single_scripts(rng):
    """One run of letters of each script, with spaces."""
    for low, high in SCRIPTS.values():
        for _ in range(4):
            yield "".join(" " if rng.random() < 0.15 else chr(rng.randint(low, high)) for _ in range(rng.randint(2, 24)))


def byte_strings(count, seed):
    """`count` different byte strings; the first ones are the awkward ones."""
    rng = random.Random(seed)
    out = [s.encode() for s in HAND + SPECIALS + BLANKS + WORDS + [CODE]] + INVALID
    out += [s.encode() for s in single_scripts(rng)]
    seen = set()
    out = [b for b in out if not (b in seen or seen.add(b))]
    while len(out) < count:
        data = mixture(rng).encode("utf-8", "surrogatepass")
        if rng.random() < 0.08:  # damage
            data = bytearray(data)
            for _ in range(rng.randint(1, 3)):
                data[rng.randrange(len(data))] = rng.randint(0x80, 0xFF)
            data = bytes(data)
        if data not in seen:
            seen.add(data)
            out.append(data)
    return out[:count] if count < len(out) else out
