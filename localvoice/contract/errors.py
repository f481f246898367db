"""The error codes that clients know, and the one exception that carries them.

Every failure in a conversation is a `VoiceError`: adapters turn a library's exceptions into one, and the
session's `Reporter` turns it into an `error` message. docs/api.md lists what keeps a program from starting.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The 18 codes of the wire contract; the names are exact."""

    WEBRTC_UNAVAILABLE = "WEBRTC_UNAVAILABLE"
    CONNECTION_FAILED = "CONNECTION_FAILED"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    STT_ERROR = "STT_ERROR"
    STT_TIMEOUT = "STT_TIMEOUT"
    LLM_ERROR = "LLM_ERROR"
    LLM_TIMEOUT = "LLM_TIMEOUT"
    TTS_ERROR = "TTS_ERROR"
    TTS_TIMEOUT = "TTS_TIMEOUT"
    AUDIO_PROCESSING_ERROR = "AUDIO_PROCESSING_ERROR"
    VAD_ERROR = "VAD_ERROR"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    INVALID_AUDIO_FORMAT = "INVALID_AUDIO_FORMAT"
    TOOL_ERROR = "TOOL_ERROR"
    PLAYBOOK_ERROR = "PLAYBOOK_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    RATE_LIMITED = "RATE_LIMITED"


class Component(StrEnum):
    """The part of the system in which an error arose."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    VAD = "vad"
    WEBRTC = "webrtc"
    SERVER = "server"
    TOOL = "tool"
    PLAYBOOK = "playbook"


class VoiceError(Exception):
    """A failure with its code, its component and a sentence that says what to do.

    `retryable` says whether the same request, made again, may succeed; `retry_after`, after how many seconds,
    where that is known.
    """

    def __init__(
        self,
        code: ErrorCode,
        component: Component,
        message: str,
        retryable: bool = True,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.component = component
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after

    def __str__(self) -> str:
        """The code and the sentence, as a log line or a terminal shows them."""
        return f"{self.code}: {self.message}"
