"""The package index as a source: data files out of wheels, which are unzipped and never installed."""

import ast
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pypi_simple import (
    ACCEPT_JSON_PREFERRED,
    PYPI_SIMPLE_ENDPOINT,
    ProjectPage,
    UnsupportedRepoVersionError,
)

from localvoice.catalog.network import NetworkSettingError, parsed
from localvoice.catalog.partial import PartialFile
from localvoice.catalog.transfer import Progress, SourceError, Transfer
from localvoice.catalog.verify import sha256_of

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PipSettings:
    """What pip is told about indexes, so that what works for `pip install` works here."""

    indexes: tuple[str, ...]
    """Addresses, in the order in which they are asked."""
    proxy: str | None
    """Proxy for the index."""
    ca_file: str | None
    """Certificate bundle."""

    @classmethod
    def read(cls) -> Self:
        """From PIP_… variables and, below them, pip's configuration files."""
        config = _pip_config()

        def option(name: str) -> str:
            variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
            sections = (f"{section}.{name}" for section in ("download", "install", "global"))
            return variable or next((config[key] for key in sections if key in config), "")

        index = option("index-url") or PYPI_SIMPLE_ENDPOINT
        indexes = () if option("no-index").lower() in ("1", "true", "yes", "on") else (index,)
        more = tuple(option("extra-index-url").split()) if indexes else ()
        return cls(indexes + more, option("proxy") or None, option("cert") or None)


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


@dataclass(frozen=True)
class Wheel:
    """A wheel as the index lists it."""

    filename: str
    """Its file name."""
    url: str
    """Where it lies; may hold the index's user name and password, so never show it."""
    sha256: str
    """What the index says it hashes to."""
    size: int | None
    """Bytes, if the index tells."""


class PackageIndex:
    """The indexes that pip is configured for. Asked of nothing until the first package is needed."""

    def __init__(self, make_transfer: Callable[[PipSettings], Transfer]) -> None:
        self._make_transfer = make_transfer
        self._opened: tuple[PipSettings, Transfer] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """The index itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections, if there are any."""
        if self._opened:
            self._opened[1].close()

    def _open(self) -> tuple[PipSettings, Transfer]:
        """Settings and client; asking pip takes half a second, so only once and only if need be."""
        with self._lock:
            if self._opened is None:
                settings = PipSettings.read()
                try:
                    self._opened = settings, self._make_transfer(settings)
                except NetworkSettingError as error:
                    raise SourceError(str(error)) from error
            return self._opened

    def fetch(self, package: str, folder: Path, limit: int, progress: Progress) -> PartialFile:
        """The wheel of `name==version` in a partial file in the folder, its SHA-256 checked.

        Raises SourceError, with the word of each index if none has it, Stopped, or OSError.
        """
        settings, transfer = self._open()
        reasons = []
        for index in settings.indexes:
            try:
                wheel = _find(transfer, index, package)
                return _fetch(transfer, wheel, folder, limit, progress)
            except SourceError as error:
                reasons.append(str(error))
        raise SourceError(
            "; ".join(dict.fromkeys(reasons)) or "pip's configuration allows no index (no-index)"
        )


def _find(transfer: Transfer, index: str, package: str) -> Wheel:
    """The wheel as this index lists it."""
    name, _, version = package.partition("==")
    address = parsed(index)
    if address is None:
        raise SourceError("a pip index without an http address is not asked for model files")
    project = re.sub(r"[-_.]+", "-", name).lower()
    response = transfer.get(f"{index.rstrip('/')}/{project}/", {"Accept": ACCEPT_JSON_PREFERRED})
    try:
        if "json" in response.headers.get("Content-Type", ""):
            page = ProjectPage.from_json_data(response.json(), str(response.url))
        else:
            page = ProjectPage.from_html(project, response.content, str(response.url))
    except (ValueError, UnsupportedRepoVersionError) as error:
        raise SourceError(f"{address.host} gives no readable page for {name}: {error}") from error
    for found in page.packages:
        if found.package_type == "wheel" and found.version == version and "sha256" in found.digests:
            if (url := parsed(found.url)) is None:
                raise SourceError(f"{address.host} names no http address for {found.filename}")
            if url.host == address.host and address.userinfo:
                url = url.copy_with(username=address.username, password=address.password)
            return Wheel(Path(found.filename).name, str(url), found.digests["sha256"], found.size)
    raise SourceError(f"{address.host} has no wheel of {package} with a SHA-256")


def _fetch(transfer: Transfer, wheel: Wheel, folder: Path, limit: int, progress: Progress) -> PartialFile:
    """The wheel's bytes, checked."""
    part = PartialFile(folder / wheel.filename)
    origin = f"wheel {wheel.filename} {wheel.sha256}"
    # After bytes of an earlier run it may be these that are wrong: then once more from the first byte.
    for _ in range(2 if part.held(origin) else 1):
        transfer.download(wheel.url, part, origin, limit=limit, size=wheel.size, progress=progress)
        sha256 = sha256_of(part.path)
        if sha256 == wheel.sha256:
            return part
        part.discard()
    raise SourceError(f"{wheel.filename}: wrong SHA-256 {sha256}, the index says {wheel.sha256}")


def append_member(wheel: Path, member: str, target: Path, limit: int) -> None:
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
