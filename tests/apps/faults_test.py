#!/usr/bin/env python3
"""What happens to a run under way: full disks, signals, other runs, planted links. Each error has its reason, and nothing is lost or left
behind."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402
from program import PROGRAM, ProgramTest, full_disk, main, run  # noqa: E402

FULL = "(No space left on device|File too large)"
# Mounts need a namespace of their own, which not every machine gives.
NAMESPACE = next((command for command in (["unshare", "-m"], ["unshare", "-rm"])
                  if shutil.which("unshare") and subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                                                                capture_output=True).returncode == 0), None)


def plain_signals():
    """For preexec_fn: as a shell starts a program, whatever the tests were started under."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class FaultsTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.base = pathlib.Path(folder.name)
        cls.model = tiny.write_model(cls.base / "tiny")
        cls.corpus = cls.base / "corpus.txt"
        cls.corpus.write_text("The ship sailed on. The sea was calm, and the crew slept.\n" * 40)
        cls.finished = cls.base / "finished"
        done = run(*cls.report(cls.finished))
        assert done.returncode == 0, done.stderr

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=self.base))

    @classmethod
    def report(cls, out, *more):
        return ("report", cls.model, "-o", out, "--sequences", 2, "--tokens", 16, "--corpus", cls.corpus, "--no-figures", *more)

    def names(self, folder=None):
        return sorted(p.name for p in (folder or self.dir).iterdir())

    def start(self, *arguments, **options):
        return subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, preexec_fn=plain_signals, **options)

    def wait_for(self, pattern, folder=None):
        """The first path that matches, which another process is to make."""
        for _ in range(600):
            found = list((folder or self.dir).glob(pattern))
            if found:
                return found[0]
            time.sleep(0.05)
        self.fail(f"no {pattern} came")

    def wait_until_handled(self, process):
        """Until it has taken SIGTERM on itself."""
        for _ in range(600):
            caught = re.search(r"SigCgt:\s*(\w+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())
            if int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.05)
        self.fail("no handler came")

    def ended(self, process, code, pattern):
        stdout, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, stderr)
        self.assertRegex(stderr, pattern)
        self.assertEqual(stderr.count("\n"), 1, stderr)
        return stdout

    # Full disks.
    def writers(self, folder):
        """What each command that writes is called with; `folder` has the room."""
        text = ("--prompt", "x" * 50, "--points", "layer.*.resid_out,layer.*.down_in,logits")
        return {
            "report": self.report(folder / "out"),
            "capture npz": ("capture", self.model, "-o", folder / "a.npz", *text),
            "capture safetensors": ("capture", self.model, "-o", folder / "a.safetensors", *text),
            "export": ("export", self.model, "-o", folder / "model"),
            "compare": ("compare", self.finished, self.finished, "-o", folder / "both"),
        }

    def test_a_limit_on_files(self):
        for name, arguments in self.writers(self.dir).items():
            with self.subTest(name):
                self.refuse(1, f"cannot write .*: {FULL}; free some space", *arguments, preexec_fn=full_disk)
                self.assertEqual(self.names(), [])

    def test_a_limit_on_the_files_of_plot(self):
        out = self.dir / "out"
        shutil.copytree(self.finished, out)
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        self.refuse(1, f"cannot write .*: {FULL}; free some space", "plot", out, "--only", "page", preexec_fn=full_disk)
        self.assertEqual({p: p.read_bytes() for p in out.rglob("*") if p.is_file()}, before)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_a_limit_on_what_gnuplot_writes(self):
        out = self.dir / "out"
        shutil.copytree(self.finished, out)
        shutil.rmtree(out / "figures", ignore_errors=True)
        # More than script and data of the figure have, less than its pictures.
        for most in (16384, 20000, 24000):
            self.refuse(1, f"cannot write .*: {FULL}; free some space", "plot", out, "--only", "exist_down",
                        preexec_fn=lambda most=most: full_disk(most))
            self.assertEqual([p for p in out.rglob("*") if "partial" in p.name or p.suffix in (".pdf", ".svg", ".png")], [])

    @unittest.skipUnless(NAMESPACE, "no namespace for a small file system")
    def test_a_small_disk(self):
        """A disk of any size: the run succeeds, or says that the disk is full and leaves nothing."""
        disk = self.dir / "disk"
        disk.mkdir()
        script = f'mount -t tmpfs -o size=$1 tmpfs {disk} && shift && "$@"; code=$?; ls -A {disk} >{self.dir}/left; exit $code'
        for name, arguments in self.writers(disk).items():
            codes = []
            for size in ("4k", "40k"):
                done = subprocess.run([*NAMESPACE, "sh", "-c", script, "sh", size, PROGRAM, *map(str, arguments)], capture_output=True,
                                      text=True, timeout=60)
                codes.append(done.returncode)
                if done.returncode != 0:
                    self.assertRegex(done.stderr, f"^outliers: error: cannot (write|create) .*: {FULL}.*\n$", f"{name} {size}")
                    self.assertEqual((self.dir / "left").read_text(), "", f"{name} {size}")
            self.assertEqual(codes[0], 1, name)

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full")
    def test_a_full_standard_output(self):
        np.savez(self.dir / "a.npz", ids=np.arange(4)[None], **{"layer.0.resid_out": np.ones((1, 4, 8), np.float32)})
        a = self.dir / "a.npz"
        for arguments in (("--help",), ("--version",), ("report", "--help"), ("inspect", self.model), ("inspect", self.model, "--json"),
                          ("tokenize", self.model, "--text", "x" * 100000, "--json"), ("tokenize", self.model, "--text", "x"),
                          ("compare-layers", a, a), ("compare-layers", a, a, "--json"), ("capture", self.model, "--points", "list"),
                          ("fetch", self.model), ("capture", self.model, "--prompt", "x", "-o", self.dir / "b.npz"),
                          ("compare", self.finished, self.finished, "-o", self.dir / "both"),
                          ("export", self.model, "-o", self.dir / "model"), self.report(self.dir / "out", "--json")):
            with self.subTest(arguments), open("/dev/full", "w") as full:
                done = subprocess.run([PROGRAM, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr),
                                 (1, "outliers: error: cannot write to standard output: No space left on device\n"))

    def test_a_closed_standard_output(self):
        """The next file that is opened does not get its number."""
        script = 'exec "$@" >&-'
        done = subprocess.run(["sh", "-c", script, "sh", PROGRAM, *map(str, self.report(self.dir / "out"))], stderr=subprocess.PIPE,
                              text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (1, "outliers: error: cannot write to standard output: Bad file descriptor\n"))
        json.loads((self.dir / "out/results.json").read_text())

    # Signals.
    def test_signals_end_a_wait(self):
        """For the writer of a pipe, for what it writes, for standard input: at once, and with its code."""
        pipe = self.dir / "pipe"
        os.mkfifo(pipe)
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            for corpus in (pipe, "-"):
                with self.subTest(f"{number} {corpus}"):
                    process = self.start(*self.report(self.dir / "out")[:-3], "--corpus", corpus)
                    self.wait_for(".out.partial-*")
                    time.sleep(0.5)  # it waits for the corpus now
                    begin = time.monotonic()
                    process.send_signal(number)
                    self.ended(process, code, "^outliers: error: interrupted; nothing was written\n$")
                    self.assertLess(time.monotonic() - begin, 5)
                    self.assertEqual(self.names(), ["pipe"])

    def test_a_prompt_from_a_pipe(self):
        for arguments in (("tokenize", self.model), ("capture", self.model, "--prompt-file", "-", "-o", self.dir / "a.npz")):
            process = self.start(*arguments)
            self.wait_until_handled(process)
            process.send_signal(signal.SIGTERM)
            self.ended(process, 143, "^outliers: error: interrupted; nothing was written\n$")

    def test_nohup_stays(self):
        process = subprocess.Popen(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", PROGRAM, *map(str, self.report(self.dir / "out")[:-3]),
                                    "--corpus", "-"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(".out.partial-*")
        process.send_signal(signal.SIGHUP)
        stdout, stderr = process.communicate(self.corpus.read_text(), timeout=60)
        self.assertEqual(process.returncode, 0, stderr)

    def test_what_was_written_before_a_signal(self):
        """A gnuplot that never ends: the report is there, and the line says so. The drawing process ends with it."""
        tools = self.dir / "tools"
        tools.mkdir()
        (tools / "gnuplot").write_text(f"#!/bin/sh\necho $$ >{self.dir}/drawing.tmp; mv {self.dir}/drawing.tmp "
                                       f"{self.dir}/drawing\nexec sleep 1000\n")
        (tools / "gnuplot").chmod(0o755)
        out = self.dir / "out"
        process = self.start(*[a for a in self.report(out) if a != "--no-figures"],
                             env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"})
        drawing = int(self.wait_for("drawing").read_text())
        process.send_signal(signal.SIGTERM)
        self.ended(process, 143, f"^outliers: error: interrupted; {out} was written before\n$")
        json.loads((out / "results.json").read_text())
        self.assertTrue((out / "index.html").exists())
        with self.assertRaises(ProcessLookupError):
            os.kill(drawing, 0)
        self.assertEqual([p for p in out.rglob("*") if "partial" in p.name], [])

    # Other runs, and what earlier ones left.
    def test_a_killed_run(self):
        process = self.start(*self.report(self.dir / "out")[:-3], "--corpus", "-")
        left = self.wait_for(".out.partial-*")
        process.kill()
        process.communicate()
        self.assertTrue(left.exists())
        self.warn([f"removed {left}, which a run that was killed had left"], *self.report(self.dir / "out"))
        self.assertEqual(self.names(), ["out"])

    def test_two_runs_into_one_path(self):
        for out, arguments in (("out", self.report(self.dir / "out")[:-3] + ("--corpus", "-")),
                               ("a.npz", ("capture", self.model, "--prompt-file", "-", "-o", self.dir / "a.npz"))):
            first = self.start(*arguments)
            if out == "out":
                self.wait_for(f".{out}.partial-*")
                self.refuse(1, f"{self.dir / out} is being written by process {first.pid}; wait for it, or choose another place",
                            *arguments, text_in="x")
            stdout, stderr = first.communicate(self.corpus.read_text()[:2300 if out == "out" else 40], timeout=60)
            self.assertEqual(first.returncode, 0, stderr)
        self.assertEqual(self.names(), ["a.npz", "out"])

    def test_what_appears_meanwhile(self):
        out = self.dir / "out"
        for force in ((), ("--force",)):
            process = self.start(*self.report(out)[:-3], "--corpus", "-", *force)
            self.wait_for(".out.partial-*")
            out.mkdir()
            (out / "thesis.tex").write_text("mine")
            process.stdin.write(self.corpus.read_text())
            self.ended(process, 1, f"{out} has appeared while this ran, and stays; what should be there is in {self.dir}/out.1\n$")
            self.assertEqual(self.names(), ["out", "out.1"])
            self.assertEqual(self.names(out), ["thesis.tex"])
            json.loads((self.dir / "out.1/results.json").read_text())
            shutil.rmtree(out)
            shutil.rmtree(self.dir / "out.1")

    def test_planted_links(self):
        """The names of temporary files are not foreseen, and what stands there is not followed."""
        victim = self.dir / "victim"
        victim.write_text("mine")
        script = ('for n in out a.npz; do ln -s %s "$0/.$n.partial-$$"; done; exec "$@"' % victim)
        for arguments in (self.report(self.dir / "out"), ("capture", self.model, "--prompt", "x", "-o", self.dir / "a.npz")):
            done = subprocess.run(["sh", "-c", script, str(self.dir), PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(victim.read_text(), "mine")
        self.assertTrue((self.dir / "out").is_dir() and not (self.dir / "out").is_symlink())
        self.assertTrue((self.dir / "a.npz").is_file() and not (self.dir / "a.npz").is_symlink())


if __name__ == "__main__":
    main()
