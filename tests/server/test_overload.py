"""More clients than slots: the served ones go on, the others are told when to try again, and closed."""

import asyncio
import statistics
import time

import aiohttp
import pytest
from aiohttp import WSCloseCode

from localvoice.contract.metrics import Metric
from localvoice.server.admission import SUBPROTOCOL
from localvoice.server.slots import KEEP_SECONDS
from tests.support.audio_chunks import send_at_once, utterance
from tests.support.error_watch import Watch
from tests.support.fakes import FakeLlm, FakeStt, fake_engines, until
from tests.support.full_server import converse, full, refusal
from tests.support.server_site import LONG, Client, Site

GOAL_SECONDS = 0.25
"""For a refusal. A busy machine is given twice the time."""


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


async def test_a_new_client_of_a_full_server_is_told_when_to_try_again(watch: Watch) -> None:
    async with full(brought=watch.brought()) as (site, (served,)):
        begun = time.perf_counter()
        async with site.http.ws_connect(site.url, protocols=(SUBPROTOCOL,)) as socket:
            wait = await refusal(Client(socket))
        assert time.perf_counter() - begun < 2 * GOAL_SECONDS
        assert KEEP_SECONDS - 3 < wait <= KEEP_SECONDS
        await converse(served)
        assert watch.metrics.count("llmrtc.errors", code="RATE_LIMITED", component="server") == 1
        assert watch.metrics.current(Metric.CONVERSATIONS_ACTIVE) == 1
        assert watch.metrics.current(Metric.CONVERSATIONS_CAPACITY) == 1
        async with site.http.get(site.url + "/health") as response:
            assert (await response.json())["conversations"] == {"now": 1, "most": 1}


@pytest.mark.parametrize("how", ["typed", "spoken"])
async def test_an_idle_tab_that_begins_when_all_slots_are_taken_comes_back_to_its_session(how: str) -> None:
    stt, llm = FakeStt(), FakeLlm()
    async with full(fake_engines(stt, llm), idle=1) as (site, (served, idle)):
        asked = len(llm.asked)
        if how == "typed":
            await idle.send("text", text="And me?")
        else:
            await send_at_once(idle, utterance())
        await refusal(idle)
        assert len(llm.asked) == asked and not stt.heard, "the models have done nothing for it"
        await served.socket.close()
        async with site.client() as again:
            await again.send("reconnect", sessionId=idle.received[0]["id"])
            assert (await again.expect("reconnect-ack"))["success"] is True
            await converse(again)


async def test_idle_tabs_take_no_slots() -> None:
    async with full(idle=5) as (site, (served, *_)):
        await served.socket.close()
        async with site.client() as another:
            await converse(another)


async def test_who_was_cut_off_is_not_kept_out_by_its_own_ghost() -> None:
    """Its old socket is still open, as when a laptop slept: nobody has told the server."""
    async with full(fake_engines(llm=FakeLlm("Fine.", LONG))) as (site, (ghost,)):
        await ghost.send("text", text="Talk.")
        await ghost.expect("tts-start")
        async with site.client() as again:
            await again.send("ping", timestamp=1)
            await again.send("reconnect", sessionId=ghost.received[0]["id"])
            assert (await again.expect("reconnect-ack"))["success"] is True
            assert await ghost.closed() == WSCloseCode.GOING_AWAY
            await converse(again)
            async with site.http.ws_connect(site.url, protocols=(SUBPROTOCOL,)) as socket:
                await refusal(Client(socket))
        async with site.client() as another:
            await converse(another)


async def test_a_client_that_asks_for_a_session_without_a_slot_is_refused() -> None:
    async with full(idle=1) as (site, (_, idle)):
        for session_id in (idle.received[0]["id"], "made up"):
            async with site.http.ws_connect(site.url, protocols=(SUBPROTOCOL,)) as socket:
                client = Client(socket)
                await client.send("reconnect", sessionId=session_id)
                await refusal(client)
        await idle.sync()


async def test_a_slot_whose_client_was_killed_is_kept_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localvoice.server.slots.KEEP_SECONDS", 1.0)
    async with full() as (site, (served,)):
        await converse(served)
        transport = served.socket.get_extra_info("socket")
        assert transport is not None
        served.socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await site.until_alone()
        async with site.http.ws_connect(site.url, protocols=(SUBPROTOCOL,)) as socket:
            await refusal(Client(socket))
        async with site.client() as again:
            await again.send("reconnect", sessionId=served.received[0]["id"])
            assert (await again.expect("reconnect-ack"))["success"] is True
            await converse(again)
        async with site.client() as another:
            await converse(another)


async def test_the_served_are_not_slowed_down_by_those_who_keep_coming() -> None:
    """Eight who come again as soon as they are refused, beside two who converse."""
    async with full(count=2) as (site, served):
        alone = await turns(served)
        took = list[float]()
        flood = [asyncio.create_task(keep_coming(site, took)) for _ in range(8)]
        try:
            beside = await turns(served)
            await until(lambda: len(took) > 20)
        finally:
            for task in flood:
                task.cancel()
            await asyncio.wait(flood)
    assert statistics.median(beside) < statistics.median(alone) + 0.1
    assert statistics.median(took) < 2 * GOAL_SECONDS


async def turns(clients: list[Client]) -> list[float]:
    async def one(client: Client) -> list[float]:
        times = list[float]()
        for _ in range(5):
            begun = time.perf_counter()
            await client.send("text", text="Hello?")
            await client.expect("tts-chunk")
            times.append(time.perf_counter() - begun)
            await client.expect("tts-complete")
        return times

    return [each for times in await asyncio.gather(*map(one, clients)) for each in times]


async def keep_coming(site: Site, took: list[float]) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            begun = time.perf_counter()
            async with http.ws_connect(site.url, protocols=(SUBPROTOCOL,)) as socket:
                await refusal(Client(socket))
            took.append(time.perf_counter() - begun)
