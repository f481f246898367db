"""Hooks: an application's own code at each step of a conversation.

A hook is a plain function or a coroutine function, named in a `Hooks` set; sets combine. It is awaited in its
place, so a slow one makes the user wait. What it raises is logged and changes nothing, except `Rejection`, a
guardrail, from one of the four hooks that document it.

Times (`…_time`, `timestamp`) are Unix milliseconds; durations are measured on the monotonic clock.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeVarTuple

from localvoice.application import calls as application
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.types import Transcript
from localvoice.observability.log_context import failure
from localvoice.observability.stopwatch import Timing

log = logging.getLogger(__name__)

Args = TypeVarTuple("Args")
Outcome = Awaitable[None] | None

StopReason = Literal["end_turn", "tool_use", "max_tokens"]
"""Why the LLM stopped. `max_tokens`: it came to that limit, or to the end of its context."""

GUARDRAILS: Final = ("on_stt_end", "on_llm_end", "on_tts_start", "on_tool_start")  # the hooks that may reject
_NO_REJECTION: Final = "nothing is stopped, because a guardrail must raise localvoice.Rejection: "
"""In other frameworks any exception may be a guardrail's no."""


class Rejection(Exception):
    """A guardrail's no. Raised by `on_stt_end`, `on_llm_end`, `on_tts_start` or `on_tool_start`.

    From `on_stt_end` the turn ends unanswered; from `on_tts_start` that sentence is never spoken; from
    `on_llm_end` the rest of the reply is dropped and history doesn't keep it; from `on_tool_start` the tool
    doesn't run.
    """

    def __init__(self, reason: str, say: str | None = None) -> None:
        """`reason` is for the log, as it stands; `say`, if given, is spoken instead of what was rejected."""
        super().__init__(reason)
        self.reason = reason
        self.say = say


@dataclass(frozen=True)
class TurnContext:
    """Which turn a hook is told of."""

    turn_id: str
    """Unique in this process."""
    session_id: str
    """As the client knows it."""
    start_time: float
    """When the user had finished speaking, Unix ms."""


@dataclass(frozen=True)
class LlmRequest:
    """What the LLM is asked."""

    messages: tuple[ChatMessage, ...]
    """The prompt, the system's message first."""
    sampling: Sampling
    offer: ToolOffer | None
    """The tools that it may call; None without any."""
    model: str
    """The model's catalogue name."""


@dataclass(frozen=True)
class LlmResult:
    """What the LLM answered."""

    text: str
    """Empty when it called tools."""
    tool_calls: tuple[ToolCall, ...] = ()
    stop_reason: StopReason = "end_turn"


@dataclass(frozen=True)
class ToolResult:
    """What became of a tool call."""

    call_id: str
    name: str
    """The tool's."""
    success: bool
    """Whether it ran to its end."""
    result: Any = None
    """What it gave, as JSON types."""
    error: str | None = None
    """Why it failed, in words that the LLM reads, too."""
    duration_ms: float = 0.0
    says: str = ""
    """The sentence that the user is told at once; empty where the LLM is to answer."""


@dataclass(frozen=True)
class ErrorContext:
    """Where and when something failed."""

    code: ErrorCode
    component: Component
    session_id: str | None
    """None outside a session."""
    turn_id: str | None
    """None outside a turn."""
    timestamp: float
    """Unix ms."""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlaybookContext:
    """Where a playbook stands."""

    playbook_id: str
    stage_id: str
    session_id: str
    turn_count: int
    """Turns so far, in all stages."""
    time_in_stage: float
    """Milliseconds since the stage was entered."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """A set of hooks; each is optional, sync or async."""

    on_turn_start: Callable[[TurnContext, AudioFrame | None], Outcome] | None = None
    """A turn begins; no audio when the user typed."""
    on_turn_end: Callable[[TurnContext, Timing], Outcome] | None = None
    """It ended: answered, failed or interrupted."""

    on_stt_start: Callable[[TurnContext, AudioFrame], Outcome] | None = None
    """Its speech (16 kHz mono) is transcribed."""
    on_stt_end: Callable[[TurnContext, Transcript, Timing], Outcome] | None = None
    """The transcript is there. May raise `Rejection`."""
    on_stt_error: Callable[[TurnContext, Exception], Outcome] | None = None
    """The transcription failed."""

    on_llm_start: Callable[[TurnContext, LlmRequest], Outcome] | None = None
    """The LLM is asked; more than once in a turn with tools."""
    on_llm_chunk: Callable[[TurnContext, str, int], Outcome] | None = None
    """A part of its text, and the part's number from 0."""
    on_llm_end: Callable[[TurnContext, LlmResult, Timing], Outcome] | None = None
    """It has answered. May raise `Rejection`."""
    on_llm_error: Callable[[TurnContext, Exception], Outcome] | None = None
    """It failed, after all retries."""

    on_tts_start: Callable[[TurnContext, str], Outcome] | None = None
    """A piece of the reply is about to be spoken. May raise `Rejection`."""
    on_tts_chunk: Callable[[TurnContext, AudioFrame, int], Outcome] | None = None
    """Sound of a piece, and its number from 0."""
    on_tts_end: Callable[[TurnContext, Timing], Outcome] | None = None
    """All sound of a piece has been made."""
    on_tts_error: Callable[[TurnContext, Exception], Outcome] | None = None
    """The voice failed."""

    on_tool_start: Callable[[TurnContext, ToolCall], Outcome] | None = None
    """A tool is about to run. May raise `Rejection`."""
    on_tool_end: Callable[[TurnContext, ToolResult, Timing], Outcome] | None = None
    """It ran to its end."""
    on_tool_error: Callable[[TurnContext, ToolCall, Exception], Outcome] | None = None
    """It failed, or wasn't let run."""

    on_connection: Callable[[str, str], Outcome] | None = None
    """A client connected: session id, connection id."""
    on_disconnect: Callable[[str, Timing], Outcome] | None = None
    """It has gone: session id, how long it was there."""
    on_speech_start: Callable[[str, float], Outcome] | None = None
    """The user began to speak: session id, Unix ms."""
    on_speech_end: Callable[[str, float, float], Outcome] | None = None
    """The user finished: session id, Unix ms, length of the speech in ms."""
    on_error: Callable[[Exception, ErrorContext], Outcome] | None = None
    """Something failed; called as well as the stage's own error hook."""

    on_stage_enter: Callable[[PlaybookContext, str, str | None], Outcome] | None = None
    """A stage begins: its id, the one before (None at first)."""
    on_stage_exit: Callable[[PlaybookContext, str, str, Timing], Outcome] | None = None
    """A stage ends: its id, the next one."""
    on_transition: Callable[[PlaybookContext, str, str, str], Outcome] | None = None
    """A transition is taken: its id, from, to."""
    on_playbook_turn_end: Callable[[PlaybookContext, str, int], Outcome] | None = None
    """A turn of a playbook ended: the reply, how many tools were called."""
    on_playbook_complete: Callable[[PlaybookContext, str, int], Outcome] | None = None
    """A stage without a way out was reached: its id, turns in all."""

    @classmethod
    def combine(cls, *sets: "Hooks") -> "Hooks":
        """One set that calls all of them in order; all are called even if one of them rejects."""
        combined: dict[str, Any] = {}
        for name in (each.name for each in fields(cls)):
            present = [hook for hooks in sets if (hook := getattr(hooks, name)) is not None]
            if present:
                combined[name] = present[0] if len(present) == 1 else _chain(present, name in GUARDRAILS)
        return cls(**combined)


async def notify(hook: Callable[[*Args], Outcome] | None, *args: *Args) -> None:
    """Call a hook. Anything that it raises is logged and changes nothing."""
    try:
        await _call(hook, args, "")
    except Rejection as rejection:
        log.error("a hook raised Rejection (%s) where nothing can be rejected", rejection.reason)


async def consult(hook: Callable[[*Args], Outcome] | None, *args: *Args) -> None:
    """Call a hook that may say no: raises its `Rejection`; anything else is logged and changes nothing."""
    await _call(hook, args, _NO_REJECTION)


async def _call(hook: Callable[..., Outcome] | None, args: tuple[Any, ...], advice: str) -> None:
    if hook is None:
        return
    try:
        await application.run(lambda: hook(*args))
    except Rejection:
        raise
    except Exception as error:
        name = getattr(hook, "__qualname__", hook)
        log.error("%sthe hook %s failed with %s", advice, name, failure(error))


def _chain(hooks: list[Callable[..., Outcome]], may_reject: bool) -> Callable[..., Awaitable[None]]:
    advice = _NO_REJECTION if may_reject else ""

    async def call_all(*args: Any) -> None:
        rejection: Rejection | None = None
        for hook in hooks:
            try:
                await _call(hook, args, advice)
            except Rejection as no:
                rejection = rejection or no
        if rejection is not None:
            raise rejection

    return call_all
