"""Closes holes in aiortc 1.16's SCTP: what a peer may make it keep, what breaks it, and the wall clock.

`decode_params` steps forward by the length that the peer claims. With a length of 0 it stays where it is and
collects the same parameter for ever, until memory is full. A connected peer is enough to do it.

It tells a peer how much room there is for messages whose parts haven't all come, and keeps what comes beyond
it all the same; each part is found among the others by walking through them. A channel costs memory as long
as the connection lasts, and a peer may open 65,534. So what is past our limits is dropped, as lost.

What it can't read, such as text that isn't UTF-8, would end the connection with a traceback in the log.

Round trips are measured by the wall clock. When that is moved by an hour, one of them seems to have taken an
hour, and for dozens of messages a lost packet is sent again after a minute rather than a second.
"""

import time
from struct import unpack_from
from types import SimpleNamespace
from typing import Any, Final

from aiortc import rtcsctptransport
from aiortc.rtcsctptransport import DataChunk, RTCSctpTransport, tsn_minus_one

_HEADER: Final = 4
_STREAMS: Final = 64
"""A client needs one for its data channel."""
_WAITING: Final = 2048
"""Parts that wait for others; two messages of the largest size in the smallest packets. Nobody who keeps to
our rates comes near."""

_unguarded = rtcsctptransport.decode_params
_receive_chunk = RTCSctpTransport._receive_data_chunk
_receive_message = RTCSctpTransport._data_channel_receive


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """As aiortc's, but raises ValueError for an impossible length; aiortc drops such a packet."""
    position = 0
    while position <= len(body) - _HEADER:
        _, length = unpack_from("!HH", body, position)
        if length < _HEADER:
            raise ValueError(f"SCTP parameter has impossible length {length}")
        position += length + -length % 4
    return _unguarded(body)


async def receive_data_chunk(transport: RTCSctpTransport, chunk: DataChunk) -> None:
    """As aiortc's, but drops what there is no room for."""
    if _has_room(transport, chunk):
        await _receive_chunk(transport, chunk)


def _has_room(transport: RTCSctpTransport, chunk: DataChunk) -> bool:
    streams = transport._inbound_streams
    if chunk.stream_id not in streams and len(streams) >= _STREAMS:
        return False
    if transport._advertised_rwnd <= 0 or sum(len(each.reassembly) for each in streams.values()) >= _WAITING:
        return False
    # Of the packets that have come out of order, too: past it, only what closes the gap.
    closes_gap = tsn_minus_one(chunk.tsn) == transport._last_received_tsn
    return closes_gap or len(transport._sack_misordered) < _WAITING


async def data_channel_receive(transport: RTCSctpTransport, stream_id: int, pp_id: int, data: bytes) -> None:
    """As aiortc's, but what can't be read is a binary message: whoever listens answers it as a broken one."""
    try:
        await _receive_message(transport, stream_id, pp_id, data)
    except (AssertionError, UnicodeDecodeError):
        if stream_id in transport._data_channels:
            transport._data_channels[stream_id].emit("message", b"")


def install() -> None:
    """Put the guards in their places, and the monotonic clock in the other's, for the whole process."""
    rtcsctptransport.decode_params = decode_params
    vars(rtcsctptransport)["time"] = SimpleNamespace(time=time.monotonic)
    transport: Any = RTCSctpTransport
    transport._receive_data_chunk = receive_data_chunk
    transport._data_channel_receive = data_channel_receive
