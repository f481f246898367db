"""A call's end: threads, tasks and sockets go, whatever one of its parts is stuck in."""

import asyncio
import threading

import pytest

from localvoice.transports.webrtc import peer as webrtc
from localvoice.transports.webrtc.peer import WebRtcPeer
from tests.support.fakes import until
from tests.support.server_site import serving
from tests.support.webrtc_browser import calling, needs_a_network

pytestmark = needs_a_network


def decoders() -> set[threading.Thread]:
    """The threads that aiortc's receivers have."""
    return {thread for thread in threading.enumerate() if "decoder" in thread.name}


async def test_a_part_that_does_not_stop_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webrtc, "_CLOSE_SECONDS", 0.2)
    peers: list[WebRtcPeer] = []
    answer = WebRtcPeer.answer

    async def remember(peer: WebRtcPeer, sdp: str) -> dict[str, str]:
        peers.append(peer)
        return await answer(peer, sdp)

    monkeypatch.setattr(WebRtcPeer, "answer", remember)
    async with serving() as site, site.client() as client:
        before = decoders()
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            await until(lambda: len(decoders() - before) == 2)  # at both ends
            connection = peers[0]._connection
            (transceiver,) = connection.getTransceivers()

            async def never() -> None:
                await asyncio.Event().wait()

            with monkeypatch.context() as patched:
                patched.setattr(transceiver.sender, "stop", never)
                await peers[0].close()
            assert "did not close" in caplog.text
            assert transceiver.receiver.transport.state == "closed"
            assert transceiver.receiver.transport.transport.state == "closed"
            assert connection.sctp is not None and connection.sctp.state == "closed"
            await transceiver.sender.stop()
        assert decoders() == before


async def test_a_client_that_goes_while_its_new_call_takes_the_place_of_another_leaves_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[WebRtcPeer] = []
    ends, may_end = asyncio.Event(), asyncio.Event()
    close = WebRtcPeer.close

    async def close_later(peer: WebRtcPeer) -> None:
        ends.set()
        await may_end.wait()
        await close(peer)
        ended.append(peer)

    monkeypatch.setattr(WebRtcPeer, "close", close_later)
    async with serving() as site:
        async with site.client() as client, calling(client) as first, calling(client) as second:
            await first.connect()
            second.connection.createDataChannel("data")
            await second.connection.setLocalDescription(await second.connection.createOffer())
            local = second.connection.localDescription
            await client.send("offer", signal={"type": local.type, "sdp": local.sdp})
            async with asyncio.timeout(8):
                await ends.wait()
            client.socket._response.connection.transport.abort()  # type: ignore[union-attr]
            await asyncio.sleep(0.3)  # the server sees that it has gone
            may_end.set()
        await site.until_alone()
    assert len(set(ended)) == 2
