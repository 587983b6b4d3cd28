"""A small server on loopback that speaks the Hub's protocol, and misbehaves on request. Standard library only.

Two listeners stand for two hosts: the Hub itself, and the store ("cdn") that large files are redirected to. Every request
is recorded. A fault is a function (handler, where, path) -> bool that may answer, cut or delay a request; True ends it.
"""
import hashlib
import http.server
import json
import threading
import time
import urllib.parse


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(text):
    return hashlib.sha1(text.encode()).hexdigest()


class Repository:
    """Files by revision; a revision's commit is made up from its name and content. A data set's name begins with datasets/."""

    def __init__(self, name, files, gated=False, private=False, large=100000, xet=False):
        self.name, self.gated, self.private, self.large, self.xet = name, gated, private, large, xet
        self.kind = "" if name.startswith("datasets/") else "models/"
        self.commits, self.revisions = {}, {}
        self.push("main", files)

    def push(self, revision, files):
        commit = commit_of(self.name + revision + "".join(f"{n}{git_blob(d)}" for n, d in sorted(files.items())))
        self.commits[commit] = dict(files)
        self.revisions[revision] = commit
        return commit

    def find(self, revision):
        return revision if revision in self.commits else self.revisions.get(revision)

    def is_large(self, data):
        return len(data) >= self.large


class HubServer:
    TOKEN = "hf_secret"

    def __init__(self, tls=None):
        self.repositories, self.requests, self.faults = {}, [], []
        self.lock = threading.Lock()
        self.hub, self.hub_url = self._listen("hub", tls)
        self.cdn, self.cdn_url = self._listen("cdn", tls)

    def _listen(self, where, tls):
        outer = self

        class Handler(_Handler):
            owner, listener = outer, where

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # a client that goes away is what these tests are about
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server, f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"

    def add(self, name, files, **traits):
        self.repositories[name] = Repository(name, files, **traits)
        return self.repositories[name]

    def reset(self):
        with self.lock:
            self.requests, self.faults = [], []

    def seen(self, method=None, where=None):
        """(method, path, headers) of the requests so far."""
        with self.lock:
            return [(m, p, h) for w, m, p, h in self.requests if (method in (None, m)) and (where in (None, w))]

    def close(self):
        for server in (self.hub, self.cdn):
            server.shutdown()
            server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = listener = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.handle_one()

    def do_GET(self):
        self.handle_one()

    def handle_one(self):
        # A client that uses this server as a proxy sends whole addresses.
        path = urllib.parse.urlsplit(self.path).path
        with self.owner.lock:
            self.owner.requests.append((self.listener, self.command, self.path, dict(self.headers)))
            faults = list(self.owner.faults)
        try:
            for fault in faults:
                if fault(self, self.listener, path):
                    return
            if self.listener == "cdn":
                self.send_blob(path)
            elif path.startswith(("/api/models/", "/api/datasets/")):
                self.api(path[len("/api/"):].removeprefix("models/"))
            elif path.startswith("/api/resolve-cache/"):
                repository, rest = self.split(path[len("/api/resolve-cache/"):].removeprefix("models/"), "")
                commit, _, name = rest.partition("/")
                self.send_small(repository, commit, urllib.parse.unquote(name))
            else:
                repository, rest = self.split(path[1:], "/resolve")
                self.resolve(repository, rest)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # Helpers for faults too.
    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def refuse(self, status, code, message=""):
        return self.answer(status, json.dumps({"error": message}).encode(), X_Error_Code=code, X_Error_Message=message)

    def cut(self):
        """Ends the connection without another word."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()
        return True

    def authorised(self, repository):
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {HubServer.TOKEN}"):
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return False
        if repository is None or (repository.private and given is None):
            self.refuse(404 if given else 401, "RepoNotFound", "Repository not found")
            return False
        return True

    def split(self, path, after):
        """The repository whose name begins the path, and what follows it (and `after`)."""
        for name, repository in self.owner.repositories.items():
            for form in (name, f"models/{name}"):
                if path.startswith(form + after + "/"):
                    return repository, path[len(form + after) + 1:]
        return None, path

    def api(self, path):
        repository, rest = self.split(path, "")
        if not self.authorised(repository):
            return
        kind, _, revision = rest.partition("/")
        commit = repository.find(urllib.parse.unquote(revision or "main"))
        if commit is None:
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        if kind == "tree":
            entries = []
            for name, data in repository.commits[commit].items():
                entry = {"type": "file", "path": name, "size": len(data), "oid": git_blob(data)}
                if repository.is_large(data):
                    entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
                entries.append(entry)
            self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
            return
        siblings = []
        for name, data in sorted(repository.commits[commit].items()):
            entry = {"rfilename": name, "size": len(data), "blobId": git_blob(data)}
            if repository.is_large(data):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        self.answer(200, json.dumps({"_id": "1", "id": repository.name.removeprefix("datasets/"), "sha": commit, "siblings": siblings,
                                     "gated": "manual" if repository.gated else False, "private": repository.private,
                                     "disabled": False, "downloads": 0, "likes": 0, "tags": []}).encode(), Content_Type="application/json")

    def resolve(self, repository, rest):
        if not self.authorised(repository):
            return
        revision, _, name = rest.partition("/")
        name, commit = urllib.parse.unquote(name), repository.find(urllib.parse.unquote(revision))
        if commit is None:
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        elif repository.gated:
            status = 403 if self.headers.get("Authorization") else 401
            self.refuse(status, "GatedRepo", f"Access to model {repository.name} is restricted.")
        elif name not in repository.commits[commit]:
            self.answer(404, b"Entry not found", X_Error_Code="EntryNotFound", X_Error_Message="Entry not found", X_Repo_Commit=commit)
        elif repository.is_large(repository.commits[commit][name]):
            data = repository.commits[commit][name]
            sha = hashlib.sha256(data).hexdigest()
            xet = {"X_Xet_Hash": sha} if repository.xet else {}
            self.answer(302, b"moved", Location=f"{self.owner.cdn_url}/{repository.name}/{commit}/{urllib.parse.quote(name)}?Signature=s",
                        X_Linked_Etag=f'"{sha}"', X_Linked_Size=str(len(data)), X_Repo_Commit=commit, ETag='"pointer"', **xet)
        else:
            place = f"{repository.kind}{repository.name}/{commit}/{urllib.parse.quote(name)}"
            self.answer(307, b"moved", Location=f"/api/resolve-cache/{place}", X_Repo_Commit=commit)

    def send_small(self, repository, commit, name):
        data = repository.commits[commit][name]
        self.answer(200, data, ETag=f'"{git_blob(data)}"', X_Repo_Commit=commit)

    def send_blob(self, path):
        for name, repository in self.owner.repositories.items():
            if path.startswith(f"/{name}/"):
                commit, _, file = path[len(name) + 2:].partition("/")
                return self.send_range(repository.commits[commit][urllib.parse.unquote(file)])
        return self.answer(403, b"no signature")

    def send_range(self, data):
        begin = self.headers.get("Range")
        if begin is None:
            return self.answer(200, data, Accept_Ranges="bytes", ETag='"store"')
        begin = int(begin[len("bytes="):].rstrip("-"))
        if begin >= len(data):
            return self.answer(416, b"", Content_Range=f"bytes */{len(data)}")
        return self.answer(206, data[begin:], Content_Range=f"bytes {begin}-{len(data) - 1}/{len(data)}")


# Faults.
def times(count, fault):
    """The fault, for the first `count` requests that it applies to."""
    left, lock = [count], threading.Lock()

    def limited(handler, where, path):
        with lock:
            if left[0] <= 0:
                return False
            left[0] -= 1
        done = fault(handler, where, path)
        if not done:
            with lock:
                left[0] += 1
        return done
    return limited


def on(method, where, part, action):
    """action(handler) for requests of this method to this listener whose path has `part` in it."""
    def fault(handler, listener, path):
        return handler.command == method and listener == where and part in path and action(handler) is not False
    return fault


def half_then(data, action):
    """Sends half of the data under a header that promises all, then lets `action(handler)` go on."""
    def fault(handler):
        begin = int((handler.headers.get("Range") or "bytes=0-")[len("bytes="):].rstrip("-"))
        rest = data[begin:]
        handler.send_response(206 if begin else 200)
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        handler.wfile.write(rest[:len(rest) // 2])
        handler.wfile.flush()
        action(handler)
        return True
    return fault


def stall(handler):
    time.sleep(5)
    handler.cut()
