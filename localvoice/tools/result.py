"""What a tool has returned: as JSON types of a limited size, and cut for the LLM."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from pydantic_core import from_json, to_json

from localvoice.application.hooks import ToolResult
from localvoice.contract.messages import in_utf8
from localvoice.tools.errors import ToolError

CONTENT_BYTES: Final = 8192
"""Of one result, what the LLM reads: about 2000 tokens, which is half of a small model's context."""

RESULT_BYTES: Final = 2**20
"""Of one result, as JSON. The LLM reads less of it; clients and hooks get all of it."""
_SMALL_BYTES: Final = 4096  # a result of this length is made on the event loop
_SCALARS: Final = (str, int, float, bool, type(None))
_PLAIN: Final = (*_SCALARS, dict, list, tuple)
"""No other type is looked at on the event loop: it may run code of the application."""
_LISTS: Final = (list, tuple, set, frozenset, deque)
_SIZED: Final = (str, bytes, bytearray)
_BRACKETS: Final = 2  # bytes of an empty list or mapping: an endless number of them has to end as well
_NUMBER_BITS: Final = 4096  # Python refuses to turn much longer numbers into text, or takes long


class TakesLongError(Exception):
    """Making this JSON may take long, so it needs a thread."""


def content_of(result: ToolResult) -> str:
    """The result in one line for the LLM, a text as it is and all else as JSON.

    Of one above `CONTENT_BYTES` only the beginning, and a note.
    """
    answer: Any = result.result if result.success else {"error": result.error}
    line = " ".join(answer.split()) if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    text = in_utf8(line)
    size = len(text.encode())
    if size <= CONTENT_BYTES:
        return text
    note = f"only the beginning is shown: the whole result has {size} bytes"
    kept = text[:CONTENT_BYTES]
    while True:  # quotes and letters of several bytes make it longer than it looks
        content = json.dumps({"note": note, "beginning": kept}, ensure_ascii=False)
        if (length := len(content.encode())) <= CONTENT_BYTES:
            return content
        kept = kept[: len(kept) * CONTENT_BYTES // (length + 1)]


def as_json(value: object, wanted: Callable[[], bool] | None = None) -> Any:
    """The value as JSON has it; raises `ToolError` if JSON can't carry it, or in more than `RESULT_BYTES`.

    An iterator is read while its items are `wanted`. Without that the value is made at once or not at all:
    raises `TakesLongError` if it is more than a few plain values.
    """
    try:
        return _Walk(wanted).of(value)
    except RecursionError as error:
        raise ToolError("gave a result that isn't JSON: it holds itself, or is nested too deeply") from error
    except ValueError as error:
        raise ToolError(f"gave a result that isn't JSON: {error}") from error


class _Walk:
    """Goes through a result item by item: one call of a library would hold up all threads for as long."""

    def __init__(self, wanted: Callable[[], bool] | None) -> None:
        self._at_once = wanted is None
        self._wanted = wanted or (lambda: True)
        self._left = _SMALL_BYTES if self._at_once else RESULT_BYTES

    def of(self, value: Any) -> Any:
        kind = type(value)
        if self._at_once and kind not in _PLAIN:
            raise TakesLongError
        if kind is str:
            self._take(len(value))  # before it is encoded, which takes long
            self._take(len(value.encode()) - len(value) + 2)
            return value
        if kind is int and value.bit_length() > _NUMBER_BITS:
            raise ValueError("a number has too many digits")
        if isinstance(value, dict):
            self._take(_BRACKETS)
            return {self._key(key): self.of(each) for key, each in value.items()}
        if isinstance(value, _LISTS):
            self._take(len(value) + _BRACKETS)
            return [self.of(each) for each in value]
        if isinstance(value, Iterator):
            self._take(_BRACKETS)
            return [self.of(each) for each in self._while_wanted(value)]
        if isinstance(value, AsyncIterator):
            raise ValueError("it is an async generator. Return a list")
        return self._single(value)

    def _key(self, key: object) -> str:
        if type(key) is str:
            return str(self.of(key))
        if self._at_once and type(key) not in _SCALARS:
            raise TakesLongError
        (written,) = self._single({key: None})
        return str(written)

    def _single(self, value: Any) -> Any:
        if isinstance(value, _SIZED) and len(value) > self._left:
            self._take(len(value))
        written = to_json(value, inf_nan_mode="null")
        self._take(len(written) + 1)
        return from_json(written)

    def _while_wanted(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            if not self._wanted():
                raise ToolError("was stopped")
            yield item

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            if self._at_once:
                raise TakesLongError
            limit = f"{RESULT_BYTES // 1024} KiB"
            raise ToolError(f"gave a result of more than {limit}: have it return less, such as a part")
