#!/usr/bin/env python3
"""Installs the library into a folder, builds examples/ against that folder alone, by find_package and by pkg-config, and runs them."""
import json
import os
import pathlib
import re
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "apps"))
import tiny  # noqa: E402
import tiny_forward  # noqa: E402
from program import ROOT, FolderTest, main, run  # noqa: E402

CMAKE, COMPILER, BUILD = (os.environ[name] for name in ("CMAKE_COMMAND", "CXX", "OUTLIERS_BUILD"))
TEXT = "The sea was calm."


def setUpModule():
    if os.environ.get("OUTLIERS_SANITIZE"):
        raise unittest.SkipTest("a program has to be built with the library's sanitizer")


class InstallTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prefix = cls.dir / "prefix"
        cls.run_command(CMAKE, "--install", BUILD, "--prefix", cls.dir / "first")
        (cls.dir / "first").rename(cls.prefix)  # nothing in it may know where it was put
        # A copy: nothing of the source tree is to be found from there.
        shutil.copytree(ROOT / "examples", cls.dir / "examples")
        cls.run_command(CMAKE, "-G", "Ninja", "-S", cls.dir / "examples", "-B", cls.dir / "build", f"-DCMAKE_PREFIX_PATH={cls.prefix}",
                        f"-DCMAKE_CXX_COMPILER={COMPILER}")
        cls.run_command(CMAKE, "--build", cls.dir / "build", "-j", "2")
        cls.model = tiny.write_model(cls.dir / "tiny")

    @staticmethod
    def run_command(*command, code=0, **options):
        done = run(*command, program=(), timeout=600, **options)
        if done.returncode != code:
            raise AssertionError(f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def example(self, name, *arguments, code=0):
        return self.run_command(self.dir / "build" / name, *arguments, code=code)

    def test_own_observer(self):
        ids = [tiny.BOS, *TEXT.encode()]
        points = tiny_forward.forward(ids, tiny.weights())
        lines = self.example("own_observer", self.model, TEXT).splitlines()
        self.assertEqual(len(lines), tiny.L)
        for layer, line in enumerate(lines):
            norms = np.linalg.norm(points[f"layer.{layer}.resid_out"][0], axis=-1)
            found = re.fullmatch(rf"layer\.{layer}\.resid_out: mean (\S+), largest (\S+) at token (\d+)", line)
            self.assertIsNotNone(found, line)
            np.testing.assert_allclose([float(found[1]), float(found[2])], [norms.mean(), norms.max()], rtol=1e-4)
            self.assertEqual(int(found[3]), norms.argmax())
        self.assertEqual(self.example("own_observer", "/nowhere/x.gguf", TEXT, code=1), "no such file or directory: /nowhere/x.gguf\n")
        self.assertEqual(self.example("own_observer", self.model, code=1), "usage: own_observer MODEL TEXT\n")

    def test_own_edit(self):
        ids = [tiny.BOS, *TEXT.encode()]

        def logits(edit):
            return tiny_forward.forward(ids, tiny.weights(), edit)["logits"][0, -1]

        def zeroed(name, x):
            if name != "layer.1.resid_out":
                return x
            x = x.copy()
            x[0, 3] = 0
            return x
        plain = logits(lambda name, x: x)
        wanted = [plain, logits(zeroed), logits(lambda name, x: x / 2 if name == "layer.0.resid_out" else x)]
        lines = self.example("own_edit", self.model, TEXT, "layer.1.resid_out[token=0,channel=3]=zero").splitlines()
        self.assertEqual(len(lines), 3)
        for line, x in zip(lines, wanted):
            found = re.fullmatch(r"token (\d+), logits changed by (\S+)", line)
            self.assertEqual(int(found[1]), x.argmax())
            np.testing.assert_allclose(float(found[2]), abs(x - plain).max(), rtol=1e-3, atol=1e-5)
        self.assertIn("resid_out", self.example("own_edit", self.model, TEXT, "layer.1.resid_uot=zero", code=1))

    def test_own_statistics(self):
        self.check_statistics(self.example("own_statistics"))

    def check_statistics(self, printed):
        x = np.linspace(-1, 1, 2 * 16 * 64, dtype=np.float32).reshape(2, 16, 64)
        x[1, 3, 17] = -3000
        rows, columns = abs(x[0]), abs(x[0]).T
        score = max((line.max() / line.mean()) for line in (*rows, *columns))
        found = re.fullmatch(r"median of abs x: (\S+), largest: 3000\nmassive: -3000 of sequence 1, token 3, channel 17\n"
                             r"largest weight over its line's mean: (\S+)\n", printed)
        self.assertIsNotNone(found, printed)
        np.testing.assert_allclose([float(found[1]), float(found[2])], [np.median(abs(x)), score], rtol=1e-5)

    def test_survey(self):
        out = self.dir / "surveyed"
        printed = self.example("survey", self.model, out)
        self.assertRegex(printed, r"measuring: \d+ of \d+ tokens\n")
        self.assertTrue(printed.endswith(f"wrote {out}\n"), printed)
        results = json.loads((out / "results.json").read_text())
        self.assertEqual(results["inputs"][0]["source"], TEXT)
        self.assertEqual(results["model"]["layers"], tiny.L)
        self.assertIn("prompt.resid_out", np.load(out / "arrays.npz"))
        self.assertRegex(self.example("survey", self.model, out, code=1), "^another place, please: .* exists already")
        # The page is there; the installed program draws it again.
        (out / "index.html").unlink()
        self.run_command(self.prefix / "bin/outliers", "plot", out, "--only", "page")
        self.assertTrue((out / "index.html").exists())

    @unittest.skipUnless(os.environ.get("OUTLIERS_WITH_PARQUET"), "this build has no pyarrow")
    def test_parquet(self):
        corpus = ROOT / "tests/golden/text/parquet/good_zstd_v2.parquet"
        printed = self.run_command(self.prefix / "bin/outliers", "perplexity", self.model, "--corpus", corpus, "--context", 32, "--json")
        self.assertEqual(json.loads(printed)["text"]["corpora"], [corpus.name])
        # And by the library, whose own path leads to the module.
        source = self.dir / "windows.cpp"
        source.write_text("""#include <cstdio>
#include <outliers/outliers.h>
int main(int, char** arguments) {
  outliers::WindowOptions options;
  options.sequences = 2;
  options.tokens = 16;
  const auto model = outliers::Model::open(arguments[1]);
  const at::Tensor ids = model.windows(arguments[2], options).ids;
  for (int64_t i = 1; i < 9; ++i) std::putchar(static_cast<int>(ids[0][i].item<int64_t>()));
}
""")
        environment = os.environ | {"PKG_CONFIG_PATH": str(next(self.prefix.rglob("pkgconfig")))}
        flags = self.run_command("pkg-config", "--cflags", "--libs", "outliers", env=environment).split()
        program = self.dir / "windows"
        self.run_command(COMPILER, "-std=c++20", source, *flags, "-o", program)
        self.assertEqual(self.run_command(program, self.model, corpus), "One row.")

    def test_pkg_config(self):
        environment = os.environ | {"PKG_CONFIG_PATH": str(next(self.prefix.rglob("pkgconfig")))}
        flags = self.run_command("pkg-config", "--cflags", "--libs", "outliers", env=environment).split()
        program = self.dir / "by_pkg_config"
        self.run_command(COMPILER, "-std=c++20", self.dir / "examples/own_statistics.cpp", *flags, "-o", program)
        self.check_statistics(self.run_command(program))

    def test_shows_its_own_face_only(self):
        headers = sorted(p.relative_to(self.prefix / "include") for p in self.prefix.rglob("*.h"))
        self.assertIn(pathlib.Path("outliers/outliers.h"), headers)
        for header in headers:
            self.assertNotRegex((self.prefix / "include" / header).read_text(), r"#include <(fmt|nlohmann|simdjson|CLI)/", header)
        library = next(self.prefix.rglob("liboutliers.so"))
        symbols = self.run_command("nm", "-DC", "--defined-only", library)
        self.assertIn("outliers::Session::survey(", symbols)
        self.assertNotRegex(symbols, r"nlohmann::|outliers::(studies|report)::")
        soname = re.search(r"SONAME.*\[(.*)\]", self.run_command("readelf", "-d", library))[1]
        self.assertTrue(library.with_name(soname).is_symlink())


if __name__ == "__main__":
    main()
