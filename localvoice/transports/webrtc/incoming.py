"""Incoming sound: packets put in order, decoded, and handed on at once.

aiortc 1.16 is made for networks that reorder packets and for pictures of many packets. It holds back four
packets, waits for the first of the next frame, and decodes on a thread of its own. Here packets stay on the
machine or its network, each is a whole frame, and decoding takes less time than waking a thread.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Final

import av
import numpy as np
from aiortc import RTCRtpCodecParameters, RTCRtpReceiver
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket
from av.frame import Frame

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.transports.webrtc.patches.rtp import payload, receiver_codecs, replace_jitter_buffer

MAX_WAITING: Final = 3
"""Packets that wait for a missing one; with so many, 60 ms, it is given up."""
SILENT_BATCH: Final = 5
"""Packets decoded together while neither side speaks, because waking up for each takes most of the time.
Speech is then noticed up to 80 ms later, but none of it is lost, nor does its end come later."""
_RESTART: Final = 100
"""A sequence number this far off the expected one is that of another stream."""
_RECOVERED: Final = 250
"""Packets in a row that a decoder has to decode before it counts as working again: 5 s."""
_NUMBERS: Final = 1 << 16
"""Sequence numbers wrap at this."""


class PacketOrder:
    """Puts the packets of one stream in order. None comes out twice or out of order."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, RtpPacket] = {}

    def take(self, packet: RtpPacket) -> Iterator[RtpPacket]:
        """The packets that are next in order, after this one has come."""
        number = packet.sequence_number
        if self._next is None:
            self._next = number
        late = (self._next - number) % _NUMBERS
        early = (number - self._next) % _NUMBERS
        if min(late, early) >= _RESTART:
            yield from self._give_up_missing(0)
            self._next = number
        elif 0 < late < _RESTART:
            return  # too late, or a duplicate
        self._waiting[number] = packet
        yield from self._in_order()
        yield from self._give_up_missing(MAX_WAITING - 1)

    def _in_order(self) -> Iterator[RtpPacket]:
        while self._next is not None and (packet := self._waiting.pop(self._next, None)) is not None:
            self._next = (self._next + 1) % _NUMBERS
            yield packet

    def _give_up_missing(self, may_wait: int) -> Iterator[RtpPacket]:
        while self._next is not None and len(self._waiting) > may_wait:
            expected = self._next
            self._next = min(self._waiting, key=lambda number: (number - expected) % _NUMBERS)
            yield from self._in_order()


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
        if self._held and not (self._resting() and len(self._held) < SILENT_BATCH):
            held, self._held = self._held, []
            if not self._admits():
                return False, None
            sounds = [sound for each in held for sound in self._decode(each)]
            for _, same_rate in groupby(sounds, key=lambda sound: sound.rate):
                self._on_sound(concatenate(list(same_rate)))
        return False, None

    def _decode(self, packet: RtpPacket) -> list[AudioFrame]:
        data = payload(packet)
        if not data:
            return []
        payload_type = packet.payload_type
        if payload_type not in self._decoders:
            self._decoders[payload_type] = _decoder(self._codecs[payload_type])
        try:
            decoded = self._decoders[payload_type].decode(JitterFrame(data, packet.timestamp))
        except av.FFmpegError as error:
            if not self._to_recover:  # once, not 50 times a second
                self._on_undecodable(error.strerror or str(error))
            self._to_recover = _RECOVERED
            return []
        self._to_recover = max(0, self._to_recover - 1)
        return [_as_mono(sound) for sound in decoded]


def receive_at_once(
    receiver: RTCRtpReceiver,
    on_sound: Callable[[AudioFrame], None],
    on_undecodable: Callable[[str], None],
    resting: Callable[[], bool],
    admits: Callable[[], bool],
) -> None:
    """Have an audio receiver give its sound to `on_sound` at once; its track gets none."""
    codecs = receiver_codecs(receiver)
    replace_jitter_buffer(receiver, IncomingSound(codecs, on_sound, on_undecodable, resting, admits))


def _decoder(codec: RTCRtpCodecParameters) -> Decoder:
    decoder = get_decoder(codec)
    if isinstance(decoder, OpusDecoder):
        decoder.codec.layout = "mono"  # aiortc chooses stereo
    return decoder


def _as_mono(frame: Frame) -> AudioFrame:
    assert isinstance(frame, av.AudioFrame)
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray().reshape(-1, channels)[:, 0]
    return AudioFrame(np.ascontiguousarray(samples, np.int16), frame.sample_rate)
