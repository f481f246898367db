"""Tells of a settings file whose secrets other accounts of this machine can read: most files are made so."""

import logging
import tomllib

from pydantic import BaseModel, SecretStr

from localvoice.config import Settings
from localvoice.files import is_open_to_others
from localvoice.setting_sources import settings_file

log = logging.getLogger(__name__)


def warn_of_open_secrets(settings: Settings) -> None:
    """Log which secrets they are and what closes the file. Raises `OSError` if it can't be read any more."""
    file = settings_file(settings)
    if file is None or not is_open_to_others(file):
        return
    written = tomllib.loads(file.read_text("utf-8-sig"))
    found = [
        name
        for name in _secrets(settings)
        if name.partition(".")[2] in written.get(name.partition(".")[0], ())
    ]
    if found:
        log.warning(
            "other accounts of this machine can read %s in %s: run `chmod 600 %s`",
            " and ".join(found),
            file,
            file,
        )


def _secrets(settings: Settings) -> list[str]:
    """Names of the settings that hold a secret, such as `server.token`."""
    groups = [(name, group) for name, group in settings if isinstance(group, BaseModel)]
    return [
        f"{name}.{inner}" for name, group in groups for inner, value in group if isinstance(value, SecretStr)
    ]
