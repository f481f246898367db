"""Are the files what the catalogue says? In full, or quickly at each start; nothing here uses the network."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.pins import pin_key, read_pins, with_pins
from localvoice.catalog.schema import Model, ModelFile
from localvoice.files import read_regular

logger = logging.getLogger(__name__)

CACHE_NAME = ".verified.json"
_MOST_CACHE = 4 << 20
"""Bytes; a file takes some two hundred."""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used as it is."""

    model: str
    """Catalogue name of the model."""
    file: str
    """Catalogue name of the file."""
    what: str
    """What is wrong with it."""

    def __str__(self) -> str:
        """One line."""
        return f"{self.model}/{self.file}: {self.what}"


def problem_text(heading: str, problems: Iterable[Problem], command: str) -> str:
    """The problems under a heading, and the command that mends them."""
    return "\n".join([heading, *(f"  {problem}" for problem in problems), f"Mend it with: {command}"])


def confined(folder: Path, model: str, file: str) -> Path:
    """Path of a model's file; ModelFilesError if links lead it out of the models folder."""
    path = folder / model / file
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError is Python's before 3.13, for a loop
        raise ModelFilesError(
            f"{path}: its symbolic links can't be followed ({error}). Remove the link, then download again."
        ) from error
    if not inside:
        raise ModelFilesError(
            f"{path}: leads out of the models folder to {path.resolve()}. Put the file itself there, or name "
            "the folder that holds the models with --models-dir."
        )
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class VerifiedCache:
    """What was hashed before and has not changed since, so that a warm start need not read gigabytes.

    A file counts as unchanged while size, both times and inode are. Whoever can forge these can also change
    this file: it saves time and is no protection; `verify` hashes regardless of it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CACHE_NAME
        self._entries: dict[str, Any] = {}
        self._changed = False
        try:
            entries = json.loads(read_regular(self._path, _MOST_CACHE))
        except (OSError, ValueError, RecursionError):
            entries = {}  # none yet, cut short, or no file of ours: everything is hashed again
        if isinstance(entries, dict):
            self._entries = entries

    def has(self, key: str, status: os.stat_result, mark: str | None) -> bool:
        """Whether this file was found to be so and is unchanged. `mark`: its SHA-256, or what else was so."""
        return bool(self._entries.get(key) == _fingerprint(status, mark))

    def add(self, key: str, status: os.stat_result, mark: str) -> None:
        """Remember a good file."""
        self._entries[key] = _fingerprint(status, mark)
        self._changed = True

    def save(self) -> None:
        """Write what was added."""
        if not self._changed:
            return
        temporary = self._path.with_name(f"{CACHE_NAME}.{os.getpid()}.part")
        try:
            temporary.unlink(missing_ok=True)
            temporary.write_text(json.dumps(self._entries, indent=1), encoding="utf-8")
            os.replace(temporary, self._path)
        except OSError as error:
            # A read-only models folder is a good folder; it only costs the hashing at each start.
            logger.info("%s not written, so the next start hashes again: %s", self._path, error)
            return
        self._changed = False


def _fingerprint(status: os.stat_result, mark: str | None) -> list[int | str | None]:
    """What a good file looked like; the change time also sees a file whose mtime was set back."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, mark]


def find_problems(
    models: Iterable[Model], folder: Path, *, full: bool = False, hurry: bool = False
) -> list[Problem]:
    """Each file of the models that is missing, damaged or not what the catalogue says.

    Files that were verified before and have not changed since are not hashed, unless `full`. In a `hurry`
    nothing is hashed once a missing or shortened file is found. Raises ModelFilesError for a file that leads
    out of the folder.
    """
    pins = read_pins(folder)
    problems: list[Problem] = []
    readable: list[tuple[Model, ModelFile]] = []
    for model in models:
        for file in with_pins(model, pins).files:
            problem = quick_problem(model, file, folder)
            problems += [problem] if problem else []
            readable += [] if problem else [(model, file)]
    if problems and hurry:
        return problems
    cache = VerifiedCache(folder)
    # The largest first, so that no thread is left alone with it at the end.
    readable.sort(key=lambda pair: -(pair[1].size or 0))
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda pair: _content_problem(pair[0], pair[1], folder, cache, full), readable)
        problems += [problem for problem in found if problem]
    cache.save()
    return problems


def quick_problem(model: Model, file: ModelFile, folder: Path) -> Problem | None:
    """What can be told of a file without reading it."""
    path = confined(folder, model.name, file.name)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Problem(model.name, file.name, "is missing")
    except OSError as error:
        return Problem(model.name, file.name, f"cannot be read: {error.strerror or error}")
    if not S_ISREG(status.st_mode):
        return Problem(model.name, file.name, "is not a regular file")
    if file.sha256 is None:
        return Problem(
            model.name, file.name, "was not downloaded by localvoice, so nothing tells what it must be"
        )
    if status.st_size != file.size:
        return Problem(model.name, file.name, f"has {status.st_size} bytes, must have {file.size}")
    return None


def _content_problem(
    model: Model, file: ModelFile, folder: Path, cache: VerifiedCache, full: bool
) -> Problem | None:
    """What only the content tells; a good file goes into the cache."""
    path = confined(folder, model.name, file.name)
    key = pin_key(model, file)
    try:
        before = path.stat()
        if not full and cache.has(key, before, file.sha256):
            return None
        sha256 = sha256_of(path)
        if sha256 != file.sha256:
            return Problem(
                model.name, file.name, f"is damaged: its SHA-256 is {sha256}, must be {file.sha256}"
            )
        if _fingerprint(path.stat(), sha256) == _fingerprint(before, sha256):
            cache.add(key, before, sha256)
    except OSError as error:
        return Problem(model.name, file.name, f"cannot be read: {error.strerror or error}")
    return None
