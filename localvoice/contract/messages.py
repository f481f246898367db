"""What the server sends, encoded: plain frozen dataclasses.

Field names are snake_case here and camelCase on the wire. `StateMessage`, `TurnMetrics`, `ReplyHeard` and
`Forgotten` are this server's own additions: a stock client doesn't know these types and so ignores them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final

from pydantic.alias_generators import to_camel

PROTOCOL_VERSION: Final = 1

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class ServerMessage:
    """What the server sends; subclasses name their type and add its fields."""

    type: ClassVar[str]
    signalling: ClassVar[bool]
    """Whether it goes on the WebSocket alone; a payload goes on the data channel, too."""

    def __init_subclass__(cls, type: str, signalling: bool = False) -> None:
        """Set what all messages of the class have in common."""
        cls.type, cls.signalling = type, signalling

    def encode(self) -> str:
        """The message as JSON text; fields that are None are left out."""
        body: dict[str, Any] = {"type": self.type}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                body[_name_on_wire(field.name)] = value
        return in_utf8(_encode(body))


@cache
def _name_on_wire(name: str) -> str:
    return to_camel(name.rstrip("_"))


@dataclass(frozen=True)
class Ready(ServerMessage, type="ready", signalling=True):
    """The first message on a connection."""

    id: str
    """The session's id, made by the server."""
    ice_servers: tuple[Mapping[str, str], ...] | None = None
    """For clients that ask a public STUN server unless they are given one."""
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Pong(ServerMessage, type="pong", signalling=True):
    """Answers a ping."""

    timestamp: float
    """The ping's own, unchanged."""


@dataclass(frozen=True)
class Signal(ServerMessage, type="signal", signalling=True):
    """Answers an offer."""

    signal: Mapping[str, str]
    """`type` and `sdp`; the SDP holds all candidates."""


@dataclass(frozen=True)
class ReconnectAck(ServerMessage, type="reconnect-ack", signalling=True):
    """Answers a reconnect."""

    success: bool
    session_id: str
    """The session that this connection now has."""
    history_recovered: bool


@dataclass(frozen=True)
class TranscriptMessage(ServerMessage, type="transcript"):
    """What the user said."""

    text: str
    is_final: bool = True


@dataclass(frozen=True)
class LlmChunk(ServerMessage, type="llm-chunk"):
    """A part of the reply while it is being written."""

    content: str
    done: bool = False


@dataclass(frozen=True)
class LlmReply(ServerMessage, type="llm"):
    """The whole reply."""

    text: str


@dataclass(frozen=True)
class TtsStart(ServerMessage, type="tts-start"):
    """Sound of the reply follows."""


@dataclass(frozen=True)
class TtsChunk(ServerMessage, type="tts-chunk"):
    """Sound of the reply for a client without an audio track."""

    data: str
    """Base64 of mono s16le samples."""
    sample_rate: int
    format: str = "pcm"


@dataclass(frozen=True)
class TtsMessage(ServerMessage, type="tts"):
    """The whole reply's sound, where speech isn't streamed and there is no audio track."""

    data: str
    """Base64 of a WAV file."""
    format: str = "wav"


@dataclass(frozen=True)
class TtsComplete(ServerMessage, type="tts-complete"):
    """The last of the reply has been played."""


@dataclass(frozen=True)
class TtsCancelled(ServerMessage, type="tts-cancelled"):
    """The user cut the reply short; a client throws away sound that it holds."""


@dataclass(frozen=True)
class SpeechStart(ServerMessage, type="speech-start"):
    """The user has begun to speak."""


@dataclass(frozen=True)
class SpeechEnd(ServerMessage, type="speech-end"):
    """The user has finished speaking."""


@dataclass(frozen=True)
class ToolCallStart(ServerMessage, type="tool-call-start"):
    """A tool begins to run."""

    name: str
    call_id: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCallEnd(ServerMessage, type="tool-call-end"):
    """It has ended, with a result or an error."""

    call_id: str
    duration_ms: float
    result: Any = None
    error: str | None = None


@dataclass(frozen=True)
class StageChangeMessage(ServerMessage, type="stage-change"):
    """A playbook went on to its next stage."""

    from_: str
    """Id of the stage that ended; `from` on the wire."""
    to: str
    """Id of the stage that began."""
    reason: str


@dataclass(frozen=True)
class ErrorMessage(ServerMessage, type="error"):
    """Something failed; the session goes on."""

    code: str
    message: str


@dataclass(frozen=True)
class StateMessage(ServerMessage, type="state"):
    """What the agent is doing. Our own addition."""

    state: str
    """idle, listening, thinking or speaking."""


@dataclass(frozen=True)
class ReplyHeard(ServerMessage, type="reply-heard"):
    """Follows a cancelled reply: the words that the user heard of it. Our own addition."""

    text: str


@dataclass(frozen=True)
class Forgotten(ServerMessage, type="forgotten"):
    """What the user wanted forgotten is; a client takes it from what it shows. Our own addition."""

    exchanges: int
    """How many of the user's messages are gone, the last ones, each with all that came after it."""
    all: bool
    """Whether nothing is left."""
    said: bool
    """Whether the user asked for it in words, which are to be forgotten, too: their last message of all."""


@dataclass(frozen=True)
class TurnMetrics(ServerMessage, type="turn-metrics"):
    """When each stage of a turn was ready; sent when its first sound plays. Our own addition.

    All but `stt_ms` count from the end of the user's speech, its last voiced window, or the typed message.
    The stages overlap: what is drafted in a pause may be ready before the end of the turn is known.
    """

    voice_to_voice_ms: float | None
    """The first audible sample is played."""
    endpoint_ms: float | None
    """It is certain that the turn is theirs no longer."""
    transcript_ms: float | None
    """What was said is known."""
    first_token_ms: float | None
    """The LLM has written its first word."""
    first_piece_ms: float | None
    """The LLM has written the first piece that can be spoken."""
    stt_ms: float | None
    """How long the transcription took."""


def in_utf8(text: str) -> str:
    """The text, with a "?" in the place of each half of a character.

    Python has those in the names of files that aren't UTF-8, and so in an application's errors. No message
    and no file can hold them.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
