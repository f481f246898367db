"""What a log line is about (session, turn, model), and whether it may hold what was said."""

import hashlib
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_fields: ContextVar[Mapping[str, str] | None] = ContextVar("log_fields", default=None)
_transcripts = False

_TAG_DIGITS: Final = 12
"""Enough to tell the sessions of a log apart."""


@contextmanager
def log_context(
    *, session_id: str | None = None, turn_id: str | None = None, model: str | None = None
) -> Iterator[None]:
    """Log lines of this block, and of the tasks started in it, carry these fields; of a session its tag.

    What is None stays as the block around it has it. A thread of one's own has no context, unlike one of
    `asyncio.to_thread`.
    """
    tag = None if session_id is None else session_tag(session_id)
    given = {"session_id": tag, "turn_id": turn_id, "model": model}
    known = {name: value for name, value in given.items() if value is not None}
    token = _fields.set({**log_fields(), **known})
    try:
        yield
    finally:
        _fields.reset(token)


def session_tag(session_id: str) -> str:
    """What stands for a session in the log and in the names of files: a short hash.

    The id itself resumes the conversation, so it is a secret of the client's.
    """
    return hashlib.sha256(session_id.encode()).hexdigest()[:_TAG_DIGITS]


def log_fields() -> Mapping[str, str]:
    """The fields that a log line written here would carry."""
    return _fields.get() or {}


class ContextFilter(logging.Filter):
    """Adds the fields to every record that passes a handler; what the record says itself stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass."""
        for name, value in log_fields().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def show_transcripts(shown: bool) -> None:
    """Let this process's log say what was said, or not; it doesn't until it is told to."""
    global _transcripts
    _transcripts = shown


def spoken(text: str, shown: bool | None = None) -> str:
    """What was said, for the log: the text if transcripts are switched on, else `<42 characters>`.

    `shown` decides instead of the process's switch.
    """
    if _transcripts if shown is None else shown:
        return text
    return f"<{len(text)} characters>"


def failure(error: BaseException) -> str:
    """What failed and where, for the log: its message, which may quote what was said, only if that is on."""
    if _transcripts:
        return "".join(traceback.format_exception(error))
    return f"{type(error).__name__} at\n" + "".join(traceback.format_tb(error.__traceback__))
