"""Calls over WebRTC, by a client in the stock client's order."""

import asyncio
import json
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.jitterbuffer import JitterBuffer

from localvoice.transports.webrtc.peer import WebRtcPeer
from localvoice.transports.webrtc.sound import IncomingSound
from tests.support.fakes import WORD_SECONDS, FakeLlm, FakeStt, fake_engines
from tests.support.server_site import LONG, seconds_of_sound, serving
from tests.support.webrtc_browser import calling, needs_a_network
from tests.support.webrtc_peers import peers as peers

BUFFER, CODECS = "_RTCRtpReceiver__jitter_buffer", "_RTCRtpReceiver__codecs"


def payload(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    signalling = ("ready", "pong", "signal", "reconnect-ack")
    return [message for message in messages if message["type"] not in signalling]


@needs_a_network
async def test_a_call_in_the_stock_clients_order() -> None:
    stt, llm = FakeStt("How are you?"), FakeLlm("I am very well today, thank you for asking me.")
    async with serving(fake_engines(stt, llm)) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begun < 0.5:  # DTLS is there; the first frames are not
            await client.sync()
            await asyncio.sleep(0.05)
        before = len(client.received)
        browser.microphone.speech_frames = 40
        await client.expect("tts-complete")
        await client.sync()
        await asyncio.sleep(0.3)
        kinds = [message["type"] for message in client.received[before:]]
        assert kinds[:2] != [] and "tts-chunk" not in kinds, "sound goes over the track"
        order = [
            kind
            for kind in kinds
            if kind in ("speech-start", "speech-end", "transcript", "llm", "tts-complete")
        ]
        assert order == ["speech-start", "speech-end", "transcript", "llm", "tts-complete"]
        assert payload(browser.on_channel) == payload(client.received), "the payload goes both ways"
        (heard,) = browser.seconds_heard()
        assert heard == pytest.approx(10 * WORD_SECONDS, abs=0.15)
        (speech,) = stt.heard
        assert 0.8 < speech.seconds < 1.6 and seconds_of_sound(speech) == pytest.approx(0.8, abs=0.15)


@needs_a_network
async def test_packets_are_not_held_back_for_a_network_that_reorders_them(peers: list[WebRtcPeer]) -> None:
    """aiortc has no public way to say so: this fails when the private parts are gone."""
    unused = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    assert isinstance(vars(unused.addTransceiver("audio").receiver)[BUFFER], JitterBuffer)
    await unused.close()
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        (peer,) = peers
        (receiver,) = [each.receiver for each in peer._connection.getTransceivers()]
        assert isinstance(vars(receiver)[BUFFER], IncomingSound)
        assert [codec.name for codec in vars(receiver)[CODECS].values()][0] == "opus"


@needs_a_network
async def test_a_client_without_opus_is_heard_and_hears() -> None:
    llm, stt = FakeLlm("word " * 16), FakeStt("How are you?")
    async with serving(fake_engines(stt, llm)) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        sender = browser.connection.addTrack(browser.microphone)
        (transceiver,) = [each for each in browser.connection.getTransceivers() if each.sender is sender]
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([each for each in codecs if each.mimeType == "audio/PCMU"])
        await browser.offer()
        await asyncio.sleep(0.5)
        browser.microphone.speech_frames = 40
        await client.expect("tts-complete")
        await asyncio.sleep(0.3)
        assert seconds_of_sound(stt.heard[0]) == pytest.approx(0.8, abs=0.15)
        assert browser.seconds_heard()[0] == pytest.approx(16 * WORD_SECONDS, abs=0.15)


@needs_a_network
async def test_text_on_the_data_channel_and_barge_in_over_it() -> None:
    llm = FakeLlm(LONG, "Fine.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        assert browser.channel is not None
        browser.channel.send(json.dumps({"type": "text", "text": "Talk."}))
        await browser.until_heard()
        await asyncio.sleep(0.3)  # some words
        browser.channel.send(json.dumps({"type": "text", "text": "But why?"}))
        await client.expect("tts-cancelled")
        for broken in ('{"type":"ping","timestamp":1}', "nonsense", b"\0\1"):
            browser.channel.send(broken)
            assert (await client.expect("error"))["code"] == "INVALID_MESSAGE"
        await client.sync()
    assert [message.content for message in llm.asked[1] if message.role == "user"] == ["Talk.", "But why?"]


@needs_a_network
async def test_a_second_microphone_does_not_share_out_the_voice() -> None:
    async with serving(fake_engines(llm=FakeLlm("word " * 16))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            browser.connection.addTransceiver("audio")
            await browser.offer()
            await client.send("text", text="Talk.")
            await client.expect("tts-complete")
            await asyncio.sleep(0.3)
            assert sorted(browser.seconds_heard())[-1] == pytest.approx(16 * WORD_SECONDS, abs=0.15)


@needs_a_network
async def test_a_new_connection_on_the_same_socket_replaces_the_old_one() -> None:
    async with serving() as site, site.client() as client:
        async with calling(client) as first:
            await first.connect()
            async with calling(client) as second:
                await second.connect()
                await second.add_microphone()
                await client.send("text", text="Hi.")
                await second.until_heard()
                assert not any(first.seconds_heard())


BAD_OFFERS = {
    "no sdp": "hello",
    "only the version": "v=0\r\n",
    "no ice": "v=0\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n",
    "a broken section": "v=0\r\nm=\r\n",
    "a broken codec": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:x\r\n",
    "too many candidates": "v=0\r\n" + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 33,
    "a broken candidate": "v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=candidate:x y udp z 127.0.0.1 port typ host\r\n",
    "a broken fingerprint": "v=0\r\na=fingerprint:\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
}


@pytest.mark.parametrize("sdp", BAD_OFFERS.values(), ids=BAD_OFFERS.keys())
async def test_a_bad_offer_is_an_error_and_text_still_works(sdp: str) -> None:
    async with serving() as site, site.client() as client:
        await client.send("offer", signal={"type": "offer", "sdp": sdp})
        assert (await client.expect("error"))["code"] == "CONNECTION_FAILED"
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
        assert client.errors() == ["CONNECTION_FAILED"] and "tts-chunk" in client.kinds()


@needs_a_network
async def test_after_a_bad_offer_a_good_one_works() -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await client.send("offer", signal={"type": "offer", "sdp": "v=0\r\nm=\r\n"})
        await client.expect("error")
        await browser.connect()
        await browser.add_microphone()
        await client.send("text", text="Hi.")
        await browser.until_heard()


@needs_a_network
async def test_a_caller_who_vanishes_leaves_no_peer(peers: list[WebRtcPeer]) -> None:
    async with serving(fake_engines(llm=FakeLlm(LONG))) as site:
        async with site.client() as client, calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            await client.send("text", text="Talk.")
            await browser.until_heard()
            lost = client.socket._response.connection
            assert lost is not None and lost.transport is not None
            lost.transport.abort()
            await site.until_alone()
            assert [peer._connection.connectionState for peer in peers] == ["closed"]
