"""Hooks in a live session: their order, their guardrails, and that a turn which starts also ends."""

import asyncio
from dataclasses import fields
from typing import Any

import pytest

from localvoice.application.hooks import Hooks, Rejection
from localvoice.contract.messages import LlmReply
from localvoice.contract.metrics import Metric
from localvoice.engines.chat import ToolCall
from localvoice.tools import tool
from tests.support.fakes import STT_FAILED, TTS_FAILED, FakeLlm, FakeStt, FakeTts
from tests.support.hook_recorder import Recorder
from tests.support.session_room import LONG, Rooms, codes

pytestmark = pytest.mark.virtual_clock


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def call(name: str = "add", **arguments: Any) -> ToolCall:
    return ToolCall(f"call-{name}", name, arguments)


async def test_the_hooks_of_a_spoken_turn_in_their_order(room: Rooms) -> None:
    recorder = Recorder()
    r = room(FakeStt("Hello."), FakeLlm("Well."), hooks=recorder.hooks())
    await r.says()
    await r.session.settle()
    assert recorder.names() == [
        "on_speech_start",
        "on_speech_end",
        "on_turn_start",
        "on_stt_start",
        "on_stt_end",
        "on_llm_start",
        "on_llm_chunk",
        "on_llm_end",
        "on_tts_start",
        "on_tts_chunk",
        "on_tts_end",
        "on_turn_end",
    ]
    contexts = {args[0] for name, args in recorder.calls if not name.startswith("on_speech")}
    assert len(contexts) == 1 and contexts.pop().session_id == "test"
    ((_, audio),) = recorder.of("on_turn_start")
    assert audio.rate == 16_000 and audio.seconds == pytest.approx(0.6, abs=0.6)
    ((_, transcript, timing),) = recorder.of("on_stt_end")
    assert transcript.text == "Hello." and timing.duration_ms >= 0
    ((_, request),) = recorder.of("on_llm_start")
    assert request.model == "fake-mind" and request.messages[-1].content == "Hello."
    ((_, result, timing),) = recorder.of("on_llm_end")
    assert result.text == "Well." and timing.ttft_ms is not None


async def test_the_hooks_of_a_tool_call(room: Rooms) -> None:
    recorder = Recorder()
    llm = FakeLlm([call(a=2, b=3)], "Five.")
    r = room(llm=llm, hooks=recorder.hooks(), tools=[add])
    r.session.answer_text("What is two plus three?")
    await r.session.settle()
    assert recorder.names()[1:6] == [
        "on_llm_start",
        "on_llm_end",
        "on_tool_start",
        "on_tool_end",
        "on_llm_start",
    ]
    ((_, result, timing),) = recorder.of("on_tool_end")
    assert (result.result, result.success) == (5, True) and timing.duration_ms >= 0
    assert r.metrics.count(Metric.TOOL_CALLS, tool="add") == 1


async def test_a_turn_that_starts_also_ends(room: Rooms) -> None:
    """Answered, failed and interrupted alike."""
    recorder = Recorder()
    r = room(
        FakeStt("Hi.", STT_FAILED, "Talk.", "But why?"), FakeLlm("Well.", LONG, ""), hooks=recorder.hooks()
    )
    for _ in range(2):
        await r.says()
        await r.session.settle()
    assert codes(r) == ["STT_ERROR"]
    ((_, error),) = recorder.of("on_stt_error")
    assert error is STT_FAILED
    await r.says()
    await asyncio.sleep(1.0)
    await r.says()
    await r.session.settle()
    starts = [args[0] for args in recorder.of("on_turn_start")]
    ends = [args[0] for args in recorder.of("on_turn_end")]
    assert len(starts) == 4 and starts == ends
    assert len(r.metrics.timings(Metric.TURN_DURATION)) == 4
    assert r.metrics.timings(Metric.BARGE_IN_STOP), "the interruption was timed"


async def test_a_hook_that_fails_changes_nothing(room: Rooms) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("bug")

    r = room(llm=FakeLlm("Well."), hooks=Hooks(**{each.name: fail for each in fields(Hooks)}))
    await r.says()
    await r.session.settle()
    assert [each.text for each in r.all(LlmReply)] == ["Well."] and not codes(r)


async def test_an_async_hook_is_awaited_in_its_place(room: Rooms) -> None:
    order: list[str] = []

    async def slow(*args: Any) -> None:
        await asyncio.sleep(0.2)
        order.append("hook")

    r = room(hooks=Hooks(on_llm_start=slow))
    r.session.answer_text("Hi.")
    await r.until("llm-chunk")
    assert order == ["hook"]


# --- guardrails ---


def rejecting(say: str | None = None) -> Any:
    def reject(*args: Any) -> None:
        raise Rejection("not here", say)

    return reject


async def test_what_the_user_said_can_be_rejected(room: Rooms) -> None:
    r = room(hooks=Hooks(on_stt_end=rejecting()), listening={"eager": False})
    await r.says()
    await r.session.settle()
    assert not r.llm.asked and not r.said() and not r.tts.said and not codes(r)


async def test_instead_of_an_answer_something_else_can_be_said(room: Rooms) -> None:
    r = room(hooks=Hooks(on_stt_end=rejecting("I can't talk about that.")), listening={"eager": False})
    await r.says()
    await r.session.settle()
    assert not r.llm.asked and r.tts.said == ["I can't talk about that."]
    assert r.said() == [("assistant", "I can't talk about that.")]


async def test_a_sentence_can_be_rejected(room: Rooms) -> None:
    def no_secrets(ctx: Any, text: str) -> None:
        if "secret" in text:
            raise Rejection("a secret", "Never mind.")

    r = room(llm=FakeLlm("Here you are. The secret is 42. Goodbye."), hooks=Hooks(on_tts_start=no_secrets))
    r.session.answer_text("Tell me.")
    await r.session.settle()
    assert r.tts.said == ["Here you are.", "Never mind.", "Goodbye."]
    assert r.said()[-1] == ("assistant", "Here you are. Never mind. Goodbye."), "history holds what was heard"
    assert len(r.metrics.timings(Metric.TTS_DURATION)) == 2, "what replaces a piece isn't one of the reply's"


async def test_a_voice_that_fails_in_what_replaces_a_sentence_is_the_replys_failure(room: Rooms) -> None:
    def no_secrets(ctx: Any, text: str) -> None:
        if "secret" in text:
            raise Rejection("a secret", "Never mind.")

    llm = FakeLlm("Here you are. The secret is 42. Goodbye.")
    r = room(llm=llm, tts=FakeTts(None, TTS_FAILED), hooks=Hooks(on_tts_start=no_secrets))
    r.session.answer_text("Tell me.")
    await r.session.settle()
    assert codes(r) == ["TTS_ERROR"] and r.tts.said == ["Here you are.", "Never mind."]
    assert r.said()[-1] == ("assistant", "Here you are.")


@pytest.mark.parametrize("say", [None, "Let us talk of something else."])
async def test_a_reply_can_be_rejected(room: Rooms, say: str | None) -> None:
    r = room(llm=FakeLlm(LONG), hooks=Hooks(on_llm_end=rejecting(say)))
    r.session.answer_text("Talk.")
    await r.session.settle()
    assert r.said()[1:] == ([("assistant", say)] if say else [])
    assert [each.text for each in r.all(LlmReply)] == ([say] if say else [])
    sound = sum(0.02 for _, audible in r.played if audible)
    assert sound < 3, "the rest was never spoken"


async def test_a_tool_can_be_kept_from_running(room: Rooms) -> None:
    ran: list[int] = []

    @tool
    def launch(count: int) -> str:
        """Launch rockets."""
        ran.append(count)
        return "done"

    llm = FakeLlm([call("launch", count=3)], "I may not.")
    r = room(llm=llm, tools=[launch], hooks=Hooks(on_tool_start=rejecting("One moment.")))
    r.session.answer_text("Launch three rockets.")
    await r.session.settle()
    assert not ran and r.tts.said == ["One moment.", "I may not."]
    assert "not here" in llm.asked[1][-1].content, "the LLM is told"
    assert codes(r) == ["TOOL_ERROR"]


async def test_a_rejection_where_nothing_can_be_rejected_is_logged(
    room: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    r = room(hooks=Hooks(on_turn_start=rejecting()))
    r.session.answer_text("Hi.")
    await r.session.settle()
    assert "nothing can be rejected" in caplog.text and r.said()


# --- figures ---


async def test_the_figures_of_a_turn(room: Rooms) -> None:
    r = room(FakeStt("Hi.", delay=0.1), FakeLlm("Well, hello.", delay=0.05), FakeTts(delay=0.02))
    await r.says()
    await r.session.settle()
    for metric in (Metric.STT_DURATION, Metric.LLM_DURATION, Metric.LLM_TTFT, Metric.TTS_DURATION):
        assert r.metrics.timings(metric), metric
    assert r.metrics.count(Metric.LLM_TOKENS, model="fake-mind") == 2
    assert len(r.metrics.timings(Metric.VOICE_TO_VOICE)) == len(r.metrics.timings(Metric.ENDPOINT_DELAY)) == 1
