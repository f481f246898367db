"""Closes two holes in aiortc 1.16's SCTP: parameters shorter than their own header, and the wall clock.

`decode_params` steps forward by the length that the peer claims. With a length of 0 it stays where it is and
collects the same parameter for ever, until memory is full. A connected peer is enough to do it.

Round trips are measured by the wall clock. When that is moved by an hour, one of them seems to have taken an
hour, and for dozens of messages a lost packet is sent again after a minute rather than a second.
"""

import time
from struct import unpack_from
from types import SimpleNamespace
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
    """Put the guard in the decoder's place, and the monotonic clock in the other's, for the whole process."""
    rtcsctptransport.decode_params = decode_params
    vars(rtcsctptransport)["time"] = SimpleNamespace(time=time.monotonic)
