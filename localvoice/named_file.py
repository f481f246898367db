"""Files that the user names: read and written without waiting for ever, whatever stands at the path.

A path may name a pipe or a device, as a shell's `<(...)` and `>(...)`, `/dev/stdin` and `/dev/null` do. A
pipe that no program has open at its other end is refused at once, and one whose other end stands still is
refused after a while.
"""

import errno
import os
import select
import stat
from pathlib import Path
from typing import Final, Self

_PATIENCE_SECONDS: Final = 10.0
"""How long a program at the other end of a pipe, or a person at a terminal, may do nothing."""
_PIECE: Final = 1 << 20
_OPEN: Final = os.O_NONBLOCK | os.O_NOCTTY


def read_named(path: Path, most: int) -> bytes:
    """The bytes of a file of at most that many; those of a pipe to its end.

    Raises `OSError` whose `strerror` is the reason, also for a longer file and for a pipe that nothing comes
    from.
    """
    descriptor = os.open(path, os.O_RDONLY | _OPEN)
    try:
        content = bytearray()
        while piece := _read(descriptor, min(_PIECE, most + 1 - len(content)), path):
            content += piece
            if len(content) > most:
                raise OSError(errno.EFBIG, f"it is larger than {_size(most)}", str(path))
        if not content and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENODATA, "it is a pipe that no program writes to", str(path))
        return bytes(content)
    finally:
        os.close(descriptor)


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
        """The file itself."""
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


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
