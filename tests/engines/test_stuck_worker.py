"""The worker's way out of native code that does not come back: its thread is left behind with its model."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing
from typing import Any

import pytest

from localvoice.engines import worker as worker_module
from localvoice.engines.jobs import Job, Lost, ModelThread, Stop
from localvoice.engines.worker import troubles
from tests.support.fakes import until
from tests.support.stuck_models import Hole, worker
from tests.support.stuck_models import hole as hole
from tests.support.stuck_models import soon_stuck as soon_stuck


async def test_streams_of_the_stuck_thread_fail_at_once_and_fresh_jobs_move(hole: Hole) -> None:
    own = worker(hole, "test-worker")
    closed: list[int] = []

    def numbers(stop: Stop) -> Generator[int, None, None]:
        try:
            yield from range(1000)
        finally:
            closed.append(threading.get_ident())

    resting = own.stream(numbers, ahead=1)
    assert await anext(resting) == 0
    hole.traps.append("native")
    thread = await own.run(threading.get_ident)
    stuck = asyncio.create_task(own.run(hole.step, "native"))
    await until(lambda: hole.inside == 1)
    stuck.cancel()
    fresh = asyncio.create_task(own.run(threading.get_ident))
    assert await fresh != thread and hole.loaded == 1
    with pytest.raises(Lost, match="test-worker is stuck"):
        async with aclosing(resting):
            while True:
                await anext(resting)
    assert not closed, "a model that is in use by the stuck thread is not touched by another"
    hole.way_out.set()
    await until(lambda: closed == [thread])
    await own.close()


async def test_a_slow_job_that_was_not_told_to_stop_is_not_stuck(hole: Hole) -> None:
    own = worker(hole, "test-worker")
    hole.traps.append("long")
    slow = asyncio.create_task(own.run(hole.step, "long"))
    await asyncio.sleep(0.5)
    assert hole.loaded == 0 and not own.trouble
    hole.way_out.set()
    await slow
    await own.close()


async def test_closing_while_stuck_is_quick_and_loads_nothing(hole: Hole) -> None:
    own = worker(hole, "test-worker")
    hole.traps.append("native")
    stuck = asyncio.create_task(own.run(hole.step, "native"))
    await until(lambda: hole.inside == 1)
    stuck.cancel()
    async with asyncio.timeout(2):
        await own.close()
    await asyncio.sleep(0.4)
    assert hole.loaded == 0


async def test_a_model_that_was_given_up_is_no_trouble_once_it_is_closed(hole: Hole) -> None:
    own = worker(hole, "test-worker")
    hole.cannot_load = MemoryError("12 GB more")
    hole.traps.append("native")
    stuck = asyncio.create_task(own.run(hole.step, "native"))
    await until(lambda: hole.inside == 1)
    stuck.cancel()
    await until(lambda: "can't be loaded again" in "".join(troubles()))
    await own.close()
    assert own.trouble not in troubles()


async def test_closing_again_does_not_wait_again(hole: Hole, monkeypatch: pytest.MonkeyPatch) -> None:
    own = worker(hole, "test-worker")
    hole.traps.append("native")
    stuck = asyncio.create_task(own.run(hole.step, "native"))
    await until(lambda: hole.inside == 1)
    stuck.cancel()
    await own.close()
    monkeypatch.setattr(worker_module, "LEAVE_SECONDS", 60.0)
    async with asyncio.timeout(10):
        await own.close()


class LateThread(ModelThread):
    """It comes back, takes the job that is queued, and stands still before it begins with it."""

    def __init__(self) -> None:
        super().__init__("test-worker")
        self.took, self.way_on = threading.Event(), threading.Event()

    def _next(self, latest: Job[Any] | None) -> Job[Any] | None:
        job = super()._next(latest)
        self.took.set()
        assert self.way_on.wait(10)
        return job


def test_a_job_that_the_thread_took_is_not_given_to_another() -> None:
    def job(_: Stop) -> Generator[None, None, None]:
        ran.append("ran")
        yield

    ran: list[str] = []
    thread, queued = LateThread(), Job(job)
    thread.add(queued)
    assert thread.took.wait(10)
    assert thread.abandon(Lost("it is stuck")) == []
    assert isinstance(queued.result.exception(0), Lost)
    thread.way_on.set()
    thread.over.result(10)
    assert not ran and thread.join(10)


def test_the_end_of_a_thread_cant_be_cancelled() -> None:
    """Else a thread that just starts would fail at its end, where `close()` is cancelled."""
    assert not ModelThread("test-worker").over.cancel()
