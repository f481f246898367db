"""Hooks: called in order, sync or async, never in the way; only a rejection gets through, where it may."""

import asyncio
import logging
from dataclasses import FrozenInstanceError, fields

import pytest

from localvoice.application.hooks import Hooks, Rejection, TurnContext, consult, notify
from localvoice.observability.stopwatch import Timing

# The names that the contract promises.
TURN = ["on_turn_start", "on_turn_end"]
STT = ["on_stt_start", "on_stt_end", "on_stt_error"]
LLM = ["on_llm_start", "on_llm_chunk", "on_llm_end", "on_llm_error"]
TTS = ["on_tts_start", "on_tts_chunk", "on_tts_end", "on_tts_error"]
TOOLS = ["on_tool_start", "on_tool_end", "on_tool_error"]
SERVER = ["on_connection", "on_disconnect", "on_speech_start", "on_speech_end", "on_error"]
PLAYBOOK = [
    "on_stage_enter",
    "on_stage_exit",
    "on_transition",
    "on_playbook_turn_end",
    "on_playbook_complete",
]

CTX = TurnContext("turn-1", "session-1", 0.0)
TIMING = Timing(0.0, 5.0, 5.0)


def test_all_26_hooks_are_there_and_optional() -> None:
    names = [each.name for each in fields(Hooks)]
    assert sorted(names) == sorted(TURN + STT + LLM + TTS + TOOLS + SERVER + PLAYBOOK)
    assert len(names) == 26
    assert all(getattr(Hooks(), name) is None for name in names)


def test_a_set_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Hooks().on_turn_end = print  # type: ignore[misc]


async def test_plain_functions_and_coroutine_functions_are_called_with_the_arguments() -> None:
    seen: list[tuple[str, TurnContext, Timing]] = []

    async def later(ctx: TurnContext, timing: Timing) -> None:
        await asyncio.sleep(0)
        seen.append(("async", ctx, timing))

    await notify(lambda ctx, timing: seen.append(("sync", ctx, timing)), CTX, TIMING)
    await notify(later, CTX, TIMING)
    assert seen == [("sync", CTX, TIMING), ("async", CTX, TIMING)]


async def test_no_hook_is_no_trouble() -> None:
    await notify(Hooks().on_turn_end, CTX, TIMING)
    await consult(Hooks().on_tts_start, CTX, "Hello.")


async def fails(ctx: TurnContext, text: str) -> None:
    raise RuntimeError("the application's own bug")


def fails_at_once(ctx: TurnContext, text: str) -> None:
    raise RuntimeError("the application's own bug")


@pytest.mark.parametrize("hook", [fails, fails_at_once])
@pytest.mark.parametrize("call", [notify, consult])
async def test_an_exception_is_logged_with_the_hook_and_its_place_and_changes_nothing(
    call: object, hook: object, caplog: pytest.LogCaptureFixture
) -> None:
    await call(hook, CTX, "Hello.")  # type: ignore[operator]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert hook.__name__ in record.getMessage()  # type: ignore[attr-defined]
    assert "RuntimeError" in record.getMessage() and f"in {hook.__name__}" in record.getMessage()  # type: ignore[attr-defined]


@pytest.mark.parametrize("combined", [False, True])
async def test_a_guardrail_that_raises_anything_else_is_told_how_to_reject(
    combined: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """In LLMRTC any exception of `onLLMEnd` stops the reply."""
    hooks = Hooks(on_tts_start=fails, on_turn_start=fails)  # type: ignore[arg-type]
    if combined:
        hooks = Hooks.combine(hooks, hooks)
    await consult(hooks.on_tts_start, CTX, "Hello.")
    assert all("must raise localvoice.Rejection" in record.getMessage() for record in caplog.records)
    caplog.clear()
    await notify(hooks.on_turn_start, CTX, "Hello.")  # type: ignore[arg-type]
    assert caplog.records and "Rejection" not in caplog.text, "it couldn't reject"


def rejects(ctx: TurnContext, text: str) -> None:
    raise Rejection("a swear word", say="Let's stay polite.")


async def test_a_rejection_comes_out_of_consult_with_what_to_say() -> None:
    with pytest.raises(Rejection) as no:
        await consult(rejects, CTX, "Damn.")
    assert (no.value.reason, no.value.say) == ("a swear word", "Let's stay polite.")


async def test_a_rejection_where_nothing_can_be_rejected_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await notify(rejects, CTX, "Damn.")
    assert "a swear word" in caplog.text


async def test_a_cancelled_hook_cancels_its_caller() -> None:
    async def endless(ctx: TurnContext, text: str) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(notify(endless, CTX, "Hello."))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_combined_sets_are_called_in_order_and_one_that_fails_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[str] = []

    async def second(ctx: TurnContext, text: str) -> None:
        said.append("second")

    combined = Hooks.combine(
        Hooks(on_tts_start=lambda ctx, text: said.append("first")),
        Hooks(on_tts_start=fails, on_turn_end=lambda ctx, timing: said.append("end")),
        Hooks(on_tts_start=second),
    )
    await consult(combined.on_tts_start, CTX, "Hello.")
    assert said == ["first", "second"]
    assert "fails" in caplog.text
    await notify(combined.on_turn_end, CTX, TIMING)
    assert said[-1] == "end"
    assert combined.on_stt_start is None


async def test_all_of_a_combined_set_hear_of_what_the_first_one_rejects() -> None:
    said: list[str] = []

    def rejects_too(ctx: TurnContext, text: str) -> None:
        said.append(text)
        raise Rejection("another reason")

    combined = Hooks.combine(Hooks(on_tts_start=rejects), Hooks(on_tts_start=rejects_too))
    with pytest.raises(Rejection, match="a swear word"):
        await consult(combined.on_tts_start, CTX, "Damn.")
    assert said == ["Damn."]


async def test_sets_combine_again_and_nothing_combines_to_nothing() -> None:
    said: list[int] = []
    one, two, three = (Hooks(on_speech_start=lambda *_, n=n: said.append(n)) for n in (1, 2, 3))
    await notify(Hooks.combine(Hooks.combine(one, two), three).on_speech_start, "session-1", 0.0)
    assert said == [1, 2, 3]
    assert Hooks.combine() == Hooks.combine(Hooks(), Hooks()) == Hooks()
