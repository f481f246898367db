"""Where settings come from: what counts as given, and names that nothing answers to."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource

from localvoice.regular_file import read_regular

PREFIX: Final = "LOCALVOICE_"
_MOST_TOML: Final = 1 << 20
_OTHERS: Final = {"LOCALVOICE_CACHE"}
"""Variables that aren't settings: the installer's."""
_SERVICE_LINK: Final = re.compile(
    r"LOCALVOICE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT=\w+://|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""What Kubernetes and Docker put into every container when a service is named localvoice."""


def without_empty(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, less empty strings: these mean the default, as `X=` in an environment file does."""
    return {
        name: without_empty(value) if isinstance(value, dict) else value
        for name, value in given.items()
        if value != ""
    }


class TomlFile(InitSettingsSource):
    """A TOML file, if there is one, in UTF-8 with or without a byte order mark.

    Raises `OSError`, `ValueError` or `RecursionError` if it can't be read.
    """

    def __init__(self, settings: type[BaseSettings], file: Path | None) -> None:
        read = file is not None and file.is_file()
        text = read_regular(file, _MOST_TOML).decode("utf-8-sig") if file is not None and read else ""
        content = tomllib.loads(text)
        super().__init__(settings, without_empty(content))


def setting_names(model: type[BaseModel]) -> Iterator[str]:
    """Every setting and every group, as `server` and `server.port`."""
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{inner}" for inner in setting_names(field.annotation))


def unknown_variable(settings: type[BaseSettings], environment: Mapping[str, str]) -> str | None:
    """What is wrong with an environment variable that has the prefix and is no setting; None if all are."""
    known = [name.replace(".", "_").upper() for name in setting_names(settings)]
    for variable, value in environment.items():
        name = variable.upper()
        if not name.startswith(PREFIX) or name in _OTHERS or _SERVICE_LINK.match(f"{name}={value}"):
            continue
        if (rest := name.removeprefix(PREFIX)) not in known:
            return f"there is no setting {variable}{_meant(rest, known, PREFIX)}"
    return None


def explained(error: ValidationError, settings: type[BaseSettings]) -> str:
    """Each setting that is refused, and why."""
    return "; ".join(_reason(problem, settings) for problem in error.errors(include_url=False))


def _reason(problem: Mapping[str, Any], settings: type[BaseSettings]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting{_meant(name, list(setting_names(settings)))}"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"


def _meant(name: str, known: list[str], prefix: str = "") -> str:
    found = get_close_matches(name, known, n=1)
    return f" (did you mean {prefix}{found[0]}?)" if found else ""
