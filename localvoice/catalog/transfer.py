"""Bytes over HTTP into a partial file: resumed, retried, within limits. Knows nothing of models."""

import queue
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO, Self, TypeVar

import httpx

from localvoice.catalog.network import Network, Route
from localvoice.catalog.partial import PartialFile

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
RETRIES = 2
_GETS_ON = 1 << 20
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_Result = TypeVar("_Result")

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes that there will be, if known."""


class SourceError(Exception):
    """A source did not give a file; the message is the reason, for people."""


class Stopped(Exception):
    """The download was told to stop; what has arrived is kept."""


class _Dropped(Exception):
    """A fault that may pass: worth another try."""

    def __init__(self, reason: str, arrived: int = 0) -> None:
        super().__init__(reason)
        self.arrived = arrived


class Transfer:
    """An HTTP client for one kind of source. May be used from several threads."""

    def __init__(self, stop: threading.Event, network: Network, *, backoff_seconds: float = 1.0) -> None:
        self._client = httpx.Client(
            transport=Route(network),
            trust_env=False,
            follow_redirects=True,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            headers={"User-Agent": "localvoice", "Accept-Encoding": "identity"},
        )
        self._stop = stop
        self._network = network
        self._backoff_seconds = backoff_seconds
        self._hosts: dict[str, str | None] = {}
        self._hosts_lock = threading.Lock()

    def __enter__(self) -> Self:
        """The transfer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """A small page; SourceError if it cannot be had."""

        def attempt() -> httpx.Response:
            response = self._client.get(url, headers=headers)
            _raise_for_status(response)
            return response

        return self._try(url, attempt)

    def head(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """The first answer to a HEAD request, redirects not followed; SourceError if there is none."""

        def attempt() -> httpx.Response:
            response = self._client.head(url, headers=headers, follow_redirects=False)
            if not response.is_redirect:
                _raise_for_status(response)
            return response

        return self._try(url, attempt)

    def download(
        self,
        url: str,
        part: PartialFile,
        origin: str,
        *,
        limit: int,
        size: int | None,
        progress: Progress,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Bring the partial file to its full length, from where it is if its bytes came from `origin`.

        `size` is the exact length in bytes, if known; more than `limit` bytes are never written. Raises
        SourceError, Stopped, or OSError if the disk refuses.
        """

        def attempt() -> None:
            if part.held(origin) > (limit if size is None else size):
                part.discard()
            if part.held(origin) != size:
                self._receive(url, part, origin, limit, size, progress, headers or {})

        self._try(url, attempt)

    def _receive(
        self,
        url: str,
        part: PartialFile,
        origin: str,
        limit: int,
        size: int | None,
        progress: Progress,
        headers: dict[str, str],
    ) -> None:
        """One request for the bytes that lack. Bytes of another origin go only once this one gives some."""
        have = part.held(origin)
        if have:
            headers = headers | {"Range": f"bytes={have}-"}
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return  # all of it is there already
                part.discard()
                raise _Dropped("the partial file does not fit")
            _raise_for_status(response)
            start = _start_of(response, have)
            total = _total_of(response, start)
            if total is not None and size is not None and total != size:
                raise SourceError(f"offers {total} bytes, must be {size}")
            if total is not None and total > limit:
                raise SourceError(f"offers {total} bytes, more than the {limit} that it may be")
            part.begin(origin)
            with part.path.open("r+b") as stream:
                stream.truncate(start)
                stream.seek(start)
                self._write(response, stream, limit, size or total, progress)

    def _write(
        self, response: httpx.Response, stream: BinaryIO, limit: int, total: int | None, progress: Progress
    ) -> None:
        """The body into the file, looking at the stop event at each piece."""
        start = done = stream.tell()
        try:
            for chunk in response.iter_bytes():
                if done + len(chunk) > limit:
                    raise SourceError(f"sends more than the {limit} bytes that it may be")
                stream.write(chunk)
                done += len(chunk)
                progress(done, total)
                if self._stop.is_set():
                    raise Stopped
        except httpx.TransportError as error:
            raise _Dropped(_describe(error), done - start) from error
        if total is not None and done < total:
            raise _Dropped(f"the connection ended after {done} of {total} bytes", done - start)

    def _try(self, url: str, attempt: Callable[[], _Result]) -> _Result:
        """The attempt, again after a fault that may pass; not at all where a connection failed before."""
        host = httpx.URL(url).host
        failures = 0
        while True:
            if self._stop.is_set():
                raise Stopped
            self._require_host(url)
            try:
                return attempt()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
                proxy = self._network.proxy_for(httpx.URL(url))
                way = f" by the proxy of {proxy.given}" if proxy else ""
                reason = f"no connection to {host}{way}: {_describe(error)}"
                self._hosts[host] = reason
                raise SourceError(reason) from error
            except (_Dropped, httpx.TransportError) as error:
                arrived = error.arrived if isinstance(error, _Dropped) else 0
                # A poor line that moves on is not given up.
                failures = 0 if arrived >= _GETS_ON else failures + 1
                if failures > RETRIES:
                    raise SourceError(f"{_describe(error)}, {RETRIES} retries were in vain") from error
                self._stop.wait(self._backoff_seconds * 2**failures / 2)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise SourceError(_describe(error)) from error

    def _require_host(self, url: str) -> None:
        """Raise SourceError if no connection to the host of this URL could be made in this run."""
        address = httpx.URL(url)
        with self._hosts_lock:
            if address.host not in self._hosts:
                # A proxy makes the connection itself: then this machine need not know the host.
                proxied = self._network.proxy_for(address) is not None
                self._hosts[address.host] = None if proxied else _probe(address)
        reason = self._hosts[address.host]
        if reason:
            raise SourceError(reason)


def _probe(address: httpx.URL) -> str | None:
    """Why no connection can be made, or None; within CONNECT_SECONDS.

    In a thread of its own: a name look-up has no time limit, and that of a connection starts anew with each
    address of the host, so a firewall that swallows packets would hold up the download for a minute.
    """
    answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    port = address.port or (443 if address.scheme == "https" else 80)

    def attempt() -> None:
        try:
            socket.create_connection((address.host, port), timeout=CONNECT_SECONDS).close()
            answer.put(None)
        except OSError as error:
            answer.put(f"no connection to {address.host}: {error.strerror or error}")

    threading.Thread(target=attempt, name="localvoice-probe", daemon=True).start()
    try:
        return answer.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        return f"no connection to {address.host}: no answer within {CONNECT_SECONDS:.0f} s"


def _raise_for_status(response: httpx.Response) -> None:
    """SourceError for an answer that says no, _Dropped for one that says not now."""
    if response.is_success:
        return
    reason = f"{response.url.host} answers {response.status_code} {response.reason_phrase}"
    raise _Dropped(reason) if response.status_code in _PASSING_STATUS else SourceError(reason)


def _start_of(response: httpx.Response, have: int) -> int:
    """At which byte the body starts: where it was asked to, or at 0 if the server sends everything."""
    if response.status_code != 206:
        return 0
    if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise SourceError("answers with another range than asked for")
    return have


def _total_of(response: httpx.Response, start: int) -> int | None:
    """Bytes of the whole file, if the server tells."""
    length = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    return start + int(length) if length.isdigit() and not encoded else None


def _describe(error: Exception) -> str:
    """An exception in words; some of httpx's have none."""
    return str(error) or type(error).__name__
