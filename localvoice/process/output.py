"""The output of a program: it outlives its reader, and commands of the terminal are shown as text.

A log's reader ends, a terminal is closed, a disk is full: the output is lost then, and nothing else happens.
Python itself would raise an error in the code that prints. What a model says or a file holds must not command
the terminal.
"""

import codecs
import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a full disk or a closed terminal answers a write with. A pipe without a reader is left to `typer`."""
_STDERR: Final = 2
_PATIENCE_MS: Final = 200
"""How long a write waits for a reader that is slow. After that, writes wait no more until it reads again."""
_PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe takes without waiting once `poll` says that it is writable."""
_PLAIN: Final = {"…": "...", "–": "-", "—": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "✓": "x", "•": "*"}
_SPELT: Final = "localvoice.spelt"
"""The name of our error handler for what an encoding such as latin-1 lacks."""


class _LossyFile(io.FileIO):
    """A file descriptor to which every write succeeds: what it doesn't take in time is dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._patience_ms = _PATIENCE_MS

    def write(self, data: "ReadableBuffer", /) -> int:
        rest = whole = memoryview(data)
        with suppress(OSError):
            while rest:
                if not self._poll.poll(self._patience_ms):
                    self._patience_ms = 0
                    break
                self._patience_ms = _PATIENCE_MS
                rest = rest[os.write(self.fileno(), rest[:_PIECE]) :]
        return len(whole)


def open_standard_streams() -> None:
    """Put the null device where the program was started with a standard stream closed, as by `>&-`.

    Without one, the next file or socket that is opened gets its number, and what native code prints goes into
    it. For a program of its own, before it opens anything.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this stream's
            os.set_inheritable(descriptor, True)  # the processes that are started need it as well
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def outlive_output() -> None:
    """From now on nothing that is printed can fail, or hold up the process for long.

    Streams that were replaced by others, as tests do, stay as they are.
    """
    codecs.register_error(_SPELT, _spelt)
    for name, original in (("stdout", sys.__stdout__), ("stderr", sys.__stderr__)):
        stream = getattr(sys, name)
        if original is None or stream is not original:
            continue
        with suppress(OSError):
            original.flush()
        try:
            file = _LossyFile(original.fileno())
        except OSError:  # its descriptor is closed
            file = _LossyFile(os.open(os.devnull, os.O_WRONLY))
        lossy = io.TextIOWrapper(io.BufferedWriter(file), original.encoding, _SPELT, line_buffering=True)
        setattr(sys, name, lossy)  # the original stays as sys.__stdout__: its end would close the descriptor


def spell_out() -> None:
    """From now on letters that the terminal's encoding lacks are written in others, instead of an error."""
    codecs.register_error(_SPELT, _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELT)


def last_words(text: str) -> bool:
    """Say something on standard error just before the process ends at once; whether it could be written.

    It neither uses the log, whose lock a stuck thread may hold, nor waits for a reader.
    """
    poll = select.poll()
    with suppress(OSError):
        poll.register(_STDERR, select.POLLOUT)
        if poll.poll(0):
            os.write(_STDERR, text.encode()[:_PIECE])
            return True
    return False


def _spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = (_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in missing)
    return "".join(plain), error.end


_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
} | {code: f"\\u{code:04x}" for code in range(0x202A, 0x202F)}
"""ESC among them, which begins most commands, and its 8-bit forms; and what has the letters that follow run
the other way, so that other words are read than were written. Languages that run so by nature do without."""


def plain(text: str) -> str:
    """The text with control characters spelt out, such as `\\x1b`; tabs and line ends stay."""
    return text.translate(_CONTROLS)


def open_terminal(stderr: bool = False) -> Console:
    """A console that shows all it is given as `plain` does. Brackets and colons in it are no markup."""
    console = Console(stderr=stderr, markup=False, emoji=False)
    console.push_render_hook(_Plainly())
    return console


class _Plainly(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Plain(each) for each in renderables]


class _Plain:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)
