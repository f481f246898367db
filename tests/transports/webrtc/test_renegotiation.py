"""Calls that are renegotiated: a microphone that is shared again and again, and offers that can't be used."""

import asyncio
import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from aiortc import RTCPeerConnection, RTCRtpTransceiver

from localvoice.transports.webrtc import peer as webrtc
from localvoice.transports.webrtc.patches.connection import IceGuard, PeerConnection
from localvoice.transports.webrtc.peer import WebRtcPeer
from localvoice.transports.webrtc.sdp import MAX_RESTING, SdpOffer, dtls_fingerprint
from tests.support.fakes import WORD_SECONDS, FakeLlm, FakeStt, fake_engines, until
from tests.support.mutations import mutated_lines
from tests.support.server_site import Client, serving
from tests.support.webrtc_browser import Browser, Microphone, calling, needs_a_network
from tests.support.webrtc_peers import peers as peers

SHARES = 24
MUTATED = 80
RATE_SECONDS = 0.05
"""Between two offers, which are limited as all messages are."""


async def share(browser: Browser) -> RTCRtpTransceiver:
    """Add a microphone as a browser does: on a section of its own."""
    browser.microphone._clock.stop()
    browser.microphone = Microphone()
    transceiver = browser.connection.addTransceiver(browser.microphone, "sendrecv")
    await browser.offer()
    return transceiver


async def take_back(browser: Browser, shared: RTCRtpTransceiver) -> None:
    """What `removeTrack` does in a browser, whose section stays."""
    shared.sender.replaceTrack(None)
    shared.direction = "recvonly"
    await browser.offer()


async def converses(client: Client, browser: Browser) -> None:
    """It is heard, and hears the answer."""
    before = sum(browser.seconds_heard())
    browser.microphone.speech_frames = 40
    await client.expect("transcript")
    await client.expect("tts-complete")
    await until(lambda: sum(browser.seconds_heard()) > before)


@needs_a_network
async def test_a_call_in_one_offer_as_our_page_makes_it() -> None:
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            browser.connection.addTrack(browser.microphone)
            await browser.connect()
            await converses(client, browser)
            assert browser.on_channel and client.errors() == []


@needs_a_network
async def test_a_microphone_may_be_shared_as_often_as_one_likes(peers: list[WebRtcPeer]) -> None:
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            for number in range(SHARES):
                shared = await share(browser)
                if number in (1, SHARES - 1):
                    await converses(client, browser)
                await take_back(browser, shared)
            (peer,) = peers
            assert len(peer._connection.getTransceivers()) == 1, "our voice's"
            ports = re.findall(r"^m=audio (\d+)", browser.connection.remoteDescription.sdp, re.MULTILINE)
            assert ports.count("0") == SHARES - 1 - MAX_RESTING, "a browser uses their places again"
            await share(browser)
            await converses(client, browser)
            assert client.errors() == [] and len(peers) == 1


@needs_a_network
async def test_a_section_that_rested_is_heard_again(peers: list[WebRtcPeer]) -> None:
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await share(browser)
            second = await share(browser)
            await take_back(browser, second)
            browser.microphone = Microphone()
            second.sender.replaceTrack(browser.microphone)
            second.direction = "sendrecv"
            await browser.offer()
            await converses(client, browser)


@needs_a_network
async def test_our_voice_moves_where_its_section_hears_no_more(peers: list[WebRtcPeer]) -> None:
    engines = fake_engines(FakeStt("How are you?"), FakeLlm(*["word " * 16] * 4))
    async with serving(engines) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        first = await share(browser)
        await converses(client, browser)
        first.direction = "sendonly"
        await share(browser)
        for frames in browser.heard:
            frames.clear()
        await converses(client, browser)
        await asyncio.sleep(0.3)
        assert sum(browser.seconds_heard()) == pytest.approx(16 * WORD_SECONDS, abs=0.15), "all of it"
        assert peers[0]._in_use.speech == browser.connection.getTransceivers()[1].mid


@needs_a_network
async def test_an_ice_restart_goes_on_over_the_path_that_there_is(peers: list[WebRtcPeer]) -> None:
    credentials = re.compile(r"^a=ice-(?:ufrag|pwd):\S+", re.MULTILINE)
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            before = set(credentials.findall(browser.connection.remoteDescription.sdp))
            restarted = credentials.sub(r"\g<0>Anew", browser.connection.localDescription.sdp)
            await client.send("offer", signal={"type": "offer", "sdp": restarted})
            answer = (await client.expect("signal"))["signal"]["sdp"]
            assert set(credentials.findall(answer)) == before, (
                "which tells the client that nothing is restarted"
            )
            await converses(client, browser)
            assert len(peers) == 1 and client.errors() == []


BROKEN: dict[str, Callable[[str], str]] = {
    "nonsense": lambda sdp: "hello",
    "no codec that is known": lambda sdp: re.sub(r"a=rtpmap:(\d+) \S+", r"a=rtpmap:\1 nothing/1", sdp),
    "no rtcp-mux": lambda sdp: sdp.replace("a=rtcp-mux\r\n", ""),
    "no bundle": lambda sdp: re.sub("a=group:BUNDLE.*\r\n", "", sdp),
    "a broken section more": lambda sdp: sdp + "m=\r\n",
    "another connection, broken": lambda sdp: (
        sdp.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:") + "m="
    ),
    "the data channel elsewhere": lambda sdp: re.sub(r"(webrtc-datachannel[^m]*?a=mid:)\S+", r"\g<1>9", sdp),
}


@needs_a_network
async def test_an_offer_that_cant_be_used_leaves_the_call_as_it_was(peers: list[WebRtcPeer]) -> None:
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            good = browser.connection.localDescription.sdp
            for name, broken in BROKEN.items():
                browser.on_channel.clear()
                assert broken(good) != good, name
                await client.send("offer", signal={"type": "offer", "sdp": broken(good)})
                assert (await client.expect("error"))["code"] == "CONNECTION_FAILED", name
                await until(lambda: bool(browser.on_channel))  # where a stock client reads it
            await converses(client, browser)
            assert peers[0]._connection.connectionState == "connected"
            await browser.offer()
            await converses(client, browser)


async def test_an_offer_connects_after_one_whose_connecting_was_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: list[type[BaseException] | None] = [asyncio.CancelledError, None]

    async def connect(_: RTCPeerConnection) -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    monkeypatch.setattr(RTCPeerConnection, "_RTCPeerConnection__connect", connect)
    connection = PeerConnection(IceGuard(lambda: None))
    for _ in range(2):
        connecting = connection._RTCPeerConnection__connect()
        await asyncio.wait([asyncio.ensure_future(connecting)])
    assert outcomes == []


@needs_a_network
async def test_what_aiortc_is_given_it_can_take(
    peers: list[WebRtcPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it can't, it has changed half of the connection by then."""
    taken: list[SdpOffer] = []

    def remember(*offer: Any) -> SdpOffer:
        taken.append(SdpOffer(*offer))
        return taken[-1]

    monkeypatch.setattr(webrtc, "SdpOffer", remember)
    random = Random(7)
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            await share(browser)
            good = browser.connection.localDescription.sdp
            answered = len(taken)
            for _ in range(MUTATED):
                sdp = mutated_lines(good, random)
                if dtls_fingerprint(sdp) != dtls_fingerprint(good):
                    continue  # it asks for another connection
                await client.send("offer", signal={"type": "offer", "sdp": sdp})
                while (answer := await client.socket.receive_json())["type"] not in ("signal", "error"):
                    pass
                answered += answer["type"] == "signal"
                assert len(taken) == answered, sdp
                await asyncio.sleep(RATE_SECONDS)
            await browser.offer()
            await converses(client, browser)
            assert len(peers) == 1
