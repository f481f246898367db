"""Offers that are made to cost: each is answered at once, and video is declined."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from aiortc.mediastreams import VideoStreamTrack
from fakes import until
from server_site import Client, serving
from webrtc_browser import Browser, calling, needs_a_network

from localvoice.contract.client_messages import MAX_SDP_CHARS
from localvoice.contract.errors import VoiceError
from localvoice.transports.offers import MAX_CODECS, MAX_LINES, MAX_SECTIONS, slimmed

SESSION = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AA"] * 32) + "\r\na=setup:actpass\r\n"
)
SOUND = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=rtpmap:0 PCMU/8000\r\na=rtcp-mux\r\na=sendrecv\r\n"
CPU_SECONDS = 0.25
"""Of this whole process, with asyncio's debugging; before, one of these offers took 25 s."""


def filled(start: str, line: Callable[[int], str], most: int = MAX_SDP_CHARS) -> str:
    """As many lines as an offer may have characters."""
    parts, size, number = [start], len(start), 0
    while size + len(line(number)) <= most:
        parts.append(line(number))
        size += len(parts[-1])
        number += 1
    return "".join(parts)


def section(number: int, kind: str, codec: str) -> str:
    head = f"m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{number}\r\n"
    return f"{head}a=rtpmap:96 {codec}\r\na=rtcp-mux\r\na=sendrecv\r\n"


COSTLY = {
    "feedback for all of many codecs": filled(
        filled(SESSION + SOUND, lambda _: "a=rtpmap:0 a/1\r\n", MAX_SDP_CHARS // 2),
        lambda _: "a=rtcp-fb:* x\r\n",
    ),
    "feedback for the codecs that there may be": filled(
        SESSION + SOUND + "a=rtpmap:0 a/1\r\n" * (MAX_CODECS - 1), lambda _: "a=rtcp-fb:* x\r\n"
    ),
    "parameters of many codecs": filled(
        filled(SESSION + SOUND, lambda _: "a=rtpmap:0 a/1\r\n", MAX_SDP_CHARS // 2),
        lambda _: "a=fmtp:0 x\r\n",
    ),
    "sources": filled(SESSION + SOUND, lambda number: f"a=ssrc:{number} x:\r\n"),
    "sections of sound": filled(SESSION, lambda number: section(number, "audio", "opus/48000/2")),
    "sections of video": filled(SESSION, lambda number: section(number, "video", "VP8/90000")),
    "empty lines": filled(SESSION + SOUND, lambda _: "\r\n"),
    "all that there may be": SESSION
    + SOUND
    + "a=rtpmap:96 opus/48000/2\r\n" * (MAX_CODECS - 1)
    + "".join(f"a=ssrc:{number} x:\r\n" for number in range(MAX_LINES - MAX_CODECS - 20)),
}


async def answer_to(client: Client, sdp: str) -> str:
    """The type of what comes back."""
    await client.send("offer", signal={"type": "offer", "sdp": sdp})
    while (message := await client.socket.receive_json())["type"] not in ("signal", "error"):
        pass
    return str(message["type"])


@needs_a_network
@pytest.mark.parametrize("name", COSTLY)
async def test_an_offer_that_is_made_to_cost_is_answered_at_once(name: str) -> None:
    async with serving() as site, site.client() as client:
        begun = time.process_time()
        await answer_to(client, COSTLY[name])
        assert time.process_time() - begun < CPU_SECONDS
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
    await asyncio.sleep(0.2)  # a connection that was closed amid its checks is done with them after 20 ms


@needs_a_network
async def test_sections_that_each_offer_adds_are_counted_together() -> None:
    async with serving() as site, site.client() as client:
        kinds = [
            await answer_to(
                client,
                SESSION + "".join(section(4 * at + each, "audio", "opus/48000/2") for each in range(4)),
            )
            for at in range(4)
        ]
        assert kinds[0] == "signal" and "error" in kinds
    await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("line", "most", "what"),
    [("a=x", MAX_LINES, "lines"), ("m=x", MAX_SECTIONS, "sections"), ("a=rtpmap:x", MAX_CODECS, "codecs")],
)
def test_limits(line: str, most: int, what: str) -> None:
    assert slimmed("\r\n".join([line] * most)) == (line + "\r\n") * most
    with pytest.raises(VoiceError, match=f"more than {most} {what}"):
        slimmed("\r\n".join([line] * (most + 1)))


@needs_a_network
async def test_video_is_declined_and_nothing_of_it_decoded() -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        browser.connection.addTrack(VideoStreamTrack())
        await browser.connect()
        await browser.add_microphone()
        await _hears(browser)
        video = browser.connection.getTransceivers()[0]
        assert (video.kind, video.currentDirection) == ("video", "inactive")
        assert not [each.name for each in threading.enumerate() if "video" in each.name]
        assert client.errors() == []


async def _hears(browser: Browser) -> None:
    await browser.client.send("text", text="Hi.")
    await until(lambda: any(browser.seconds_heard()))
