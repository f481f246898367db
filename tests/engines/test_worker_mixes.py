"""Jobs of every kind at once, some cancelled or left early: each gives its own items, and none stays."""

import asyncio
import random
import time
from collections.abc import Generator
from contextlib import aclosing

import pytest

from localvoice.engines.jobs import Stop, Stopped
from localvoice.engines.worker import Worker
from tests.support.fakes import until
from tests.support.worker_jobs import worker as worker


async def one_of(worker: Worker, chance: random.Random) -> None:
    """A call or a stream, which is read slowly, left early or cancelled now and then."""
    count, leave_at = chance.randrange(40), chance.randrange(80)

    def numbers(_: Stop) -> Generator[int, None, None]:
        for number in range(count):
            time.sleep(chance.choice([0, 0, 0.0003]))
            yield number

    async def read() -> None:
        got: list[int] = []
        ahead, urgent = chance.choice([0, 1, 2, 16]), chance.random() < 0.8
        async with aclosing(worker.stream(numbers, ahead=ahead, urgent=urgent)) as items:
            async for item in items:
                got.append(item)
                if item == leave_at:
                    return
                if chance.random() < 0.1:
                    await asyncio.sleep(0.001)
        assert got == list(range(count))

    async def call() -> None:
        assert await worker.run(lambda: count) == count

    task = asyncio.create_task(chance.choice([read, read, call])())
    if chance.random() < 0.25:
        await asyncio.sleep(chance.random() * 0.01)
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


@pytest.mark.parametrize("seed", range(5))
async def test_every_job_ends_with_its_own_items(worker: Worker, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3):
        async with asyncio.timeout(60):
            await asyncio.gather(*(one_of(worker, chance) for _ in range(chance.randrange(1, 20))))
        await until(lambda: not worker._thread.jobs)


@pytest.mark.parametrize("seed", range(5))
async def test_a_worker_that_closes_ends_jobs_of_every_kind(worker: Worker, seed: int) -> None:
    chance = random.Random(seed)
    jobs = [asyncio.create_task(one_of(worker, chance)) for _ in range(8)]
    await asyncio.sleep(chance.random() * 0.01)
    await worker.close()
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(end is None or isinstance(end, Stopped) for end in ends)
    assert not worker._thread.jobs
