"""Makes known what aiortc 1.16 only logs: sound that its decoder can't read.

Its decoder thread drops such a packet, and whoever reads the track just hears nothing. What this one puts in
the frame's place comes out of `track.recv()` like any frame.
"""

from dataclasses import dataclass
from typing import Any

import av
from aiortc import RTCRtpCodecParameters, codecs, rtcrtpreceiver
from aiortc.codecs.base import Decoder
from aiortc.jitterbuffer import JitterFrame

_unguarded = codecs.get_decoder


@dataclass(frozen=True)
class Undecodable:
    """Stands for a packet that the decoder can't read."""

    reason: str
    """The decoder's own words."""


class _TellingDecoder(Decoder):
    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(self, encoded_frame: JitterFrame) -> list[Any]:
        try:
            return self._decoder.decode(encoded_frame)
        except av.FFmpegError as error:
            return [Undecodable(error.strerror or str(error))]


def get_decoder(codec: RTCRtpCodecParameters) -> Decoder:
    """As aiortc's; one for sound gives `Undecodable` where it would raise."""
    decoder = _unguarded(codec)
    return _TellingDecoder(decoder) if codec.mimeType.lower().startswith("audio/") else decoder


def install() -> None:
    """Put the guard in the decoders' place, for the whole process."""
    rtcrtpreceiver.get_decoder = get_decoder  # type: ignore[attr-defined]
