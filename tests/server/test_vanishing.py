"""A client that is killed, at every stage of a turn: its work ends at once, and nothing of it stays."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from localvoice.engines.llama.engine import LlamaLlm
from tests.support.cut_clients import CANCELLED_SECONDS, Noted, cut, tasks
from tests.support.cut_clients import times as times
from tests.support.fakes import FakeStt, FakeTts, fake_engines, until
from tests.support.metronome import queued_seconds
from tests.support.server_site import serving
from tests.support.small_llama import MODEL, PLAN
from tests.support.turn_stages import GROUPS, STAGES, Cast

TOKEN_SECONDS = 0.1


@pytest.mark.timeout(0)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_killed_clients_work_is_cancelled(
    stage: str, times: int, caplog: pytest.LogCaptureFixture, stood_still: Callable[[float], float]
) -> None:
    cast, noted, random = Cast(), Noted(), Random(stage)
    brought: dict[str, Any] = {"tools": cast.tools, "hooks": noted.hooks()}
    sessions, took = list[str](), list[float]()
    async with serving(cast.engines, GROUPS, brought) as site:
        before = tasks()
        for number in range(1, times + 1):
            async with site.client() as client:
                sessions.append(client.received[0]["id"])
                await STAGES[stage](client, cast, number)
                await asyncio.sleep(random.uniform(0, 0.1))
                killed, queued = asyncio.get_running_loop().time(), queued_seconds()
                cut(client)
                await until(lambda: noted.gone == sessions)
                assert cast.work.under_way == []
                waited = queued_seconds() - queued
                took.append(cast.work.ended - killed - waited - stood_still(killed))
                assert took[-1] <= CANCELLED_SECONDS
        await site.until_alone()
        await asyncio.sleep(0.05)
        assert tasks() <= before
    assert sorted(noted.started) == sorted(noted.ended)
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "clients do go"
    print(f"killed while {stage}: after {1000 * max(0.0, *took, 0.0):.0f} ms at most, {times} times")


@pytest.mark.integration
async def test_the_language_model_is_free_again(own_time: Callable[[], Callable[[], float]]) -> None:
    """Within the time of one more token: that is how often it looks."""
    if not MODEL.exists():
        pytest.skip("SmolLM2 isn't downloaded: make download-models PROFILE=tiny")
    llm = await LlamaLlm.load("smollm2-135m-instruct", MODEL, PLAN)
    noted = Noted()
    engines = fake_engines(FakeStt(), tts=FakeTts())
    try:
        async with serving(replace(engines, llm=llm), GROUPS, {"hooks": noted.hooks()}) as site:
            async with site.client() as client:
                await client.send("text", text="Tell me a long story about a ship.")
                await client.expect("llm-chunk")
                spent = own_time()
                cut(client)
                await until(lambda: bool(noted.gone))
                await llm._worker.run(lambda: None)
                took = spent()
            assert took <= CANCELLED_SECONDS + TOKEN_SECONDS
            print(f"killed while a real model writes: it is free after {1000 * took:.0f} ms")
    finally:
        await llm.close()
