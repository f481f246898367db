"""The messages on the wire: what a client may send, checked; what the server sends, encoded.

Client messages are pydantic models, for they come from outside; server messages are plain frozen
dataclasses. Field names are snake_case here and camelCase on the wire. `Text`, `State`, `TurnMetrics` and
`ReplyHeard` are this server's own additions: a stock client doesn't know and so ignores them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from localvoice.contract.errors import Component, ErrorCode, VoiceError

PROTOCOL_VERSION: Final = 1
MAX_SDP_CHARS: Final = 64 * 1024
"""A browser's offer is 2 to 8 KiB; anything far above is no offer."""
MAX_TEXT_CHARS: Final = 4_000
"""A long paragraph; more is no message that someone types."""
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""A minute of 16 kHz sound in base64, with room to spare."""
_MAX_REASON_CHARS: Final = 300
"""What is wrong may quote the message, and that may be megabytes."""


class _ClientMessage(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class SessionDescription(_ClientMessage):
    """One side's offer or answer."""

    type: Literal["offer", "answer"]
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


class Audio(_ClientMessage):
    """A whole spoken utterance from a client without WebRTC."""

    type: Literal["audio"]
    data: Annotated[str, Field(min_length=1)]
    """Base64 of a WAV file."""


class Text(_ClientMessage):
    """A typed message, answered by voice and text. Our own addition."""

    type: Literal["text"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"\S")]


ClientMessage = Annotated[Ping | Offer | Reconnect | Audio | Text, Field(discriminator="type")]
_CLIENT_MESSAGE: Final[TypeAdapter[Ping | Offer | Reconnect | Audio | Text]] = TypeAdapter(ClientMessage)


def parse(data: str | bytes) -> Ping | Offer | Reconnect | Audio | Text:
    """The client's message. Raises `VoiceError` INVALID_MESSAGE that names the first wrong field."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise invalid_message(f"it is larger than {MAX_MESSAGE_BYTES // 2**20} MiB")
    try:
        return _CLIENT_MESSAGE.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise invalid_message(f"{where}: {first['msg']}" if where else first["msg"]) from error


def invalid_message(reason: str) -> VoiceError:
    """The error that answers a message that can't be understood."""
    return VoiceError(
        ErrorCode.INVALID_MESSAGE,
        Component.SERVER,
        f"This message can't be understood: {reason[:_MAX_REASON_CHARS]}.",
    )


@dataclass(frozen=True)
class ServerMessage:
    """What the server sends; subclasses add the fields of their type."""

    type: ClassVar[str]
    signalling: ClassVar[bool] = False
    """Whether it goes on the WebSocket alone; a payload goes on the data channel, too."""

    def encode(self) -> str:
        """The message as JSON text; fields that are None are left out."""
        body: dict[str, Any] = {"type": self.type}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                body[to_camel(field.name)] = value
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Ready(ServerMessage):
    """The first message on a connection."""

    type = "ready"
    signalling = True
    id: str
    """The session's id, made by the server."""
    ice_servers: tuple[Mapping[str, str], ...] | None = None
    """For clients that ask a public STUN server unless they are given one."""
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Pong(ServerMessage):
    """Answers a ping."""

    type = "pong"
    signalling = True
    timestamp: float
    """The ping's own, unchanged."""


@dataclass(frozen=True)
class Signal(ServerMessage):
    """Answers an offer."""

    type = "signal"
    signalling = True
    signal: Mapping[str, str]
    """`type` and `sdp`; the SDP holds all candidates."""


@dataclass(frozen=True)
class ReconnectAck(ServerMessage):
    """Answers a reconnect."""

    type = "reconnect-ack"
    signalling = True
    success: bool
    session_id: str
    """The session that this connection now has."""
    history_recovered: bool


@dataclass(frozen=True)
class TranscriptMessage(ServerMessage):
    """What the user said."""

    type = "transcript"
    text: str
    is_final: bool = True


@dataclass(frozen=True)
class LlmChunk(ServerMessage):
    """A part of the reply while it is being written."""

    type = "llm-chunk"
    content: str
    done: bool = False


@dataclass(frozen=True)
class LlmReply(ServerMessage):
    """The whole reply."""

    type = "llm"
    text: str


@dataclass(frozen=True)
class TtsStart(ServerMessage):
    """Sound of the reply follows."""

    type = "tts-start"


@dataclass(frozen=True)
class TtsChunk(ServerMessage):
    """Sound of the reply for a client without an audio track."""

    type = "tts-chunk"
    data: str
    """Base64 of mono s16le samples."""
    sample_rate: int
    format: str = "pcm"


@dataclass(frozen=True)
class TtsComplete(ServerMessage):
    """The last of the reply has been played."""

    type = "tts-complete"


@dataclass(frozen=True)
class TtsCancelled(ServerMessage):
    """The user cut the reply short; a client throws away sound that it holds."""

    type = "tts-cancelled"


@dataclass(frozen=True)
class SpeechStart(ServerMessage):
    """The user has begun to speak."""

    type = "speech-start"


@dataclass(frozen=True)
class SpeechEnd(ServerMessage):
    """The user has finished speaking."""

    type = "speech-end"


@dataclass(frozen=True)
class ErrorMessage(ServerMessage):
    """Something failed; the session goes on."""

    type = "error"
    code: str
    message: str


@dataclass(frozen=True)
class StateMessage(ServerMessage):
    """What the agent is doing. Our own addition."""

    type = "state"
    state: str
    """idle, listening, thinking or speaking."""


@dataclass(frozen=True)
class ReplyHeard(ServerMessage):
    """Follows a cancelled reply: the words that the user heard of it. Our own addition."""

    type = "reply-heard"
    text: str


@dataclass(frozen=True)
class TurnMetrics(ServerMessage):
    """Where a turn's time went, in ms; sent when its first sound plays. Our own addition."""

    type = "turn-metrics"
    voice_to_voice_ms: float | None
    """End of the user's speech (or the typed message) to the first audible sample played."""
    endpoint_ms: float | None
    """End of the user's speech to the decision that the turn is theirs no longer."""
    stt_ms: float | None
    """The transcription alone; part of it runs while the end of the turn is awaited."""
    first_token_ms: float | None
    """Request to the LLM until its first token."""
    first_audio_ms: float | None
    """First token until the first audible sample."""
