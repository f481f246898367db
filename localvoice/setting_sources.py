"""Where settings come from: what counts as given, and names that nothing answers to.

In order of precedence: the command line, environment variables (`LOCALVOICE_PROFILE`,
`LOCALVOICE_SERVER_PORT`, …), a TOML file, the defaults. What is empty counts as not given.
"""

import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from localvoice.config import PREFIX, ConfigError, Settings
from localvoice.files import CONFIG_FOLDER, is_open_to_others, read_named

log = logging.getLogger(__name__)

DEFAULT_FILE: Final = None if CONFIG_FOLDER is None else CONFIG_FOLDER / "localvoice.toml"
_MOST_TOML: Final = 1 << 20
_OTHERS: Final = {"LOCALVOICE_CACHE"}
"""Variables that aren't settings: the installer's."""
_SERVICE_LINK: Final = re.compile(
    r"LOCALVOICE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT=\w+://|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""What Kubernetes and Docker put into every container when a service is named localvoice."""


def _without_empty(given: Mapping[str, Any]) -> dict[str, Any]:
    """Empty strings mean the default, as `X=` in an environment file does."""
    return {
        name: _without_empty(value) if isinstance(value, dict) else value
        for name, value in given.items()
        if value != ""
    }


def _content_of(file: Path, named: bool) -> dict[str, Any]:
    """What a TOML file holds, in UTF-8 with or without a byte order mark; nothing if there need be none.

    Raises `ConfigError` if it can't be read.
    """
    try:
        return _without_empty(tomllib.loads(read_named(file, _MOST_TOML).decode("utf-8-sig")))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not named:
            return {}
        raise ConfigError(f"There is no settings file {file}. Check the path given with --config.") from error
    except RecursionError as error:
        raise ConfigError(f"The settings file {file} can't be read: it is nested too deeply.") from error
    except OSError as error:
        raise ConfigError(f"The settings file {file} can't be read: {error.strerror}.") from error
    except ValueError as error:  # tomllib's and the decoder's
        raise ConfigError(f"The settings file {file} can't be read: {error}.") from error


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:  # empty ones also in a variable that holds a whole group as JSON
        return _without_empty(super().__call__())


class _FromFile(Settings):
    """Settings that also come from a TOML file."""

    file: ClassVar[Path | None] = None
    content: ClassVar[dict[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, environment, file: no .env files and no secrets folder."""
        return init_settings, _Environment(settings_cls), InitSettingsSource(settings_cls, cls.content)


def load_settings(file: Path | None = None, **overrides: Any) -> Settings:
    """The settings from all sources; overrides that are None or empty count as not given.

    Raises `ConfigError`.
    """
    if problem := _unknown_variable(os.environ):
        raise ConfigError(f"An environment variable can't be used: {problem}. Correct its name, or unset it.")
    source = file or DEFAULT_FILE
    written = {} if source is None else _content_of(source, named=file is not None)
    given = {name: value for name, value in _without_empty(overrides).items() if value is not None}

    class Found(_FromFile):
        file: ClassVar[Path | None] = source
        content: ClassVar[dict[str, Any]] = written

    try:
        return Found(**given)
    except ValidationError as error:
        reasons = "; ".join(_reason(problem) for problem in error.errors(include_url=False))
        raise ConfigError(
            f"A setting can't be used: {reasons}. Look at the command line, LOCALVOICE_… "
            f"and {source or 'the settings file'}."
        ) from error
    except (SettingsError, RecursionError) as error:
        raise ConfigError(
            f"A LOCALVOICE_… environment variable can't be read: {error}. Lists are written as JSON, for "
            """instance LOCALVOICE_SERVER_ALLOWED_ORIGINS='["http://localhost:3000"]'."""
        ) from error


def setting_names(model: type[BaseModel]) -> Iterator[str]:
    """Every setting and every group, as `server` and `server.port`."""
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{inner}" for inner in setting_names(field.annotation))


def _unknown_variable(environment: Mapping[str, str]) -> str | None:
    """What is wrong with an environment variable that has the prefix and is no setting; None if all are."""
    known = [name.replace(".", "_").upper() for name in setting_names(Settings)]
    for variable, value in environment.items():
        name = variable.upper()
        if not name.startswith(PREFIX) or name in _OTHERS or _SERVICE_LINK.match(f"{name}={value}"):
            continue
        if (rest := name.removeprefix(PREFIX)) not in known:
            return f"there is no setting {variable}{_meant(rest, known, PREFIX)}"
    return None


def _reason(problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting{_meant(name, list(setting_names(Settings)))}"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"


def _meant(name: str, known: list[str], prefix: str = "") -> str:
    found = get_close_matches(name, known, n=1)
    return f" (did you mean {prefix}{found[0]}?)" if found else ""


def warn_of_open_secrets(settings: Settings) -> None:
    """Log which secrets stand in a file that other accounts can read, and what closes it.

    Raises `OSError` if the file can't be looked at.
    """
    if not isinstance(settings, _FromFile):
        return
    file, content = settings.file, settings.content
    if file is None or not file.is_file() or not is_open_to_others(file):  # none, or it was a pipe
        return
    groups = [(name, group) for name, group in settings if isinstance(group, BaseModel)]
    found = [
        f"{name}.{inner}"
        for name, group in groups
        for inner, value in group
        if isinstance(value, SecretStr) and inner in content.get(name, ())
    ]
    if found:
        words = "other accounts of this machine can read %s in %s: run `chmod 600 %s`"
        log.warning(words, " and ".join(found), file, file)
