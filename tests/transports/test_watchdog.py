"""Clients of a server that stood still: none is dropped for what the server could not read in that time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from localvoice.transports.liveness import PacketLiveness, Watchdog
from tests.support.server_site import serving

SECONDS = 45.0
STEP = SECONDS / 10
STANDING = pytest.mark.elsewhere
"""An event loop that stands still is what these are about, and no fault of theirs."""


def stand_still(seconds: float) -> None:
    """The clock goes on, and nothing else."""
    vars(asyncio.get_running_loop())["_jumping"].now += seconds


@asynccontextmanager
async def watched(watchdog: Watchdog, counts: bool = True) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(watchdog.expired(lambda: counts))
    yield task
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.virtual_clock
async def test_it_runs_out_when_it_is_not_reset() -> None:
    now = asyncio.get_running_loop().time
    watchdog = Watchdog(SECONDS)
    async with watched(watchdog) as task:
        for _ in range(5):
            await asyncio.sleep(SECONDS - 1)
            watchdog.reset()
        begun = now()
        await task
        assert SECONDS <= now() - begun <= SECONDS + STEP


@STANDING
@pytest.mark.virtual_clock
@pytest.mark.parametrize("lived", [1.0, SECONDS - 1, SECONDS + 1])
async def test_time_in_which_the_process_stood_still_does_not_count(lived: float) -> None:
    async with watched(watchdog := Watchdog(SECONDS)) as task:
        await asyncio.sleep(lived)
        stand_still(100)
        await asyncio.sleep(0.001)
        assert not task.done(), "what was sent is read first"
        watchdog.reset()
        await asyncio.sleep(SECONDS - 1)
        assert not task.done()


@pytest.mark.virtual_clock
async def test_time_in_which_nothing_is_read_does_not_count() -> None:
    async with watched(Watchdog(SECONDS), counts=False) as task:
        await asyncio.sleep(3 * SECONDS)
        assert not task.done()


@STANDING
@pytest.mark.virtual_clock
async def test_a_callers_packets_that_came_meanwhile_are_read_first() -> None:
    gone: list[None] = []
    life = PacketLiveness(lambda: gone.append(None))
    life.heard()
    await asyncio.sleep(4.9)
    stand_still(45)
    await asyncio.sleep(0.1)
    life.received()
    await asyncio.sleep(4.9)
    assert not gone
    await asyncio.sleep(0.7)
    assert len(gone) == 1
    life.stop()


@STANDING
async def test_a_stopped_servers_clients_stay_for_their_pings_lie_in_the_socket() -> None:
    """As with SIGSTOP: what the client sent before is in the socket, and the process does nothing."""
    async with serving(ping_seconds=0.6) as site, site.client() as client:
        await client.sync()
        await client.send("ping", timestamp=1)
        time.sleep(1.5)  # noqa: ASYNC251 - the process stands still
        await client.expect("pong")
        await client.sync()
