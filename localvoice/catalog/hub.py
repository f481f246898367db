"""The hub as a source: huggingface_hub gives addresses and the token, Transfer brings the bytes.

huggingface_hub's own download is not used. Packages need resuming, limits and retries all the same, so there
is one way for both; a name look-up of it has no time limit; and it refuses while HF_HUB_OFFLINE is set, which
the engines set for the whole process.
"""

import errno
import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
from huggingface_hub import constants, get_token, hf_hub_url

from localvoice.catalog.network import NetworkSettingError, parsed
from localvoice.catalog.partial import PartialFile
from localvoice.catalog.schema import HubSource
from localvoice.catalog.transfer import Progress, SourceError, Transfer

_MAX_REDIRECTS = 5
_MAX_COMMIT_CHARS = 100
_MAX_UNKNOWN_BYTES = 100 << 30


@dataclass(frozen=True)
class HubRecord:
    """What the hub says of a file at a revision."""

    commit: str
    """The commit that the revision is now."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of a large file; of a small one the SHA-1 of its git blob."""

    def fits(self, path: Path) -> bool:
        """Whether a file is the one that the hub spoke of."""
        with path.open("rb") as stream:
            if len(self.digest) == 64:
                return hashlib.file_digest(stream, "sha256").hexdigest() == self.digest
            blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
            while chunk := stream.read(1 << 20):
                blob.update(chunk)
            return blob.hexdigest() == self.digest


def check_endpoint() -> None:
    """Raises `NetworkSettingError` if HF_ENDPOINT is set to what is no address."""
    endpoint = _endpoint()
    if endpoint and parsed(endpoint) is None:
        raise NetworkSettingError(
            "HF_ENDPOINT is not the address of a hub that can be used. Write it as https://HOST, or unset it."
        )


def _endpoint() -> str:
    """The mirror that the user names; empty for the hub itself."""
    return (os.environ.get("HF_ENDPOINT") or "").strip().rstrip("/")


class Hub:
    """Files of the hub, or of the mirror that HF_ENDPOINT names."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer

    @cached_property
    def _headers(self) -> dict[str, str]:
        """The user's token, from HF_TOKEN or `hf auth login`, if any. httpx sends it to no other host."""
        file = Path(constants.HF_TOKEN_PATH)
        try:
            if file.is_fifo():
                raise OSError(errno.EINVAL, "it is a pipe")  # huggingface_hub would wait for it
            token = get_token()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SourceError(
                f"the hub's token can't be read from {file}: {reason}; correct HF_TOKEN_PATH, or "
                "remove the file"
            ) from error
        if token and not (token.isascii() and token.isprintable()):
            raise SourceError("HF_TOKEN holds characters that no token has: correct it, or unset it")
        return {"Authorization": f"Bearer {token}"} if token else {}

    @staticmethod
    def url(source: HubSource) -> str:
        """Where the file lies."""
        return hf_hub_url(source.hub, source.path, revision=source.revision, endpoint=_endpoint() or None)

    def record(self, source: HubSource) -> HubRecord:
        """What the hub says of the file at its revision; SourceError if it cannot be asked."""
        url = httpx.URL(self.url(source))
        home = _origin(url)
        for _ in range(_MAX_REDIRECTS):
            # As httpx does where it follows a redirect by itself: the token is for the hub alone.
            response = self._transfer.head(str(url), self._headers if _origin(url) == home else {})
            headers = response.headers
            # A large file redirects to a store elsewhere, which knows nothing of the repository; a renamed
            # repository redirects without a record.
            if "X-Linked-Etag" in headers or not response.is_redirect:
                return _parse_record(headers)
            url = _redirected(response)
        raise SourceError("redirects without end")

    def fetch(self, source: HubSource, part: PartialFile, size: int | None, progress: Progress) -> None:
        """Bring the partial file to its full length; raises as Transfer.download."""
        limit = _MAX_UNKNOWN_BYTES if size is None else size
        try:
            self._transfer.download(
                self.url(source),
                part,
                str(source),
                limit=limit,
                size=size,
                progress=progress,
                headers=self._headers,
            )
        except SourceError as error:
            if re.search(r" 40[13] ", str(error)):
                raise SourceError(f"{error}: if the repository asks for a login, set HF_TOKEN") from error
            raise


def _redirected(response: httpx.Response) -> httpx.URL:
    """Where an answer sends us on to."""
    try:
        url = response.url.join(response.headers.get("Location", ""))
    except httpx.InvalidURL as error:
        raise SourceError(f"{response.url.host} redirects to what is no address") from error
    if url.scheme not in ("http", "https"):
        raise SourceError(f"{response.url.host} redirects to {url.scheme}, which is not followed")
    return url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _parse_record(headers: httpx.Headers) -> HubRecord:
    """The record in the headers of an answer."""
    digest = headers.get("X-Linked-Etag", headers.get("ETag", "")).removeprefix("W/").strip('"')
    size = headers.get("X-Linked-Size", headers.get("Content-Length", ""))
    commit = headers.get("X-Repo-Commit", "")
    is_whole = re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest) and re.fullmatch("[0-9]{1,15}", size)
    if not is_whole or len(commit) > _MAX_COMMIT_CHARS:
        raise SourceError("gives no hash and size for the file, so nothing can pin it")
    return HubRecord(commit, int(size), digest)
