"""Messages as large as the server reads, each in another shape: what a parser may choke on."""

from collections.abc import Iterator
from random import Random
from typing import Final

from localvoice.contract.client_messages import MAX_MESSAGE_BYTES, MAX_VALUES

FEW_VALUES: Final = 2 * MAX_VALUES
"""Bytes of a message that has about as many values as the server reads, if each takes two."""


def filled(before: str, unit: str, after: str, size: int = MAX_MESSAGE_BYTES) -> str:
    """The unit again and again, up to this size."""
    return before + unit * ((size - len((before + after).encode())) // len(unit.encode())) + after


def _keys(size: int) -> str:
    """An object of keys that all differ."""
    return "{" + ",".join(f'"{number:06x}":1' for number in range(size // 11 - 1)) + "}"


_ATTACHMENTS: Final = '{"type":"attachments","attachments":['
_UNKNOWN: Final = '{"type":"text","text":"a","unknown":'
_SHAPES: Final[dict[str, tuple[str, str, str]]] = {
    "numbers for pictures": (_ATTACHMENTS, "1,", "1]}"),
    "empty pictures": (_ATTACHMENTS, "{},", "{}]}"),
    "empty pictures of a sound": ('{"type":"audio","data":"AAAA","attachments":[', "{},", "{}]}"),
    "a field of numbers": (f"{_UNKNOWN}[", "1,", "1]}"),
    "a field of large numbers": (f"{_UNKNOWN}[", "9" * 200 + ",", "1]}"),
    "a field of objects": (f"{_UNKNOWN}[", "{},", "1]}"),
    "a field of texts": (f"{_UNKNOWN}[", '"a",', "1]}"),
    "a field of deep lists": (f"{_UNKNOWN}[", "[" * 100 + "]" * 100 + ",", "1]}"),
    "lists in lists": ("", "[", ""),
    "a type of deep lists": ('{"type":[', "[" * 100 + "]" * 100 + ",", "1]}"),
    "a type of numbers": ('{"type":[', "1,", "1]}"),
    "one key again and again": ("{", '"a":1,', '"type":"text","text":"a"}'),
    "one type again and again": ("{", '"type":"ping",', '"type":"text","text":"a"}'),
    "a number of a million digits": ('{"type":"ping","timestamp":', "9", "}"),
    "a fraction of a million digits": ('{"type":"ping","timestamp":0.', "9", "}"),
    "an exponent of a million digits": ('{"type":"ping","timestamp":1e', "9", "}"),
    "blanks": ('{"type":"ping","timestamp":1', " ", "}"),
    "a long type": ('{"type":"', "x", '"}'),
    "a long key": ('{"', "x", '":1}'),
    "a long text": ('{"type":"text","text":"', "x", '"}'),
    "a long text of blanks": ('{"type":"text","text":"', " ", '"}'),
    "a long text of escapes": ('{"type":"text","text":"', "\\u0041", '"}'),
    "a long text of emoji": ('{"type":"text","text":"', "\U0001f600", '"}'),
    "a long offer": ('{"type":"offer","signal":{"type":"offer","sdp":"', "a=x\\r\\n", '"}}'),
    "a long session": ('{"type":"reconnect","sessionId":"', "x", '"}'),
    "a long kind of picture": (f'{_ATTACHMENTS}{{"data":"AA","mimeType":"', "x", '"}]}'),
    "a long chunk": ('{"type":"audio-chunk","sampleRate":16000,"data":"', "A", '"}'),
    "a long sound": ('{"type":"audio","data":"', "A", '"}'),
    "a long sound of escapes": ('{"type":"audio","data":"', "\\/", '"}'),
    "a long picture": (f'{_ATTACHMENTS}{{"data":"', "A", '"}]}'),
}


def large_messages() -> Iterator[tuple[str, str]]:
    """Name and text of each: as large as it may be, and with as many values."""
    for size in (MAX_MESSAGE_BYTES, FEW_VALUES):
        for name, (before, unit, after) in _SHAPES.items():
            yield f"{name}, {size} bytes", filled(before, unit, after, size)
        yield f"other keys, {size} bytes", _keys(size)
        yield f"a type of other keys, {size} bytes", f'{{"type":{_keys(size - 10)}}}'


def any_large_message(random: Random) -> str:
    """One of any size in which other things come again and again."""
    before, _, after = random.choice(list(_SHAPES.values()))
    _, unit, _ = random.choice(list(_SHAPES.values()))
    size = random.choice((FEW_VALUES, MAX_MESSAGE_BYTES, random.randint(1_000, MAX_MESSAGE_BYTES)))
    return filled(before, unit * random.choice((1, 1, 1_000)), after, size)
