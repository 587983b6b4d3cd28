#!/usr/bin/env python3
"""Who may have what from the Hub, and on which way: tokens, gated repositories, hostile answers, proxies, certificates."""
import contextlib
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hub_case import LARGE, HubTest  # noqa: E402
from hub_server import HubServer, commit_of, on  # noqa: E402
from program import main  # noqa: E402


class AccessTest(HubTest):
    def test_the_token_stays_at_home(self):
        self.hub("org/private", self.tiny, private=True, large=1000)
        self.refused("org/private: no such file or directory here, and http.* has no such repository; a private one needs HF_TOKEN",
                     "org/private")
        self.server.reset()
        self.fetch("org/private", HF_TOKEN=f" {HubServer.TOKEN}\n")
        self.assertTrue(self.server.seen(where="cdn"))
        for _, _, headers in self.server.seen(where="hub"):
            self.assertEqual(headers["Authorization"], f"Bearer {HubServer.TOKEN}")
        for _, _, headers in self.server.seen(where="cdn"):
            self.assertNotIn("Authorization", headers)
        # In files; and a variable goes before them.
        (self.dir / ".cache/huggingface/token").write_text(HubServer.TOKEN)
        (self.dir / "other").write_text("hf_wrong\n")
        self.hub("org/private2", self.tiny, private=True)
        self.fetch("org/private2")
        self.hub("org/private3", self.tiny, private=True)
        message = self.refused("does not know the token in .*/other; renew or unset it", "org/private3", HF_TOKEN_PATH="~/other")
        self.assertNotIn("hf_wrong", message)
        self.refused("does not know the token in HF_TOKEN", "org/private3", HF_TOKEN="hf_wrong")
        self.refused("no such repository", "org/private3", HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        self.refused("the token in HF_TOKEN is no token", "org/private3", HF_TOKEN="a\r\nX-Evil: 1")

    def test_gated_and_missing(self):
        self.hub("org/gated", self.tiny, gated=True)
        self.refused("org/gated is gated: ask for access at http.*/org/gated, then set HF_TOKEN", "org/gated")
        self.refused("org/gated is gated, and the token in HF_TOKEN has no access to it; ask for access at", "org/gated",
                     HF_TOKEN=HubServer.TOKEN)
        self.refused("org/nothing: no such file or directory here, and .* no such repository; a private one needs HF_TOKEN", "org/nothing")
        self.refused("no such repository, or not for the token in HF_TOKEN", "org/nothing", HF_TOKEN=HubServer.TOKEN)
        self.assertFalse(self.cache.exists() and any(self.cache.rglob("snapshots")))
        # What was open, and is gated since it moved on, stays what it was here.
        repository = self.hub("org/opened", {"model.gguf": b"first"})
        self.assertEqual(self.fetch("org/opened").read_bytes(), b"first")
        repository.push("main", {"model.gguf": b"second"})
        repository.gated = True
        self.assertEqual(self.fetch("org/opened").read_bytes(), b"first")

    def test_hostile_answers(self):
        commit = commit_of("x")
        for name in ("../evil", "/evil", "a/../../evil", "a\\..\\evil", ""):
            listing = json.dumps({"sha": commit, "siblings": [{"rfilename": name}]}).encode()
            self.server.faults = [on("GET", "hub", "/api/", lambda h, body=listing: h.answer(200, body))]
            self.refused("which would lie outside of the repository", "org/evil")
        for sha in ("../../evil", "", 7, "A" * 40):
            listing = json.dumps({"sha": sha, "siblings": []}).encode()
            self.server.faults = [on("GET", "hub", "/api/", lambda h, body=listing: h.answer(200, body))]
            self.refused("does not answer as a Hub does", "org/evil")
        self.hub("org/evil", {"model.gguf": LARGE})
        for etag in ('"../../../evil"', '"/evil"', '""', '".."', '"' + "a" * 300 + '"'):
            self.server.faults = [on("HEAD", "hub", "/resolve/", lambda h, tag=etag: h.answer(200, b"", ETag=tag, X_Repo_Commit=commit))]
            self.refused("says neither the hash nor the length of model.gguf as a Hub does", "org/evil")
        self.server.faults = []
        for shard in ("../evil", 5):
            index = json.dumps({"weight_map": {"w": shard}}).encode()
            self.hub("org/evil", {"model.safetensors.index.json": index, "config.json": b"{}"})
            self.refused("which is not in the index's folder|names no file", "org/evil")
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(302, b"", Location="/api/models/org/evil/again"))]
        self.refused("more than 10 redirects", "org/evil")
        self.server.faults = [on("GET", "hub", "/api/", lambda h: h.answer(302, b"", Location="file:///etc/passwd"))]
        self.refused("is no http or https address", "org/evil")
        self.assertEqual([p.name for p in self.dir.iterdir()], [".cache"])

    def test_proxy(self):
        self.hub("org/tiny", {"model.gguf": b"small"})
        address = "http://hub.invalid"
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            self.server.reset()
            self.fetch("org/tiny", HF_ENDPOINT=address, HF_HOME=str(self.dir / variable), **{variable: self.server.hub_url})
            self.assertTrue(all(p.startswith(address) for _, p, _ in self.server.seen()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.refused("cannot be reached", "org/tiny", http_proxy=nobody, HF_HOME=str(self.dir / "e"))
        self.fetch("org/tiny", http_proxy=nobody, NO_PROXY="127.0.0.1", HF_HOME=str(self.dir / "f"))

    def test_tls(self):
        if shutil.which("openssl") is None:
            self.skipTest("makes a certificate with openssl")
        key, certificate = self.dir / "key", self.dir / "certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with contextlib.closing(HubServer(context)) as server:
            server.add("org/tiny", {"model.gguf": LARGE})
            self.refused("cannot be reached: .*certificate.*SSL_CERT_FILE", "org/tiny", HF_ENDPOINT=server.hub_url)
            trusting = {"HF_ENDPOINT": server.hub_url, "SSL_CERT_FILE": str(certificate)}
            server.faults = [on("GET", "cdn", "/", lambda h: h.answer(302, b"", Location=self.server.cdn_url + "/x"))]
            self.refused("redirects to http://127.0.0.1:.*, which is not encrypted", "org/tiny", **trusting)
            server.reset()
            self.assertEqual(self.fetch("org/tiny", **trusting).read_bytes(), LARGE)


if __name__ == "__main__":
    main()
