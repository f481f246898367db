"""New clients of a full server: handled on one beat, in two packets, and in time."""

import asyncio
import logging
import sys
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType

from localvoice.config import LimitSettings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.observability.stopwatch import now as now
from localvoice.server.admission import ASK_SECONDS, BEAT_SECONDS, SUBPROTOCOL, returning_session
from localvoice.server.slots import ConversationSlots
from tests.support.full_server import full
from tests.support.server_site import Site

SOONEST = 0.02 + ASK_SECONDS


class NewClient:
    """A request and its WebSocket, without a network."""

    def __init__(self, *says: str, after: float = 0.0) -> None:
        self._says = list(says)
        self._after = after
        self.at = dict[str, float]()
        """What happened when: the event loop's time."""

    headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL}

    def get_extra_info(self, name: str) -> None:
        return None

    async def prepare(self, request: Any) -> None:
        self.at["open"] = now()

    async def send_str(self, message: str) -> None:
        self.at["ready"] = now()

    async def receive(self) -> WSMessage:
        if not self._says:
            await asyncio.Event().wait()
        await asyncio.sleep(self._after)
        return WSMessage(WSMsgType.TEXT, self._says.pop(0), None)

    async def come(self, slots: ConversationSlots) -> str | None:
        """What `returning_session` gives, or None after a refusal."""
        self.at["came"] = now()
        try:
            return await returning_session(self, self, "stun:127.0.0.1:9", slots)  # type: ignore[arg-type]
        except VoiceError as error:
            assert error.code == ErrorCode.RATE_LIMITED
            self.at["refused"] = now()
            return None


def full_slots() -> ConversationSlots:
    slots = ConversationSlots(LimitSettings(conversations=1), 0.0)
    slots.take("one")
    return slots


@pytest.mark.virtual_clock
async def test_those_who_come_between_two_beats_are_told_and_refused_together() -> None:
    slots, clients = full_slots(), [NewClient() for _ in range(20)]
    async with asyncio.TaskGroup() as group:
        for each in clients:
            group.create_task(each.come(slots))
            await asyncio.sleep(BEAT_SECONDS / 10)
    for each in clients:
        waited = each.at["refused"] - each.at["came"]
        assert SOONEST - 1e-6 < waited < SOONEST + BEAT_SECONDS + 1e-6
        assert each.at["open"] == each.at["ready"], "both in one step"
    for what in ("ready", "refused"):
        assert len({round(each.at[what], 6) for each in clients}) <= 3, "20 in two beats' time"


@pytest.mark.virtual_clock
async def test_a_client_that_hammers_waits_for_four_beats_each_time() -> None:
    slots, client = full_slots(), NewClient()
    await client.come(slots)
    for _ in range(3):
        await asyncio.sleep(0.003)
        begun = client.at["refused"]
        await client.come(slots)
        assert client.at["refused"] - begun == pytest.approx(4 * BEAT_SECONDS)


@pytest.mark.virtual_clock
async def test_who_comes_back_is_let_in_when_it_says_so_and_not_on_a_beat() -> None:
    client = NewClient('{"type":"ping","timestamp":1}', '{"type":"reconnect","sessionId":"one"}', after=0.031)
    assert await client.come(full_slots()) == "one"
    assert now() - client.at["ready"] == pytest.approx(0.062)


@pytest.mark.virtual_clock
async def test_a_slot_that_becomes_free_before_the_beat_goes_to_the_new_client() -> None:
    slots, client = full_slots(), NewClient()
    coming = asyncio.create_task(client.come(slots))
    await asyncio.sleep(0.015)
    slots.free("one")
    await coming
    assert "ready" not in client.at and "refused" not in client.at


async def test_who_goes_before_the_beat_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with full() as (site, _):
        for _ in range(5):
            _, writer = await knock(site)
            await asyncio.sleep(0.01)
            writer.close()
        await asyncio.sleep(2 * BEAT_SECONDS)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.skipif(sys.platform != "linux", reason="packets are put together on Linux alone")
async def test_a_refusal_is_two_packets() -> None:
    async with full() as (site, _):
        packets = await packets_of(site)
    assert len(packets) == 2
    assert packets[0].startswith(b"HTTP/1.1 101 ") and b'"ready"' in packets[0]
    assert b"RATE_LIMITED" in packets[1] and b"retry-after=" in packets[1]


async def packets_of(site: Site) -> list[bytes]:
    """What one is sent who never says anything, until the close frame."""
    reader, writer = await knock(site)
    packets = list[bytes]()
    while not packets or b"retry-after=" not in packets[-1]:
        packets.append(await reader.read(4096))
    writer.close()
    return packets


async def knock(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a WebSocket, without a library that would read what comes."""
    host = site.url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    return reader, writer
