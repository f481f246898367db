"""Ready-made hook sets: a structured record for each event, and nothing of what was said unless asked."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from localvoice.application.hooks import (
    ErrorContext,
    Hooks,
    LlmRequest,
    LlmResult,
    PlaybookContext,
    Rejection,
    ToolResult,
    TurnContext,
    notify,
)
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.types import Transcript
from localvoice.observability.hook_sets import error_hooks, logging_hooks, timing_hooks, verbose_hooks
from localvoice.observability.log_context import session_tag, show_transcripts
from localvoice.observability.stopwatch import Timing

LOGGER = "localvoice.observability.hook_sets"
SECRET = "my password is swordfish"

CTX = TurnContext("turn-7", "session-1", 1000.0)
STAGE = PlaybookContext("desk", "greeting", "session-1", 2, 900.0)
TIMING = Timing(1000.0, 1120.04, 120.04)
SOUND = AudioFrame(np.zeros(1600, np.int16), 16_000)
CALL = ToolCall("call-1", "lookup", {"query": SECRET})
OFFER = ToolOffer((ToolSpec("lookup", "Looks up.", {}),))
FAILED = VoiceError(ErrorCode.STT_ERROR, Component.STT, "The transcription failed. Try again.")
LEAKY = ValueError(f"can't parse {SECRET!r}")

EVENTS: Mapping[str, tuple[Any, ...]] = {
    "on_turn_start": (CTX, SOUND),
    "on_turn_end": (CTX, TIMING),
    "on_stt_start": (CTX, SOUND),
    "on_stt_end": (CTX, Transcript(SECRET), TIMING),
    "on_stt_error": (CTX, FAILED),
    "on_llm_start": (CTX, LlmRequest((ChatMessage("user", SECRET),), Sampling(), OFFER, "qwen")),
    "on_llm_chunk": (CTX, SECRET, 3),
    "on_llm_end": (CTX, LlmResult(SECRET, (CALL,)), Timing(0.0, 800.0, 800.0, ttft_ms=95.55)),
    "on_llm_error": (CTX, LEAKY),
    "on_tts_start": (CTX, SECRET),
    "on_tts_chunk": (CTX, SOUND, 0),
    "on_tts_end": (CTX, TIMING),
    "on_tts_error": (CTX, VoiceError(ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK, f"no {SECRET}")),
    "on_tool_start": (CTX, CALL),
    "on_tool_end": (CTX, ToolResult("call-1", "lookup", False, {"found": SECRET}, f"no {SECRET}"), TIMING),
    "on_tool_error": (CTX, CALL, VoiceError(ErrorCode.TOOL_ERROR, Component.TOOL, f"no {SECRET}")),
    "on_connection": ("session-1", "connection-1"),
    "on_disconnect": ("session-1", TIMING),
    "on_speech_start": ("session-1", 1000.0),
    "on_speech_end": ("session-1", 2000.0, 640.0),
    "on_error": (
        LEAKY,
        ErrorContext(ErrorCode.LLM_ERROR, Component.LLM, "session-1", "turn-7", 1.0, {"prompt": SECRET}),
    ),
    "on_stage_enter": (STAGE, "greeting", None),
    "on_stage_exit": (STAGE, "greeting", "help", TIMING),
    "on_transition": (STAGE, "to-help", "greeting", "help"),
    "on_playbook_turn_end": (STAGE, SECRET, 1),
    "on_playbook_complete": (STAGE, "goodbye", 9),
}
CHUNKS = {"on_llm_chunk", "on_tts_chunk"}
ERRORS = {name for name in EVENTS if name.endswith("error")}


async def records_of(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> dict[str, logging.LogRecord]:
    """The record of each event that leaves one, by the hook's name."""
    caplog.set_level(logging.DEBUG, LOGGER)
    found: dict[str, logging.LogRecord] = {}
    for name, arguments in EVENTS.items():
        caplog.clear()
        await notify(getattr(hooks, name), *arguments)
        assert len(caplog.records) <= 1
        if caplog.records:
            found[name] = caplog.records[0]
    return found


def shown(record: logging.LogRecord) -> str:
    return repr(vars(record)) + logging.Formatter().format(record)


def test_the_events_here_are_all_there_are() -> None:
    assert set(EVENTS) == {each.name for each in fields(Hooks)}


async def test_logging_tells_every_event_but_the_chunks(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(logging_hooks("warning"), caplog)
    assert set(records) == set(EVENTS) - CHUNKS
    for name, record in records.items():
        assert vars(record)["event"] == name.removeprefix("on_")
        assert vars(record)["session_id"] == session_tag("session-1")
        assert record.levelno == (logging.ERROR if name in ERRORS else logging.WARNING)
        in_a_turn = EVENTS[name][0] is CTX or name == "on_error"
        assert vars(record).get("turn_id") == ("turn-7" if in_a_turn else None)


async def test_the_default_level_is_info(caplog: pytest.LogCaptureFixture) -> None:
    assert (await records_of(logging_hooks(), caplog))["on_turn_end"].levelno == logging.INFO


async def test_verbose_tells_everything_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(verbose_hooks(), caplog)
    assert set(records) == set(EVENTS)
    assert {record.levelno for name, record in records.items() if name not in ERRORS} == {logging.DEBUG}


async def test_errors_tells_errors_only(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(error_hooks(), caplog)
    assert set(records) == ERRORS
    assert {record.levelno for record in records.values()} == {logging.ERROR}


async def test_timing_tells_what_took_time_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(timing_hooks(), caplog)
    timed = {name for name, arguments in EVENTS.items() if isinstance(arguments[-1], Timing)}
    assert set(records) == timed
    assert {record.levelno for record in records.values()} == {logging.INFO}
    assert vars(records["on_stt_end"])["duration_ms"] == 120.0
    assert vars(records["on_llm_end"])["ttft_ms"] == 95.5
    assert "duration_ms=120.0" in records["on_turn_end"].getMessage()


@pytest.mark.parametrize("make", [logging_hooks, verbose_hooks, error_hooks, timing_hooks])
async def test_nothing_of_what_was_said_is_in_any_set_by_default(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    show_transcripts(True)  # for the server's own lines; a set has its own switch
    try:
        records = await records_of(make(), caplog)
    finally:
        show_transcripts(False)
    assert records
    assert [name for name, record in records.items() if "swordfish" in shown(record)] == []


async def test_payloads_are_there_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(verbose_hooks(payloads=True), caplog)
    told = {name for name, record in records.items() if "swordfish" in shown(record)}
    assert told == {name for name, arguments in EVENTS.items() if SECRET in repr(arguments)} | {
        "on_llm_error",
        "on_tts_error",
        "on_tool_error",
        "on_error",
    }
    assert vars(records["on_stt_end"])["text"] == SECRET
    assert vars(records["on_tool_start"])["arguments"] == {"query": SECRET}
    assert vars(records["on_tool_end"])["result"] == {"found": SECRET}


async def test_without_payloads_the_length_and_the_place_are_told(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(logging_hooks(), caplog)
    assert vars(records["on_stt_end"])["text"] == f"<{len(SECRET)} characters>"
    assert vars(records["on_llm_start"])["model"] == "qwen"
    assert vars(records["on_tool_start"])["tool"] == "lookup"
    assert vars(records["on_turn_start"])["audio_ms"] == 100.0
    assert vars(records["on_error"])["error_type"] == "ValueError"
    assert vars(records["on_error"])["code"] == "LLM_ERROR"
    assert "error" not in vars(records["on_error"])


async def test_our_own_words_and_a_guardrails_reason_are_told(caplog: pytest.LogCaptureFixture) -> None:
    records = await records_of(error_hooks(), caplog)
    assert vars(records["on_stt_error"])["error"] == str(FAILED)
    caplog.clear()
    await notify(error_hooks().on_tool_error, CTX, CALL, Rejection("not on Sundays"))
    assert vars(caplog.records[0])["error"] == "not on Sundays"


async def test_the_place_of_an_error_is_told(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int(SECRET)
    except ValueError as error:
        await notify(error_hooks().on_llm_error, CTX, error)
    place = vars(caplog.records[0])["raised_at"]
    assert place.startswith(f"{__name__}:") and place.endswith("test_the_place_of_an_error_is_told")
    assert "swordfish" not in shown(caplog.records[0])


async def test_a_text_with_line_breaks_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    await notify(logging_hooks(payloads=True).on_tts_start, CTX, "One.\n12:00 ERROR forged %s")
    assert "\n" not in caplog.records[0].getMessage()


async def test_below_its_level_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    await notify(verbose_hooks().on_turn_end, CTX, TIMING)
    assert caplog.records == []


async def test_a_typed_turn_has_no_audio(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    await notify(logging_hooks().on_turn_start, CTX, None)
    assert vars(caplog.records[0])["typed"] is True
    assert "audio_ms" not in vars(caplog.records[0])
