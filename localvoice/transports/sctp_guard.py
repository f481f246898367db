"""Closes a hole in aiortc 1.16: an SCTP parameter that claims to be shorter than its own header.

`decode_params` steps forward by the length that the peer claims. With a length of 0 it stays where it is and
collects the same parameter for ever, until memory is full. A connected peer is enough to do it.
"""

from struct import unpack_from
from typing import Final

from aiortc import rtcsctptransport

_HEADER: Final = 4

_unguarded = rtcsctptransport.decode_params


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """As aiortc's, but raises ValueError for an impossible length; aiortc drops such a packet."""
    position = 0
    while position <= len(body) - _HEADER:
        _, length = unpack_from("!HH", body, position)
        if length < _HEADER:
            raise ValueError(f"SCTP parameter has impossible length {length}")
        position += length + -length % 4
    return _unguarded(body)


def install() -> None:
    """Put the guard in the decoder's place, for the whole process."""
    rtcsctptransport.decode_params = decode_params
