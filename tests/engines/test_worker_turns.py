"""Jobs take turns at the worker's thread: who had less of it goes first."""

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import aclosing

import pytest

from localvoice.engines import jobs as job_module
from localvoice.engines.jobs import Stop
from localvoice.engines.worker import Worker
from tests.support.fakes import until
from tests.support.worker_jobs import blocks_until
from tests.support.worker_jobs import worker as worker


class Ticks:
    """A clock by which each step of a job takes a second."""

    def __init__(self) -> None:
        self.now = 0

    def monotonic(self) -> float:
        # A stream that is closed asks for the time as well, on the event loop's thread, perhaps amid a step.
        self.now += threading.current_thread() is not threading.main_thread()
        return self.now


@pytest.fixture
def turns_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "time", Ticks())
    monkeypatch.setattr(job_module, "TURN_SECONDS", 4.0)


async def order_of(worker: Worker, jobs: dict[str, int], last: str = "") -> str:
    """In which order the items of jobs that wait together are made; `last` isn't urgent."""
    order: list[str] = []
    stop, started = Stop(), threading.Event()
    blocker = asyncio.create_task(worker.run(blocks_until, stop, started, stop=stop))
    await until(started.is_set)

    def job(name: str, count: int) -> Generator[str, None, None]:
        for _ in range(count):
            order.append(name)
            yield name

    async def read(name: str, count: int) -> None:
        items = worker.stream(lambda _: job(name, count), ahead=100, urgent=name != last)
        async with aclosing(items):
            assert len([item async for item in items]) == count

    readers = [asyncio.create_task(read(name, count)) for name, count in jobs.items()]
    await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(blocker, *readers)
    return "".join(order)


@pytest.mark.usefixtures("turns_of_four")
async def test_jobs_take_turns(worker: Worker) -> None:
    assert await order_of(worker, {"a": 10, "b": 6, "c": 2}) == "aaaabbbbccaaaabbaa"


@pytest.mark.usefixtures("turns_of_four")
async def test_what_is_not_urgent_waits_for_all_the_others(worker: Worker) -> None:
    assert await order_of(worker, {"a": 2, "b": 6, "c": 2}, last="a") == "bbbbccbbaa"


@pytest.mark.usefixtures("turns_of_four")
@pytest.mark.parametrize(("had", "urgent"), [(6, True), (1, False)])
async def test_a_new_job_goes_before_one_that_had_its_turn(worker: Worker, had: int, urgent: bool) -> None:
    made: list[int] = []

    def long(_: Stop) -> Generator[int, None, None]:
        for number in range(1000):
            made.append(number)
            if number == had:
                started.set()
                assert waits.wait(5)
            yield number

    started, waits = threading.Event(), threading.Event()
    items = worker.stream(long, ahead=1000, urgent=urgent)
    async with aclosing(items):
        await anext(items)
        await until(started.is_set)
        other = asyncio.create_task(worker.run(lambda: made[-1]))
        await asyncio.sleep(0.01)
        waits.set()
        assert await other == had, "no item is made before the new job"
        assert [item async for item in items] == list(range(1, 1000))


@pytest.mark.usefixtures("turns_of_four")
async def test_a_job_that_is_left_for_another_ends_at_once_when_it_is_stopped(worker: Worker) -> None:
    closed, beyond = threading.Event(), threading.Event()

    def long(name: str) -> Generator[str, None, None]:
        try:
            for number in range(10000):
                if name == "other" and number > 4:
                    beyond.set()
                    time.sleep(0.001)
                yield name
        finally:
            if name == "left":
                closed.set()

    left = worker.stream(lambda _: long("left"), ahead=10**5)
    other = worker.stream(lambda _: long("other"), ahead=10**5)
    async with aclosing(other):
        async with aclosing(left):
            assert (await anext(left), await anext(other)) == ("left", "other")
            await until(beyond.is_set)
            start = time.monotonic()
        assert closed.is_set()
        assert time.monotonic() - start < 0.2
        assert await anext(other) == "other"
