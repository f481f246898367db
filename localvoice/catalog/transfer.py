"""Bytes over HTTP into a partial file: resumed, retried, within limits. Knows nothing of models."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import httpx

from localvoice.catalog.errors import SourceError
from localvoice.catalog.network import CONNECT_SECONDS, Route
from localvoice.catalog.schema import PARTIAL_SUFFIX
from localvoice.catalog.verify import read_json, replace_text

READ_SECONDS = 15.0
RETRIES = 2
_MOVES_ON_BYTES = 1 << 20
"""A line that brought so much before it broke is poor but not dead."""
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_Result = TypeVar("_Result")

Progress = Callable[[float], None]
"""Called with how much is there, 0 to 1."""


class _TransientError(Exception):
    """A fault that may pass: worth another try."""

    def __init__(self, reason: str, arrived: int = 0, host: str = "") -> None:
        """`host`: who gave no bytes at all."""
        super().__init__(reason)
        self.arrived = arrived
        self.host = host


class PartialFile:
    """A file that is arriving: FILE.part, and FILE.part.json, which tells what its bytes are the start of.

    `origin` is where the bytes come from; those of another one don't count. No bytes are opened as a model
    before they have the target's name.
    """

    def __init__(self, target: Path, origin: str) -> None:
        self.target = target
        self.path = target.with_name(target.name + PARTIAL_SUFFIX)
        self._marker = target.with_name(f"{self.path.name}.json")
        self._origin = origin

    def held(self) -> int:
        """Bytes of this origin that are there already."""
        is_ours = read_json(self._marker).get("origin") == self._origin and self.path.is_file()
        return self.path.stat().st_size if is_ours else 0

    def joined(self) -> tuple[int, int]:
        """How many whole parts of a package source are there, and their bytes."""
        parts, size = read_json(self._marker).get("joined", (0, 0))
        return (parts, size) if 0 < size <= self.held() else (0, 0)

    def begin(self) -> None:
        """Make room for bytes of this origin."""
        if self.held() == 0:
            self.discard()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.mark()
            self.path.touch()

    def mark(self, parts: int = 0, size: int = 0) -> None:
        """Record that the first `size` bytes are so many whole parts."""
        replace_text(self._marker, json.dumps({"origin": self._origin, "joined": (parts, size)}))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._marker.unlink(missing_ok=True)

    def bring(self, receive: Callable[[], None], fault: Callable[[Path], str | None]) -> None:
        """Receive the bytes and check them; SourceError with the fault, and no bytes left, if they are wrong.

        After bytes of an earlier run it may be these that are wrong: then once more from the first byte.
        """
        for _ in range(2 if self.held() else 1):
            receive()
            if (what := fault(self.path)) is None:
                return
            self.discard()
        raise SourceError(what)

    def finish(self) -> None:
        """Give the file its real name, after its bytes are on the disk: a power cut leaves no empty model."""
        with self.path.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(self.path, self.target)
        self._marker.unlink(missing_ok=True)


class Remote(NamedTuple):
    """A file as a source offers it."""

    url: str
    """May hold the user name and password of a mirror, so never show it."""
    headers: Mapping[str, str]
    size: int | None
    """Exact length in bytes, if known."""
    limit: int
    """More bytes are never written."""


class Transfer:
    """An HTTP client for one kind of source. May be used from several threads.

    All methods raise SourceError, and CancelledError once `stop` is set: what has arrived is kept.
    """

    def __init__(self, stop: threading.Event, route: Route, backoff_seconds: float) -> None:
        self._route = route
        self._client = httpx.Client(
            transport=route,
            trust_env=False,
            follow_redirects=True,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            headers={"User-Agent": "localvoice", "Accept-Encoding": "identity"},
        )
        self._stop = stop
        self._backoff_seconds = backoff_seconds

    def close(self) -> None:
        self._client.close()

    def get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """A small page."""
        return self._try(lambda: _checked(self._client.get(url, headers=headers)))

    def heads(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The answer to a HEAD request, and those of what it redirects to."""

        def ask(request: httpx.Request) -> httpx.Response:
            response = self._client.send(request, follow_redirects=False)
            return response if response.is_redirect else _checked(response)

        request: httpx.Request | None = self._client.build_request("HEAD", url, headers=headers)
        while request:
            response = self._try(partial(ask, request))
            yield response
            request = response.next_request

    def download(self, remote: Remote, part: PartialFile, progress: Progress) -> None:
        """Bring the partial file to its full length, from where it is. Raises OSError if the disk refuses."""
        self._try(partial(self._receive, remote, part, progress))

    def _receive(self, remote: Remote, part: PartialFile, progress: Progress) -> None:
        """One request for the bytes that lack. Bytes of another origin go only once this one gives some."""
        if part.held() > (remote.size or remote.limit):
            part.discard()
        if (have := part.held()) == remote.size:
            return
        span = {"Range": f"bytes={have}-"} if have else {}
        with self._client.stream("GET", remote.url, headers={**remote.headers, **span}) as response:
            answered_range = response.headers.get("Content-Range", "")
            if response.status_code == 416:
                if answered_range == f"bytes */{have}":
                    return  # all of it is there already
                part.discard()
                raise _TransientError("the partial file does not fit")
            _checked(response)
            start = have if response.status_code == 206 else 0  # a server may know no ranges
            if start and not answered_range.startswith(f"bytes {start}-"):
                raise SourceError("answers with another range than asked for")
            length = response.headers.get("Content-Length", "")
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            total = start + int(length) if length.isdecimal() and not encoded else None
            if total is not None and remote.size is not None and total != remote.size:
                raise SourceError(f"offers {total} bytes, must be {remote.size}")
            if total is not None and total > remote.limit:
                raise SourceError(f"offers {total} bytes, more than the {remote.limit} that it may be")
            part.begin()
            os.truncate(part.path, start)
            self._append(response, part.path, remote.limit, remote.size or total, progress)

    def _append(
        self, response: httpx.Response, path: Path, limit: int, total: int | None, progress: Progress
    ) -> None:
        with path.open("ab") as stream:
            start = done = stream.tell()
            try:
                for chunk in response.iter_bytes():
                    if done + len(chunk) > limit:
                        raise SourceError(f"sends more than the {limit} bytes that it may be")
                    stream.write(chunk)
                    done += len(chunk)
                    progress(done / (total or limit))
                    if self._stop.is_set():
                        raise CancelledError
            except httpx.TransportError as error:
                raise _TransientError(_described(error), done - start) from error
        if total is not None and done < total:
            raise _TransientError(f"the connection ended after {done} of {total} bytes", done - start)

    def _try(self, attempt: Callable[[], _Result]) -> _Result:
        """The attempt, again after a fault that may pass."""
        failures = 0
        while not self._stop.is_set():
            try:
                return attempt()
            except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
                raise SourceError(str(error)) from error
            except (_TransientError, httpx.HTTPError) as error:
                moves_on = isinstance(error, _TransientError) and error.arrived >= _MOVES_ON_BYTES
                failures = 0 if moves_on else failures + 1
                if failures > RETRIES:
                    fault = f"{_described(error)}, {RETRIES} retries were in vain"
                    host = error.host if isinstance(error, _TransientError) else error.request.url.host
                    if host:
                        self._route.give_up(host, fault)
                    raise SourceError(fault) from error
                self._stop.wait(self._backoff_seconds * 2**failures / 2)
        raise CancelledError


def _checked(response: httpx.Response) -> httpx.Response:
    """SourceError for an answer that says no, _TransientError for one that says not now."""
    if response.is_success:
        return response
    reason = f"{response.url.host} answers {response.status_code} {response.reason_phrase}"
    if response.status_code in _PASSING_STATUS:
        raise _TransientError(reason, host=response.url.host)
    raise SourceError(reason)


def _described(error: Exception) -> str:
    """An exception in words; some of httpx's have none."""
    return str(error) or type(error).__name__
