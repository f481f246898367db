"""lock.toml in the models folder: what files without a SHA-256 were at their first download."""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PositiveInt, StringConstraints, TypeAdapter

from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.schema import PARTIAL_SUFFIX, Model, ModelFile, Sha256
from localvoice.files import read_regular

LOCK_NAME = "lock.toml"
_MOST_LOCK = 4 << 20
_HEADER = (
    "# Written by localvoice: what files without a SHA-256 in the catalogue were at their first download."
)
_Quoted = Annotated[str, StringConstraints(max_length=1000)]


class Pin(BaseModel):
    """One pinned file: its source as the catalogue named it, and what the hub gave then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: _Quoted
    """Another one in the catalogue makes the pin void."""
    commit: _Quoted
    """The commit that the hub said the revision was."""
    size: PositiveInt
    """Bytes."""
    sha256: Sha256


def read_pins(folder: Path) -> dict[str, Pin]:
    """The pins in the models folder, by `model/file`; ModelFilesError if lock.toml is not readable."""
    path = folder / LOCK_NAME
    try:
        raw = tomllib.loads(read_regular(path, _MOST_LOCK).decode("utf-8"))
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
    lines = [_HEADER]
    for name, entry in sorted((read_pins(folder) | {key: pin}).items()):
        # A JSON string is a TOML basic string, and so is a quoted key.
        lines.append(f"[{json.dumps(name)}]")
        lines += [f"{field} = {json.dumps(value)}" for field, value in entry.model_dump().items()]
        lines.append("")
    replace_text(folder / LOCK_NAME, "\n".join(lines))


def replace_text(path: Path, text: str) -> None:
    """Replace a file as one step, so that a kill leaves the old or the new one. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    temporary.unlink(missing_ok=True)  # a pipe in its place would never be written
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def with_pins(model: Model, pins: dict[str, Pin]) -> Model:
    """The model with size and SHA-256 of its pinned files filled in, as far as they are pinned."""

    def filled(file: ModelFile) -> ModelFile:
        pin = pins.get(f"{model.name}/{file.name}")
        if file.sha256 is not None or pin is None or pin.source != str(file.hub_source):
            return file
        return file.model_copy(update={"size": pin.size, "sha256": pin.sha256})

    return model.model_copy(update={"files": tuple(filled(file) for file in model.files)})
