"""Messages of one SCTP stream that come in parts, each part found by its number.

aiortc 1.16 walks through all parts that wait, once for each part. A peer that sends a message in parts of one
byte makes that quadratic: two thousand parts cost most of a second. `InboundStream` replaces aiortc's.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from aiortc.rtcsctptransport import DataChunk, tsn_minus_one, tsn_plus_one
from aiortc.utils import uint16_add, uint16_gt, uint32_gte

_LAST: Final = 0x01
_FIRST: Final = 0x02
_UNORDERED: Final = 0x04
_MODULO: Final = 2**32

StreamMessage = tuple[int, int, bytes]
"""Stream, payload protocol identifier and contents."""


class InboundStream:
    """Parts that wait for the rest of their message, and messages that wait for their turn."""

    def __init__(self) -> None:
        self._parts: dict[int, DataChunk] = {}
        self._other_end: dict[int, int] = {}
        """Of each run of parts of one message: its first part to its last, and back."""
        self._early: dict[int, StreamMessage] = {}
        """Whole messages that wait for those before them, by their sequence number."""
        self._due: deque[StreamMessage] = deque()
        self._sequence_number = 0

    @property
    def waiting(self) -> int:
        """How many parts and messages wait."""
        return len(self._parts) + len(self._early)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait."""
        parts = sum(len(part.user_data) for part in self._parts.values())
        return parts + sum(len(data) for _, _, data in self._early.values())

    @property
    def sequence_number(self) -> int:
        """Of the next message in order."""
        return self._sequence_number

    @sequence_number.setter
    def sequence_number(self, number: int) -> None:
        """Skip to a later message; what waited for those before it is due."""
        skipped = [each for each in self._early if uint16_gt(number, each)]
        skipped.sort(key=lambda each: (each - number) & 0xFFFF)
        self._due.extend(self._early.pop(each) for each in skipped)
        self._sequence_number = number

    def add_chunk(self, chunk: DataChunk) -> None:
        """Add a part; ignore a duplicate."""
        if chunk.tsn in self._parts:
            return
        self._parts[chunk.tsn] = chunk
        first = last = chunk.tsn
        before = self._parts.get(tsn_minus_one(chunk.tsn))
        after = self._parts.get(tsn_plus_one(chunk.tsn))
        if before is not None and not before.flags & _LAST and not chunk.flags & _FIRST:
            first = self._other_end[before.tsn]
        if after is not None and not chunk.flags & _LAST and not after.flags & _FIRST:
            last = self._other_end[after.tsn]
        self._other_end[first], self._other_end[last] = last, first
        if self._parts[first].flags & _FIRST and self._parts[last].flags & _LAST:
            self._complete(first, last)

    def pop_messages(self) -> Iterator[StreamMessage]:
        """The messages that are whole and next in order."""
        while True:
            if self._due:
                yield self._due.popleft()
            elif self._sequence_number in self._early:
                message = self._early.pop(self._sequence_number)
                self._sequence_number = uint16_add(self._sequence_number, 1)
                yield message
            else:
                return

    def prune_chunks(self, tsn: int) -> int:
        """Drop the parts up to this number, which the peer has given up. Gives the number of their bytes.

        A message that begins before it and goes on after it stays; one without its beginning is dropped.
        """
        begin = tsn
        while begin in self._parts and not self._parts[begin].flags & _FIRST:
            begin = tsn_minus_one(begin)
        goes_on = begin in self._parts and not self._parts[tsn].flags & _LAST
        kept = (tsn - begin) % _MODULO + 1 if goes_on else 0
        gone = [each for each in self._parts if uint32_gte(tsn, each) and (tsn - each) % _MODULO >= kept]
        if not goes_on:
            after = tsn_plus_one(tsn)
            while after in self._parts and not self._parts[after].flags & _FIRST:
                gone.append(after)
                after = tsn_plus_one(after)
        return sum(len(self._take(each).user_data) for each in gone)

    def _complete(self, first: int, last: int) -> None:
        numbers = [(first + offset) % _MODULO for offset in range((last - first) % _MODULO + 1)]
        parts = [self._take(number) for number in numbers]
        head = parts[0]
        message = (head.stream_id, head.protocol, b"".join(part.user_data for part in parts))
        if head.flags & _UNORDERED or uint16_gt(self._sequence_number, head.stream_seq):
            self._due.append(message)
        else:
            self._early.setdefault(head.stream_seq, message)

    def _take(self, number: int) -> DataChunk:
        self._other_end.pop(number, None)
        return self._parts.pop(number)
