"""The agent's voice as a WebRTC track of Opus packets: at once when there is sound, rarely in silence."""

import asyncio
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from localvoice.audio.frames import Samples
from localvoice.audio.playout import Playout
from localvoice.transports.websocket import OUT_RATE

FRAME: Final = OUT_RATE // 50
"""20 ms, one packet."""
_BIT_RATE: Final = 64_000
"""Bits a second, transparent for one voice."""
_ON_ITS_WAY_SECONDS: Final = 0.08
"""From reading a sample to hearing it: packets, and the browser's jitter buffer."""
_AWAKE_FRAMES: Final = 250
"""5 s of silence on both sides before the track rests. After a rest Chromium plays the first sound some 50 ms
later than after silence that was sent, so the track rests only where no sound is expected."""
_REST_SECONDS: Final = 0.4
"""Between two packets in silence, as with Opus' own discontinuous transmission."""
_LATE_SECONDS: Final = 0.2
"""A packet that is later than this is not made up for by sending faster."""


class SpeechTrack(MediaStreamTrack):
    """The playout as a track, paced to real time.

    In long silence it rests as Opus' discontinuous transmission does, which spares both ends 50 packets a
    second. It wakes with the first sound, or at `wake`, when there may be some soon.
    """

    kind = "audio"

    def __init__(self, playout: Playout) -> None:
        super().__init__()
        self.encodes = True
        """Whether it gives Opus packets. For another codec it gives frames to encode, and never rests."""
        self._playout = playout
        self._encoder: av.AudioCodecContext | None = None  # until there is something to encode
        self._start: float | None = None
        self._next = 0  # sample, since the start, with which the next packet begins
        self._encoded = 0
        self._silent_frames = 0
        self._header = b""
        self._rest_end: asyncio.Timeout | None = None

    def stop(self) -> None:
        """End the track, and the threads of the encoder's filter, which live as long as the encoder."""
        super().stop()
        self._encoder = None

    def wake(self) -> None:
        """The user speaks and may be answered: end a rest, and take none for a while."""
        self._silent_frames = 0
        if self._rest_end is not None and not self._rest_end.expired():
            self._rest_end.reschedule(asyncio.get_running_loop().time())

    async def recv(self) -> "av.AudioFrame | av.Packet[Any]":
        """The next 20 ms. aiortc's sender doesn't pace, so this does."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = asyncio.get_running_loop().time()
        elif self.resting:
            self._next = max(self._next, await self._rest(self._start))
        else:
            self._start += await self._pace(self._start)
        if self.readyState != "live":  # it was stopped meanwhile
            raise MediaStreamError
        self._playout.ahead = _ON_ITS_WAY_SECONDS
        self._silent_frames = 0 if self._playout.playing else self._silent_frames + 1
        given = self._packet() if self.encodes else _frame(self._playout.read(FRAME))
        given.pts = self._next
        given.time_base = Fraction(1, OUT_RATE)
        self._next += FRAME
        return given

    @property
    def resting(self) -> bool:
        """Whether neither side has spoken for a while."""
        return self.encodes and self._silent_frames > _AWAKE_FRAMES

    async def _rest(self, start: float) -> int:
        """Wait for sound, or until the next packet without any is due. Gives the sample that is due then."""
        loop = asyncio.get_running_loop()
        try:
            end = start + (self._next - FRAME) / OUT_RATE + _REST_SECONDS
            async with asyncio.timeout_at(end) as self._rest_end:
                await self._playout.sounding()
        except TimeoutError:
            pass
        finally:
            self._rest_end = None
        return round((loop.time() - start) * OUT_RATE)

    async def _pace(self, start: float) -> float:
        """Wait until the next packet is due. Gives by how much it is late, if it is late by a lot."""
        wait = start + self._next / OUT_RATE - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)
        # The process stood still: go on from now, rather than send what was missed at once.
        return -wait if wait < -_LATE_SECONDS else 0.0

    def _packet(self) -> "av.Packet[Any]":
        if self.resting:
            return av.Packet(self._header)
        if self._encoder is None:
            self._encoder = _opus_encoder()
        frame = _frame(self._playout.read(FRAME))
        frame.pts = self._encoded
        frame.time_base = Fraction(1, OUT_RATE)
        self._encoded += FRAME
        (packet,) = self._encoder.encode(frame)
        # A header alone stands for 20 ms that aren't sent (RFC 6716, section 3.1).
        self._header = bytes([bytes(packet)[0] & 0xFC])
        return packet


def _frame(samples: Samples) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
    frame.sample_rate = OUT_RATE
    return frame


def _opus_encoder() -> av.AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.format = "s16"
    encoder.layout = "mono"
    encoder.sample_rate = OUT_RATE
    encoder.bit_rate = _BIT_RATE
    encoder.time_base = Fraction(1, OUT_RATE)
    # Its look-ahead is 2.5 ms; that of "voip", which aiortc uses, is 6.5 ms.
    encoder.options = {"application": "lowdelay"}
    return encoder
