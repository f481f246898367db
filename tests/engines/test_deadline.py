"""A deadline counts work, and stands still while a job waits for a thread that is at another's."""

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import aclosing

import pytest

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines import jobs as job_module
from localvoice.engines.deadlines import MOST_WAIT, Deadline, DeadlineStt, TooBusy, reply_within
from localvoice.engines.jobs import Stop
from localvoice.engines.types import Transcript
from localvoice.engines.whisper import WhisperStt
from localvoice.engines.worker import Worker
from localvoice.observability.stopwatch import now
from tests.support.fakes import loud, until
from tests.support.worker_jobs import worker as worker


@pytest.mark.virtual_clock
async def test_time_of_waiting_does_not_count() -> None:
    deadline = Deadline()
    deadline.tell(works=False)
    with pytest.raises(TimeoutError) as caught:
        async with deadline.within(10):
            await asyncio.sleep(20)
            deadline.tell(works=True)
            await asyncio.sleep(6)
            deadline.tell(works=False)
            await asyncio.sleep(5)
            deadline.tell(works=True)
            await asyncio.sleep(5)
    assert now() == 35 and not isinstance(caught.value, TooBusy)


@pytest.mark.virtual_clock
async def test_what_is_left_is_known_afterwards() -> None:
    deadline = Deadline()
    async with deadline.within(10):
        await asyncio.sleep(3)
        deadline.tell(works=False)
        await asyncio.sleep(5)
    assert deadline.left == 7
    async with deadline.within(10):  # it waits still
        await asyncio.sleep(12)
        deadline.tell(works=True)
        await asyncio.sleep(1)
    assert deadline.left == 9


@pytest.mark.virtual_clock
async def test_no_wait_is_without_end() -> None:
    deadline = Deadline()
    deadline.tell(works=False)
    with pytest.raises(TooBusy):
        async with deadline.within(10):
            await asyncio.Event().wait()
    assert now() == 10 * MOST_WAIT


@pytest.mark.virtual_clock
async def test_what_a_job_still_does_after_the_deadline_changes_nothing() -> None:
    troubles: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
    deadline = Deadline()
    with pytest.raises(TimeoutError):
        async with deadline.within(10):
            try:
                await asyncio.Event().wait()
            finally:  # as a reader does that waits until the thread has left
                deadline.tell(works=False)
                deadline.tell(works=True)
                await asyncio.sleep(1)
    assert not troubles and deadline.left == 0


async def test_a_short_job_behind_a_long_one_is_not_late(worker: Worker) -> None:
    class Ears:
        name = "ears"

        async def transcribe(self, speech: AudioFrame) -> Transcript:
            return await worker.run(lambda: Transcript("hello"))

        async def warm_up(self) -> None: ...
        async def close(self) -> None: ...

    begun, end = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        end.wait(5)

    other = asyncio.create_task(worker.run(long))
    await until(begun.is_set)
    asyncio.get_running_loop().call_later(0.6, end.set)
    assert await DeadlineStt(Ears(), 0.2).transcribe(loud(0.5)) == Transcript("hello")
    await other


async def test_a_reply_that_gives_way_is_not_late(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline for the whole of it counts its own work alone."""
    monkeypatch.setattr(job_module, "TURN_SECONDS", 0.001)

    def slow(_stop: Stop) -> Generator[str, None, None]:
        for word in "one two three four".split():
            time.sleep(0.02)
            yield word

    async def others() -> None:
        for _ in range(4):
            await worker.run(time.sleep, 0.2)

    items = reply_within(worker.stream(slow), 0.5, 0.5)
    async with aclosing(items):
        words = [await anext(items)]
        busy = asyncio.create_task(others())
        words += [word async for word in items]
    await busy
    assert words == ["one", "two", "three", "four"]


class Ears:
    """A model that takes a step for each second of speech."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.hold = threading.Event()

    def transcribe(self, speech: AudioFrame, stop: Stop) -> Generator[None, None, Transcript]:
        for step in range(round(speech.seconds)):
            if step:
                yield
            self.order.append(round(speech.seconds))
            if step == 1:
                assert self.hold.wait(5)
        return Transcript(f"{speech.seconds:.0f} s")


async def test_a_long_utterance_gives_way_to_a_short_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "TURN_SECONDS", 1e-9)
    ears = Ears()
    stt = WhisperStt("ears", worker, ears)  # type: ignore[arg-type]
    long = asyncio.create_task(stt.transcribe(AudioFrame(loud(9).samples, SPEECH_RATE)))
    await until(lambda: len(ears.order) == 2)
    short = asyncio.create_task(stt.transcribe(loud(1)))
    await asyncio.sleep(0.02)
    ears.hold.set()
    assert (await short).text == "1 s"
    assert (await long).text == "9 s"
    assert ears.order == [9, 9, 1, 9, 9, 9, 9, 9, 9, 9]


async def test_a_model_that_never_comes_to_it_is_told_as_such(worker: Worker) -> None:
    end = threading.Event()
    other = asyncio.create_task(worker.run(end.wait, 5))
    await asyncio.sleep(0.02)

    class Ears:
        name = "ears"

        async def transcribe(self, speech: AudioFrame) -> Transcript:
            return await worker.run(lambda: Transcript("hello"))

        async def warm_up(self) -> None: ...
        async def close(self) -> None: ...

    with pytest.raises(VoiceError, match=r"too much to do.*deadlines\.stt_seconds") as caught:
        await DeadlineStt(Ears(), 0.02).transcribe(loud(0.5))
    assert caught.value.code is ErrorCode.STT_TIMEOUT
    end.set()
    await other
