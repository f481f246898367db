"""Files and their paths: as people write them, regular ones, those that the user names, private ones.

A path that the user names may lead to a pipe or a device, as a shell's `<(...)` and `>(...)`, `/dev/stdin`
and `/dev/null` do. A pipe that no program has open at its other end is refused at once. A pipe whose other
end stands still is refused after a while.
"""

import errno
import os
import select
import stat
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, Self

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
    # The type check that follows refuses what can't be a path.
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


_PATIENCE_SECONDS: Final = 10.0
"""How long a program at the other end of a pipe, or a person at a terminal, may do nothing."""
_PIECE: Final = 1 << 20
_OPEN: Final = os.O_NONBLOCK | os.O_NOCTTY


def check_regular(path: Path) -> None:
    """For a path that a library opens by itself. Raises `OSError` if there is no regular file."""
    _check(os.stat(path), path)


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most that many.

    Raises `OSError`, also for a longer file, and for a pipe or a device, which may never come to an end.
    """
    return _content(path, most, regular=True)


def read_named(path: Path, most: int) -> bytes:
    """The bytes of a file of at most that many; those of a pipe to its end.

    Raises `OSError` whose `strerror` is the reason, also for a longer file and for a pipe that nothing comes
    from.
    """
    return _content(path, most, regular=False)


def _content(path: Path, most: int, *, regular: bool) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | _OPEN)  # or a pipe would wait for its writer
    try:
        status = os.fstat(descriptor)
        if regular:
            _check(status, path)
        content = bytearray()
        while piece := _read(descriptor, min(_PIECE, most + 1 - len(content)), path):
            content += piece
            if len(content) > most:
                size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
                raise OSError(errno.EFBIG, f"it is larger than {size}", str(path))
        if not content and stat.S_ISFIFO(status.st_mode):
            raise OSError(errno.ENODATA, "it is a pipe that no program writes to", str(path))
        return bytes(content)
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _read(descriptor: int, most: int, path: Path) -> bytes:
    while True:
        try:
            return os.read(descriptor, most)
        except BlockingIOError:
            _wait(descriptor, select.POLLIN, "nothing comes from it", path)


def _wait(descriptor: int, event: int, reason: str, path: Path) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(1000 * _PATIENCE_SECONDS):
        raise TimeoutError(errno.ETIMEDOUT, f"{reason} for {_PATIENCE_SECONDS:.0f} s", str(path))


class NamedOutput:
    """A file that is opened before its content is known, so a path that can't be written is told first."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` whose `strerror` is the reason. What a file holds stays until `write`."""
        self._path = path
        self._made = not path.exists()
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _OPEN, 0o666)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OSError(error.errno, "it is a pipe that no program reads", str(path)) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; one that was made here and not written is removed."""
        os.close(self._descriptor)
        if self._made:
            self._path.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        """Put this in the place of what the file held. Raises `OSError` whose `strerror` is the reason."""
        self._made = False
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, 0)
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                _wait(self._descriptor, select.POLLOUT, "what reads it stands still", self._path)
            except OSError as error:
                raise OSError(error.errno, os.strerror(error.errno or 0), str(self._path)) from error


_MOST_PRIVATE: Final = 64 << 20
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
    temporary.unlink(missing_ok=True)  # the process that made it might be able to read it
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
    return read_regular(path, _MOST_PRIVATE)
