"""Every message of a client: as it should be, and with each of its fields wrong in every way."""

import base64
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from localvoice.audio.wav import wav_bytes
from localvoice.contract.client_messages import MAX_MESSAGE_BYTES, MAX_SDP_CHARS, MAX_TEXT_CHARS
from tests.support.fakes import loud

PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One pixel."""
WAV: Final = base64.b64encode(wav_bytes(loud(0.2))).decode()
PICTURE: Final = {"data": PNG, "mimeType": "image/png", "alt": "a dot"}
OFFER: Final = {"type": "offer", "sdp": "v=0\r\n"}

GOOD: Final[dict[str, dict[str, Any]]] = {
    "ping": {"timestamp": 1_700_000_000_123},
    "offer": {"signal": OFFER},
    "signal": {"signal": OFFER},
    "reconnect": {"sessionId": "unknown"},
    "audio": {"data": WAV, "attachments": [PICTURE]},
    "attachments": {"attachments": [PICTURE]},
    "audio-chunk": {"data": base64.b64encode(bytes(1920)).decode(), "sampleRate": 16000},
    "text": {"text": "Hi."},
    "forget": {"all": True},
}
ON_THE_CHANNEL: Final = ("audio", "audio-chunk", "attachments", "text", "forget")
"""The others are signalling, which stays on the WebSocket."""

_ABSENT: Final = object()
_NO_TEXT: Final[tuple[Any, ...]] = (None, 7, 1.5, True, [], {}, ["text"], {"text": "text"})
_NO_NUMBER: Final[tuple[Any, ...]] = (None, "1700000000123", "soon", True, [], {}, [1])
_NO_SWITCH: Final[tuple[Any, ...]] = (None, 0, 1, 1.5, "true", "", [], {}, [True])
_NO_LIST: Final[tuple[Any, ...]] = (None, 7, "x", True, {}, {"0": PICTURE}, [None], [7], ["x"], [[]], [{}])
_NO_OBJECT: Final[tuple[Any, ...]] = (None, 7, "x", True, [], [OFFER])


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _png(at: int, data: bytes) -> str:
    """The picture with other bytes in it."""
    good = base64.b64decode(PNG)
    return _encoded(good[:at] + data + good[at + len(data) :])


_NO_PICTURE: Final = (
    "no base64!",
    "Ünicode=",
    "data:image/png;base64,",
    "data:image/png,abc",
    _encoded(b"no picture"),
    _encoded(base64.b64decode(PNG)[:20]),
    _encoded(base64.b64decode(PNG)[:40]),
    _png(16, b"\0\0\xff\xff\0\0\xff\xff"),
    _png(16, bytes(8)),
    _png(37, b"nonsense"),
)
"""Among them one of four gigapixels, and one of none."""

_WRONG: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "ping": {"timestamp": (_ABSENT, *_NO_NUMBER, float("nan"), float("inf"), float("-inf"))},
    "offer": {
        "signal": (_ABSENT, *_NO_OBJECT),
        "signal.type": (_ABSENT, *_NO_TEXT, "", "answer", "rollback", "OFFER"),
        "signal.sdp": (_ABSENT, *_NO_TEXT, "", "a" * (MAX_SDP_CHARS + 1)),
    },
    "reconnect": {"sessionId": (_ABSENT, *_NO_TEXT, "", "a" * 129)},
    "audio": {
        "data": (_ABSENT, *_NO_TEXT, ""),
        "attachments": (*_NO_LIST, [PICTURE] * 5),
        "attachments.0.data": (_ABSENT, *_NO_TEXT, "", *_NO_PICTURE),
        "attachments.0.mimeType": (7, 1.5, True, [], {}, "a" * 101),
        "attachments.0.alt": (*_NO_TEXT, "a" * (MAX_TEXT_CHARS + 1)),
    },
    "audio-chunk": {
        "data": (_ABSENT, *_NO_TEXT, ""),
        "sampleRate": (_ABSENT, *_NO_NUMBER, 0, -16000, 1, 1_000_000, 16000.5, float("nan"), float("inf")),
    },
    "text": {"text": (_ABSENT, *_NO_TEXT, "", " \n\t ", "a" * (MAX_TEXT_CHARS + 1))},
    "forget": {"all": _NO_SWITCH},
}
_WRONG["signal"] = _WRONG["offer"]
_WRONG["attachments"] = {
    place: (_ABSENT, *values) if place == "attachments" else values
    for place, values in _WRONG["audio"].items()
    if place != "data"
}


def good(kind: str) -> str:
    return json.dumps({"type": kind, **GOOD[kind]})


def wrong(kind: str) -> Iterator[tuple[str, str]]:
    """Each place in this message, and a message that is wrong there alone."""
    for place, values in _WRONG[kind].items():
        for value in values:
            message: Any = {"type": kind, **deepcopy(GOOD[kind])}
            *way, last = place.split(".")
            inner = message
            for step in way:
                inner = inner[int(step)] if step.isdecimal() else inner[step]
            if value is _ABSENT:
                del inner[last]
            else:
                inner[last] = value
            yield place, json.dumps(message)


NO_MESSAGES: Final[dict[str, str | bytes]] = {
    "nothing": "",
    "no JSON": "hello",
    "half of one": good("text")[:-1],
    "two in one": good("text") * 2,
    "a comment": good("text") + " // Hi.",
    "a byte order mark": "\ufeff" + good("text"),
    "a raw line break": '{"type":"text","text":"a\nb"}',
    "half a surrogate": '{"type":"text","text":"\\ud800"}',
    "a number out of range": '{"type":"ping","timestamp":1e999}',
    "null": "null",
    "a list": f"[{good('text')}]",
    "a string": json.dumps(good("text")),
    "no type": '{"text":"Hi."}',
    "type null": '{"type":null,"text":"Hi."}',
    "type list": '{"type":["text"],"text":"Hi."}',
    "type in capitals": '{"type":"TEXT","text":"Hi."}',
    "an unknown type": '{"type":"shutdown"}',
    "a server's type": '{"type":"llm","text":"Hi."}',
    "a type of a megabyte": json.dumps({"type": "x" * 200_000}),
    "deep lists": "[" * 50_000,
    "deep lists, closed": "[" * 50_000 + "]" * 50_000,
    "deep objects": '{"type":' * 30_000,
    "depth in a field": f'{{"type":"text","text":{"[" * 5_000}{"]" * 5_000}}}',
    "depth in an unknown field": f'{{"type":"text","text":"Hi.","x":{"[" * 5_000}{"]" * 5_000}}}',
    "binary": b"\x00\x01\x02\xff",
    "binary JSON": good("text").encode(),
}

TOO_LARGE: Final[dict[str, str]] = {
    "blanks": " " * (MAX_MESSAGE_BYTES + 1),
    "a text": json.dumps({"type": "text", "text": "a" * MAX_MESSAGE_BYTES}),
    "sound": json.dumps({"type": "audio", "data": "A" * MAX_MESSAGE_BYTES}),
}
