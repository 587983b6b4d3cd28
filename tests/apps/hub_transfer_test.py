#!/usr/bin/env python3
"""Transfers from the Hub that go wrong and go on: busy servers, broken connections, damage, full disks, several at once."""
import contextlib
import fcntl
import importlib.util
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hub_case import FETCH, LARGE, HubTest, sha256  # noqa: E402
from hub_server import git_blob, half_then, on, stall, times  # noqa: E402
from program import ROOT, full_disk, main  # noqa: E402


class TransferTest(HubTest):
    def test_busy_server(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        calm = {"Retry_After": "0"}
        self.server.faults = [times(2, on("GET", "hub", "/api/", lambda h: h.answer(429, b"", **calm))),
                              times(2, on("HEAD", "hub", "/resolve/", lambda h: h.answer(503, b"", **calm))),
                              times(3, on("GET", "cdn", "/", lambda h: h.answer(500, b"", **calm)))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.server.reset()
        self.hub("org/busy", {"model.gguf": LARGE})
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(503, b"", **calm))]
        self.refused("org/busy: http.* answers 503; try again later", "org/busy")
        self.assertEqual(len(self.server.seen()), 6)
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(429, b"", Retry_After="3600"))]
        self.refused("too many requests; try again in 3600 s, or set HF_TOKEN", "org/busy")
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(429, b"", RateLimit='"api";r=0;t=900'))]
        self.refused("too many requests; try again in 901 s", "org/busy")
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(500, b"", **calm))]
        self.refused("answers 500; try again later", "org/busy")
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(403, b"expired"))]
        self.refused("http://127.0.0.1:.* answers 403 for model.gguf", "org/busy")

    def test_cut_connection(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(2, on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut())))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        ranges = [h.get("Range") for _, _, h in self.server.seen("GET", "cdn")]
        self.assertEqual(ranges, [None, "bytes=150000-", "bytes=225000-"])

    def test_stalled_connection(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, stall)))]
        self.assertEqual(self.fetch("org/tiny", HF_HUB_DOWNLOAD_TIMEOUT="1").read_bytes(), LARGE)

    def test_server_without_ranges(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut()))),
                              on("GET", "cdn", "/", lambda h: h.answer(200, LARGE))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.hub("org/wrong", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut()))),
                              times(1, on("GET", "cdn", "/", lambda h: h.answer(206, LARGE[:9], Content_Range=f"bytes 0-8/{len(LARGE)}"))),
                              times(1, on("GET", "cdn", "/", lambda h: h.answer(416, Retry_After="0")))]
        self.assertEqual(self.fetch("org/wrong").read_bytes(), LARGE)

    def test_goes_on_after_an_interrupt(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        sent = threading.Event()

        def wait(handler):
            sent.set()
            stall(handler)
        self.server.faults = [times(1, on("GET", "cdn", "/", half_then(LARGE, wait)))]
        process = subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stderr=subprocess.PIPE, text=True)
        self.assertTrue(sent.wait(60))
        partial = self.cache / f"models--org--tiny/blobs/{sha256(LARGE)}.incomplete"
        for _ in range(200):
            if partial.exists() and partial.stat().st_size == 150000:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual((process.returncode, stderr),
                         (130, "outliers: error: interrupted; the same command goes on where the transfer stopped\n"))
        self.server.reset()
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.assertEqual([h.get("Range") for _, _, h in self.server.seen("GET", "cdn")], ["bytes=150000-"])
        self.assertEqual(self.blobs("org/tiny"), [sha256(LARGE)])

    def test_damage(self):
        wrong = bytes(len(LARGE))
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.server.faults = [times(1, on("GET", "cdn", "/", lambda h: h.answer(200, wrong)))]
        self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
        self.hub("org/bad", {"model.gguf": LARGE})
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(200, wrong))]
        self.refused(f"org/bad: model.gguf came damaged twice: its hash is {sha256(wrong)}, not {sha256(LARGE)}", "org/bad")
        self.assertEqual(self.blobs("org/bad"), [])
        self.assertFalse((self.cache / "models--org--bad/refs").exists())
        # Small files are checked by git's hash.
        self.server.faults = [on("GET", "hub", "/resolve-cache/", lambda h: h.answer(200, b"{'}"))]
        self.hub("org/small", {"config.json": b"{ }", "model.gguf": LARGE})
        self.refused(f"config.json came damaged twice: its hash is {git_blob(b'{' + bytes([39]) + b'}')}, not {git_blob(b'{ }')}",
                     "org/small", "--file", "config.json")
        self.server.faults = [on("GET", "cdn", "/", lambda h: h.answer(200, LARGE + b"more"))]
        self.refused("more than the 300000 bytes that the Hub announced", "org/bad")

    def test_a_damaged_partial_is_fetched_anew(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        blobs = self.cache / "models--org--tiny/blobs"
        blobs.mkdir(parents=True)
        for content in (b"x" * 1000, LARGE, LARGE + b"x"):
            (blobs / f"{sha256(LARGE)}.incomplete").write_bytes(content)
            self.assertEqual(self.fetch("org/tiny").read_bytes(), LARGE)
            shutil.rmtree(self.cache / "models--org--tiny/snapshots")
            (blobs / sha256(LARGE)).unlink()

    def test_full_disk(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        self.refuse(1, "cannot write .*incomplete: File too large; free some space", "org/tiny", env=self.env, program=FETCH,
                    preexec_fn=lambda: full_disk(100000))
        self.server.faults = [on("HEAD", "hub", "/resolve/",
                                 lambda h: h.answer(200, b"", Content_Length=str(1 << 49), ETag=f'"{"0" * 64}"', X_Repo_Commit="0" * 40))]
        self.refused("org/tiny needs 562949953.4 MB, but .* has .* MB left; free some space", "org/tiny")

    def test_two_at_once(self):
        self.hub("org/tiny", self.tiny | {"model.safetensors": LARGE})
        self.server.faults = [on("GET", "cdn", "/", lambda h: time.sleep(0.3) or False)]
        processes = [subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        self.assertEqual(len({p.communicate(timeout=60)[0] for p in processes}), 1)
        self.assertEqual([p.returncode for p in processes], [0, 0, 0])
        self.assertEqual(len(self.server.seen("GET", "cdn")), 1)

    def test_waits_for_the_lock_of_others(self):
        self.hub("org/tiny", {"model.gguf": LARGE})
        lock = self.cache / f".locks/models--org--tiny/{sha256(LARGE)}.lock"
        lock.parent.mkdir(parents=True)
        with open(lock, "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            process = subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stdout=subprocess.PIPE, text=True)
            for _ in range(600):
                if self.server.seen("HEAD"):
                    break
                time.sleep(0.05)
            time.sleep(0.3)
            self.assertEqual(self.server.seen("GET", "cdn"), [])
            # The other has finished it meanwhile.
            blob = self.cache / f"models--org--tiny/blobs/{sha256(LARGE)}"
            blob.write_bytes(LARGE)
        self.assertEqual(pathlib.Path(process.communicate(timeout=60)[0].strip()).read_bytes(), LARGE)
        self.assertEqual(self.server.seen("GET", "cdn"), [])

    def test_progress_on_a_terminal(self):
        big = bytes(3000000)
        self.hub("org/tiny", {"model.gguf": big})

        def slow(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(big)))
            handler.end_headers()
            for i in range(6):
                handler.wfile.write(big[:500000])
                time.sleep(0.12)
            return True
        self.server.faults = [on("GET", "cdn", "/", slow)]
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*FETCH, "org/tiny"], env=self.env, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        self.assertEqual(process.wait(60), 0)
        process.stdout.close()
        self.assertRegex(shown.decode(), r"fetching org/tiny: [12]/3 MB +[\d.]+ MB/s +0:\d\d left")

    def test_the_demo_takes_its_model_from_here(self):
        spec = importlib.util.spec_from_file_location("fetch_models", ROOT / "scripts/fetch_models.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        self.hub("org/demo", {"demo.gguf": LARGE})
        model = {"file": "demo.gguf", "hub": "org/demo", "sha256": sha256(LARGE)}
        with unittest.mock.patch.dict(os.environ, self.env, clear=True):
            self.assertFalse(script.from_cache(model, self.dir / "out"))
            self.assertTrue(script.from_hub(model, self.dir / "out"))
            self.assertEqual((self.dir / "out").read_bytes(), LARGE)
            # Another hash, no such file, a busy server, no server: never an error.
            self.assertFalse(script.from_hub(model | {"sha256": sha256(b"other")}, self.dir / "out"))
            self.assertFalse(script.from_hub(model | {"file": "other.gguf"}, self.dir / "out"))
            self.assertFalse(script.from_hub({"file": "demo.gguf", "sha256": sha256(LARGE)}, self.dir / "out"))
            self.server.faults = [on("GET", "cdn", "/", half_then(LARGE, lambda h: h.cut()))]
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.server.faults = [lambda handler, *_: handler.answer(503)]
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.server.faults = [lambda handler, *_: handler.cut()]
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.server.reset()
            os.environ["HF_HUB_OFFLINE"] = "1"
            self.assertFalse(script.from_hub(model, self.dir / "out"))
            self.assertEqual(self.server.seen(), [])
            blobs = self.cache / "models--org--demo/blobs"
            blobs.mkdir(parents=True)
            (blobs / sha256(LARGE)).write_bytes(b"damaged")
            self.assertFalse(script.from_cache(model, self.dir / "out"))
            (blobs / sha256(LARGE)).write_bytes(LARGE)
            self.assertTrue(script.from_cache(model, self.dir / "out"))
            self.assertEqual((self.dir / "out").read_bytes(), LARGE)


if __name__ == "__main__":
    main()
