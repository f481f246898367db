"""The executor: order, what is around a call, and failures as answers."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import pytest

from localvoice.application.hooks import ToolResult
from localvoice.engines.chat import ToolCall
from localvoice.tools import Tool, ToolContext, ToolError, ToolRegistry, tool
from localvoice.tools.executor import ToolExecutor
from localvoice.tools.result import content_of
from tests.support.tool_calls import Contexts, calls, made, run_one


async def test_a_result_carries_what_the_tool_gave() -> None:
    @tool
    async def double(n: int) -> dict[str, int]:
        """Double it."""
        return {"doubled": 2 * n}

    call = ToolCall("c1", "double", {"n": "21"})
    (result,) = await ToolExecutor(ToolRegistry([double])).run([call], Contexts())
    assert (result.call_id, result.name, result.success) == ("c1", "double", True)
    assert (result.result, result.error) == ({"doubled": 42}, None)
    assert result.duration_ms >= 0


async def test_plain_functions_run_in_a_thread_and_coroutines_on_the_loop() -> None:
    async def on_loop(*_: Any) -> bool:
        return threading.current_thread() is threading.main_thread()

    class Callable_:
        async def __call__(self, *_: Any) -> bool:
            return threading.current_thread() is threading.main_thread()

    assert (await run_one(on_loop)).result is True
    assert (await run_one(Callable_())).result is True
    assert (await run_one(lambda *_: threading.current_thread() is threading.main_thread())).result is False
    assert (await run_one(lambda *_: on_loop())).result is True


@pytest.mark.virtual_clock
async def test_sequential_tools_run_first_and_in_order_then_the_parallel_ones_together() -> None:
    begun: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    start = loop.time()

    def sleeper(name: str, policy: Literal["parallel", "sequential"]) -> Tool:
        async def sleep(*_: Any) -> str:
            begun.append((name, round(loop.time() - start, 3)))
            await asyncio.sleep(1)
            return name

        return made(sleep, name, policy)

    registry = ToolRegistry([sleeper("p", "parallel"), sleeper("q", "parallel"), sleeper("s", "sequential")])
    results = await ToolExecutor(registry).run(calls("p", "s", "q", "s"), Contexts())
    assert begun == [("s", 0), ("s", 1), ("p", 2), ("q", 2)]
    assert [result.result for result in results] == ["p", "s", "q", "s"]
    assert [result.call_id for result in results] == ["call-0", "call-1", "call-2", "call-3"]
    assert [round(result.duration_ms) for result in results] == [1000] * 4


@pytest.mark.virtual_clock
async def test_at_most_ten_run_at_once() -> None:
    running, most = 0, 0

    async def count(*_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    results = await ToolExecutor(ToolRegistry([made(count)])).run(calls(*["it"] * 25), Contexts())
    assert most == 10
    assert all(result.success for result in results)


async def raising(*_: Any) -> None:
    raise LookupError("no such room")


def refusing(*_: Any) -> None:
    raise ToolError("the shop is closed")


def stopping(*_: Any) -> None:
    raise StopIteration


def exiting(*_: Any) -> None:
    raise SystemExit(3)


async def exiting_on_loop(*_: Any) -> None:
    raise SystemExit(3)


async def cancelling_itself(*_: Any) -> None:
    raise asyncio.CancelledError


async def cancelling_its_task(*_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (raising, "LookupError: no such room"),
        (refusing, "the shop is closed"),
        (stopping, "it raised StopIteration"),
        (exiting, "it raised SystemExit"),
        (exiting_on_loop, "it raised SystemExit"),
        (cancelling_itself, "cancelled itself"),
        (cancelling_its_task, "cancelled itself"),
        (lambda *_: object(), "isn't JSON: Unable to serialize unknown type"),
        (lambda *_: endless(), "isn't JSON"),
        (lambda *_: "\ud800", "isn't JSON"),
        (lambda *_: 10**5000, "isn't JSON"),
        (lambda *_: [1 / 0], "ZeroDivisionError"),
    ],
)
async def test_a_failing_tool_is_an_answer(handler: Callable[..., Any], words: str) -> None:
    result = await run_one(handler)
    assert not result.success
    assert result.result is None
    assert words in (result.error or "")
    assert json.loads(content_of(result)) == {"error": result.error}


async def test_wrong_arguments_and_unknown_tools_are_answers() -> None:
    @tool
    def double(n: int) -> int:
        """Double it."""
        return 2 * n

    wrong = [
        ToolCall("a", "double", {"n": "x"}),
        ToolCall("b", "triple", {}),
        ToolCall("c", "double", {"n": 4}),
    ]
    first, second, third = await ToolExecutor(ToolRegistry([double])).run(wrong, Contexts())
    assert "n: Input should be a valid integer" in (first.error or "")
    assert second.error == "there is no tool called triple; the tools are: double"
    assert third.result == 8


async def test_an_endless_error_is_cut() -> None:
    async def verbose(*_: Any) -> None:
        raise ToolError("x" * 100_000)

    assert len((await run_one(verbose)).error or "") < 400


async def test_what_is_around_sees_each_call_and_may_answer_itself() -> None:
    seen: list[str] = []

    async def around(call: ToolCall, execute: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        seen.append(f"before {call.name}")
        if call.name == "forbidden":
            return ToolResult(call.call_id, call.name, success=False, error="not allowed")
        result = await execute()
        seen.append(f"after {result.name}")
        return result

    async def never(*_: Any) -> None:
        seen.append("ran the forbidden")

    registry = ToolRegistry(
        [made(lambda *_: 1, "allowed", "sequential"), made(never, "forbidden", "sequential")]
    )
    results = await ToolExecutor(registry).run(calls("allowed", "forbidden", "unknown"), Contexts(), around)
    assert [result.success for result in results] == [True, False, False]
    expected = ["before allowed", "after allowed", "before forbidden", "before unknown", "after unknown"]
    assert seen == expected


async def test_a_failure_around_a_call_is_an_answer_too() -> None:
    async def around(_: ToolCall, execute: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        await execute()
        raise LookupError("secret")

    registry = ToolRegistry([made(lambda *_: 1)])
    (result,) = await ToolExecutor(registry).run(calls("it"), Contexts(), around)
    assert (result.success, result.error) == (False, "internal error")


async def test_a_thread_announces_on_the_loop_and_hears_why_it_cannot() -> None:
    def remind(arguments: Mapping[str, Any], context: ToolContext) -> str:
        context.announce(5, "tea")
        try:
            context.announce(-1, "tea")
        except ToolError as error:
            return str(error)
        return "no error"

    contexts = Contexts()
    (result,) = await ToolExecutor(ToolRegistry([made(remind)])).run(calls("it"), contexts)
    assert contexts.announced == [(5, "tea")]
    assert result.result == "too late"


async def test_no_calls_give_no_results() -> None:
    assert await ToolExecutor(ToolRegistry()).run([], Contexts()) == ()


@pytest.mark.parametrize("settings", [{"timeout_seconds": 0}, {"timeout_seconds": -1}, {"max_parallel": 0}])
def test_settings_without_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above 0 s"):
        ToolExecutor(ToolRegistry(), **settings)
