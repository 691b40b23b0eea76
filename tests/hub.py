"""A stand-in for the hub, which answers on this machine what the hub's clients ask when they load something.

It serves a tree of folders, `<folder>/<models or datasets>/<org>/<name>/<revision>/...`, where a revision
is `main`, another name, or a commit's 40 hexadecimal digits:

    with Hub(folder) as hub:
        subprocess.run(command, env=os.environ | hub.environment(cache))
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet", ".jsonl", ".model", ".pt")
"""Files that lie in another store, to which the hub redirects."""
DATE = "2024-01-01T00:00:00.000Z"


class Hub:
    """The server, reached at `url` while its `with` block runs; a test may change what it serves meanwhile.

    Attributes:
        asked: every request so far, as its method and path.
        cut: for the end of a path, how many more times the connection ends in the middle of its file.
        gated: repositories, as `org/name`, that ask for a licence to be accepted.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.asked: list[tuple[str, str]] = []
        self.cut: dict[str, int] = {}
        self.gated: set[str] = set()

    def __enter__(self) -> Hub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.store = f"http://localhost:{self._server.server_port}/store"  # to the clients another host
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, cache: str | Path) -> dict[str, str]:
        """The variables that lead the hub's clients here, and to a cache of their own; read at import."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_CACHE": f"{cache}/hub",
            "HF_DATASETS_CACHE": f"{cache}/datasets",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def commit(self, revision: Path) -> str:
        """The commit of a revision's folder: its name, or a hash of its files."""
        if re.fullmatch("[0-9a-f]{40}", revision.name):
            return revision.name
        files = sorted(f for f in revision.rglob("*") if f.is_file())
        return sha1(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()

    def revision(self, kind: str, name: str, revision: str) -> Path | None:
        """The folder of a revision, also of `main` by its commit."""
        repository = self.folder / kind / name
        found = [r for r in repository.glob("*") if revision in (r.name, self.commit(r))]
        return found[0] if found else None


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; see `Hub`."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        api = re.fullmatch("/api/(models|datasets)/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)/?(.*))?", path)
        file = re.fullmatch("/(datasets/|)([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        with suppress(ConnectionError):
            if path.startswith("/store/"):
                self._send_file(self.hub.folder / path.removeprefix("/store/"), {})
            elif api and (folder := self._find(api[1], api[2], api[4] or "main")):
                self._send_json(self._about(folder, api[2], api[3] or "revision", api[5], parse_qs(body)))
            elif file and (folder := self._find(file[1].strip("/") or "models", file[2], file[3])):
                self._send_from(folder, file[4])
            elif not api and not file:
                self._refuse(404, "")

    do_HEAD = do_POST = do_GET

    def _find(self, kind: str, name: str, revision: str) -> Path | None:
        """The folder asked for; where there is none, or it may not be had, the hub's refusal is sent."""
        folder = self.hub.revision(kind, name, revision)
        if not (self.hub.folder / kind / name).is_dir():
            return self._refuse(401, "RepoNotFound")  # it may be a private one, so the hub says no more
        if folder is None:
            return self._refuse(404, "RevisionNotFound")
        if name in self.hub.gated and "/resolve/" in self.path:
            return self._refuse(401, "GatedRepo")
        return folder

    def _about(self, folder: Path, name: str, what: str, below: str, form: dict) -> dict | list:
        """What the hub tells of a repository, of the files below a folder, or of some paths."""
        if what == "revision":
            files = [{"rfilename": str(f.relative_to(folder))} for f in folder.rglob("*") if f.is_file()]
            known = {"id": name, "sha": self.hub.commit(folder), "lastModified": DATE, "tags": []}
            return known | {"siblings": files, "private": False, "gated": name in self.hub.gated}
        if what == "tree":
            found = sorted(
                (folder / below).rglob("*") if "recursive=" in self.path else (folder / below).glob("*")
            )
        else:
            found = [folder / path for path in form.get("paths", []) if (folder / path).exists()]
        return [
            {
                "type": "directory" if path.is_dir() else "file",
                "path": str(path.relative_to(folder)),
                "size": path.stat().st_size if path.is_file() else 0,
                "oid": sha1(str(path).encode() if path.is_dir() else path.read_bytes()).hexdigest(),
            }
            for path in found
        ]

    def _send_from(self, folder: Path, path: str) -> None:
        commit = {"X-Repo-Commit": self.hub.commit(folder)}
        file = folder / path
        if not file.is_file():
            return self._refuse(404, "EntryNotFound", commit)
        etag = f'"{sha256(file.read_bytes()).hexdigest()}"'
        if file.suffix not in LARGE:
            return self._send_file(file, commit | {"ETag": etag})
        linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(file.stat().st_size)}
        location = f"{self.hub.store}/{file.relative_to(self.hub.folder)}"
        return self._send(302, b"", commit | linked | {"Location": location})

    def _send_file(self, file: Path, headers: dict[str, str]) -> None:
        content, start = file.read_bytes(), 0
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(asked[1]), int(asked[2] or len(content) - 1)
            headers = headers | {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
            content = content[start : end + 1]
        self._send(206 if asked else 200, content, headers, file)

    def _send_json(self, answer: dict | list) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", (headers or {}) | {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str], file: Path | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = next((end for end, times in self.hub.cut.items() if times and str(file).endswith(end)), None)
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.hub.cut[cut] -= 1
            self.close_connection = True
