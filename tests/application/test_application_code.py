"""The application's code may raise anything anywhere: the turn is answered, and one line is in the log."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from localvoice import Playbook, Stage
from localvoice.application.calls import ApplicationError, contained_tasks, run
from localvoice.application.hooks import Hooks
from localvoice.config import Settings
from localvoice.contract.errors import ErrorCode
from localvoice.contract.messages import ServerMessage
from localvoice.conversation.agent import Agent
from localvoice.engines.chat import ToolCall, ToolSpec
from localvoice.observability.adapters import ContainedMetrics
from localvoice.playbook.asking import Handlers
from localvoice.tools import Tool
from localvoice.tools import tool as decorated
from localvoice.transports.dialogue import live
from tests.support.fakes import FakeLlm, fake_engines, loud, silent, until
from tests.support.session_room import Room, Rooms, codes
from tests.support.tool_calls import run_one

TURN_HOOKS = tuple(
    each.name for each in fields(Hooks) if each.name.split("_")[1] in ("turn", "stt", "llm", "tts", "tool")
)


class Speechless(Exception):
    def __str__(self) -> str:  # noqa: D105 - it has none
        raise SystemExit(9)


async def cancelled_elsewhere(*_: object) -> None:
    """Awaits a task that was cancelled: the usual way to a `CancelledError` that wasn't meant."""
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


def exits(*_: object) -> None:
    sys.exit(3)


async def exits_later(*_: object) -> None:
    await asyncio.sleep(0)
    sys.exit(3)


def speechless(*_: object) -> None:
    raise Speechless


async def odd(*_: object) -> None:
    raise BaseExceptionGroup("odd", [BaseException("odder"), SystemExit(3)])


def closes(*_: object) -> None:
    raise GeneratorExit


async def closes_later(*_: object) -> None:
    await asyncio.sleep(0)
    raise GeneratorExit


def cancels(*_: object) -> None:
    raise asyncio.CancelledError


async def in_a_group(*_: object) -> None:
    """A group cancels the task that it is in, and takes that back only in newer releases of Python."""
    async with asyncio.TaskGroup() as group:
        group.create_task(speechless_later())


async def in_a_group_and_caught(*_: object) -> None:
    try:
        await in_a_group()
    except* Speechless:
        pass


async def speechless_later() -> None:
    raise Speechless


BAD_AT_ONCE: tuple[Callable[..., Any], ...] = (exits, speechless, closes, cancels)
BAD = (*BAD_AT_ONCE, cancelled_elsewhere, exits_later, odd, closes_later, in_a_group)


def tool(handler: Callable[..., Any]) -> Tool:
    return Tool(ToolSpec("it", "Does it.", {"type": "object"}), handler)


async def answered(r: Room) -> None:
    await r.says()
    await r.session.settle()
    assert r.told()[-1] == "tts-complete" and r.states()[-1] == "idle"


@pytest.mark.virtual_clock
@pytest.mark.parametrize("bad", BAD)
async def test_every_hook_of_a_turn_may_raise_anything(room: Rooms, bad: Callable[..., Any]) -> None:
    llm = FakeLlm([ToolCall("1", "it", {})], "Done.")
    hooks = Hooks(**dict.fromkeys(TURN_HOOKS, bad))
    r = room(llm=llm, tools=[tool(lambda *_: "fine")], hooks=hooks)
    await answered(r)
    assert codes(r) == [] and r.said()[-1] == ("assistant", "Done.")


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    "name", ["on_llm_start", "on_llm_chunk", "on_tts_start", "on_tts_chunk", "on_tool_start"]
)
@pytest.mark.parametrize("error", [None, ValueError("not now")])
async def test_a_hook_may_catch_that_its_turn_is_cancelled(
    room: Rooms, name: str, error: Exception | None
) -> None:
    """The turn ends all the same, and the next one is answered."""
    caught: list[object] = []

    async def stubborn(*_: object) -> None:
        if not caught:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as cancelled:
                caught.append(cancelled)
                if error is not None:
                    raise error from cancelled

    first = [ToolCall("1", "it", {})] if name == "on_tool_start" else "So many words are in it. " * 40
    script = ["Fine."] if name == "on_llm_start" else [first, "Fine."]  # it was never asked then
    r = room(llm=FakeLlm(*script), tools=[tool(lambda *_: "fine")], hooks=Hooks(**{name: stubborn}))
    r.session.answer_text("Talk.")
    await asyncio.sleep(2)
    r.session.answer_text("And now?")
    async with asyncio.timeout(10):
        await r.session.settle()
    assert caught and r.said()[-2:] == [("user", "And now?"), ("assistant", "Fine.")] and codes(r) == []


@pytest.mark.virtual_clock
@pytest.mark.parametrize("bad", BAD)
async def test_a_tool_may_raise_anything(room: Rooms, bad: Callable[..., Any]) -> None:
    async def on_loop(*_: object) -> Any:
        outcome = bad()
        return await outcome if asyncio.iscoroutine(outcome) else outcome

    for handler in (on_loop, lambda *_: on_loop()):
        r = room(llm=FakeLlm([ToolCall("1", "it", {})], "Done."), tools=[tool(handler)])
        await answered(r)
        assert set(codes(r)) <= {ErrorCode.TOOL_ERROR} and r.said()[-1] == ("assistant", "Done.")


@pytest.mark.virtual_clock
@pytest.mark.parametrize("bad", [*BAD_AT_ONCE, dict[str, str]().__getitem__])
@pytest.mark.parametrize("confirm", [False, True])
async def test_the_check_of_an_argument_may_raise_anything(
    room: Rooms, bad: Callable[..., Any], confirm: bool
) -> None:
    def check(name: str) -> str:
        return str(bad(name))

    @decorated(confirm=confirm)
    def pay(to: Annotated[str, AfterValidator(check)]) -> str:
        """Pay a person."""
        return "paid"

    r = room(llm=FakeLlm([ToolCall("1", "pay", {"to": "Bob"})], "Done."), tools=[pay])
    await answered(r)
    assert codes(r) == [ErrorCode.TOOL_ERROR] and r.said()[-1] == ("assistant", "Done.")


@pytest.mark.parametrize("bad", BAD)
async def test_a_handler_of_a_playbook_may_raise_anything(bad: Callable[..., Any]) -> None:
    handlers = Handlers({"bad": bad})
    assert await handlers.call("bad", "condition", None) is None
    assert [problem.code for problem in handlers.take_problems()] == [ErrorCode.PLAYBOOK_ERROR]


@pytest.mark.parametrize("bad", BAD_AT_ONCE)
async def test_an_adapter_of_metrics_may_raise_anything(
    bad: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    class Bad:
        def increment(self, *_: object) -> None:
            bad()

        timing = gauge = increment

    metrics = ContainedMetrics(Bad())
    metrics.increment("a")
    metrics.timing("a", 1.0)
    metrics.gauge("b", 1.0)
    assert len(caplog.records) == 2, "once for each metric"


@pytest.mark.parametrize("bad", BAD_AT_ONCE)
async def test_what_is_told_of_a_live_conversation_may_fail_to_arrive(
    bad: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fails(message: ServerMessage) -> None:
        told.append(message.type)
        bad()

    agent = Agent(Settings(), fake_engines())
    async with live(agent, fails, 16_000) as conversation:
        conversation.hear(loud(0.6))
        conversation.hear(silent(0.8))
        await until(lambda: "tts-start" in told)
    assert "fails failed with" in caplog.text


async def test_tasks_of_the_application_cannot_end_the_loop() -> None:
    async def gathers() -> None:
        await asyncio.gather(exits_later())

    with contained_tasks():
        with pytest.raises(ApplicationError, match="SystemExit"):
            await run(gathers)
    assert asyncio.get_running_loop().get_task_factory() is None


async def test_a_call_that_is_closed_is_no_failure_of_the_application() -> None:
    call = run(lambda: asyncio.Event().wait())
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    call.close()  # raises what `run` makes of it, if it makes anything of it
    task.cancel()
    with pytest.raises(RuntimeError, match="already awaited"):
        await task


async def test_a_group_whose_failure_is_caught_cancels_nothing() -> None:
    task = asyncio.create_task(run(in_a_group_and_caught))
    await asyncio.wait([task])
    assert not task.cancelled() and task.result() is None and task.cancelling() == 0


async def test_the_turns_own_cancellation_goes_on() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(run(waits))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_cancelled_turn_still_tells_a_hook_that_cancels_itself() -> None:
    """At its end: the cancellation has been delivered, and this is another one."""

    async def turn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(ApplicationError):
                await run(cancelled_elsewhere)
            return "told"
        return ""

    task = asyncio.create_task(turn())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "told"


async def test_an_error_of_a_tool_without_words_or_with_millions_of_them() -> None:
    def shouts(*_: object) -> None:
        raise ValueError("A" * 50_000_000)

    assert "Speechless: <no words: SystemExit>" in ((await run_one(speechless)).error or "")
    assert len((await run_one(shouts)).error or "") < 400


@pytest.mark.virtual_clock
async def test_an_entry_of_a_playbooks_data_may_have_no_words(room: Rooms) -> None:
    stage = Stage(
        id="a", name="a", system_prompt="Ask {who}.", on_enter=lambda at: at.data.update(who=Speechless())
    )
    r = room(playbook=Playbook(id="p", name="p", initial_stage="a", stages=(stage,)))
    await answered(r)
    assert codes(r) == [] and r.llm.asked[0][0].content.endswith("Ask {who}.")
