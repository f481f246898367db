"""Tools that take too long or are interrupted: coroutines are stopped, threads are left, and each is told."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from localvoice.tools import ToolContext, ToolRegistry
from localvoice.tools.executor import ToolExecutor
from tests.support.tool_calls import Contexts, calls, made, run_one

PROMPT_SECONDS = 1.0
"""Far below every deadline here, far above what a busy machine takes."""


@pytest.mark.virtual_clock
async def test_a_coroutine_is_stopped_at_its_deadline_and_the_others_go_on() -> None:
    stopped = asyncio.Event()

    async def slow(*_: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    async def quick(*_: Any) -> str:
        return "quick"

    contexts = Contexts()
    registry = ToolRegistry([made(slow, "slow"), made(quick, "quick")])
    slow_result, quick_result = await ToolExecutor(registry).run(calls("slow", "quick"), contexts)
    assert slow_result.error == "took longer than 30 seconds and was stopped"
    assert 30_000 <= slow_result.duration_ms < 31_000
    assert stopped.is_set()
    assert contexts.cancelled == {"call-0"}
    assert quick_result.result == "quick"


async def test_a_stuck_thread_is_left_at_its_deadline() -> None:
    release, ended = threading.Event(), threading.Event()
    told: list[bool] = []

    def stuck(_: Mapping[str, Any], context: ToolContext) -> None:
        release.wait(30)
        told.append(context.cancelled.is_set())
        ended.set()

    began = time.monotonic()
    result = await run_one(stuck, timeout_seconds=0.05)
    assert time.monotonic() - began < PROMPT_SECONDS
    assert result.error == "took longer than 0.05 seconds and was stopped"
    release.set()
    assert await asyncio.to_thread(ended.wait, PROMPT_SECONDS)
    assert told == [True]


async def interrupted(
    executor: ToolExecutor, names: list[str], contexts: Contexts, ready: asyncio.Event
) -> float:
    """Seconds that it takes to cancel the run, once all is ready."""
    task = asyncio.create_task(executor.run(calls(*names), contexts))
    await ready.wait()
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - began


async def test_an_interruption_stops_coroutines_and_tells_every_context() -> None:
    ready, stopped = asyncio.Event(), asyncio.Event()

    async def slow(_: Mapping[str, Any], context: ToolContext) -> None:
        ready.set()
        try:
            await asyncio.sleep(3600)
        finally:
            if context.cancelled.is_set():
                stopped.set()

    async def later(*_: Any) -> None:
        raise AssertionError("it comes after the interruption")

    contexts = Contexts()
    registry = ToolRegistry([made(slow, "slow", "sequential"), made(later, "later")])
    assert await interrupted(ToolExecutor(registry), ["slow", "later"], contexts, ready) < PROMPT_SECONDS
    assert stopped.is_set()
    assert contexts.cancelled == {"call-0", "call-1"}


async def test_an_interruption_does_not_wait_for_a_stuck_thread() -> None:
    release, ready = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def stuck(*_: Any) -> None:
        loop.call_soon_threadsafe(ready.set)
        release.wait(30)

    contexts = Contexts()
    try:
        executor = ToolExecutor(ToolRegistry([made(stuck)]))
        assert await interrupted(executor, ["it"], contexts, ready) < PROMPT_SECONDS
        assert contexts.cancelled == {"call-0"}
    finally:
        release.set()


async def test_an_interruption_does_not_wait_for_a_coroutine_that_ignores_it() -> None:
    ready, release, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(*_: Any) -> None:
        ready.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        raise LookupError("it is never heard")

    executor = ToolExecutor(ToolRegistry([made(stubborn)]))
    assert await interrupted(executor, ["it"], Contexts(), ready) < PROMPT_SECONDS
    release.set()
    await asyncio.wait_for(ended.wait(), PROMPT_SECONDS)


async def test_a_run_that_is_closed_awaits_nothing_more() -> None:
    """As Python closes a coroutine that was dropped when its event loop ended."""
    release, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> None:
        await release.wait()
        ended.set()

    registry = ToolRegistry([made(slow, policy="sequential")])
    run = ToolExecutor(registry).run(calls("it"), Contexts())
    run.send(None)
    run.close()
    release.set()
    await asyncio.wait_for(ended.wait(), PROMPT_SECONDS)


async def test_a_context_is_not_cancelled_by_success() -> None:
    contexts = Contexts()
    await ToolExecutor(ToolRegistry([made(lambda *_: 1)])).run(calls("it"), contexts)
    assert contexts.cancelled == set()
