"""What the models do is counted for the session that asked, not by the thread."""

import asyncio
import time
from collections.abc import Generator
from contextlib import aclosing

from localvoice.engines.jobs import Stop, Work, counted
from localvoice.engines.loading import rehearse
from localvoice.engines.worker import Worker
from tests.support.fakes import FakeLlm, FakeStt, FakeTurn, fake_engines

STEP = 0.05


def items(stop: Stop) -> Generator[int, None, None]:
    for number in range(3):
        time.sleep(STEP)
        yield number


async def test_each_asker_is_told_of_its_own_work_alone() -> None:
    worker = Worker("model")

    async def ask(times: int) -> Work:
        with counted() as work:
            for _ in range(times):
                await asyncio.create_task(worker.run(time.sleep, STEP))
        return work

    try:
        one, three = await asyncio.gather(ask(1), ask(3))
        assert STEP <= one.take() < 2 * STEP, "waiting for others is no work"
        assert 3 * STEP <= three.take() < 5 * STEP
        assert three.take() == 0
    finally:
        await worker.close()


async def test_streams_count_and_work_that_may_wait_does_not() -> None:
    worker = Worker("model")
    try:
        for urgent, least in ((True, 3 * STEP), (False, 0.0)):
            with counted() as work:
                async with aclosing(worker.stream(items, urgent=urgent)) as stream:
                    assert [item async for item in stream] == [0, 1, 2]
            taken = work.take()
            assert taken >= least if urgent else taken == 0
    finally:
        await worker.close()


async def test_work_that_no_session_asked_for_is_not_counted() -> None:
    worker = Worker("model")
    try:
        await worker.run(time.sleep, 0.0)
    finally:
        await worker.close()


async def test_the_rehearsal_uses_every_engine_once() -> None:
    stt, llm, turn = FakeStt("What?"), FakeLlm("Soup."), FakeTurn()
    engines = fake_engines(stt, llm, turn=turn)
    assert await rehearse(engines) == 0, "without a model there is no work"
    assert (len(stt.heard), len(llm.asked), llm.asides, len(turn.heard)) == (1, 1, [True], 1)
    assert stt.heard[0].rate == 16_000
