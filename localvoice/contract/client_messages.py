"""What a client may send, checked. These come from outside, so they are pydantic models.

Field names are snake_case here and camelCase on the wire. Types are strict: a number in quotes is no number.
`Text`, `AudioChunk` and `ForgetMessage` are this server's own additions.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from localvoice.contract.errors import Component, ErrorCode, VoiceError

MAX_SDP_CHARS: Final = 64 * 1024
"""A browser's offer is 2 to 8 KiB; anything far above is no offer."""
MAX_TEXT_CHARS: Final = 4_000
"""A long paragraph; more is no message that someone types."""
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""A minute of 16 kHz sound in base64, with room to spare."""
MAX_VALUES: Final = 20_000
"""In a message: four `alt` texts may hold 16,000 commas, and a parser pays for each value."""
MAX_ATTACHMENTS: Final = 4
"""Pictures of one utterance; each costs a local model hundreds of tokens."""
MAX_CHUNK_SECONDS: Final = 0.2
"""Of an `audio-chunk`. Sound that comes in larger pieces is heard late."""
CHUNK_RATES: Final = (8_000, 48_000)
"""Hz, lowest and highest: from a telephone's to Opus' own."""
_MAX_CHUNK_CHARS: Final = round(MAX_CHUNK_SECONDS * CHUNK_RATES[1]) * 2 // 3 * 4
"""Its bytes as base64."""
_MAX_REASON_CHARS: Final = 300
"""What is wrong may quote the message, and that may be megabytes."""


class _ClientMessage(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore", strict=True)


class SessionDescription(_ClientMessage):
    """A client's offer. The server makes none, so there is nothing that a client could answer."""

    type: Literal["offer"]
    sdp: Annotated[str, Field(min_length=1, max_length=MAX_SDP_CHARS)]


class Ping(_ClientMessage):
    """A sign of life, every 15 s."""

    type: Literal["ping"]
    timestamp: Annotated[float, Field(allow_inf_nan=False)]


class Offer(_ClientMessage):
    """A WebRTC offer; a second one on the same connection renegotiates."""

    type: Literal["offer", "signal"]
    signal: SessionDescription


class Reconnect(_ClientMessage):
    """Asks to go on with an earlier session."""

    type: Literal["reconnect"]
    session_id: Annotated[str, Field(min_length=1, max_length=128)]


class Attachment(_ClientMessage):
    """A picture that belongs to the next utterance."""

    data: Annotated[str, Field(min_length=1)]
    """Base64 of the file; a `data:` URL is taken, too."""
    mime_type: Annotated[str, Field(max_length=100)] | None = None
    """Such as image/jpeg; a `data:` URL names its own."""
    alt: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    """What it shows, in words."""


# Without FailFast, pydantic collects an error for each item of a long list, which takes kilobytes each.
_Attached = Annotated[tuple[Attachment, ...], Field(max_length=MAX_ATTACHMENTS), FailFast()]


class Audio(_ClientMessage):
    """A whole spoken utterance from a client without WebRTC."""

    type: Literal["audio"]
    data: Annotated[str, Field(min_length=1)]
    """Base64 of a file: WAV, WebM, Ogg or MP4."""
    attachments: _Attached = ()
    """Pictures that belong to it."""


class AudioChunk(_ClientMessage):
    """The user's sound while it is being recorded, from a client without WebRTC. Our own addition.

    Chunks of 40 to 60 ms, sent without a pause, are heard like a WebRTC track, with barge-in.
    """

    type: Literal["audio-chunk"]
    data: Annotated[str, Field(min_length=1, max_length=_MAX_CHUNK_CHARS)]
    """Base64 of mono s16le samples, at most 0.2 s of them."""
    sample_rate: Annotated[int, Field(ge=CHUNK_RATES[0], le=CHUNK_RATES[1])]
    """Samples a second, the same in each chunk of a stream."""


class Attachments(_ClientMessage):
    """Pictures for the next utterance, whichever way it comes."""

    type: Literal["attachments"]
    attachments: _Attached
    """At most four."""


class Text(_ClientMessage):
    """A typed message, answered by voice and text. Our own addition."""

    type: Literal["text"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"\S")]


class ForgetMessage(_ClientMessage):
    """Asks to forget the last exchange, or everything. Our own addition; answered by `forgotten`."""

    type: Literal["forget"]
    all: bool = False
    """Whether all that was said is to be forgotten."""


AnyMessage = Ping | Offer | Reconnect | Audio | AudioChunk | Attachments | Text | ForgetMessage
_CLIENT_MESSAGE: Final[TypeAdapter[AnyMessage]] = TypeAdapter(
    Annotated[AnyMessage, Field(discriminator="type")]
)


def size_of(data: str | bytes) -> int:
    """Bytes on the wire; what isn't ASCII takes up to four for each character."""
    return len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)


def parse(data: str | bytes) -> AnyMessage:
    """The client's message. Raises `VoiceError` INVALID_MESSAGE that names the first wrong field."""
    if size_of(data) > MAX_MESSAGE_BYTES:
        raise invalid_message(f"it is larger than {MAX_MESSAGE_BYTES // 2**20} MiB")
    if _values(data) > MAX_VALUES:
        raise invalid_message(f"it has more than {MAX_VALUES} values")
    try:
        return _CLIENT_MESSAGE.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise invalid_message(f"{where}: {first['msg']}" if where else first["msg"]) from error


def _values(data: str | bytes) -> int:
    """No fewer than the values of a JSON text. To count them costs little."""
    text = data if isinstance(data, str) else data.decode("latin-1")
    return sum(map(text.count, ",[{"))


def invalid_message(reason: str) -> VoiceError:
    """The error that answers a message that can't be understood."""
    # It may quote the message, and a line break in it would begin a line of its own in the log.
    words = "".join(each if each.isprintable() else "\ufffd" for each in reason[:_MAX_REASON_CHARS])
    return VoiceError(
        ErrorCode.INVALID_MESSAGE, Component.SERVER, f"This message can't be understood: {words}."
    )
