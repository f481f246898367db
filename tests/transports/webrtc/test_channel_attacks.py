"""A peer that means harm, on the data channel: what it can make us keep is bounded, and it breaks nothing."""

import asyncio
import struct
from typing import Any

import pytest
from aiortc.rtcsctptransport import DataChunk, RTCSctpTransport, tsn_plus_one

from localvoice.transports.webrtc import peer as webrtc
from localvoice.transports.webrtc.patches import sctp as sctp_guard
from localvoice.transports.webrtc.peer import WebRtcPeer
from tests.support.fakes import until
from tests.support.sctp_pair import waiting_bytes
from tests.support.server_site import Client, Site, serving
from tests.support.webrtc_browser import Browser, calling, needs_a_network

pytestmark = needs_a_network

FIRST, LAST, UNORDERED = 2, 1, 4
OPENING, TEXT = 50, 51


def part(of: RTCSctpTransport, data: bytes, flags: int, stream: int = 1, kind: int = TEXT) -> DataChunk:
    """The next part of a message that this end sends."""
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.protocol, chunk.user_data = of._local_tsn, stream, kind, data
    of._local_tsn = tsn_plus_one(of._local_tsn)
    return chunk


def sctp(browser: Browser) -> RTCSctpTransport:
    """The client's end."""
    assert browser.connection.sctp is not None
    return browser.connection.sctp


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> list[RTCSctpTransport]:
    """The server's end, once a client calls."""
    found: list[RTCSctpTransport] = []
    answer = WebRtcPeer.answer

    async def remember(peer: WebRtcPeer, sdp: str) -> dict[str, str]:
        answered = await answer(peer, sdp)
        if peer._connection.sctp is not None and peer._connection.sctp not in found:
            found.append(peer._connection.sctp)
        return answered

    monkeypatch.setattr(webrtc.WebRtcPeer, "answer", remember)
    return found


def kept(transport: RTCSctpTransport) -> tuple[int, int]:
    """Parts and bytes that wait."""
    streams: dict[int, Any] = transport._inbound_streams
    return sum(each.waiting for each in streams.values()), sum(map(waiting_bytes, streams.values()))


async def receive(transport: RTCSctpTransport, chunk: DataChunk) -> None:
    """Past the network, which would lose some; between two packets others have the event loop."""
    await transport._receive_chunk(chunk)
    await asyncio.sleep(0)


_PATIENCE_SECONDS = 1.0
"""Then a client that sent more than its share may say something again."""


async def goes_on(site: Site, client: Client) -> None:
    await asyncio.sleep(_PATIENCE_SECONDS)
    await client.sync()
    async with site.client() as other:
        await other.send("text", text="Hi.")
        await other.expect("tts-complete")


@pytest.mark.parametrize("size", [1_000, 1])
async def test_a_message_without_end_is_kept_up_to_what_was_offered(
    size: int, ours: list[RTCSctpTransport]
) -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await receive(ours[0], part(sctp(browser), b"x" * size, FIRST))
        for _ in range(4_000):
            await receive(ours[0], part(sctp(browser), b"x" * size, 0))
        parts, held = kept(ours[0])
        assert 500 < parts <= sctp_guard._WAITING and held < 2**20 + size
        await goes_on(site, client)


async def test_numbers_that_are_left_out_are_remembered_up_to_a_limit(ours: list[RTCSctpTransport]) -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        for _ in range(4_000):
            part(sctp(browser), b"", 0)  # never sent
            await receive(ours[0], part(sctp(browser), b"x", FIRST | LAST | UNORDERED))
        assert len(ours[0]._sack_misordered) <= sctp_guard._WAITING
        await goes_on(site, client)


async def test_channels_are_opened_up_to_a_limit(ours: list[RTCSctpTransport]) -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 1_000, 0) + b"x" * 1_000
        for stream in range(2, 1_000):
            await receive(ours[0], part(sctp(browser), opening, FIRST | LAST, stream, OPENING))
        assert 10 < len(ours[0]._data_channels) <= sctp_guard._STREAMS
        await goes_on(site, client)


@pytest.mark.parametrize(
    ("data", "kind", "stream"),
    [
        (b"\xff\xfe", TEXT, 1),
        (struct.pack("!BBHLHH", 3, 0, 0, 0, 1, 0) + b"x", OPENING, 1),
        (struct.pack("!BBHLHH", 3, 0, 0, 0, 1, 0) + b"\xff", OPENING, 7),
        (b"\x02", OPENING, 7),
    ],
    ids=["no UTF-8", "opened twice", "a label that is no UTF-8", "a yes to what was not asked"],
)
async def test_what_cannot_be_read_is_one_error_at_most_and_the_channel_goes_on(
    data: bytes, kind: int, stream: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        end = sctp(browser)
        await end._send_chunk(part(end, data, FIRST | LAST | UNORDERED, stream, kind))
        assert browser.channel is not None
        browser.channel.send('{"type": "text", "text": "Hi."}')
        await client.expect("tts-complete")
        assert client.errors() == (["INVALID_MESSAGE"] if stream == 1 else [])
        await until(lambda: any(each["type"] == "tts-complete" for each in browser.on_channel))
    assert "Traceback" not in caplog.text
