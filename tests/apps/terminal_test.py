#!/usr/bin/env python3
"""What the program writes to a terminal: lines that fit, no escapes, no debris of progress."""
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ROOT, FolderTest, main  # noqa: E402

HIDDEN = "\u202e"


def on_terminal(arguments, columns, stop_at=None, **environment):
    """(exit code, all that is written to a terminal of so many columns). stop_at: a Ctrl-C when this has been seen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen([str(a) for a in arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                               env={**inherited, "TERM": "xterm-256color", **environment}, start_new_session=True)
    os.close(theirs)
    seen, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        seen += piece
        if stop_at and stop_at in seen:
            process.send_signal(signal.SIGINT)
            stop_at = None
    os.close(ours)
    return process.wait(60), seen.decode()


def width(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def screen(text):
    """The lines that a terminal shows in the end: \\r goes back, what is written goes over what stands there."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        cells = []
        for part in line.split("\r"):
            cells[:len(part)] = list(part)
        lines.append("".join(cells).rstrip())
    return lines


class TerminalTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_model(cls.dir / f"model{HIDDEN}fdp-\u65e5\u672c\u8a9e-e\u0301\u0301")
        cls.report = [PROGRAM, "report", cls.model, "-o", cls.dir / "report", "--force", "--corpus", cls.corpus, "--sequences", 3,
                      "--tokens", 40, "--no-figures"]

    def fits(self, text, columns):
        self.assertNotIn("\x1b", text)
        self.assertNotIn(HIDDEN, text)
        for piece in re.split(r"[\r\n]+", text):
            self.assertLessEqual(width(piece), columns, piece)

    def test_summary_fits(self):
        for columns, environment in ((40, {}), (63, {"NO_COLOR": "1"}), (150, {})):
            with self.subTest(columns):
                code, text = on_terminal(self.report, columns, **environment)
                self.assertEqual(code, 0, text)
                self.fits(text, columns)
                self.assertIn("measuring: ", text)
                lines = screen(text)
                self.assertFalse(any("measuring" in line for line in lines), lines)
                self.assertGreater(max(width(line) for line in lines), columns - 12)

    def test_unknown_width_and_pipes(self):
        code, text = on_terminal(self.report, 0)
        self.assertEqual(code, 0, text)
        self.fits(text, 80)
        code, text = on_terminal(self.report, 0, COLUMNS="50")
        self.fits(text, 50)
        code, text = on_terminal(self.report, 20)  # 40 at least; progress fits all the same
        for piece in re.split(r"[\r\n]+", text):
            self.assertLessEqual(width(piece), 20 if "measuring" in piece else 40, piece)
        self.fits(self.succeed(*self.report[1:], env={**os.environ, "COLUMNS": "200"}), 80)

    def test_dumb_terminals_get_text_alone(self):
        code, text = on_terminal(self.report, 80, TERM="dumb")
        self.assertEqual(code, 0)
        self.assertNotIn("\r", text.replace("\r\n", "\n"))
        self.fits(text, 80)

    def test_tables_fit(self):
        for arguments in (("inspect", self.model), ("tokenize", self.model, "--text", "The sea was calm."),
                          ("capture", self.model, "--points", "list")):
            for columns in (40, 80):
                with self.subTest(arguments=arguments, columns=columns):
                    code, text = on_terminal([PROGRAM, *arguments], columns)
                    self.assertEqual(code, 0, text)
                    self.fits(text, columns)
        # A pipe gets whole rows.
        self.assertIn("model.layers.0.self_attn.q_proj.weight", self.succeed("inspect", self.model))

    def test_ctrl_c_leaves_a_clean_line(self):
        long = [PROGRAM, "report", tiny.write_model(self.dir / "long", None, lambda c: c.update(max_position_embeddings=4096)), "-o",
                self.dir / "stopped", "--sequences", 60, "--tokens", 4000, "--no-figures", "--threads", 1]
        code, text = on_terminal(long, 60, stop_at=b"measuring")
        self.assertEqual(code, 130, text)
        self.assertEqual([line for line in screen(text) if line],
                         [line for line in screen(text) if line.startswith("outliers: error: interrupted")])
        self.fits(text.split("outliers: error")[0], 60)

    def test_names_of_errors_and_warnings_are_spelled_out(self):
        said = self.refuse(1, r"nothing\\u202efdp", "inspect", self.dir / f"nothing{HIDDEN}fdp")
        self.assertNotIn(HIDDEN, said)

    def test_scripts_talk_plainly_where_asked(self):
        for environment, escapes in (({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)):
            _, text = on_terminal(["bash", "-c", f". {ROOT}/scripts/lib.sh; say hello"], 80, **environment)
            self.assertEqual("\x1b" in text, escapes, environment)
            self.assertIn("==> hello", text)
        said = subprocess.run(["bash", "-c", f". {ROOT}/scripts/lib.sh; say hello"], capture_output=True, text=True, check=True).stderr
        self.assertEqual(said, "==> hello\n")


if __name__ == "__main__":
    main()
