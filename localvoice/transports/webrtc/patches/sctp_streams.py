"""Messages of one SCTP stream that come in parts, each part found by its number.

aiortc 1.16 walks through all parts that wait, once for each part. A peer that sends a message in parts of one
byte makes that quadratic: two thousand parts cost most of a second. `InboundStream` replaces aiortc's.
"""

from collections import deque
from collections.abc import Iterator

from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    SCTP_TSN_MODULO,
    DataChunk,
    tsn_minus_one,
    tsn_plus_one,
)
from aiortc.utils import uint16_add, uint16_gt, uint32_gte

StreamMessage = tuple[int, int, bytes]
"""Stream, payload protocol identifier and contents."""


class InboundStream:
    """Parts that wait for the rest of their message, and messages that wait for their turn."""

    def __init__(self) -> None:
        self._parts: dict[int, DataChunk] = {}
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

    def add_chunk(self, chunk: DataChunk) -> None:
        if chunk.tsn in self._parts:
            return  # a duplicate
        self._parts[chunk.tsn] = chunk
        first = last = chunk.tsn
        before, after = self._parts.get(tsn_minus_one(first)), self._parts.get(tsn_plus_one(last))
        if before is not None and not before.flags & SCTP_DATA_LAST_FRAG and not _begins(chunk):
            first = self._other_end[before.tsn]
        if after is not None and not chunk.flags & SCTP_DATA_LAST_FRAG and not _begins(after):
            last = self._other_end[after.tsn]
        self._other_end[first], self._other_end[last] = last, first
        if _begins(self._parts[first]) and self._parts[last].flags & SCTP_DATA_LAST_FRAG:
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
            begin = tsn_minus_one(begin)
        if begin in self._parts and not self._parts[tsn].flags & SCTP_DATA_LAST_FRAG:
            last = tsn_minus_one(begin)
        else:
            while (after := self._parts.get(tsn_plus_one(last))) is not None and not _begins(after):
                last = after.tsn
        gone = [each for each in self._parts if uint32_gte(last, each)]
        return sum(len(self._take(each).user_data) for each in gone)

    def _complete(self, first: int, last: int) -> None:
        count = (last - first) % SCTP_TSN_MODULO + 1
        parts = [self._take((first + offset) % SCTP_TSN_MODULO) for offset in range(count)]
        head = parts[0]
        message = (head.stream_id, head.protocol, b"".join(part.user_data for part in parts))
        if head.flags & SCTP_DATA_UNORDERED or uint16_gt(self._sequence_number, head.stream_seq):
            self._due.append(message)
        else:
            self._early.setdefault(head.stream_seq, message)

    def _take(self, number: int) -> DataChunk:
        self._other_end.pop(number, None)
        return self._parts.pop(number)


def _begins(part: DataChunk) -> bool:
    return bool(part.flags & SCTP_DATA_FIRST_FRAG)
