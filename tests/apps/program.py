"""Runs the program as a user does, for the tests in this folder."""
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["OUTLIERS_PROGRAM"]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def run(*arguments, text_in=None, timeout=300, program=(PROGRAM,), **options):
    return subprocess.run([*program, *(a if isinstance(a, bytes) else str(a) for a in arguments)], input=text_in, capture_output=True,
                          text=True, timeout=timeout, **options)


def full_disk(most_bytes=8192):
    """For preexec_fn: a limit on the size of files fails writes as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


class ProgramTest(unittest.TestCase):
    def succeed(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}\n{done.stderr}")
        stderr = done.stderr if shutil.which("gnuplot") else re.sub("outliers: warning: gnuplot is not installed.*\n", "", done.stderr)
        self.assertEqual(stderr, "", "nothing but errors and progress goes to standard error, and progress only to a terminal")
        return done.stdout

    def warn(self, patterns, *arguments, **options):
        """The program succeeds with as many warnings as there are patterns, one matching each; returns standard output."""
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}\n{done.stderr}")
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), len(patterns), done.stderr)
        for pattern in patterns:
            self.assertTrue(any(line.startswith("outliers: warning: ") and re.search(pattern, line) for line in lines),
                            f"{pattern}\n{done.stderr}")
        return done.stdout

    def refuse(self, code, pattern, *arguments, **options):
        """The program exits with `code` and one line that matches `pattern`."""
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, pattern)
        return done.stderr


class FolderTest(ProgramTest):
    """With a folder to write into, and a corpus in it."""
    CORPUS = "The ship sailed on. The sea was calm, and the crew slept.\n" * 40

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.corpus = cls.dir / "corpus.txt"
        cls.corpus.write_text(cls.CORPUS)


class _Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    """unittest.main() for CTest: each skipped test goes to a file of OUTLIERS_SKIPPED, whose lines scripts/test.sh shows at the end; a
    program of which nothing ran exits with 77, as tests/main.cpp does."""
    result = unittest.main(module="__main__", testRunner=unittest.TextTestRunner(verbosity=2, resultclass=_Result), exit=False).result
    name = pathlib.Path(sys.argv[0]).stem
    if os.environ.get("OUTLIERS_SKIPPED"):
        with open(pathlib.Path(os.environ["OUTLIERS_SKIPPED"]) / name, "a") as out:
            out.writelines(f"{name}: {test.id()}: {reason}\n" for test, reason in result.skipped)
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped and not result.passed else 0)


def models_directory():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(os.environ.get("OUTLIERS_MODELS")
                        or os.path.join(os.environ.get("OUTLIERS_CACHE") or os.path.join(cache, "outliers"), "models"))
