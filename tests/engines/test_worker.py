"""The worker: one job at a time, and streams with back-pressure."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing

import pytest

from localvoice.engines.jobs import Stop
from localvoice.engines.worker import Worker
from tests.support.fakes import until
from tests.support.worker_jobs import worker as worker


async def test_run_returns_the_result_and_works_in_one_thread_of_its_own(worker: Worker) -> None:
    def where(number: int) -> tuple[int, int]:
        return number + 1, threading.get_ident()

    (one, thread), (two, same_thread) = await asyncio.gather(worker.run(where, 1), worker.run(where, 2))
    assert (one, two) == (2, 3)
    assert thread == same_thread != threading.get_ident()


async def test_run_raises_what_the_job_raises(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await worker.run(lambda: next(iter(())))
    assert await worker.run(lambda: "still works") == "still works"


async def test_stream_yields_every_item_in_order(worker: Worker) -> None:
    async with aclosing(worker.stream(lambda _: (number for number in range(1000)))) as items:
        assert [item async for item in items] == list(range(1000))


async def test_stream_raises_what_the_job_raises_after_the_items_before_it(worker: Worker) -> None:
    def job(_: Stop) -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"):
        async with aclosing(worker.stream(job)) as items:
            async for item in items:
                seen.append(item)
    assert seen == [1]


async def test_a_job_never_runs_further_ahead_than_allowed(worker: Worker) -> None:
    made: list[int] = []

    def job(_: Stop) -> Generator[int, None, None]:
        for number in range(100):
            made.append(number)
            yield number

    async with aclosing(worker.stream(job, ahead=4)) as items:
        assert await anext(items) == 0
        await until(lambda: len(made) >= 6)
        await asyncio.sleep(0.05)
        # One is read, and the job rests as soon as more than four wait.
        assert len(made) == 6


async def test_a_reader_that_keeps_up_item_by_item_gets_all(worker: Worker) -> None:
    async with aclosing(worker.stream(lambda _: (number for number in range(2000)), ahead=1)) as items:
        assert [item async for item in items] == list(range(2000))


async def test_a_job_that_waits_for_its_reader_leaves_the_thread_to_others(worker: Worker) -> None:
    async with aclosing(worker.stream(lambda _: (number for number in range(9)), ahead=1)) as items:
        assert await anext(items) == 0
        async with asyncio.timeout(2):
            assert await worker.run(lambda: "other") == "other"
        assert [item async for item in items] == list(range(1, 9))


async def test_a_stream_that_is_never_read_starts_no_job(worker: Worker) -> None:
    ran = threading.Event()

    def job(_: Stop) -> Generator[int, None, None]:
        ran.set()
        yield 0

    async with aclosing(worker.stream(job)):
        await worker.run(lambda: None)
    assert not ran.is_set()
