"""Files that must be regular: a pipe or a device in their place neither waits nor fills the memory."""

import errno
import os
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """For a path that a library opens by itself. Raises `OSError` if there is no regular file."""
    _check(os.stat(path), path)


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most that many.

    Raises `OSError`, also for a longer file, and for a pipe or a device, which may never come to an end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its writer
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor), path)
        content = file.read(most + 1)
        if len(content) > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
        return content


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
