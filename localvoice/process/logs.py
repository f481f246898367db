"""What the process logs, and where to. What was said is not in it unless that is switched on."""

import logging
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Literal

from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.logging import RichHandler

from localvoice.config import ConfigError
from localvoice.observability.log_context import ContextFilter, show_transcripts
from localvoice.process.output import plain

log = logging.getLogger(__name__)

LogFormat = Literal["text", "json"]

_CHATTY: Final = (
    *("aioice", "aiortc", "asyncio", "httpx", "httpcore", "urllib3"),
    *("huggingface_hub", "filelock", "faster_whisper", "piper"),
)
"""Libraries whose information is of use to their developers only; some of it holds transcripts."""

_FILE_BYTES: Final = 10_000_000
_PRIVATE: Final = 0o600
_OLD_FILES: Final = 3
"""Log files kept next to the current one: 40 MB in all, however long the server runs."""


def set_up_logging(
    level: str,
    console: Console,
    format: LogFormat = "text",
    transcripts: bool = False,
    file: Path | None = None,
) -> None:
    """Send our log to the terminal and, if one is named, to a file as well; other libraries only warn.

    `json` writes one object a line: time (ISO 8601, UTC), level, logger, message, and the fields of the
    record and of `log_context`. `transcripts` is for `spoken`. An application that has set up logging before
    keeps its own handlers and level. Raises `ConfigError` for a file that can't be written.
    """
    show_transcripts(transcripts)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if logging.getLogger().handlers:
        return
    handlers = [_terminal(console, format)]
    if file is not None:
        handlers.append(_file(file, format))
    flood = FloodFilter()
    for handler in handlers:
        handler.addFilter(ContextFilter())
        handler.addFilter(flood)  # after it: the flood is one session's
    logging.basicConfig(level=level.upper(), handlers=handlers)


class _JsonLines(JsonFormatter):
    def __init__(self) -> None:
        super().__init__(
            ["asctime", "levelname", "name", "message"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class _TextLines(logging.Formatter):
    """Text in which no words command the terminal, or begin a line as a record does."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record)).replace("\n", "\n    ")


class _PrivateFile(RotatingFileHandler):
    """A log file that only its owner can read, and each one that follows it.

    While it can't be written, as on a full disk, that is told once to the other handlers; lines are lost.
    """

    _failed = _told = False

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        super().emit(record)
        if self._told and not self._failed:
            self._told = False
            log.warning("the log file %s can be written again; some lines are missing", self.baseFilename)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)  # prints a traceback for each line
            return
        self._failed = True
        if not self._told:
            self._told = True
            words = "the log file %s can't be written: %s. Lines are lost until it can"
            log.error(words, self.baseFilename, error.strerror or error)

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    # A pipe that no program reads would have us wait, and one that is full every line of the log.
    descriptor = os.open(path, flags | os.O_NONBLOCK, _PRIVATE)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():  # and no device, such as /dev/stderr
        os.fchmod(descriptor, _PRIVATE)  # it may be older than this setting
    return descriptor


def _terminal(console: Console, format: LogFormat) -> logging.Handler:
    if format == "json":
        lines = logging.StreamHandler(console.file)  # past the console, which would wrap long lines
        lines.setFormatter(_JsonLines())
        return lines
    text = RichHandler(console=console, show_path=False, rich_tracebacks=False)
    text.setFormatter(_TextLines("%(message)s", "%H:%M:%S"))
    return text


def _file(file: Path, format: LogFormat) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = _PrivateFile(file, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The log file {file} can't be written: {error.strerror}. Name another one, or none."
        ) from error
    text = _TextLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if format == "json" else text)
    return handler


_WINDOW_SECONDS: Final = 60.0
_OF_A_SESSION: Final = 20
_IN_ALL: Final = 100
"""Lines of one kind in a window. Strangers have no session, and count as one together."""

LineKind = tuple[str, int, str | None]
"""Where in the code a line comes from, and the error code that it is about."""


class FloodFilter(logging.Filter):
    """Lets so many warnings of a kind pass in a minute. The last of them says so, and the next one how many
    were left out. One instance serves all handlers; the clock gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._begun = clock()
        self._seen: Counter[tuple[LineKind, str | None]] = Counter()
        self._passed: Counter[LineKind] = Counter()
        self._left_out: Counter[LineKind] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes."""
        if record.levelno < logging.WARNING:
            return True
        known: bool | None = getattr(record, "_passes", None)
        if known is None:  # the first handler's question
            known = self._passes(record)
            record.__dict__["_passes"] = known
        return known

    def _passes(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._begun >= _WINDOW_SECONDS:
            self._begun = now
            self._seen.clear()
            self._passed.clear()
        kind = (record.pathname, record.lineno, getattr(record, "code", None))
        sender = (kind, getattr(record, "session_id", None))
        self._seen[sender] += 1
        if self._seen[sender] > _OF_A_SESSION or self._passed[kind] >= _IN_ALL:
            self._left_out[kind] += 1
            return False
        self._passed[kind] += 1
        notes = list[str]()
        if left_out := self._left_out.pop(kind, 0):
            notes.append(f"{left_out} lines like this were left out before")
        if self._seen[sender] == _OF_A_SESSION or self._passed[kind] == _IN_ALL:
            notes.append("more lines like this are left out for a minute")
        if notes:
            record.msg, record.args = f"{record.getMessage()} ({'; '.join(notes)})", ()
        return True
