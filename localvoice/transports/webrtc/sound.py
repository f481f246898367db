"""A call's sound: the microphone's packets decoded at once, and the agent's voice as a track of Opus packets.

aiortc 1.16 is made for networks that reorder packets and for pictures of many packets. It holds back four
packets, waits for the first of the next frame, and decodes on a thread of its own. Here packets stay on the
machine or its network, each is a whole frame, and decoding takes less time than waking a thread.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import groupby
from typing import Any, Final

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpCodecParameters
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from av.frame import Frame

from localvoice.audio.frames import AudioFrame, Samples, concatenate
from localvoice.audio.playout import Playout
from localvoice.transports.webrtc.patches.dtls import payload
from localvoice.transports.websocket import OUT_RATE

MAX_WAITING: Final = 3
"""Packets that wait for a missing one; with so many, 60 ms, it is given up."""
SILENT_BATCH: Final = 5
"""Packets decoded together while neither side speaks, because waking up for each takes most of the time.
Speech is then noticed up to 80 ms later, but none of it is lost, nor does its end come later."""
_RESTART: Final = 100  # a sequence number this far off the expected one is that of another stream
_RECOVERED: Final = 250
"""Packets in a row that a decoder has to decode before it counts as working again: 5 s."""
_NUMBERS: Final = 1 << 16  # sequence numbers wrap at this

FRAME: Final = OUT_RATE // 50
"""Samples of a packet that is sent: 20 ms."""
_TIME_BASE: Final = Fraction(1, OUT_RATE)
_BIT_RATE: Final = 64_000  # bits a second, transparent for one voice
_ON_ITS_WAY_SECONDS: Final = 0.08
"""From reading a sample to hearing it: packets, and the browser's jitter buffer."""
_AWAKE_FRAMES: Final = 250
"""5 s of silence on both sides before the track rests. After a rest Chromium plays the first sound some 50 ms
later than after silence that was sent, so the track rests only where no sound is expected."""
_REST_SECONDS: Final = 0.4  # between two packets in silence, as with Opus' own discontinuous transmission
_LATE_SECONDS: Final = 0.2  # a packet that is later than this is not made up for by sending faster


class PacketOrder:
    """Puts the packets of one stream in order. None comes out twice or out of order."""

    def __init__(self) -> None:
        self._next = -1  # until there is a packet
        self._waiting: dict[int, RtpPacket] = {}

    def take(self, packet: RtpPacket) -> Iterator[RtpPacket]:
        number = packet.sequence_number
        if self._next < 0:
            self._next = number
        ahead = (number - self._next + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2
        if abs(ahead) >= _RESTART:
            yield from self._in_order(may_wait=0)
            self._next = number
        elif ahead < 0:
            return  # too late, or a duplicate
        self._waiting[number] = packet
        yield from self._in_order(MAX_WAITING - 1)

    def _in_order(self, may_wait: int) -> Iterator[RtpPacket]:
        """The next packets; while more wait than may, what is missing before them is given up."""
        while self._next in self._waiting or len(self._waiting) > may_wait:
            self._next = min(self._waiting, key=lambda number: (number - self._next) % _NUMBERS)
            yield self._waiting.pop(self._next)
            self._next = (self._next + 1) % _NUMBERS


class IncomingSound:
    """Replaces a receiver's jitter buffer: decodes what comes, and leaves aiortc nothing to do."""

    def __init__(
        self,
        codecs: Mapping[int, RTCRtpCodecParameters],
        on_sound: Callable[[AudioFrame], None],
        on_undecodable: Callable[[str], None],
        resting: Callable[[], bool],
        admits: Callable[[], bool],
    ) -> None:
        """`codecs` by payload type. `on_undecodable` gets the decoder's error, once until it works again.

        `resting`: whether neither side speaks or is about to. `admits`: whether more sound may come now.
        """
        self._codecs = codecs
        self._on_sound = on_sound
        self._on_undecodable = on_undecodable
        self._resting = resting
        self._admits = admits
        self._held: list[RtpPacket] = []
        self._order = PacketOrder()
        self._decoders: dict[int, Decoder] = {}
        self._to_recover = 0

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet; the result tells aiortc to request no picture and to decode no frame."""
        self._held += self._order.take(packet)
        if len(self._held) >= (SILENT_BATCH if self._resting() else 1):
            held, self._held = self._held, []
            sounds = [sound for each in held for sound in self._decode(each)] if self._admits() else []
            for _, same_rate in groupby(sounds, key=lambda sound: sound.rate):
                self._on_sound(concatenate(list(same_rate)))
        return False, None

    def _decode(self, packet: RtpPacket) -> list[AudioFrame]:
        data = payload(packet)
        if not data:
            return []
        if packet.payload_type not in self._decoders:
            self._decoders[packet.payload_type] = _decoder(self._codecs[packet.payload_type])
        try:
            decoded = self._decoders[packet.payload_type].decode(JitterFrame(data, packet.timestamp))
        except av.FFmpegError as error:
            if not self._to_recover:  # once, not 50 times a second
                self._on_undecodable(error.strerror or str(error))
            self._to_recover = _RECOVERED
            return []
        self._to_recover = max(0, self._to_recover - 1)
        return [_as_mono(sound) for sound in decoded]


def _decoder(codec: RTCRtpCodecParameters) -> Decoder:
    decoder = get_decoder(codec)
    if isinstance(decoder, OpusDecoder):
        decoder.codec.layout = "mono"  # aiortc chooses stereo
    return decoder


def _as_mono(frame: Frame) -> AudioFrame:
    assert isinstance(frame, av.AudioFrame)
    samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
    return AudioFrame(np.ascontiguousarray(samples, np.int16), frame.sample_rate)


class SpeechTrack(MediaStreamTrack):
    """The playout as a track, paced to real time: at once when there is sound, rarely in silence.

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
        self._check_live()
        if self._start is None:
            self._start = asyncio.get_running_loop().time()
        elif self.resting:
            self._next = max(self._next, await self._rest(self._start))
        else:
            self._start += await self._pace(self._start)
        self._check_live()  # it may have been stopped meanwhile
        self._playout.ahead = _ON_ITS_WAY_SECONDS
        self._silent_frames = 0 if self._playout.playing else self._silent_frames + 1
        given = self._packet() if self.encodes else _frame(self._playout.read(FRAME))
        given.pts, given.time_base = self._next, _TIME_BASE
        self._next += FRAME
        return given

    @property
    def resting(self) -> bool:
        """Whether neither side has spoken for a while."""
        return self.encodes and self._silent_frames > _AWAKE_FRAMES

    def _check_live(self) -> None:
        if self.readyState != "live":
            raise MediaStreamError

    async def _rest(self, start: float) -> int:
        """Wait for sound, or until the next packet without any is due. Gives the sample that is due then."""
        end = start + (self._next - FRAME) / OUT_RATE + _REST_SECONDS
        try:
            async with asyncio.timeout_at(end) as self._rest_end:
                await self._playout.sounding()
        except TimeoutError:
            pass
        finally:
            self._rest_end = None
        return round((asyncio.get_running_loop().time() - start) * OUT_RATE)

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
        frame.pts, frame.time_base = self._encoded, _TIME_BASE
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
    encoder.format, encoder.layout = "s16", "mono"
    encoder.sample_rate, encoder.bit_rate, encoder.time_base = OUT_RATE, _BIT_RATE, _TIME_BASE
    # Its look-ahead is 2.5 ms; that of "voip", which aiortc uses, is 6.5 ms.
    encoder.options = {"application": "lowdelay"}
    return encoder
