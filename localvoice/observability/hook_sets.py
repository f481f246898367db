"""Ready-made hook sets: the events of a conversation as structured log records.

What was said, and what tools were given and gave, is not in them unless `payloads` is on. Without it a text
stands as `<42 characters>`, and an error that may hold such a text is told by its type and place only.
"""

import json
import logging
import traceback
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final, Literal

from localvoice.application.hooks import (
    ErrorContext,
    Hooks,
    LlmRequest,
    LlmResult,
    PlaybookContext,
    Rejection,
    ToolResult,
    TurnContext,
)
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, VoiceError
from localvoice.engines.chat import ToolCall
from localvoice.engines.types import Transcript
from localvoice.observability.log_context import session_tag, spoken
from localvoice.observability.stopwatch import Timing

log = logging.getLogger(__name__)

Level = Literal["debug", "info", "warning", "error"]
Subject = TurnContext | PlaybookContext | str | None
"""What a record is about; a string is a session's id."""

_ALL: Final = frozenset(each.name for each in fields(Hooks))
_CHUNKS: Final = frozenset({"on_llm_chunk", "on_tts_chunk"})
_ERRORS: Final = frozenset(name for name in _ALL if name.endswith("_error"))
_TIMED: Final = frozenset(
    {"on_turn_end", "on_stt_end", "on_llm_end", "on_tts_end", "on_tool_end", "on_disconnect", "on_stage_exit"}
)


def logging_hooks(level: Level = "info", payloads: bool = False, errors: bool = True) -> Hooks:
    """A record for every event but the chunks, at this level; errors at ERROR, unless told elsewhere."""
    return _hooks(_ALL - _CHUNKS - (frozenset() if errors else _ERRORS), level, payloads)


def error_hooks(payloads: bool = False) -> Hooks:
    """A record at ERROR for everything that fails, and nothing else."""
    return _hooks(_ERRORS, "error", payloads)


def verbose_hooks(payloads: bool = False) -> Hooks:
    """A record at DEBUG for every event, chunks included; errors at ERROR."""
    return _hooks(_ALL, "debug", payloads)


def timing_hooks() -> Hooks:
    """A record at INFO for everything that has taken time, with its duration."""
    return _hooks(_TIMED, "info", False)


def _hooks(names: Iterable[str], level: Level, payloads: bool) -> Hooks:
    events = _Events(logging.getLevelNamesMapping()[level.upper()], payloads)
    return Hooks(**{name: getattr(events, name) for name in names})


class _Events:
    """The methods are the hooks."""

    def __init__(self, level: int, payloads: bool) -> None:
        self._level = level
        self._payloads = payloads

    def on_turn_start(self, ctx: TurnContext, audio: AudioFrame | None) -> None:
        self._tell("turn_start", ctx, typed=audio is None, audio_ms=_length(audio))

    def on_turn_end(self, ctx: TurnContext, timing: Timing) -> None:
        self._tell("turn_end", ctx, **_took(timing))

    def on_stt_start(self, ctx: TurnContext, audio: AudioFrame) -> None:
        self._tell("stt_start", ctx, audio_ms=_length(audio))

    def on_stt_end(self, ctx: TurnContext, result: Transcript, timing: Timing) -> None:
        self._tell("stt_end", ctx, **_took(timing), language=result.language, text=self._text(result.text))

    def on_stt_error(self, ctx: TurnContext, error: Exception) -> None:
        self._fail("stt_error", ctx, error)

    def on_llm_start(self, ctx: TurnContext, request: LlmRequest) -> None:
        prompt = [{"role": each.role, "content": each.content} for each in request.messages]
        figures = {"messages": len(prompt), "tools": len(request.offer.tools) if request.offer else 0}
        self._tell("llm_start", ctx, model=request.model, **figures, prompt=self._payload(prompt))

    def on_llm_chunk(self, ctx: TurnContext, chunk: str, index: int) -> None:
        self._tell("llm_chunk", ctx, index=index, text=self._text(chunk))

    def on_llm_end(self, ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
        calls = len(result.tool_calls)
        self._tell("llm_end", ctx, **_took(timing), tool_calls=calls, text=self._text(result.text))

    def on_llm_error(self, ctx: TurnContext, error: Exception) -> None:
        self._fail("llm_error", ctx, error)

    def on_tts_start(self, ctx: TurnContext, text: str) -> None:
        self._tell("tts_start", ctx, text=self._text(text))

    def on_tts_chunk(self, ctx: TurnContext, chunk: AudioFrame, index: int) -> None:
        self._tell("tts_chunk", ctx, index=index, audio_ms=_length(chunk))

    def on_tts_end(self, ctx: TurnContext, timing: Timing) -> None:
        self._tell("tts_end", ctx, **_took(timing))

    def on_tts_error(self, ctx: TurnContext, error: Exception) -> None:
        self._fail("tts_error", ctx, error)

    def on_tool_start(self, ctx: TurnContext, request: ToolCall) -> None:
        self._tell("tool_start", ctx, **self._call(request))

    def on_tool_end(self, ctx: TurnContext, result: ToolResult, timing: Timing) -> None:
        call = {"tool": result.name, "call_id": result.call_id, "success": result.success}
        outcome = {"result": self._payload(result.result), "error": self._payload(result.error)}
        self._tell("tool_end", ctx, **_took(timing), **call, **outcome)

    def on_tool_error(self, ctx: TurnContext, request: ToolCall, error: Exception) -> None:
        self._fail("tool_error", ctx, error, **self._call(request))

    def on_connection(self, session_id: str, connection_id: str) -> None:
        self._tell("connection", session_id, connection_id=connection_id)

    def on_disconnect(self, session_id: str, timing: Timing) -> None:
        self._tell("disconnect", session_id, **_took(timing))

    def on_speech_start(self, session_id: str, timestamp: float) -> None:
        self._tell("speech_start", session_id)

    def on_speech_end(self, session_id: str, timestamp: float, audio_duration_ms: float) -> None:
        self._tell("speech_end", session_id, audio_ms=round(audio_duration_ms, 1))

    def on_error(self, error: Exception, context: ErrorContext) -> None:
        known = {"turn_id": context.turn_id, "code": str(context.code), "component": str(context.component)}
        details = self._payload(dict(context.details) or None)
        self._fail("error", context.session_id, error, **known, details=details)

    def on_stage_enter(self, ctx: PlaybookContext, stage: str, previous: str | None) -> None:
        self._tell("stage_enter", ctx, stage=stage, previous=previous)

    def on_stage_exit(self, ctx: PlaybookContext, stage: str, next: str, timing: Timing) -> None:
        self._tell("stage_exit", ctx, **_took(timing), stage=stage, next=next)

    def on_transition(self, ctx: PlaybookContext, transition: str, from_stage: str, to_stage: str) -> None:
        self._tell("transition", ctx, transition=transition, from_stage=from_stage, to_stage=to_stage)

    def on_playbook_turn_end(self, ctx: PlaybookContext, response: str, tool_call_count: int) -> None:
        self._tell("playbook_turn_end", ctx, tool_calls=tool_call_count, text=self._text(response))

    def on_playbook_complete(self, ctx: PlaybookContext, final_stage: str, total_turns: int) -> None:
        self._tell("playbook_complete", ctx, stage=final_stage, turns=total_turns)

    def _tell(self, event: str, ctx: Subject, **figures: Any) -> None:
        self._record(self._level, event, ctx, figures)

    def _fail(self, event: str, ctx: Subject, error: Exception, **figures: Any) -> None:
        figures |= {"error_type": type(error).__name__, "raised_at": _place(error)}
        if self._payloads or _is_discreet(error):
            figures["error"] = str(error)
        self._record(logging.ERROR, event, ctx, figures)

    def _record(self, level: int, event: str, ctx: Subject, figures: dict[str, Any]) -> None:
        if not log.isEnabledFor(level):
            return
        known = {name: value for name, value in figures.items() if value is not None}
        line = " ".join([event, *(f"{name}={_plain(value)}" for name, value in known.items())])
        log.log(level, "%s", line, extra={"event": event, **_subject(ctx), **known})

    def _text(self, text: str) -> str:
        return spoken(text, self._payloads)

    def _payload(self, value: Any) -> Any:
        return value if self._payloads else None

    def _call(self, call: ToolCall) -> dict[str, Any]:
        return {"tool": call.name, "call_id": call.call_id, "arguments": self._payload(dict(call.arguments))}


def _subject(subject: Subject) -> dict[str, Any]:
    match subject:
        case TurnContext():
            return {"session_id": session_tag(subject.session_id), "turn_id": subject.turn_id}
        case PlaybookContext():
            return {"session_id": session_tag(subject.session_id), "playbook_id": subject.playbook_id}
        case str():
            return {"session_id": session_tag(subject)}
        case None:
            return {}


def _took(timing: Timing) -> dict[str, float | None]:
    ttft = None if timing.ttft_ms is None else round(timing.ttft_ms, 1)
    return {"duration_ms": round(timing.duration_ms, 1), "ttft_ms": ttft}


def _length(audio: AudioFrame | None) -> float | None:
    return None if audio is None else round(1000 * audio.seconds, 1)


def _is_discreet(error: Exception) -> bool:
    """Whether its message is our own words; that of a tool or a playbook's handler may quote the user's."""
    ours = isinstance(error, VoiceError) and error.component not in (Component.TOOL, Component.PLAYBOOK)
    return ours or isinstance(error, Rejection)


def _place(error: Exception) -> str | None:
    """The module, line and function that raised it."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        place = f"{frame.f_globals.get('__name__')}:{line} {frame.f_code.co_name}"
    return place


def _plain(value: Any) -> str:
    """For the line that people read: JSON, so that a text with line breaks can't pass for several."""
    return json.dumps(value, ensure_ascii=False, default=str)
