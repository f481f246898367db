"""What localvoice writes into the models folder: what was verified, and pins of files without a SHA-256."""

import json
import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PositiveInt, StringConstraints, TypeAdapter

from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.schema import PARTIAL_SUFFIX, Model, ModelFile, Sha256
from localvoice.files import read_regular

logger = logging.getLogger(__name__)

CACHE_NAME = ".verified.json"
LOCK_NAME = "lock.toml"
_MOST_BYTES = 4 << 20
"""Of each of them; a file takes some two hundred."""
_Quoted = Annotated[str, StringConstraints(max_length=1000)]


class VerifiedCache:
    """What was hashed before and has not changed since, so that a warm start need not read gigabytes.

    A file counts as unchanged while size, both times and inode are. A program that can forge these can also
    change this file: it saves time and is no protection; `verify` hashes regardless of it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CACHE_NAME
        self._changed = False
        try:
            entries = json.loads(read_regular(self._path, _MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            entries = {}  # none yet, cut short, or no file of ours: everything is hashed again
        self._entries: dict[str, Any] = entries if isinstance(entries, dict) else {}

    def has(self, key: str, status: os.stat_result, mark: str | None) -> bool:
        """Whether this file was found to be so and is unchanged. `mark`: its SHA-256, or what else was so."""
        return bool(self._entries.get(key) == fingerprint(status, mark))

    def add(self, key: str, status: os.stat_result, mark: str) -> None:
        """Remember a good file."""
        self._entries[key] = fingerprint(status, mark)
        self._changed = True

    def save(self) -> None:
        """Write what was added."""
        if not self._changed:
            return
        try:
            replace_text(self._path, json.dumps(self._entries, indent=1))
            self._changed = False
        except OSError as error:
            # A read-only models folder is a good folder; it only costs the hashing at each start.
            logger.info("%s not written, so the next start hashes again: %s", self._path, error)


def fingerprint(status: os.stat_result, mark: str | None) -> list[int | str | None]:
    """What a good file looked like; the change time also sees a file whose mtime was set back."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, mark]


class Pin(BaseModel):
    """A file without a SHA-256 in the catalogue, as it was at its first download."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: _Quoted
    """As the catalogue named it. Another one there makes the pin void."""
    commit: _Quoted
    """The commit that the hub said the revision was."""
    size: PositiveInt
    """Bytes."""
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


def write_pin(folder: Path, key: str, pin: Pin) -> None:
    """Add a pin. The caller holds the folder's download lock. Raises OSError."""
    lines = ["# Written by localvoice: what files without a SHA-256 in the catalogue were at first."]
    for name, entry in sorted((read_pins(folder) | {key: pin}).items()):
        # A JSON string is a TOML basic string, and so is a quoted key.
        lines.append(f"[{json.dumps(name)}]")
        lines += [f"{field} = {json.dumps(value)}" for field, value in entry.model_dump().items()]
    replace_text(folder / LOCK_NAME, "\n".join([*lines, ""]))


def with_pins(model: Model, pins: Mapping[str, Pin]) -> Model:
    """The model with size and SHA-256 of its pinned files filled in, as far as they are pinned."""

    def filled(file: ModelFile) -> ModelFile:
        pin = pins.get(f"{model.name}/{file.name}")
        if file.sha256 is not None or pin is None or pin.source != str(file.hub_source):
            return file
        return file.model_copy(update={"size": pin.size, "sha256": pin.sha256})

    return model.model_copy(update={"files": tuple(filled(file) for file in model.files)})


def replace_text(path: Path, text: str) -> None:
    """Replace a file as one step, so that a kill leaves the old or the new one. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    temporary.unlink(missing_ok=True)  # a pipe in its place would never be written
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
