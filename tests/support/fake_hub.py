"""A hub and a package index on localhost, with the faults that downloads meet."""

import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from localvoice.catalog import sources
from localvoice.catalog.display import Display
from localvoice.catalog.download import Downloads
from localvoice.catalog.schema import Model

COMMIT = "c" * 40
DATA = bytes(range(256)) * 12_000  # 3 MB: many pieces
BACKOFF_SECONDS = 0.001


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def make_wheel(members: Mapping[str, bytes]) -> bytes:
    """A wheel as far as its data goes: a zip with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    host: str
    path: str
    range: str | None
    authorization: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Page:
    """What is answered for a path."""

    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass
class FakeHub:
    """Both servers in one. The hub is at `url`, the index at `index_url`."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)
    """Path -> what is answered instead of the file."""
    cut_once: dict[str, int] = field(default_factory=dict)
    """Path -> after so many bytes the connection ends, the first time."""
    ignores_range: set[str] = field(default_factory=set)
    """Paths that are always sent whole."""
    on_request: Callable[[str], None] = lambda path: None
    """Called before each answer."""
    let_go: threading.Event = field(default_factory=threading.Event)
    """Set when the test ends: what an `on_request` that says nothing waits for."""
    index_speaks_json: bool = True
    _pages: dict[str, _Page] = field(default_factory=dict)
    _wheels: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def index_url(self) -> str:
        return f"{self.url}/simple"

    def add_file(
        self, repo: str, path: str, data: bytes, *, revision: str = "main", large: bool = True
    ) -> str:
        """A file of the hub; its path on the server. A large one lies on another host, as it does in life."""
        here = f"/{repo}/resolve/{revision}/{path}"
        if large:
            store = f"/store/{repo}/{revision}/{path}"
            self._pages[store] = _Page(data)
            record = {
                "Location": f"http://localhost:{self.port}{store}",
                "X-Linked-Etag": f'"{sha256(data)}"',
                "X-Linked-Size": str(len(data)),
                "X-Repo-Commit": COMMIT,
            }
            self._pages[here] = _Page(b"", record, 302)
            return store
        self._pages[here] = _Page(data, {"ETag": f'"{git_blob_sha1(data)}"', "X-Repo-Commit": COMMIT})
        return here

    def add_wheel(self, package: str, members: Mapping[str, bytes], *, listed_sha256: str = "") -> str:
        """A package name==version whose wheel has these members; the wheel's path on the server."""
        name, _, version = package.partition("==")
        filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        wheel = make_wheel(members)
        path = f"/files/{filename}"
        self._pages[path] = _Page(wheel)
        self._wheels.setdefault(name, {})[filename] = listed_sha256 or sha256(wheel)
        return path

    def answers(self, path: str, headers: Mapping[str, str]) -> None:
        """Redirect requests for the path, by these headers."""
        self._pages[path] = _Page(b"", headers, 302)

    def asked(self, path: str) -> list[Request]:
        """The requests for a path, without those for headers only."""
        return [request for request in self.requests if request.path == path and request.method == "GET"]

    def answer(self, path: str) -> _Page:
        """The page of a path."""
        self.on_request(path)
        if path in self.status:
            return _Page(b"", {}, self.status[path])
        if path.startswith("/simple/"):
            return self._project(path.removeprefix("/simple/").strip("/"))
        return self._pages.get(path, _Page(b"not found", {}, 404))

    def _project(self, name: str) -> _Page:
        if name not in self._wheels:
            return _Page(b"", {}, 404)
        if self.index_speaks_json:
            files = [
                {"filename": file, "url": f"/files/{file}", "hashes": {"sha256": digest}}
                for file, digest in self._wheels[name].items()
            ]
            body = json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files})
            return _Page(body.encode(), {"Content-Type": "application/vnd.pypi.simple.v1+json"})
        links = (
            f'<a href="/files/{file}#sha256={digest}">{file}</a>'
            for file, digest in self._wheels[name].items()
        )
        return _Page(f"<!DOCTYPE html><body>{''.join(links)}</body>".encode(), {"Content-Type": "text/html"})


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            span, login = self.headers["Range"], self.headers["Authorization"]
            hub.requests.append(
                Request(self.command, self.headers["Host"], self.path, span, login, dict(self.headers))
            )
            page = hub.answer(self.path)
            status, start = page.status, 0
            headers = dict(page.headers)
            if span and status == 200 and self.path not in hub.ignores_range:
                start = int(span.removeprefix("bytes=").removesuffix("-"))
                status = 206 if start < len(page.data) else 416
                headers["Content-Range"] = (
                    f"bytes {start}-{len(page.data) - 1}/{len(page.data)}"
                    if status == 206
                    else f"bytes */{len(page.data)}"
                )
            body = b"" if status == 416 else page.data[start:]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = hub.cut_once.pop(self.path, None)
            try:
                self.wfile.write(body if cut is None else body[:cut])
            except ConnectionError:
                self.close_connection = True  # the client had enough, as when a download is stopped
            if cut is not None:
                self.wfile.flush()
                time.sleep(0.05)  # the bytes arrive before the end of the connection does
                self.close_connection = True

    return Handler


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A running fake hub."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A running fake hub that the catalogue takes for the hub and for pip's index."""
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("PIP_INDEX_URL", hub.index_url)
        monkeypatch.setenv("HF_TOKEN", "secret-token")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_PROXY", "PIP_NO_INDEX"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(sources, "_pip_config", lambda: {})
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models folder that isn't there yet."""
    return tmp_path / "models"


def hub_source(path: str = "gate.onnx", repo: str = "me/gate", revision: str = "main") -> dict[str, str]:
    return {"hub": repo, "revision": revision, "path": path}


def package_source(*parts: tuple[str, str]) -> dict[str, Any]:
    return {"parts": [{"package": package, "member": member} for package, member in parts]}


def model(
    *sources: Mapping[str, Any], data: bytes = DATA, name: str = "gate", pinned: bool = True, **more: Any
) -> Model:
    """A model with one file, gate.onnx."""
    check = {"size": len(data), "sha256": sha256(data)} if pinned else {}
    files = [{"name": "gate.onnx", "sources": sources, **check}, *more.get("files", [])]
    return Model.model_validate(
        {"name": name, "role": "vad", "description": "a model", "licence": "MIT", "files": files}
    )


def fetch(models: Sequence[Model], folder: Path) -> str:
    """Download without a terminal; what is printed."""
    shown = io.StringIO()
    with (
        Display(Console(file=shown, width=200)) as display,
        closing(Downloads(folder, display, BACKOFF_SECONDS)) as downloads,
    ):
        downloads.bring(models)
    return shown.getvalue()


def left_in(folder: Path) -> list[str]:
    """Names of the files in a model's folder."""
    return sorted(path.name for path in (folder / "gate").iterdir())
