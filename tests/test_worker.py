"""The worker: one job at a time, streams with back-pressure, and stopping that leaves nothing behind."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing

import pytest

from localvoice.engines import job as job_module
from localvoice.engines import worker as worker_module
from localvoice.engines.worker import Stop, Stopped, Worker


@pytest.fixture
async def worker() -> AsyncGenerator[Worker, None]:
    worker = Worker("test-worker")
    yield worker
    await worker.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("test-worker")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 - threads set what is waited for
            await asyncio.sleep(0.005)


def blocks_until(stop: Stop, started: threading.Event) -> None:
    """A job that only its flag ends."""
    woken = threading.Event()
    stop.on_set(woken.set)
    started.set()
    assert woken.wait(5)


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


async def test_cancelling_a_running_job_sets_its_flag_and_frees_the_worker(worker: Worker) -> None:
    stop, started = Stop(), threading.Event()
    task = asyncio.create_task(worker.run(blocks_until, stop, started, stop=stop))
    await until(started.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stop.is_set()
    async with asyncio.timeout(1):
        assert await worker.run(lambda: 1) == 1


async def test_a_job_cancelled_in_the_queue_never_runs(worker: Worker) -> None:
    stop, started, ran = Stop(), threading.Event(), threading.Event()
    first = asyncio.create_task(worker.run(blocks_until, stop, started, stop=stop))
    await until(started.is_set)
    queued = asyncio.create_task(worker.run(ran.set))
    await asyncio.sleep(0.01)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert not stop.is_set(), "only the cancelled job is told to stop"
    stop.set()
    await first
    await worker.run(lambda: None)
    assert not ran.is_set()


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
        # One read, four waiting, one in the job's hands.
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


class Ticks:
    """A clock by which each step of a job takes a second."""

    def __init__(self) -> None:
        self.now = 0

    def monotonic(self) -> float:
        self.now += 1
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


async def test_a_worker_that_closes_ends_a_job_that_waits_for_its_reader(worker: Worker) -> None:
    items = worker.stream(lambda _: (number for number in range(9)), ahead=1)
    assert await anext(items) == 0
    await asyncio.sleep(0.02)
    await worker.close()
    with pytest.raises(Stopped):
        async with aclosing(items):
            async for _ in items:
                pass


async def test_closing_a_stream_stops_a_job_that_waits_for_its_reader(worker: Worker) -> None:
    closed = threading.Event()

    def job(_: Stop) -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    async with aclosing(worker.stream(job, ahead=1)) as items:
        await anext(items)
        await asyncio.sleep(0.02)
        start = time.monotonic()
    assert closed.is_set(), "the thread has left the job when the stream is closed"
    assert time.monotonic() - start < 0.2


async def test_cancelling_the_reader_stops_the_job(worker: Worker) -> None:
    started, left = threading.Event(), threading.Event()

    def job(stop: Stop) -> Generator[int, None, None]:
        blocks_until(stop, started)
        left.set()
        yield 0

    async def read() -> None:
        async with aclosing(worker.stream(job)) as items:
            async for _ in items:
                pass

    task = asyncio.create_task(read())
    await until(started.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()


async def test_a_stream_that_is_never_read_starts_no_job(worker: Worker) -> None:
    ran = threading.Event()

    def job(_: Stop) -> Generator[int, None, None]:
        ran.set()
        yield 0

    async with aclosing(worker.stream(job)):
        await worker.run(lambda: None)
    assert not ran.is_set()


async def test_a_job_that_ignores_its_flag_holds_nobody_up(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LEAVE_SECONDS", 0.05)
    release = threading.Event()

    def deaf(_: Stop) -> Generator[int, None, None]:
        yield 0
        assert release.wait(5)

    items = worker.stream(deaf)
    await anext(items)
    start = time.monotonic()
    await items.aclose()
    assert time.monotonic() - start < 1
    release.set()
    assert await worker.run(lambda: 1) == 1


async def test_closing_the_worker_ends_running_and_queued_jobs(worker: Worker) -> None:
    started = threading.Event()

    def job(stop: Stop) -> Generator[int, None, None]:
        blocks_until(stop, started)
        yield 0

    async def read() -> list[int]:
        async with aclosing(worker.stream(job)) as items:
            return [item async for item in items]

    running, queued = asyncio.create_task(read()), asyncio.create_task(worker.run(lambda: 1))
    await until(started.is_set)
    await worker.close()
    for task in (running, queued):
        with pytest.raises(Stopped):
            await task
    with pytest.raises(Stopped, match="closed"):
        await worker.run(lambda: 1)
    await worker.close()


async def test_a_close_that_is_cancelled_still_ends_the_thread() -> None:
    worker = Worker("hurried-worker")
    busy = threading.Event()
    job = asyncio.create_task(worker.run(busy.wait, 1.0))
    await asyncio.sleep(0.01)
    closing_task = asyncio.create_task(worker.close())
    await asyncio.sleep(0.01)
    closing_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing_task
    busy.set()
    await job
    await until(
        lambda: not [each for each in threading.enumerate() if each.name.startswith("hurried-worker")]
    )


def test_a_loop_that_ends_under_a_stream_does_not_keep_the_thread() -> None:
    worker = Worker("orphan-worker")
    left = threading.Event()

    def job(_: Stop) -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            left.set()

    async def read_one() -> AsyncGenerator[int, None]:
        items = worker.stream(job)
        await anext(items)
        return items

    _held = asyncio.run(read_one())
    assert left.wait(1)
    asyncio.run(worker.close())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("orphan-worker")]


def test_stop_calls_back_once_also_when_it_is_late() -> None:
    stop, calls = Stop(), []
    stop.on_set(lambda: calls.append("early"))
    assert not stop.is_set()
    stop.check()
    stop.set()
    stop.set()
    stop.on_set(lambda: calls.append("late"))
    assert stop.is_set() and calls == ["early", "late"]
    with pytest.raises(Stopped):
        stop.check()
