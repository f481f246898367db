"""Reading the catalogue: the built-in one and, over it, a user's own file of the same shape."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from localvoice.catalog.errors import CatalogError
from localvoice.catalog.schema import ROLES, Model, Profile
from localvoice.files import DATA_FOLDER, read_named

_Shape = TypeVar("_Shape", bound=BaseModel)
_MAX_BYTES = 256 * 1024
"""Of a catalogue's file. The built-in one has 15 KiB."""
_PACKAGE_COPY = Path(__file__).with_name("catalog.toml")


@dataclass(frozen=True)
class Catalog:
    """All models and profiles that are known."""

    models: Mapping[str, Model]
    """By name."""
    profiles: Mapping[str, Profile]
    """By name."""

    def profile(self, name: str) -> Profile:
        """The profile of this name; CatalogError, with the names there are, if there is none."""
        if name not in self.profiles:
            raise CatalogError(f"There is no profile {name!r}. Profiles: {', '.join(self.profiles)}.")
        return self.profiles[name]

    def models_of(self, profile: str) -> tuple[Model, ...]:
        """The profile's models, one for each role."""
        chosen = self.profile(profile)
        return tuple(self.models[chosen.model_for(role)] for role in ROLES)


def checkout_root() -> Path | None:
    """The project's folder when this code runs from a checkout of it, else None."""
    root = Path(__file__).resolve().parents[2]
    is_checkout = (root / "pyproject.toml").is_file() and (root / "models" / "catalog.toml").is_file()
    return root if is_checkout else None


def models_folder(setting: Path | None = None) -> Path:
    """Where model files lie: the setting, else the checkout's models/, else the user's data folder.

    Raises CatalogError for a user without a home folder.
    """
    if setting is not None:
        return setting.expanduser().absolute()
    root = checkout_root() or DATA_FOLDER
    if root is None:
        raise CatalogError("This user has no home folder. Name the folder of the models with --models-dir.")
    return root / "models"


def builtin_catalog_path() -> Path:
    """The checkout's models/catalog.toml, or the copy inside the installed package."""
    root = checkout_root()
    return root / "models" / "catalog.toml" if root else _PACKAGE_COPY


def load_catalog(user_file: Path | None = None) -> Catalog:
    """The built-in catalogue with the user's entries over it.

    A model in the user's file replaces the built-in one of its name. A profile there need only give the
    fields that differ. Raises CatalogError.
    """
    builtin = builtin_catalog_path()
    raw = _read(builtin)
    models = _parse_all(builtin, "models", raw, Model)
    profiles = _parse_all(builtin, "profiles", raw, Profile)
    path = builtin
    if user_file is not None:
        path = user_file.expanduser()
        own = _read(path)
        merged = {
            name: raw["profiles"].get(name, {}) | entry if isinstance(entry, dict) else entry
            for name, entry in own["profiles"].items()
        }
        models |= _parse_all(path, "models", own, Model)
        profiles |= _parse_all(path, "profiles", {"profiles": merged}, Profile)
    _check_references(path, models, profiles)
    return Catalog(models, profiles)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The two tables of a catalogue file, `models` and `profiles`, not yet checked inside."""
    try:
        raw = tomllib.loads(read_named(path, _MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise CatalogError(f"{path}: is nested too deeply") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: is not valid TOML: {error}") from error
    tables = {"models": {}, "profiles": {}} | raw
    for key, table in tables.items():
        if key not in ("models", "profiles") or not isinstance(table, dict):
            raise CatalogError(f"{path}: {key}: only the tables [models.NAME] and [profiles.NAME] are known")
    return tables


def _parse_all(
    path: Path, kind: str, tables: Mapping[str, dict[str, Any]], shape: type[_Shape]
) -> dict[str, _Shape]:
    """Each entry of a table checked; CatalogError with file, entry and field."""
    entries = {}
    for name, entry in tables[kind].items():
        if not isinstance(entry, dict) or "name" in entry:
            raise CatalogError(f"{path}: {kind}.{name}: must be a table without `name`: its key is its name")
        try:
            entries[name] = shape.model_validate(entry | {"name": name})
        except ValidationError as error:
            raise CatalogError(_explain(path, f"{kind}.{name}", entry, error)) from error
    return entries


def _explain(path: Path, entry_name: str, entry: dict[str, Any], error: ValidationError) -> str:
    """One line a fault: file, entry, field, what is wrong."""
    lines = []
    for fault in error.errors():
        # The name of a file says more than its number in the list.
        field = list(fault["loc"])
        if field[:1] == ["files"] and len(field) > 1 and isinstance(field[1], int):
            file = entry["files"][field[1]]
            field[1] = file.get("name", field[1]) if isinstance(file, dict) else field[1]
        where = ".".join(str(step) for step in field) or "the entry"
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {entry_name}: {where}: {message}")
    return "\n".join(lines)


def _check_references(path: Path, models: Mapping[str, Model], profiles: Mapping[str, Profile]) -> None:
    """Raise CatalogError if a profile names a model that is not there or is for something else."""
    for profile in profiles.values():
        for role in ROLES:
            name = profile.model_for(role)
            where = f"{path}: profiles.{profile.name}: {role}"
            if name not in models:
                raise CatalogError(f"{where}: there is no model {name!r}")
            if models[name].role != role:
                raise CatalogError(f"{where}: model {name!r} is for {models[name].role}")
