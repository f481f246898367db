"""Closes holes in aiortc 1.16's SCTP: what a peer's packet may cost, keep, and break.

aiortc believes the numbers that a peer claims: the length of a parameter (0 collects the same one for ever),
the gaps of an acknowledgement (65,535 numbers each), the streams of which it has given up messages, what has
come out of order (each packet is answered with the whole list). Here a claim is cut to what can be true, and
a packet to what a client sends: messages, and one chunk of each other kind.

aiortc tells a peer how much room there is for parts of messages, and keeps what comes beyond it all the same.
For each part it walks through all that wait: two thousand parts of one byte cost most of a second. A channel
costs memory as long as the connection lasts, and a peer may open 65,534. So parts are found by their number,
and what exceeds the limits here is dropped like a lost packet.

What aiortc can't read, such as text that isn't UTF-8, ends the connection with a traceback in the log.

aiortc measures round trips by the wall clock. When that is moved by an hour, one round trip seems to have
taken an hour, and for dozens of messages a lost packet is sent again after a minute rather than a second.
"""

import asyncio
import struct
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final

from aiortc import RTCSctpTransport
from aiortc import rtcsctptransport as sctp
from aiortc.utils import uint16_add, uint16_gt, uint32_gte

from localvoice.transports.limits import TokenBucket

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
_MODULO: Final = sctp.SCTP_TSN_MODULO

_unguarded_params = sctp.decode_params
_unguarded_packet = sctp.parse_packet
_receive_chunk = RTCSctpTransport._receive_chunk
_receive_message = RTCSctpTransport._data_channel_receive
_send_chunk = RTCSctpTransport._send_chunk

StreamMessage = tuple[int, int, bytes]
"""Stream, payload protocol identifier and contents."""


class InboundStream:
    """Parts that wait for the rest of their message, and messages that wait for their turn."""

    def __init__(self) -> None:
        self._parts: dict[int, sctp.DataChunk] = {}
        # Of each run of parts of one message: its first part to its last, and back.
        self._other_end: dict[int, int] = {}
        # Whole messages that wait for those before them, by their sequence number.
        self._early: dict[int, StreamMessage] = {}
        self._due: deque[StreamMessage] = deque()
        self._sequence_number = 0

    @property
    def waiting(self) -> int:
        return len(self._parts) + len(self._early)

    @property
    def sequence_number(self) -> int:
        """Of the next message in order. Set to a later one, what waited for those before it is due."""
        return self._sequence_number

    @sequence_number.setter
    def sequence_number(self, number: int) -> None:
        skipped = [each for each in self._early if uint16_gt(number, each)]
        skipped.sort(key=lambda each: (each - number) & 0xFFFF)
        self._due.extend(self._early.pop(each) for each in skipped)
        self._sequence_number = number

    def add_chunk(self, chunk: sctp.DataChunk) -> None:
        if chunk.tsn in self._parts:
            return  # a duplicate
        self._parts[chunk.tsn] = chunk
        first = last = chunk.tsn
        before, after = self._parts.get(sctp.tsn_minus_one(first)), self._parts.get(sctp.tsn_plus_one(last))
        if before is not None and not before.flags & sctp.SCTP_DATA_LAST_FRAG and not _begins(chunk):
            first = self._other_end[before.tsn]
        if after is not None and not chunk.flags & sctp.SCTP_DATA_LAST_FRAG and not _begins(after):
            last = self._other_end[after.tsn]
        self._other_end[first], self._other_end[last] = last, first
        if _begins(self._parts[first]) and self._parts[last].flags & sctp.SCTP_DATA_LAST_FRAG:
            self._complete(first, last)

    def pop_messages(self) -> Iterator[StreamMessage]:
        """The messages that are whole and next in order."""
        while self._due or self._sequence_number in self._early:
            if self._due:
                yield self._due.popleft()
            else:
                message = self._early.pop(self._sequence_number)
                self._sequence_number = uint16_add(self._sequence_number, 1)
                yield message

    def prune_chunks(self, tsn: int) -> int:
        """Drop the parts up to this number, which the peer has given up. Gives the number of their bytes.

        A message that begins before it and goes on after it stays; one without its beginning is dropped.
        """
        begin = last = tsn
        while begin in self._parts and not _begins(self._parts[begin]):
            begin = sctp.tsn_minus_one(begin)
        if begin in self._parts and not self._parts[tsn].flags & sctp.SCTP_DATA_LAST_FRAG:
            last = sctp.tsn_minus_one(begin)
        else:
            while (after := self._parts.get(sctp.tsn_plus_one(last))) is not None and not _begins(after):
                last = after.tsn
        gone = [each for each in self._parts if uint32_gte(last, each)]
        return sum(len(self._take(each).user_data) for each in gone)

    def _complete(self, first: int, last: int) -> None:
        count = (last - first) % _MODULO + 1
        parts = [self._take((first + offset) % _MODULO) for offset in range(count)]
        head = parts[0]
        message = (head.stream_id, head.protocol, b"".join(part.user_data for part in parts))
        if head.flags & sctp.SCTP_DATA_UNORDERED or uint16_gt(self._sequence_number, head.stream_seq):
            self._due.append(message)
        else:
            self._early.setdefault(head.stream_seq, message)

    def _take(self, number: int) -> sctp.DataChunk:
        self._other_end.pop(number, None)
        return self._parts.pop(number)


def _begins(part: sctp.DataChunk) -> bool:
    return bool(part.flags & sctp.SCTP_DATA_FIRST_FRAG)


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """As aiortc's, but raises ValueError for an impossible length, for which aiortc drops the packet."""
    position = 0
    while position <= len(body) - 4:
        _, length = struct.unpack_from("!HH", body, position)
        if length < 4:  # that of the header
            raise ValueError(f"SCTP parameter has impossible length {length}")
        position += length + -length % 4
    return _unguarded_params(body)


def parse_packet(data: bytes) -> tuple[int, int, int, list[sctp.Chunk]]:
    """As aiortc's, but only with chunks that clients send. ValueError for all that can't be read."""
    try:
        source, destination, tag, chunks = _unguarded_packet(data)
        return source, destination, tag, list(_within_limits(chunks))
    except struct.error as error:
        raise ValueError(f"SCTP chunk is cut short: {error}") from error


def _within_limits(chunks: list[sctp.Chunk]) -> Iterator[sctp.Chunk]:
    """Some messages, and one chunk of each other kind: each costs work, and most are answered."""
    if len(chunks) > 1 and any(isinstance(chunk, sctp.InitChunk) for chunk in chunks):
        raise ValueError("SCTP INIT chunk isn't alone in its packet")
    found = Counter[type[sctp.Chunk]]()
    for chunk in chunks:
        found[type(chunk)] += 1
        if isinstance(chunk, sctp.ReconfigChunk):
            chunk.params = chunk.params[:_REQUESTS_IN_CHUNK]
            for kind, body in chunk.params:
                if kind in sctp.RECONFIG_PARAM_TYPES:
                    # A broken one raises here, not while acting on it.
                    sctp.RECONFIG_PARAM_TYPES[kind].parse(body)
        if found[type(chunk)] <= (_PARTS_IN_PACKET if isinstance(chunk, sctp.DataChunk) else 1):
            yield chunk


async def receive_chunk(transport: RTCSctpTransport, chunk: sctp.Chunk) -> None:
    """As aiortc's, but only what there is room for, and what can be true."""
    if _admits(transport, chunk):
        await _receive_chunk(transport, chunk)


def _admits(transport: RTCSctpTransport, chunk: sctp.Chunk) -> bool:
    """Whether to act on a chunk, from which this takes out what can't be true."""
    match chunk:
        case sctp.DataChunk() | sctp.ForwardTsnChunk() if transport._last_received_tsn is None:
            return False  # before an association begins
        case sctp.InitChunk():
            return transport._association_state is not transport.State.ESTABLISHED
        case sctp.DataChunk():
            now = asyncio.get_running_loop().time()
            full = TokenBucket(_PARTS_PER_SECOND, _PARTS_AT_ONCE, now)
            return not vars(transport).setdefault("_parts", full).take(now) and _has_room(transport, chunk)
        case sctp.HeartbeatChunk():
            return len(chunk.body) <= _HEARTBEAT_BYTES
        case sctp.ForwardTsnChunk():
            streams = dict(chunk.streams).items()
            chunk.streams = [(stream, number) for stream, number in streams if stream < _STREAMS]
        case sctp.SackChunk():
            outstanding: int = (sctp.tsn_minus_one(transport._local_tsn) - chunk.cumulative_tsn) % _MODULO
            gaps = ((begin, min(end, outstanding)) for begin, end in chunk.gaps)
            chunk.gaps = merged((begin, end) for begin, end in gaps if 0 < begin <= end)
            return outstanding < _MODULO // 2  # otherwise it acknowledges what was never sent
    return True


def _has_room(transport: RTCSctpTransport, chunk: sctp.DataChunk) -> bool:
    streams: dict[int, Any] = transport._inbound_streams
    if chunk.stream_id >= _STREAMS or transport._advertised_rwnd <= 0:
        return False
    if sum(each.waiting for each in streams.values()) >= _WAITING:
        return False
    received: Any = transport._last_received_tsn  # since the association began
    if uint32_gte(received, chunk.tsn) or sctp.tsn_minus_one(chunk.tsn) == received:
        return True  # a duplicate, whose acknowledgement was lost; or it closes the gap
    is_near = (chunk.tsn - received) % _MODULO <= _FARTHEST
    return is_near and len(transport._sack_misordered) < _OUT_OF_ORDER


def mark_received(transport: RTCSctpTransport, tsn: int) -> bool:
    """As aiortc's, but doesn't sort and filter all that is out of order for each part."""
    received: Any = transport._last_received_tsn
    if uint32_gte(received, tsn) or tsn in transport._sack_misordered:
        transport._sack_duplicates.append(tsn)
        return True
    transport._sack_misordered.add(tsn)
    while (following := sctp.tsn_plus_one(received)) in transport._sack_misordered:
        transport._sack_misordered.remove(following)
        received = following
    transport._last_received_tsn = received
    return False


async def send_sack(transport: RTCSctpTransport) -> None:
    """As aiortc's, but also right where numbers wrap, and bounded."""
    received: Any = transport._last_received_tsn
    sack = sctp.SackChunk()
    sack.cumulative_tsn = received
    sack.advertised_rwnd = max(0, transport._advertised_rwnd)
    sack.duplicates = transport._sack_duplicates[:_OUT_OF_ORDER]
    offsets = ((tsn - received) % _MODULO for tsn in transport._sack_misordered)
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


async def send_chunk(transport: RTCSctpTransport, chunk: sctp.Chunk) -> None:
    """As aiortc's, but drops the chunk if the connection is closed. Some callers are tasks of their own."""
    with suppress(ConnectionError):
        await _send_chunk(transport, chunk)


PATCHES: Final[list[tuple[Any, str, Any]]] = [
    (sctp, "decode_params", decode_params),
    (sctp, "parse_packet", parse_packet),
    (sctp, "InboundStream", InboundStream),
    (sctp, "MAX_STREAMS", _STREAMS),
    (sctp, "time", SimpleNamespace(time=time.monotonic)),
    (RTCSctpTransport, "_receive_chunk", receive_chunk),
    (RTCSctpTransport, "_mark_received", mark_received),
    (RTCSctpTransport, "_send_sack", send_sack),
    (RTCSctpTransport, "_send_chunk", send_chunk),
    (RTCSctpTransport, "_data_channel_receive", data_channel_receive),
]
