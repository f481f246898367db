"""Stopping jobs and closing the worker: nothing is left behind, and no caller waits for it."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from localvoice.contract.errors import VoiceError
from localvoice.engines import jobs as job_module
from localvoice.engines import worker as worker_module
from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.jobs import Stop, Stopped
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.piper import PiperTts
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.whisper import WhisperStt
from localvoice.engines.worker import Worker
from tests.support.fakes import loud, until
from tests.support.worker_jobs import blocks_until
from tests.support.worker_jobs import worker as worker


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


async def test_a_job_that_ignores_its_flag_holds_up_no_caller(
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
        lambda: not [each for each in threading.enumerate() if each.name.startswith("hurried-worker")], 2.0
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


def test_the_stop_flag_knows_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "time", SimpleNamespace(monotonic=iter([5.0, 9.0]).__next__))
    stop = Stop()
    assert stop.since is None and not stop.is_set()
    stop.set()
    stop.set()
    assert stop.since == 5.0 and stop.is_set()


async def test_only_a_language_model_that_is_shut_down_is_not_to_be_asked_again() -> None:
    async def drain(items: AsyncGenerator[object, None]) -> None:
        async with aclosing(items):
            async for _ in items:
                pass

    worker, model = Worker("closed-worker"), SimpleNamespace(sees=False, context_tokens=4096)
    await worker.close()
    llm = LlamaLlm("mind", worker, model)  # type: ignore[arg-type]
    tts = PiperTts("voice", worker, model)  # type: ignore[arg-type]
    stt = WhisperStt("ears", worker, model)  # type: ignore[arg-type]
    turn = SmartTurn("tact", worker, model)
    uses: list[tuple[Awaitable[object], bool]] = [
        (drain(llm.reply([ChatMessage("user", "Hello")], Sampling())), False),
        (drain(tts.synthesize("Hello")), True),
        (stt.transcribe(loud(0.5)), True),
        (turn.complete(loud(0.5)), True),
    ]
    for use, retryable in uses:
        with pytest.raises(VoiceError, match="was shut down") as caught:
            await use
        assert caught.value.retryable == retryable
