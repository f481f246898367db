"""Are the files what the catalogue says? In full, or quickly at each start; nothing here uses the network.

The models folder keeps two records: .verified.json says which files were right and are unchanged, lock.toml
what files without a size in the catalogue were at their first download.
"""

import hashlib
import json
import logging
import os
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PositiveInt, StringConstraints, TypeAdapter

from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.schema import PARTIAL_SUFFIX, Model, ModelFile, Sha256
from localvoice.files import read_regular

logger = logging.getLogger(__name__)

CACHE_NAME = ".verified.json"
LOCK_NAME = "lock.toml"
_MOST_BYTES = 4 << 20
"""Of a record; a file takes some two hundred."""


def confined(folder: Path, name: str) -> Path:
    """Path of the file `model/file`; ModelFilesError if links lead it out of the models folder."""
    path = folder / name
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


def find_problems(
    models: Iterable[Model], folder: Path, *, full: bool = False, hurry: bool = False
) -> dict[str, str]:
    """What is wrong with the models' files, by `model/file`: missing, damaged, not what the catalogue says.

    Files that were verified before and have not changed since are not hashed, unless `full`. In a `hurry`
    nothing is hashed once a missing or shortened file is found. Raises ModelFilesError for a file that leads
    out of the folder.
    """
    files = pinned_files(models, folder)
    faults = {name: quick_fault(folder, name, file) for name, file in files.items()}
    # The largest first, so that no thread is left alone with it at the end.
    readable = sorted((name for name in files if not faults[name]), key=lambda name: -(files[name].size or 0))
    if len(readable) == len(files) or not hurry:
        cache = VerifiedCache(folder)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            found = pool.map(lambda name: _content_fault(folder, name, files[name], cache, full), readable)
            faults |= zip(readable, found, strict=True)
        cache.save()
    return {name: fault for name, fault in faults.items() if fault}


def pinned_files(models: Iterable[Model], folder: Path) -> dict[str, ModelFile]:
    """The models' files by `model/file`; those without a size as lock.toml pins them, if it does."""
    pins, files = read_pins(folder), {}
    for name, file in ((f"{model.name}/{file.name}", file) for model in models for file in model.files):
        pin = pins.get(name)
        fits = pin is not None and pin.source == str(file.hub_source) and file.sha256 in (None, pin.sha256)
        if pin is not None and file.size is None and fits:
            file = file.model_copy(update={"size": pin.size, "sha256": pin.sha256})
        files[name] = file
    return files


def quick_fault(folder: Path, name: str, file: ModelFile) -> str | None:
    """What can be told of a file without reading it."""
    try:
        status = confined(folder, name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not S_ISREG(status.st_mode):
        return "is not a regular file"
    if file.sha256 is None:
        return "was not downloaded by localvoice, so nothing tells what it must be"
    if file.size is not None and status.st_size != file.size:
        return f"has {status.st_size} bytes, must have {file.size}"
    return None


def _content_fault(
    folder: Path, name: str, file: ModelFile, cache: "VerifiedCache", full: bool
) -> str | None:
    """What only the content tells; a good file goes into the cache."""
    path = confined(folder, name)
    try:
        before = path.stat()
        if not full and cache.has(name, before, file.sha256):
            return None
        sha256 = sha256_of(path)
        if sha256 != file.sha256:
            return f"is damaged: its SHA-256 is {sha256}, must be {file.sha256}"
        if _fingerprint(path.stat(), sha256) == _fingerprint(before, sha256):
            cache.add(name, before, sha256)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class VerifiedCache:
    """What was hashed before and has not changed since, so that a warm start need not read gigabytes.

    A file counts as unchanged while size, both times and inode are. A program that can forge these can also
    change this file: it saves time and is no protection; `verify` hashes regardless of it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CACHE_NAME
        self._changed = False
        self._entries = read_json(self._path)

    def has(self, key: str, status: os.stat_result, mark: str | None) -> bool:
        """Whether this file was found to be so and is unchanged. `mark`: its SHA-256, or what else was so."""
        return bool(self._entries.get(key) == _fingerprint(status, mark))

    def add(self, key: str, status: os.stat_result, mark: str) -> None:
        """Remember a good file until `save` writes it."""
        self._entries[key] = _fingerprint(status, mark)
        self._changed = True

    def save(self) -> None:
        if not self._changed:
            return
        try:
            replace_text(self._path, json.dumps(self._entries, indent=1))
            self._changed = False
        except OSError as error:
            # A read-only models folder is a good folder; it only costs the hashing at each start.
            logger.info("%s not written, so the next start hashes again: %s", self._path, error)


def _fingerprint(status: os.stat_result, mark: str | None) -> list[int | str | None]:
    """What a good file looked like; the change time also sees a file whose mtime was set back."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, mark]


_Quoted = Annotated[str, StringConstraints(max_length=1000)]


class Pin(BaseModel):
    """What a file without a size in the catalogue was at its first download."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    source: _Quoted
    """As the catalogue named it; the pin is void once that names another."""
    commit: _Quoted
    """Which the hub said the revision was."""
    size: PositiveInt
    sha256: Sha256


def read_pins(folder: Path) -> dict[str, Pin]:
    """The pins in the models folder, by `model/file`; ModelFilesError if lock.toml is not readable."""
    path = folder / LOCK_NAME
    try:
        raw = tomllib.loads(read_regular(path, _MOST_BYTES).decode("utf-8"))
        return TypeAdapter(dict[str, Pin]).validate_python(raw)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as error:
        raise ModelFilesError(
            f"{path}: cannot be read: {error.strerror}. Name a folder that this user can read with "
            "--models-dir."
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError is pydantic's as well
        raise ModelFilesError(f"{path}: cannot be used: {error}. Delete it and download again.") from error


def write_pin(folder: Path, name: str, pin: Pin) -> None:
    """Add a pin. The caller holds the folder's download lock. Raises OSError."""
    lines = ["# By localvoice: what files whose size the catalogue lacks were at their first download."]
    for key, entry in sorted((read_pins(folder) | {name: pin}).items()):
        # A JSON string is a TOML basic string, and so is a quoted key.
        lines.append(f"[{json.dumps(key)}]")
        lines += [f"{field} = {json.dumps(value)}" for field, value in entry.model_dump().items()]
    replace_text(folder / LOCK_NAME, "\n".join(lines) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A record of ours; empty if there is none, it was cut short, or it is no file of ours."""
    try:
        record = json.loads(read_regular(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def replace_text(path: Path, text: str) -> None:
    """Replace a file as one step, so that a kill leaves the old or the new one. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    temporary.unlink(missing_ok=True)  # a pipe in its place would never be written
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
