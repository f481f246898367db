"""What a connected peer claims in SCTP packets costs little, is kept in small part, and ends nothing."""

import asyncio
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiortc import rtcsctptransport
from aiortc.rtcsctptransport import (
    Chunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    RTCSctpTransport,
    SackChunk,
    StreamAddOutgoingParam,
    StreamResetOutgoingParam,
    StreamResetResponseParam,
    parse_packet,
    tsn_minus_one,
)
from hypothesis import given
from hypothesis import strategies as st

from localvoice.transports.webrtc.patches import sctp as sctp_guard
from tests.support.sctp_pair import FIRST, LAST, OPENING, UNORDERED, Association, association

OPEN = struct.pack("!BBHLHH", 3, 0, 0, 0, 1, 0) + b"x"


@contextmanager
def costs_at_most(seconds: float) -> Iterator[None]:
    """Processor time, so that a busy machine doesn't matter."""
    begun = time.thread_time()
    yield
    spent = time.thread_time() - begun
    assert spent <= seconds, f"{spent:.2f} s"


def sack(of: Association, gaps: list[tuple[int, int]], acknowledged: int | None = None) -> SackChunk:
    chunk = SackChunk()
    chunk.cumulative_tsn = of.ours._last_sacked_tsn if acknowledged is None else acknowledged
    chunk.advertised_rwnd, chunk.gaps, chunk.duplicates = 131_072, gaps, []
    return chunk


def answers(of: Association) -> list[Chunk]:
    """What our end has sent since last asked."""
    sent, of.wire.sent = of.wire.sent, []
    return [chunk for packet in sent for chunk in parse_packet(packet)[3]]


async def we_send(of: Association, messages: int) -> None:
    """Let our end have so many messages under way."""
    await of.attack(of.part(OPEN, kind=OPENING))
    for _ in range(messages):
        await of.ours._send(1, 51, b"hello")
    of.wire.sent.clear()


async def test_an_acknowledgement_of_what_was_never_sent_costs_nothing() -> None:
    async with association() as pair:
        await we_send(pair, 20)
        with costs_at_most(0.5):
            for _ in range(100):
                await pair.attack(sack(pair, [(1, 65_535)] * 280))
        await pair.attack(sack(pair, [], tsn_minus_one(pair.ours._local_tsn) + 5))
        assert pair.ours._last_sacked_tsn != tsn_minus_one(pair.ours._local_tsn) + 5
        assert pair.established


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=8))
def test_ranges_are_the_same_numbers_in_order(ranges: list[tuple[int, int]]) -> None:
    ranges = [(begin, end) for begin, end in ranges if begin <= end]
    merged = sctp_guard.merged(ranges)
    numbers = {number for begin, end in ranges for number in range(begin, end + 1)}
    assert [number for begin, end in merged for number in range(begin, end + 1)] == sorted(numbers)
    assert all(before[1] + 1 < after[0] for before, after in zip(merged, merged[1:], strict=False))


async def test_gaps_that_are_true_are_believed() -> None:
    async with association() as pair:
        await we_send(pair, 6)
        await pair.attack(sack(pair, [(3, 3), (2, 2), (5, 1), (6, 70)]))
        assert [chunk._acked for chunk in pair.ours._sent_queue][:3] == [False, True, True]
        await pair.attack(sack(pair, [(9, 3)]))
        assert pair.established


async def test_of_messages_that_were_given_up_only_streams_that_there_are_count() -> None:
    async with association() as pair:
        with costs_at_most(0.5):
            for number in range(200):
                given_up = ForwardTsnChunk()
                given_up.cumulative_tsn = (pair.ours._last_received_tsn or 0) + 1
                given_up.streams = [((number * 250 + each) % 65_536, 1) for each in range(250)]
                await pair.attack(given_up)
        assert len(pair.ours._inbound_streams) <= 64 and pair.established


async def test_a_packet_is_answered_a_few_times_only() -> None:
    async with association() as pair:
        await pair.attack(*[HeartbeatChunk()] * 250)
        assert len(answers(pair)) == 1
        large = HeartbeatChunk()
        large.params = [(1, b"x" * 1_400)]
        await pair.attack(large)
        assert not answers(pair), "what doesn't fit into a packet of ours isn't sent back"
        requests = ReconfigChunk()
        requests.params = [(17, bytes(StreamAddOutgoingParam(number, 1))) for number in range(90)]
        await pair.attack(requests)
        assert len(answers(pair)) == 2


async def test_what_is_far_ahead_is_dropped_and_acknowledgements_fit_into_a_packet() -> None:
    async with association() as pair:
        far = pair.part(b"x")
        far.tsn = (far.tsn + 100_000) % 2**32
        await pair.attack(far)
        answers(pair)
        with costs_at_most(2):
            for _ in range(1_000):
                pair.part(b"")  # never sent
                await pair.attack(pair.part(b"x", FIRST | LAST | UNORDERED))
        assert max(map(len, pair.wire.sent)) <= 1_189 and pair.established


async def test_a_part_costs_the_same_however_many_wait() -> None:
    async with association() as pair:

        async def seconds_of_messages() -> float:
            begun = time.thread_time()
            for _ in range(60):
                await pair.attack(*(pair.part(b"x", FIRST | LAST | UNORDERED) for _ in range(32)))
            return time.thread_time() - begun

        alone = await seconds_of_messages()
        for _ in range(60):
            await pair.attack(*(pair.part(b"x", UNORDERED) for _ in range(32)))
        assert await seconds_of_messages() <= 4 * alone
        assert pair.established


@pytest.mark.virtual_clock
async def test_a_flood_of_tiny_messages_is_cut_to_a_rate() -> None:
    async with association() as pair:
        before = pair.ours._last_received_tsn or 0
        for _ in range(1_000):
            pair.theirs._local_tsn = (pair.ours._last_received_tsn or 0) + 1  # what is dropped comes again
            await pair.attack(*(pair.part(b"x", FIRST | LAST | UNORDERED) for _ in range(32)))
            await asyncio.sleep(0.001)
        passed = ((pair.ours._last_received_tsn or 0) - before) % 2**32
        assert 8_000 <= passed <= 8_000 + 2_000 + 32


async def test_channels_that_are_opened_and_reset_stay_few() -> None:
    async with association() as pair:
        for stream in range(2, 600):
            await pair.attack(pair.part(OPEN, stream=stream, kind=OPENING))
            reset = StreamResetOutgoingParam(stream, 0, tsn_minus_one(pair.theirs._local_tsn), [stream])
            request = ReconfigChunk()
            request.params = [(13, bytes(reset))]
            await pair.attack(request)
        assert len(pair.ours._data_channels) <= 64 and pair.established


async def test_a_channel_is_reset_and_opened_again() -> None:
    async with association() as pair:
        for number in range(100):
            await pair.attack(pair.part(OPEN, kind=OPENING))
            assert 1 in pair.ours._data_channels
            await pair.attack(sack(pair, [], tsn_minus_one(pair.ours._local_tsn)))
            reset = StreamResetOutgoingParam(number, 0, tsn_minus_one(pair.theirs._local_tsn), [1])
            request = ReconfigChunk()
            request.params = [(13, bytes(reset))]
            await pair.attack(request)
            await pair.ours._transmit_reconfig()
            asked = pair.ours._reconfig_request
            assert asked is not None
            response = ReconfigChunk()
            response.params = [(16, bytes(StreamResetResponseParam(asked.request_sequence, 1)))]
            await pair.attack(response)
            assert 1 not in pair.ours._data_channels


@pytest.mark.parametrize("kind", [chunk.type for chunk in rtcsctptransport.CHUNK_CLASSES])
async def test_a_chunk_that_is_cut_short_is_dropped(kind: int) -> None:
    async with association() as pair:
        for size in (1, 2, 3, 5, 7, 11, 13, 15):
            body = b"\xff" * size
            chunk = struct.pack("!BBH", kind, 3, 4 + size) + body + bytes(-size % 4)
            if kind not in (6, 7):  # these end it, and may
                await pair.attack(chunk, tag=0 if kind == 1 else None)
        assert pair.established


@pytest.mark.parametrize("kind", rtcsctptransport.RECONFIG_PARAM_TYPES)
async def test_a_request_that_is_cut_short_is_dropped(kind: int) -> None:
    async with association() as pair:
        for size in range(16):
            request = ReconfigChunk()
            request.params = [(kind, bytes(size))]
            await pair.attack(request)
        assert pair.established


async def test_what_comes_before_the_beginning_or_begins_again_is_dropped() -> None:
    pair = Association()
    await pair.ours.start(None, 5000)
    given_up = ForwardTsnChunk()
    for chunk in (pair.part(b"x"), given_up):
        await pair.attack(chunk)
    await pair.end()
    async with association() as pair:
        await pair.attack(pair.part(b"x"))
        received = pair.ours._last_received_tsn
        await pair.attack(InitChunk(), tag=0)
        await pair.attack(InitChunk(), pair.part(b"x"), tag=0)
        assert pair.ours._last_received_tsn == received and pair.established


async def test_what_a_closed_connection_does_not_take_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with association() as pair:

        async def closed(data: bytes) -> None:
            raise ConnectionError

        monkeypatch.setattr(pair.wire, "_send_data", closed)
        await pair.ours._send(1, 51, b"x")
        assert RTCSctpTransport._send_chunk is sctp_guard.send_chunk
