"""Sound that comes faster than it can be spoken: most of it is dropped, and its sender is told once."""

import base64
import struct

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.transports import inbox
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.webrtc.patches.connection import _RATES
from tests.support.fakes import FakeStt, fake_engines, until
from tests.support.server_site import Client, serving
from tests.support.webrtc_browser import calling, needs_a_network

LONG_PACKET = b"\xfb\x06" + b"\xff\xfe" * 6
"""Opus of 120 ms: six frames of silence."""
UNLIMITED = {"limits": {"audio_chunks_per_second": 10**6, "megabytes_per_second": 10**3}}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each frame that is taken; three may come at once."""
    monkeypatch.setattr(inbox, "_AT_ONCE", 3.0)
    taken: list[float] = []
    put = FrameInbox.put

    def noting(self: FrameInbox, frame: AudioFrame) -> None:
        taken.append(frame.seconds)
        put(self, frame)

    monkeypatch.setattr(FrameInbox, "put", noting)
    return taken


async def is_told_once(client: Client) -> None:
    error = await client.expect("error")
    assert error["code"] == "RATE_LIMITED" and "faster than it can be spoken" in error["message"]
    await client.sync()
    assert client.errors().count("RATE_LIMITED") <= 1


async def test_in_messages(heard: list[float]) -> None:
    data = base64.b64encode(np.zeros(3_200, np.int16).tobytes()).decode()
    async with serving(fake_engines(stt=FakeStt()), UNLIMITED) as site, site.client() as client:
        for _ in range(150):  # half a minute of it
            await client.send("audio-chunk", data=data, sampleRate=16_000)
        await is_told_once(client)
        assert 3.0 <= sum(heard) < 20.0


@needs_a_network
async def test_in_packets(heard: list[float]) -> None:
    async with (
        serving(fake_engines(stt=FakeStt())) as site,
        site.client() as client,
        calling(client) as browser,
    ):
        await browser.connect()
        await browser.add_microphone()
        await until(lambda: bool(heard))
        transport = browser.connection.getSenders()[0].transport
        for number in range(250):
            header = struct.pack("!BBHLL", 0x80, 96, number, number * 5_760, 7)
            await transport._send_rtp(header + LONG_PACKET)
        await is_told_once(client)
        assert max(heard) >= 0.12 and 3.0 <= sum(heard) < 20.0
        assert _RATES["sound"][1] > 250, "it isn't the number of packets that counts"
