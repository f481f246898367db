"""Error codes of WebRTC, each provoked by a real peer: no network, bad offers, dead paths, broken sound."""

import asyncio
import gc
import json
import re
import sys
from fractions import Fraction
from typing import Any
from unittest.mock import AsyncMock

import av
import pytest
from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)

from localvoice.contract.errors import Component, ErrorCode
from localvoice.server import inbound
from localvoice.server import webrtc as transport
from localvoice.transports.webrtc import peer as webrtc
from tests.support.error_watch import Watch, goes_on
from tests.support.fakes import FakeStt, FakeVad, fake_engines, until
from tests.support.server_site import Client, serving
from tests.support.webrtc_browser import Browser, Microphone, calling, needs_a_network


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


async def an_offer() -> str:
    """Good, but nothing listens any more at its addresses."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("data")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp


async def offer(client: Client, sdp: str) -> None:
    await client.send("offer", signal={"type": "offer", "sdp": sdp})


# --- WebRTC can't be had ---


async def test_webrtc_unavailable_without_a_network(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "has_network", lambda: False)
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await offer(client, await an_offer())
        await client.sync()
        watch.told(client, ErrorCode.WEBRTC_UNAVAILABLE, Component.WEBRTC, "`audio-chunk` messages")
        await goes_on(client)
        assert "tts-chunk" in client.kinds()


async def test_webrtc_unavailable_without_aiortc(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    sdp = await an_offer()
    monkeypatch.setitem(sys.modules, "aiortc", None)
    monkeypatch.delitem(sys.modules, "localvoice.transports.webrtc.peer")
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await offer(client, sdp)
        await client.sync()
        watch.told(client, ErrorCode.WEBRTC_UNAVAILABLE, Component.WEBRTC, "`audio-chunk` messages")
        await goes_on(client)
        assert "tts-chunk" in client.kinds()


# --- the connection fails ---


@needs_a_network
@pytest.mark.parametrize(
    "sdp", ["hello", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:x\r\n"], ids=["no sdp", "broken"]
)
async def test_connection_failed_bad_sdp(watch: Watch, sdp: str) -> None:
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await offer(client, sdp)
        await client.sync()
        watch.told(client, ErrorCode.CONNECTION_FAILED, Component.WEBRTC, "Make a new one")
        await goes_on(client)


@needs_a_network
@pytest.mark.parametrize("address", ["", "203.0.113.9"], ids=["nothing listens", "not on this machine"])
async def test_connection_failed_no_path(watch: Watch, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(webrtc, "_CONNECT_SECONDS", 0.3)
    sdp = await an_offer()
    if address:
        sdp = re.sub(r"(a=candidate:\S+ 1 udp \d+) \S+", rf"\1 {address}", sdp)
    assert "a=end-of-candidates" in sdp, "the client has no others"
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await offer(client, sdp)
        answer = (await client.expect("signal"))["signal"]["sdp"]
        assert "a=candidate:" in answer, "it may reach us all the same"
        await client.expect("error")
        await client.sync()
        watch.told(client, ErrorCode.CONNECTION_FAILED, Component.WEBRTC, "Try again; text still works")
        await goes_on(client)
    await asyncio.sleep(0.1)  # aioice, closed, still sleeps until its next check


@needs_a_network
async def test_connection_failed_in_the_background(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one offer takes away the transport that the offer before it is connecting."""
    monkeypatch.setattr(webrtc, "_CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(RTCIceTransport, "start", AsyncMock(side_effect=InvalidStateError("closed")))
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await offer(client, await an_offer())
        await client.expect("signal")
        await client.expect("error")
        await client.sync()
        watch.told(client, ErrorCode.CONNECTION_FAILED, Component.WEBRTC, "Try again; text still works")
        await goes_on(client)
    gc.collect()  # a task's failure that was not asked for is told when the task is gone
    assert not unheard


class Impostor(Browser):
    """Its offer names another certificate than its own."""

    async def offer(self) -> None:
        self.connection.createDataChannel("data")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        forged = re.sub(r"(a=fingerprint:\S+ )\S\S:\S\S", r"\g<1>00:00", self.connection.localDescription.sdp)
        await offer(self.client, forged)
        answer = (await self.client.expect("signal"))["signal"]
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))


@needs_a_network
async def test_connection_failed_dtls(watch: Watch) -> None:
    async with serving(brought=watch.brought()) as site, site.client() as client:
        browser = Impostor(client)
        try:
            await browser.offer()
            await client.expect("error")
            await client.sync()
            watch.told(client, ErrorCode.CONNECTION_FAILED, Component.WEBRTC, "Try again; text still works")
            await goes_on(client)
        finally:
            await browser.close()


@needs_a_network
async def test_a_connection_that_works_is_not_called_failed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "_CONNECT_SECONDS", 2.0)
    async with serving(brought=watch.brought()) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            begun = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() - begun < 2.2:
                await goes_on(client)
        await client.sync()
        assert client.errors() == []


# --- what comes over it ---


class BrokenMicrophone(Microphone):
    """Sends what is no Opus, until it is repaired."""

    broken = True

    async def recv(self) -> av.AudioFrame:
        frame = await super().recv()
        if not self.broken:
            return frame
        packet = av.Packet(b"\xff\x00")
        assert frame.pts is not None
        packet.pts, packet.time_base = frame.pts * 6, Fraction(1, 48_000)
        return packet  # type: ignore[return-value]  # aiortc takes both


@needs_a_network
async def test_audio_processing_error_of_a_decoder(watch: Watch) -> None:
    stt = FakeStt("How are you?")
    async with serving(fake_engines(stt), brought=watch.brought()) as site, site.client() as client:
        async with calling(client) as browser:
            browser.microphone = BrokenMicrophone()
            await browser.connect()
            await browser.add_microphone()
            await client.expect("error")
            await asyncio.sleep(0.3)
            await client.sync()
            watch.told(client, ErrorCode.AUDIO_PROCESSING_ERROR, Component.WEBRTC, "Check the microphone")
            browser.microphone.broken = False
            await asyncio.sleep(0.3)
            browser.microphone.speech_frames = 40
            await client.expect("tts-complete")
            assert client.errors() == ["AUDIO_PROCESSING_ERROR"] and len(stt.heard) == 1


@needs_a_network
async def test_vad_error(watch: Watch) -> None:
    vad, stt = FakeVad(), FakeStt("How are you?")
    vad.error = RuntimeError("the model is gone")
    async with serving(fake_engines(stt, vad=vad), brought=watch.brought()) as site:
        async with site.client() as client, calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            await client.expect("error")
            await asyncio.sleep(0.3)
            await client.sync()
            watch.told(client, ErrorCode.VAD_ERROR, Component.VAD, "Restart the server")
            await goes_on(client)
            vad.error = None
            await asyncio.sleep(0.3)
            browser.microphone.speech_frames = 40
            await client.expect("speech-end")
            await client.expect("tts-complete")
            assert client.errors() == ["VAD_ERROR"] and len(stt.heard) == 1


@needs_a_network
async def test_internal_error_of_a_message_on_the_data_channel(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(_data: str, _most: float) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(inbound, "decode_utterance", bug)
    async with serving(brought=watch.brought()) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            assert browser.channel is not None
            browser.channel.send(json.dumps({"type": "audio", "data": "UklGRg=="}))
            await client.expect("error")
            await client.sync()
            watch.told(client, ErrorCode.INTERNAL_ERROR, Component.SERVER, "Say it again")
            await until(lambda: [each["type"] for each in browser.on_channel] == ["error"])
            await goes_on(client)
