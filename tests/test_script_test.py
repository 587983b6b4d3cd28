#!/usr/bin/env python3
"""What scripts/test.sh says at its end, in a copy of the scripts with a ctest that only pretends: a skipped test is told, and a golden
that no test reads fails. How tests tell of skips: tests/main.cpp and tests/apps/program.py."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "apps"))
from program import main  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
CTEST = """#!/usr/bin/env bash
for golden in $READS; do cat "tests/golden/$golden" >/dev/null; done
[ -z "$SKIPS" ] || printf '%s\\n' "$SKIPS" >"$OUTLIERS_SKIPPED/a_test"
echo "1/1 Test #1: a_test ... Passed"
echo "$((100 - STATUS))% tests passed, $STATUS tests failed out of 1"
exit "$STATUS"
"""
AVOIDABLE, OF_MACHINE = "a_test: A.B: gnuplot is not installed", "a_test: A.C: there is no CUDA device"


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class TestScriptTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        for file in ("scripts/test.sh", "scripts/lib.sh", "tests/goldens_read.py"):
            (self.dir / file).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / file, self.dir / file)
        for file in ("scripts/setup.sh", "scripts/build.sh"):
            executable(self.dir / file, "#!/bin/sh\n")
        (self.dir / "scripts/fetch_models.py").write_text("")
        executable(self.dir / "bin/ctest", CTEST)
        for name in ("read.npz", "below/other.npz"):
            golden = self.dir / "tests/golden" / name
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_bytes(b"golden")

    def run_tests(self, *arguments, reads="read.npz below/other.npz", skips="", status=0, **environment):
        kept = {name: value for name, value in os.environ.items() if name != "CI"}
        return subprocess.run(["bash", self.dir / "scripts/test.sh", *arguments], capture_output=True, text=True, timeout=60, env=kept | {
            "PATH": f"{self.dir}/bin:{os.environ['PATH']}", "OUTLIERS_PYTHON": sys.executable, "READS": reads, "SKIPS": skips,
            "STATUS": str(status), "NO_COLOR": "1"} | environment)

    def test_passes_where_all_ran(self):
        done = self.run_tests()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_fails_where_tests_fail(self):
        self.assertEqual(self.run_tests(status=8).returncode, 8)
        self.assertEqual(self.run_tests(status=8, skips=AVOIDABLE).returncode, 8)

    def test_names_what_was_skipped(self):
        done = self.run_tests(skips=f"{OF_MACHINE}\n{AVOIDABLE}")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, f"==> skipped\n{AVOIDABLE}\n{OF_MACHINE}\n")
        # CTest's own summary, once more behind it.
        self.assertEqual(done.stdout.count("100% tests passed, 0 tests failed out of 1\n"), 2, done.stdout)
        # Nothing of an earlier run.
        self.assertEqual(self.run_tests().stderr, "")

    def test_skips_in_ci_only_what_the_machine_lacks(self):
        self.assertEqual(self.run_tests(skips=OF_MACHINE, CI="1").returncode, 0)
        done = self.run_tests(skips=f"{AVOIDABLE}\n{OF_MACHINE}", CI="1")
        self.assertEqual(done.returncode, 1)
        self.assertIn(AVOIDABLE, done.stderr)
        self.assertIn("error: all but those that want CUDA or a namespace can run here", done.stderr)

    def test_a_golden_that_no_test_reads_fails(self):
        done = self.run_tests(reads="below/other.npz")
        if "does not note readings" in done.stdout:
            self.skipTest("the file system does not note readings")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertTrue(done.stdout.endswith("\nread.npz: no test reads it\n"), done.stdout)
        # A test that could not run may be the one that reads it; a part of the tests reads a part.
        self.assertEqual(self.run_tests(reads="read.npz", skips=OF_MACHINE).returncode, 1)
        self.assertEqual(self.run_tests(reads="read.npz", skips=AVOIDABLE).returncode, 0)
        self.assertEqual(self.run_tests("release", "-R", "a_test", reads="read.npz").returncode, 0)
        # Readings before the run do not count.
        (self.dir / "tests/golden/read.npz").read_bytes()
        self.assertEqual(self.run_tests(reads="below/other.npz").returncode, 1)
        self.assertEqual(self.run_tests().returncode, 0)


class SkipsTest(unittest.TestCase):
    """Test programs of which nothing can run: each skip is noted with its reason, and CTest hears of it."""

    def skips(self, *command, **environment):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60,
                                  env=os.environ | {"OUTLIERS_SKIPPED": folder} | environment)
            self.assertEqual(done.returncode, 77, done.stdout + done.stderr)
            (noted,) = pathlib.Path(folder).iterdir()
            return noted.name, noted.read_text()

    def test_of_cpp(self):
        program = os.environ["OUTLIERS_REAL_TEST"]
        name, text = self.skips(program, "--gtest_filter=*SmolLM*", OUTLIERS_MODELS="/nowhere")
        self.assertEqual(name, pathlib.Path(program).name)
        self.assertRegex(text, rf'^{name}: RealModels\.SmolLM\w+: "/nowhere/SmolLM2.*" is not there; scripts/fetch_models.py fetches it\n$')

    def test_of_python(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder) / "one_test.py"
            script.write_text("import sys, unittest\n"
                              f"sys.path.insert(0, {str(ROOT / 'tests/apps')!r})\n"
                              "from program import main\n"
                              "class One(unittest.TestCase):\n"
                              "    def test_a(self): self.skipTest('no reason')\n"
                              "main()\n")
            name, text = self.skips(sys.executable, script, OUTLIERS_PROGRAM="none")
        self.assertEqual((name, text), ("one_test", "one_test: __main__.One.test_a: no reason\n"))


if __name__ == "__main__":
    main()
