"""Messages in parts: each comes out once, whatever order its parts come in."""

from random import Random

from aiortc.rtcsctptransport import DataChunk
from hypothesis import given
from hypothesis import strategies as st

from localvoice.transports.webrtc.patches.sctp import InboundStream, StreamMessage
from tests.support.sctp_pair import FIRST, LAST, UNORDERED, waiting_bytes


def parts(messages: list[tuple[int, bool]], first: int) -> list[DataChunk]:
    """Of messages of so many parts each, in order or not."""
    made: list[DataChunk] = []
    sequence = 0
    for number, (length, ordered) in enumerate(messages):
        for each in range(length):
            flags = FIRST * (each == 0) | LAST * (each == length - 1) | UNORDERED * (not ordered)
            chunk = DataChunk(flags=flags)
            chunk.tsn, chunk.stream_id, chunk.protocol = (first + len(made)) % 2**32, 1, number
            chunk.stream_seq, chunk.user_data = sequence % 2**16, b"%d." % each
            made.append(chunk)
        sequence += ordered
    return made


def taken(stream: InboundStream, chunks: list[DataChunk]) -> list[StreamMessage]:
    out: list[StreamMessage] = []
    for chunk in chunks:
        stream.add_chunk(chunk)
        out += stream.pop_messages()
    return out


def whole(number: int, length: int) -> StreamMessage:
    return (1, number, b"".join(b"%d." % each for each in range(length)))


MESSAGES = st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12)


@given(MESSAGES, st.sampled_from([0, 7, 2**32 - 9]), st.randoms(use_true_random=False))
def test_all_messages_come_out_once_and_those_in_order_in_order(
    messages: list[tuple[int, bool]], first: int, random: Random
) -> None:
    chunks = parts(messages, first)
    random.shuffle(chunks)
    stream = InboundStream()
    out = taken(stream, chunks + chunks[:3])
    expected = [whole(number, length) for number, (length, _) in enumerate(messages)]
    assert sorted(out[: len(expected)]) == sorted(expected)
    in_order = [number for number, (_, ordered) in enumerate(messages) if ordered]
    assert [number for _, number, _ in out if number in in_order][: len(in_order)] == in_order


@given(MESSAGES, st.integers(0, 40), st.randoms(use_true_random=False))
def test_what_is_given_up_is_gone_and_the_rest_goes_on(
    messages: list[tuple[int, bool]], upto: int, random: Random
) -> None:
    first = 2**32 - 5
    chunks = parts(messages, first)
    came = [chunk for chunk in chunks if random.random() < 0.7]
    random.shuffle(came)
    stream = InboundStream()
    taken(stream, came)
    before = waiting_bytes(stream)
    pruned = stream.prune_chunks((first + upto) % 2**32)
    assert waiting_bytes(stream) == before - pruned
    late = [chunk for chunk in chunks if (chunk.tsn - first) % 2**32 > upto and chunk not in came]
    out = taken(stream, late)
    assert all(data == whole(number, messages[number][0])[2] for _, number, data in out)


def test_what_was_waiting_for_a_message_that_is_given_up_comes_out() -> None:
    chunks = parts([(1, True)] * 4, 0)
    stream = InboundStream()
    assert taken(stream, [chunks[1], chunks[3]]) == []
    stream.sequence_number = 2
    assert list(stream.pop_messages()) == [whole(1, 1)]
    stream.sequence_number = 3
    assert list(stream.pop_messages()) == [whole(3, 1)] and not stream.waiting


def test_a_message_that_goes_on_after_what_is_given_up_stays() -> None:
    chunks = parts([(1, True), (4, True)], 10)
    stream = InboundStream()
    taken(stream, chunks[:3])
    assert stream.prune_chunks(12) == 0
    assert taken(stream, chunks[3:]) == [whole(1, 4)]
    assert stream.waiting == waiting_bytes(stream) == 0
