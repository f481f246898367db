"""Paths as people write them, in every setting and option: `~` is the home folder, and none is ever empty."""

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Annotated, Any, Final

import platformdirs
from pydantic import BeforeValidator


def local_path(written: str | PurePath) -> Path:
    """The path with a leading `~` or `~user` resolved.

    Raises `ValueError` if it is empty, which for `Path` is the current folder, if it holds a null character,
    or if no home folder is known.
    """
    if not str(written).strip():
        raise ValueError("a path can't be empty; leave the setting out, or write . for the current folder")
    if "\0" in str(written):
        raise ValueError("a path can't hold a null character")
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder in {written} isn't known; write the path in full") from None


def _expanded(value: Any) -> Any:
    """Only what can be a path; the type check that follows refuses the rest."""
    return local_path(value) if isinstance(value, str | PurePath) else value


LocalPath = Annotated[Path, BeforeValidator(_expanded)]
"""The type of every setting that is a path."""


def _user_folder(find: Callable[..., Path]) -> Path | None:
    try:
        return find("localvoice", appauthor=False)
    except RuntimeError:  # no HOME, and a user that the system has no entry for
        return None


CONFIG_FOLDER: Final = _user_folder(platformdirs.user_config_path)
"""The user's own folder for settings; None for a user without a home folder."""
DATA_FOLDER: Final = _user_folder(platformdirs.user_data_path)
"""The user's own folder for models and keys; None for a user without a home folder."""
