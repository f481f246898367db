"""Closes holes in aiortc 1.16's SCTP: what a peer's packet may cost, keep, and break.

aiortc believes the numbers that a peer claims: the length of a parameter (0 collects the same one for ever),
the gaps of an acknowledgement (65,535 numbers each), the streams of which it has given up messages, what has
come out of order (each packet is answered with the whole list). Here a claim is cut to what can be true, and
a packet to what a client sends: messages, and one chunk of each other kind.

aiortc tells a peer how much room there is for parts of messages, and keeps what comes beyond it all the same.
A channel costs memory as long as the connection lasts, and a peer may open 65,534. So what exceeds the limits
here is dropped like a lost packet.

What aiortc can't read, such as text that isn't UTF-8, ends the connection with a traceback in the log.

aiortc measures round trips by the wall clock. When that is moved by an hour, one round trip seems to have
taken an hour, and for dozens of messages a lost packet is sent again after a minute rather than a second.
"""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final

from aiortc import rtcsctptransport
from aiortc.rtcsctptransport import (
    RECONFIG_PARAM_TYPES,
    SCTP_TSN_MODULO,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    RTCSctpTransport,
    SackChunk,
    tsn_minus_one,
    tsn_plus_one,
)
from aiortc.utils import uint32_gte

from localvoice.transports.limits import TokenBucket
from localvoice.transports.webrtc.patches.sctp_streams import InboundStream

_STREAMS: Final = 64
"""A client needs one for its data channel. Peers are told so, and keep to it."""
_WAITING: Final = 2048  # parts that wait for others: two of the largest messages in the smallest packets
_OUT_OF_ORDER: Final = 256  # parts that came before a missing one; each acknowledgement lists them
_FARTHEST: Final = 0xFFFF  # how far beyond a missing part an acknowledgement can tell of one
_PARTS_IN_PACKET: Final = 32
_PARTS_PER_SECOND: Final = 2_000  # on average; the largest message is 226
_PARTS_AT_ONCE: Final = 8_000
_REQUESTS_IN_CHUNK: Final = 2  # RFC 6525 allows no more in a RE-CONFIG chunk
_HEARTBEAT_BYTES: Final = 512  # a heartbeat is sent back as it came, and has to fit into a packet

_unguarded_params = rtcsctptransport.decode_params
_unguarded_packet = rtcsctptransport.parse_packet
_receive_chunk = RTCSctpTransport._receive_chunk
_receive_message = RTCSctpTransport._data_channel_receive
_send_chunk = RTCSctpTransport._send_chunk


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """As aiortc's, but raises ValueError for an impossible length, for which aiortc drops the packet."""
    position = 0
    while position <= len(body) - 4:
        _, length = struct.unpack_from("!HH", body, position)
        if length < 4:  # that of the header
            raise ValueError(f"SCTP parameter has impossible length {length}")
        position += length + -length % 4
    return _unguarded_params(body)


def parse_packet(data: bytes) -> tuple[int, int, int, list[Chunk]]:
    """As aiortc's, but only with chunks that clients send. ValueError for all that can't be read."""
    try:
        source, destination, tag, chunks = _unguarded_packet(data)
        return source, destination, tag, list(_within_limits(chunks))
    except struct.error as error:
        raise ValueError(f"SCTP chunk is cut short: {error}") from error


def _within_limits(chunks: list[Chunk]) -> Iterator[Chunk]:
    """Some messages, and one chunk of each other kind: each costs work, and most are answered."""
    if len(chunks) > 1 and any(isinstance(chunk, InitChunk) for chunk in chunks):
        raise ValueError("SCTP INIT chunk isn't alone in its packet")
    found = Counter[type[Chunk]]()
    for chunk in chunks:
        found[type(chunk)] += 1
        if isinstance(chunk, ReconfigChunk):
            chunk.params = chunk.params[:_REQUESTS_IN_CHUNK]
            for kind, body in chunk.params:
                if kind in RECONFIG_PARAM_TYPES:
                    RECONFIG_PARAM_TYPES[kind].parse(body)  # a broken one raises here, not while acting on it
        if found[type(chunk)] <= (_PARTS_IN_PACKET if isinstance(chunk, DataChunk) else 1):
            yield chunk


async def receive_chunk(transport: RTCSctpTransport, chunk: Chunk) -> None:
    """As aiortc's, but only what there is room for, and what can be true."""
    if _admits(transport, chunk):
        await _receive_chunk(transport, chunk)


def _admits(transport: RTCSctpTransport, chunk: Chunk) -> bool:
    """Whether to act on a chunk, from which this takes out what can't be true."""
    match chunk:
        case DataChunk() | ForwardTsnChunk() if transport._last_received_tsn is None:
            return False  # before an association begins
        case InitChunk():
            return transport._association_state is not transport.State.ESTABLISHED
        case DataChunk():
            now = asyncio.get_running_loop().time()
            full = TokenBucket(_PARTS_PER_SECOND, _PARTS_AT_ONCE, now)
            return not vars(transport).setdefault("_parts", full).take(now) and _has_room(transport, chunk)
        case HeartbeatChunk():
            return len(chunk.body) <= _HEARTBEAT_BYTES
        case ForwardTsnChunk():
            streams = dict(chunk.streams).items()
            chunk.streams = [(stream, number) for stream, number in streams if stream < _STREAMS]
        case SackChunk():
            outstanding: int = (tsn_minus_one(transport._local_tsn) - chunk.cumulative_tsn) % SCTP_TSN_MODULO
            gaps = ((begin, min(end, outstanding)) for begin, end in chunk.gaps)
            chunk.gaps = merged((begin, end) for begin, end in gaps if 0 < begin <= end)
            return outstanding < SCTP_TSN_MODULO // 2  # otherwise it acknowledges what was never sent
    return True


def _has_room(transport: RTCSctpTransport, chunk: DataChunk) -> bool:
    streams: dict[int, Any] = transport._inbound_streams
    if chunk.stream_id >= _STREAMS or transport._advertised_rwnd <= 0:
        return False
    if sum(each.waiting for each in streams.values()) >= _WAITING:
        return False
    received: Any = transport._last_received_tsn  # since the association began
    if uint32_gte(received, chunk.tsn) or tsn_minus_one(chunk.tsn) == received:
        return True  # a duplicate, whose acknowledgement was lost; or it closes the gap
    is_near = (chunk.tsn - received) % SCTP_TSN_MODULO <= _FARTHEST
    return is_near and len(transport._sack_misordered) < _OUT_OF_ORDER


def mark_received(transport: RTCSctpTransport, tsn: int) -> bool:
    """As aiortc's, but doesn't sort and filter all that is out of order for each part."""
    received: Any = transport._last_received_tsn
    if uint32_gte(received, tsn) or tsn in transport._sack_misordered:
        transport._sack_duplicates.append(tsn)
        return True
    transport._sack_misordered.add(tsn)
    while (following := tsn_plus_one(received)) in transport._sack_misordered:
        transport._sack_misordered.remove(following)
        received = following
    transport._last_received_tsn = received
    return False


async def send_sack(transport: RTCSctpTransport) -> None:
    """As aiortc's, but also right where numbers wrap, and bounded."""
    received: Any = transport._last_received_tsn
    sack = SackChunk()
    sack.cumulative_tsn = received
    sack.advertised_rwnd = max(0, transport._advertised_rwnd)
    sack.duplicates = transport._sack_duplicates[:_OUT_OF_ORDER]
    offsets = ((tsn - received) % SCTP_TSN_MODULO for tsn in transport._sack_misordered)
    sack.gaps = merged((offset, offset) for offset in offsets if offset <= _FARTHEST)
    await transport._send_chunk(sack)
    transport._sack_duplicates.clear()
    transport._sack_needed = False


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers in as few ranges as possible, in order."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


async def data_channel_receive(transport: RTCSctpTransport, stream_id: int, pp_id: int, data: bytes) -> None:
    """As aiortc's, but what can't be read is an empty binary message, answered as a broken one."""
    try:
        await _receive_message(transport, stream_id, pp_id, data)
    except (AssertionError, UnicodeDecodeError):
        if stream_id in transport._data_channels:
            transport._data_channels[stream_id].emit("message", b"")


async def send_chunk(transport: RTCSctpTransport, chunk: Chunk) -> None:
    """As aiortc's, but drops the chunk if the connection is closed. Some callers are tasks of their own."""
    with suppress(ConnectionError):
        await _send_chunk(transport, chunk)


PATCHES: Final[list[tuple[Any, str, Any]]] = [
    (rtcsctptransport, "decode_params", decode_params),
    (rtcsctptransport, "parse_packet", parse_packet),
    (rtcsctptransport, "InboundStream", InboundStream),
    (rtcsctptransport, "MAX_STREAMS", _STREAMS),
    (rtcsctptransport, "time", SimpleNamespace(time=time.monotonic)),
    (RTCSctpTransport, "_receive_chunk", receive_chunk),
    (RTCSctpTransport, "_mark_received", mark_received),
    (RTCSctpTransport, "_send_sack", send_sack),
    (RTCSctpTransport, "_send_chunk", send_chunk),
    (RTCSctpTransport, "_data_channel_receive", data_channel_receive),
]
