"""Offers that are made to cost, or that can't be used: each is answered at once, and video is declined."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiortc.mediastreams import VideoStreamTrack

from localvoice.contract.client_messages import MAX_SDP_CHARS
from localvoice.contract.errors import VoiceError
from localvoice.transports.webrtc import peer as webrtc
from localvoice.transports.webrtc.peer import WebRtcPeer
from localvoice.transports.webrtc.sdp import (
    MAX_CODECS,
    MAX_IN_USE,
    MAX_LINES,
    MAX_RESTING,
    MAX_SECTIONS,
    SdpOffer,
    SectionsInUse,
)
from tests.support.fakes import until
from tests.support.server_site import Client, serving
from tests.support.webrtc_browser import Browser, calling, needs_a_network

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
    "a fingerprint behind spaces": SESSION.replace(
        "sha-256 ", "sha-256" + " " * (MAX_SDP_CHARS - len(SESSION + SOUND))
    )
    + SOUND,
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
        for _ in ("first", "again, of a connection that there is already"):
            begun = time.process_time()
            await answer_to(client, COSTLY[name])
            assert time.process_time() - begun < CPU_SECONDS
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
    await asyncio.sleep(0.2)  # a connection that was closed amid its checks is done with them after 20 ms


@needs_a_network
async def test_sections_of_earlier_offers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    peers: list[WebRtcPeer] = []

    def make(*args: Any) -> WebRtcPeer:
        peers.append(WebRtcPeer(*args))
        return peers[-1]

    monkeypatch.setattr(webrtc, "WebRtcPeer", make)
    async with serving() as site, site.client() as client:
        for at in range(4):
            assert await answer_to(client, bundled(range(4 * at, 4 * at + 4))) == "signal"
        assert len(peers[0]._connection.getTransceivers()) == 4
    await asyncio.sleep(0.2)


@needs_a_network
async def test_offers_while_the_client_is_not_reached_leave_no_tasks_behind() -> None:
    async with serving() as site, site.client() as client:
        assert await answer_to(client, bundled([0])) == "signal"
        await asyncio.sleep(0.1)
        before = asyncio.all_tasks()
        for _ in range(10):
            assert await answer_to(client, bundled([0])) == "signal"
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks() - before) <= 1, "of connecting, there is one"
    await asyncio.sleep(0.2)


def bundled(mids: Iterable[int], lines: str = "a=sendrecv", head: str = SESSION) -> str:
    """An offer of so many sections of sound, on one connection."""
    sections = [section(mid, "audio", "opus/48000/2").replace("a=sendrecv", lines) for mid in mids]
    return f"{head}a=group:BUNDLE {' '.join(str(mid) for mid in mids)}\r\n" + "".join(sections)


@pytest.mark.parametrize(
    ("line", "most", "what"),
    [("a=x", MAX_LINES, "lines"), ("m=x", MAX_SECTIONS, "sections"), ("a=rtpmap:x", MAX_CODECS, "codecs")],
)
def test_limits(line: str, most: int, what: str) -> None:
    with pytest.raises(VoiceError, match=f"more than {most} {what}"):
        SdpOffer("\r\n".join([line] * (most + 1)), SectionsInUse())


UNUSABLE = {
    "too many in use": (bundled(range(MAX_IN_USE + 1)), f"more than {MAX_IN_USE} sections in use"),
    "not bundled": (
        SESSION + section(0, "audio", "opus/48000/2") + section(1, "audio", "opus/48000/2"),
        "bundled",
    ),
    "a bundle of others": (bundled([0, 1]).replace("BUNDLE 0 1", "BUNDLE 7 0 1"), "that it doesn't have"),
    "a name that stands twice": (bundled([0, 0]), "the same mid"),
    "no codec": (SESSION + section(0, "audio", "nothing/1"), "no codec"),
    "no rtcp-mux": (bundled([0]).replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
    "only video": (SESSION + section(0, "video", "VP8/90000"), "neither sound nor a data channel"),
    "no fingerprint": (bundled([0]).replace("a=fingerprint", "a=x"), "no fingerprint"),
    "no password": (bundled([0]).replace("a=ice-pwd", "a=x"), "no ICE user name or password"),
    "no such section": (bundled([0]).replace("m=audio", "m="), "does not begin a section"),
    "no SCTP port": (
        SESSION + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n",
        "no SCTP port",
    ),
}


@pytest.mark.parametrize(("sdp", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_cant_be_used_is_refused_before_aiortc_sees_it(sdp: str, reason: str) -> None:
    with pytest.raises(VoiceError, match=reason):
        SdpOffer(sdp, SectionsInUse())


def test_only_sections_in_use_are_given_to_aiortc() -> None:
    sdp = bundled([0, 1, 2], "a=recvonly") + section(3, "audio", "opus/48000/2")
    offer = SdpOffer(sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 3"), SectionsInUse(speech="1"))
    assert [each.mid for each in offer.in_use] == ["1", "3"], "our voice, and the microphone"
    assert "a=group:BUNDLE 1 3\r\n" in offer.sdp and offer.used == SectionsInUse("1", None, ("0", "2"))


def test_our_voice_stays_where_it_is_heard_and_moves_where_it_is_not() -> None:
    both = bundled([0, 1])
    assert [SdpOffer(both, SectionsInUse(voice)).used.speech for voice in (None, "1", "9")] == ["0", "1", "0"]
    (start, end) = both.index("a=mid:0"), both.index("a=mid:1")
    first_sends_only = both[:start] + both[start:end].replace("sendrecv", "sendonly") + both[end:]
    assert SdpOffer(first_sends_only, SectionsInUse("0")).used.speech == "1"
    assert SdpOffer(bundled([0], "a=sendonly"), SectionsInUse()).used.speech is None


def test_those_that_rest_longest_are_rejected() -> None:
    mids = list(range(MAX_RESTING + 4))
    offer = SdpOffer(bundled(mids, "a=recvonly"), SectionsInUse("3", resting=("2", "1")))
    assert offer.resting == ("0", "4", "5", "6", "7"), "the bundle's first can't be rejected"
    own = bundled([3]).replace("a=sendrecv", "a=sendonly")
    answer = offer.answer(own).split("m=")[1:]
    ports = [int(each.split()[1]) for each in answer]
    assert [at for at, port in enumerate(ports) if port == 0] == [1, 2]
    assert all("a=ice-ufrag:abcd" in offer.answer(own) for each in answer)


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
