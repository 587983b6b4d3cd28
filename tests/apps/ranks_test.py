#!/usr/bin/env python3
"""`outliers report` as several ranks on Gloo: the same report as one process, and an end for all when one fails."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reading  # noqa: E402
import tiny  # noqa: E402
from program import PROGRAM, ROOT, ProgramTest, main  # noqa: E402

LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class RanksTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.model = tiny.write_model(cls.dir / "tiny")
        cls.corpus = cls.dir / "corpus.txt"
        cls.corpus.write_text("The ship sailed on. The sea was calm, and the crew slept.\n" * 60)
        # OMP_NUM_THREADS as torchrun sets it.
        cls.env = {k: v for k, v in os.environ.items()
                   if not k.startswith(("SLURM", "OMPI", "PMI", "MASTER", "RANK", "WORLD"))} | {"OMP_NUM_THREADS": "1"}
        cls.one = cls.report_of(cls, cls.dir / "one",
                                subprocess.run(cls.command(cls, cls.dir / "one"), env=cls.env, capture_output=True, text=True, timeout=300))

    def command(self, out, *more, sequences=5):
        return [PROGRAM, "report", str(self.model), "-o", str(out), "--corpus", str(self.corpus), "--sequences", str(sequences), "--tokens",
                "40", "--no-figures", *map(str, more)]

    def report_of(self, out, done):
        assert done.returncode == 0, done.stderr
        return reading.load(out), dict(np.load(out / "arrays.npz"))

    def start(self, commands, launcher="torchrun"):
        rank, size, local_rank, local_size = LAUNCHERS[launcher]
        port = free_port()
        return [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=self.env | {rank: str(r), size: str(len(commands)), local_rank: str(r), local_size: str(len(commands)),
                                                 "MASTER_PORT": port} | ({"MASTER_ADDR": "127.0.0.1"} if launcher == "torchrun" else {}))
                for r, command in enumerate(commands)]

    def finish(self, processes, timeout=120):
        return [(*p.communicate(timeout=timeout), p.returncode) for p in processes]

    def same(self, a, b, path=""):
        """Counts, places and texts are equal, other numbers to 1e-6."""
        self.assertEqual(type(a), type(b), path)
        if isinstance(a, dict):
            self.assertEqual(a.keys(), b.keys(), path)
            for key in a:
                self.same(a[key], b[key], f"{path}.{key}")
        elif isinstance(a, list):
            self.assertEqual(len(a), len(b), path)
            for i, (x, y) in enumerate(zip(a, b)):
                self.same(x, y, f"{path}[{i}]")
        elif isinstance(a, float):
            self.assertLessEqual(abs(a - b), 1e-6 * max(abs(a), abs(b)), path)
        else:
            self.assertEqual(a, b, path)

    def same_report(self, report, ranks, one=None):
        """one: of one process (default: of the plain command)."""
        (results, arrays), one = report, one or self.one
        self.assertEqual(results["run"]["ranks"], ranks)
        for part in ("model", "inputs", "layers", "summary", "criteria", "definitions"):
            self.same(results[part], one[0][part], part)
        self.assertEqual(arrays.keys(), one[1].keys())
        for name, array in arrays.items():
            np.testing.assert_allclose(array, one[1][name], rtol=1e-6, atol=0, err_msg=name)

    def test_experts_that_only_one_rank_chose(self):
        folder = self.dir / "experts"
        shutil.copytree(ROOT / "tests/golden/models/mixtral_experts", folder)
        (folder / "model.gguf").unlink()
        (folder / "tokenizer.json").write_text(json.dumps(tiny.letters()))
        (self.dir / "sea.txt").write_text("the sea was calm and the crew slept. " * 20)

        def command(out):
            return [PROGRAM, "report", str(folder), "-o", str(out), "--prompt", "a", "--corpus", str(self.dir / "sea.txt"), "--sequences",
                    "2", "--tokens", "2", "--no-figures"]
        one = self.report_of(self.dir / "experts.1",
                             subprocess.run(command(self.dir / "experts.1"), env=self.env, capture_output=True, text=True,
                                                                     timeout=300))[0]
        done = self.finish(self.start([command(self.dir / "experts.2")] * 2))
        self.assertEqual([code for _, _, code in done], [0, 0], done)
        two = reading.load(self.dir / "experts.2")
        for a, b in zip(reading.weights(one), reading.weights(two)):
            self.assertEqual(a["modules"], b["modules"])
            self.assertEqual(a["experts"], b["experts"])
        for a, b in zip(reading.layers(one, "corpus", "experts"), reading.layers(two, "corpus", "experts")):
            self.assertEqual([(x["expert"], x["tokens"]) for x in a], [(x["expert"], x["tokens"]) for x in b])
            for x, y in zip(a, b):
                self.assertAlmostEqual(x["down_out_max"], y["down_out_max"], 4)
        for a, b in zip(reading.layers(one, "corpus", "down_in"), reading.layers(two, "corpus", "down_in")):
            self.assertEqual([(v["expert"], v["channel"]) for v in a["top"]], [(v["expert"], v["channel"]) for v in b["top"]])

    def test_equal_to_one_process(self):
        for launcher, ranks in (("torchrun", 3), ("Open MPI", 2)):
            with self.subTest(launcher=launcher, ranks=ranks):
                out = self.dir / f"{launcher}-{ranks}"
                ended = self.finish(self.start([self.command(out)] * ranks, launcher))
                self.assertEqual([(stderr, code) for _, stderr, code in ended], [("", 0)] * ranks)
                self.assertIn("results.json", ended[0][0])
                self.assertEqual([stdout for stdout, _, _ in ended[1:]], [""] * (ranks - 1))
                self.same_report(self.report_of(out, subprocess.CompletedProcess([], 0)), ranks)

    def test_several_prompts_and_corpora(self):
        """Each corpus is split; the prompts are rank 0's."""
        other = self.dir / "other.txt"
        other.write_text("A letter came from the harbour, and nobody read it.\n" * 60)
        more = ("--prompt", "The sea.", "--prompt", "A quiet harbour", "--corpus", other)
        alone, ranks = self.dir / "inputs-one", self.dir / "inputs-two"
        one = self.report_of(alone, subprocess.run(self.command(alone, *more), env=self.env, capture_output=True, text=True, timeout=300))
        self.assertEqual([name["name"] for name in one[0]["inputs"]], ["prompt", "prompt2", "corpus", "corpus2"])
        corpora = [reading.layers(one[0], name, "resid_out") for name in ("corpus", "corpus2")]
        self.assertNotEqual(*([layer["median"] for layer in layers] for layers in corpora))
        ended = self.finish(self.start([self.command(ranks, *more)] * 2))
        self.assertEqual([(stderr, code) for _, stderr, code in ended], [("", 0)] * 2)
        self.same_report(self.report_of(ranks, subprocess.CompletedProcess([], 0)), 2, one)

    def test_bfloat16(self):
        # Another kind of histogram.
        alone, ranks = self.dir / "bf16-one", self.dir / "bf16-two"
        one = self.report_of(alone, subprocess.run(self.command(alone, "--dtype", "bfloat16"), env=self.env, capture_output=True, text=True,
                                                   timeout=300))
        self.assertEqual([code for _, _, code in self.finish(self.start([self.command(ranks, "--dtype", "bfloat16")] * 2))], [0, 0])
        two = self.report_of(ranks, subprocess.CompletedProcess([], 0))
        for name in ("prompt", "corpus"):
            for point in ("resid_out", "down_in"):
                self.same(*(reading.layers(results, name, point) for results, _ in (two, one)), f"{name}.{point}")

    def test_torchrun(self):
        out = self.dir / "torchrun"
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", "--master-addr", "127.0.0.1",
                  "--master-port", free_port()]
        done = subprocess.run([*launch, *self.command(out)], env=self.env, capture_output=True, text=True, timeout=300)
        self.same_report(self.report_of(out, done), 2)

    def test_one_rank_is_one_process(self):
        out = self.dir / "single"
        ((_, stderr, code),) = self.finish(self.start([self.command(out)]))
        self.assertEqual((stderr, code), ("", 0))
        self.assertNotIn("ranks", reading.load(out)["run"])

    def ends_with(self, pattern, processes, codes=(1, 1)):
        begin = time.monotonic()
        ended = self.finish(processes, timeout=60)
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(tuple(code for _, _, code in ended), codes)
        for _, stderr, code in ended:
            if code > 0:
                self.assertEqual(stderr.count("\n"), 1, stderr)
                self.assertRegex(stderr, pattern)

    def test_a_rank_that_fails_ends_all(self):
        out = self.dir / "fails"
        missing = self.command(out, "--prompt", "x")
        missing[2] = "/no/such/model"
        self.ends_with("(rank 1 failed: )?no such file or directory: /no/such/model", self.start([self.command(out), missing]))
        self.ends_with("(rank 0 failed: )?no such file or directory: /no/such/model", self.start([missing, self.command(out)]))
        self.ends_with("(rank 1 failed: )?device cuda:99: ", self.start([self.command(out), self.command(out, "--device", "cuda:99")]))
        (self.dir / "there").mkdir(exist_ok=True)
        self.ends_with("(rank 0 failed: )?.*there exists already", self.start([self.command(self.dir / "there"), self.command(out)]))
        self.assertFalse(out.exists())

    def test_a_rank_that_is_killed_ends_all(self):
        # It waits for a corpus that never comes, with the others waiting for it.
        pipe = self.dir / "pipe"
        os.mkfifo(pipe)
        out = self.dir / "killed"
        waits = self.command(out)
        waits[waits.index("--corpus") + 1] = str(pipe)
        processes = self.start([self.command(out), waits])
        writer = os.open(pipe, os.O_WRONLY)  # returns when the rank has begun to read
        self.addCleanup(os.close, writer)
        # A write to the dead has to fail, not to end the writer.
        ignored = int(re.search(r"SigIgn:\s*([0-9a-f]+)", pathlib.Path(f"/proc/{processes[0].pid}/status").read_text())[1], 16)
        self.assertTrue(ignored >> (signal.SIGPIPE - 1) & 1)
        processes[1].send_signal(signal.SIGKILL)
        self.ends_with("another rank is gone|rank 1", processes, codes=(1, -signal.SIGKILL))
        self.assertFalse(out.exists())
        self.assertEqual([p.name for p in self.dir.iterdir() if "partial" in p.name], [])

    def test_wrong_numbers(self):
        out = self.dir / "wrong"
        self.ends_with(r"2 sequences cannot be split over 3 ranks; ask for more \(--sequences\)",
                       self.start([self.command(out, sequences=2)] * 3), codes=(1, 1, 1))
        for variables, pattern in (({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 with WORLD_SIZE=2: ranks count from 0"),
                                   ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK=x is no number of ranks"),
                                   ({"RANK": "0", "WORLD_SIZE": "2"}, "set MASTER_ADDR to the machine of rank 0")):
            self.refuse(1, pattern, *self.command(out)[1:], env=self.env | variables)


if __name__ == "__main__":
    main()
