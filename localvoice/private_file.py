"""A file that only its owner may read, and that is whole whenever the power goes."""

import os
import stat
from pathlib import Path
from typing import Final

from localvoice.regular_file import read_regular

_MOST: Final = 64 << 20
"""Bytes; the longest conversation has a few MB."""
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
"""A group that may read a secret is usual, such as Debian's `ssl-cert` of TLS keys."""
TEMPORARY_SUFFIX: Final = ".tmp"
"""Of a copy that is being written; one that is left behind is from a process that died."""


def is_open_to_others(path: Path) -> bool:
    """Whether other accounts of this machine can use what is in the file. Raises `OSError`."""
    return bool(path.stat().st_mode & _OTHERS)


def write_private(path: Path, content: bytes) -> None:
    """Put this in the place of what the file held. Raises `OSError`, and then that is still there."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)  # whoever made it might be able to read it
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the renaming is the folder's own content
    finally:
        os.close(folder)


def read_private(path: Path) -> bytes:
    """What the file holds. Raises `OSError`, also for what is no regular file, or longer than any of ours."""
    return read_regular(path, _MOST)
