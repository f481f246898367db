"""The agent's voice as a WebRTC track of Opus packets: at once when there is sound, rare in silence."""

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
"""A second. Transparent for one voice."""
_ON_ITS_WAY_SECONDS: Final = 0.08
"""From a sample being read to its being heard: packets, and the browser's jitter buffer."""
_AWAKE_FRAMES: Final = 250
"""5 s of silence after what was said on either side, before it rests. Out of a rest Chromium plays the first
sound some 50 ms later than out of silence that was sent, so it rests only where none is to be expected."""
_REST_SECONDS: Final = 0.4
"""Between two packets in silence, as Opus itself has it."""
_LATE_SECONDS: Final = 0.2
"""So late, a packet's time is not made up for by sending faster."""


class SpeechTrack(MediaStreamTrack):
    """The playout as a track, paced to real time.

    In long silence it rests as Opus' discontinuous transmission does, which spares both ends 50 packets a
    second. It wakes with the first sound, or when it is told that there may be some soon.
    """

    kind = "audio"

    def __init__(self, playout: Playout) -> None:
        super().__init__()
        self.encodes = True
        """Whether it gives Opus packets; for another codec it gives frames, without rests, to be encoded."""
        self._playout = playout
        self._encoder: av.AudioCodecContext | None = None  # until there is something to encode
        self._start: float | None = None
        self._next = 0  # sample, since the start, with which the next packet begins
        self._encoded = 0
        self._silent_frames = 0
        self._header = b""
        self._rest_end: asyncio.Timeout | None = None

    def stop(self) -> None:
        """End the track, and the threads of the encoder's filter, which last as long as it is kept."""
        super().stop()
        self._encoder = None

    def wake(self) -> None:
        """Somebody speaks, and may be answered: end a rest, and take none for a while."""
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
        """Whether nobody has spoken for a while, on either side."""
        return self.encodes and self._silent_frames > _AWAKE_FRAMES

    async def _rest(self, start: float) -> int:
        """Wait until there is sound, or for the next packet without any: the sample that is due then."""
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
        """Wait until the next packet is due: how much later than that it is, if it is a lot."""
        wait = start + self._next / OUT_RATE - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)
        # The process stood still: go on from now, rather than rush what was missed.
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
        # Without anything behind it, it stands for 20 ms that weren't sent (RFC 6716, section 3.1).
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
    # It looks 2.5 ms ahead; that for "voip", which is aiortc's, looks 6.5 ms ahead.
    encoder.options = {"application": "lowdelay"}
    return encoder
