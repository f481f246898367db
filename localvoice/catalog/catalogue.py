"""Reading the catalogue: the built-in one and, over it, a user's own file of the same shape."""

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from localvoice.catalog.errors import CatalogError
from localvoice.catalog.schema import ROLES, Model, Profile
from localvoice.files import DATA_FOLDER, read_named

AUTO = "auto"
"""Instead of a profile's name: the best for this machine."""
_MAX_BYTES = 256 * 1024
_PACKAGE_COPY = Path(__file__).with_name("catalog.toml")


class Catalog(BaseModel):
    """All models and profiles that are known, by name."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    models: dict[str, Model]
    profiles: dict[str, Profile]

    @model_validator(mode="after")
    def _has_the_models_of_its_profiles(self) -> Self:
        for profile in self.profiles.values():
            if profile.name == AUTO:
                raise ValueError(f"profiles.{AUTO}: this name means the best profile for a machine")
            for role, name in [(each, name) for each in ROLES for name in profile.models_for(each)]:
                where = f"profiles.{profile.name}: {role}"
                if name not in self.models:
                    raise ValueError(f"{where}: there is no model {name!r}")
                if self.models[name].role != role:
                    raise ValueError(f"{where}: model {name!r} is for {self.models[name].role}")
        return self

    def profile(self, name: str) -> Profile:
        """The profile of this name; CatalogError, with the names there are, if there is none."""
        if name not in self.profiles:
            raise CatalogError(f"There is no profile {name!r}. Profiles: {', '.join(self.profiles)}.")
        return self.profiles[name]

    def models_of(self, profile: str | Profile) -> tuple[Model, ...]:
        """The profile's models by their roles: one for each, and all language models that may be taken.

        CatalogError if there is no such profile.
        """
        chosen = self.profile(profile) if isinstance(profile, str) else profile
        return tuple(self.models[name] for role in ROLES for name in chosen.models_for(role))


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
    path = builtin_catalog_path()
    models, profiles = _read(path)
    if user_file is not None:
        path = user_file.expanduser()
        own_models, own_profiles = _read(path)
        models |= own_models
        profiles |= {name: profiles.get(name, {}) | entry for name, entry in own_profiles.items()}
    raw = {"models": models, "profiles": profiles}
    try:
        return Catalog.model_validate(raw)
    except ValidationError as error:
        faults = (_fault(raw, each["loc"], each["msg"]) for each in error.errors())
        raise CatalogError("\n".join(f"{path}: {fault}" for fault in faults)) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries for models and for profiles, with their names, not yet checked inside."""
    try:
        raw = tomllib.loads(read_named(path, _MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise CatalogError(f"{path}: is nested too deeply") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: is not valid TOML: {error}") from error
    for kind, table in raw.items():
        if kind not in ("models", "profiles") or not isinstance(table, dict):
            raise CatalogError(f"{path}: {kind}: only the tables [models.NAME] and [profiles.NAME] are known")
        for name, entry in table.items():
            if not isinstance(entry, dict) or "name" in entry:
                raise CatalogError(
                    f"{path}: {kind}.{name}: must be a table without `name`: its key is its name"
                )
            entry["name"] = name
    return raw.get("models", {}), raw.get("profiles", {})


def _fault(raw: dict[str, Any], location: tuple[Any, ...], message: str) -> str:
    """One line: entry, field, what is wrong. The name of a file says more than its number in the list."""
    message = message.removeprefix("Value error, ")
    if not location:
        return message
    kind, name, *field = location
    match field:
        case ["files", int(number), *rest] if isinstance(file := raw[kind][name]["files"][number], dict):
            field = ["files", file.get("name", number), *rest]
    return f"{kind}.{name}: {'.'.join(map(str, field)) or 'the entry'}: {message}"
