"""Incoming sound, packet by packet: in order, decoded, and handed on the moment it is there.

aiortc 1.16 is made for networks that reorder packets and for pictures of many packets. It holds four packets
back, then waits for the first of the next frame, and decodes on a thread of its own. Ours don't leave the
machine, a packet of sound is a whole frame, and decoding it takes less time than waking a thread.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import av
import numpy as np
from aiortc import RTCRtpCodecParameters, RTCRtpReceiver
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from localvoice.audio.frames import AudioFrame

MAX_WAITING: Final = 3
"""Packets that wait for one that is missing; when so many do, it is given up: 60 ms."""
_RESTART: Final = 100
"""A sequence number this far off the expected one is that of another stream."""
_NUMBERS: Final = 1 << 16
"""Sequence numbers begin again at 0."""


class PacketOrder:
    """Puts the packets of one stream in order. None comes out twice, nor behind one that follows it."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, RtpPacket] = {}

    def take(self, packet: RtpPacket) -> Iterator[RtpPacket]:
        """The packets that are next in order, now that this one has come."""
        number = packet.sequence_number
        if self._next is None:
            self._next = number
        late = (self._next - number) % _NUMBERS
        early = (number - self._next) % _NUMBERS
        if min(late, early) >= _RESTART:
            yield from self._give_up_missing(0)
            self._next = number
        elif 0 < late < _RESTART:
            return  # it is too late, or came before
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
    """Stands for a receiver's jitter buffer: decodes what comes, and never leaves aiortc anything to do."""

    def __init__(
        self,
        codecs: Mapping[int, RTCRtpCodecParameters],
        on_sound: Callable[[AudioFrame], None],
        on_undecodable: Callable[[str], None],
    ) -> None:
        """`codecs` by payload type. `on_undecodable` gets the decoder's words, once until it works again."""
        self._codecs = codecs
        self._on_sound = on_sound
        self._on_undecodable = on_undecodable
        self._order = PacketOrder()
        self._decoders: dict[int, Decoder] = {}
        self._failing = False

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet, as aiortc's own buffer does: no picture to ask for again, no frame to decode."""
        for each in self._order.take(packet):
            if data := each._data:  # type: ignore[attr-defined]  # aiortc has put it there
                self._decode(each.payload_type, JitterFrame(data, each.timestamp))
        return False, None

    def _decode(self, payload_type: int, frame: JitterFrame) -> None:
        if payload_type not in self._decoders:
            self._decoders[payload_type] = _decoder(self._codecs[payload_type])
        try:
            decoded = self._decoders[payload_type].decode(frame)
        except av.FFmpegError as error:
            if not self._failing:  # told once, not 50 times a second
                self._on_undecodable(error.strerror or str(error))
            self._failing = True
            return
        self._failing = False
        for sound in decoded:
            assert isinstance(sound, av.AudioFrame)
            self._on_sound(_as_mono(sound))


def hand_on_at_once(
    receiver: RTCRtpReceiver, on_sound: Callable[[AudioFrame], None], on_undecodable: Callable[[str], None]
) -> None:
    """Have an audio receiver give its sound to `on_sound` at once; its track gets none.

    There is no public way to say so; tests fail if these private parts are gone.
    """
    parts = vars(receiver)
    codecs = parts["_RTCRtpReceiver__codecs"]  # empty until it begins to receive
    parts["_RTCRtpReceiver__jitter_buffer"] = IncomingSound(codecs, on_sound, on_undecodable)


def _decoder(codec: RTCRtpCodecParameters) -> Decoder:
    decoder = get_decoder(codec)
    if isinstance(decoder, OpusDecoder):
        decoder.codec.layout = "mono"  # aiortc's choice is stereo
    return decoder


def _as_mono(frame: av.AudioFrame) -> AudioFrame:
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray().reshape(-1, channels)[:, 0]
    return AudioFrame(np.ascontiguousarray(samples, np.int16), frame.sample_rate)
