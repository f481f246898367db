"""Incoming packets: in order, none twice, and none waited for longer than three others."""

from collections import deque
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from localvoice.audio.frames import AudioFrame
from localvoice.transports.webrtc.sound import MAX_WAITING, SILENT_BATCH, IncomingSound, PacketOrder
from tests.support.fakes import loud

OPUS = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48_000, channels=2, payloadType=96)


def packet(number: int, data: bytes = b"") -> RtpPacket:
    made = RtpPacket(payload_type=96, sequence_number=number % 65536, timestamp=number * 960 % 2**32)
    made._data = data  # type: ignore[attr-defined]
    return made


def taken(numbers: list[int]) -> list[list[int]]:
    """What comes out after each packet that goes in."""
    order = PacketOrder()
    return [[each.sequence_number for each in order.take(packet(number))] for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([7, 8, 9], [[7], [8], [9]]),
        ([65534, 65535, 65536, 65537], [[65534], [65535], [0], [1]]),
        ([1, 3, 2, 4], [[1], [], [2, 3], [4]]),
        ([65535, 65537, 65536], [[65535], [], [0, 1]]),
        ([1, 2, 2, 1, 3], [[1], [2], [], [], [3]]),
        ([1, 3, 3, 3, 3, 2], [[1], [], [], [], [], [2, 3]]),
        ([1, 3, 4, 5, 2, 6], [[1], [], [], [3, 4, 5], [], [6]]),
        ([1, 3, 5, 7, 8], [[1], [], [], [3], [5]]),
        ([1, 3, 30_000, 30_001], [[1], [], [3, 30_000], [30_001]]),
        ([500, 501, 3, 4], [[500], [501], [3], [4]]),
    ],
    ids=[
        "at once",
        "the numbers begin again",
        "reordered",
        "reordered where they begin again",
        "repeated",
        "repeated while one is missing",
        "lost, and late",
        "every second lost",
        "another stream begins ahead",
        "another stream begins behind",
    ],
)
def test_order(numbers: list[int], expected: list[list[int]]) -> None:
    assert taken(numbers) == expected


@given(
    st.integers(0, 65535),
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["sent", "sent", "sent", "lost", "twice"])), max_size=60
    ),
)
def test_whatever_a_network_does_it_is_in_order_and_complete(
    start: int, fates: list[tuple[int, str]]
) -> None:
    """Each packet may be delayed by up to two, lost or doubled."""
    sent = [
        (at + delay, at)
        for at, (delay, fate) in enumerate(fates)
        for _ in range({"lost": 0, "sent": 1, "twice": 2}[fate])
    ]
    arriving = [start + at for _, at in sorted(sent)]
    out = [number for each in taken(arriving) for number in each]
    begun = arriving[0] if arriving else 0
    positions = [(number - begun) % 65536 for number in out]
    assert positions == sorted(set(positions)), "in order, none twice"
    # Two packets behind, at most: none is given up that still comes. What the first overtook is lost.
    waiting = deque(sorted({number - begun for number in arriving if number >= begun}))
    for position in positions:
        assert waiting.popleft() == position
    assert len(waiting) < MAX_WAITING, "the last ones may wait for a packet that is never sent"


def opus(sound: np.ndarray, layout: str = "mono") -> list[bytes]:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.format, encoder.layout, encoder.sample_rate = "s16", layout, 48_000
    encoder.time_base = Fraction(1, 48_000)
    packets = []
    for at in range(0, len(sound), 960):
        channels = 1 if layout == "mono" else 2
        interleaved = np.ascontiguousarray(np.repeat(sound[at : at + 960], channels)[np.newaxis])
        frame = av.AudioFrame.from_ndarray(interleaved, "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
        packets += [bytes(each) for each in encoder.encode(frame)]
    return packets


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_each_packet_is_heard_as_it_comes(layout: str) -> None:
    heard: list[AudioFrame] = []
    incoming = IncomingSound({96: OPUS}, heard.append, pytest.fail, lambda: False, lambda: True)
    for number, data in enumerate(opus(loud(0.5, 48_000).samples, layout)):
        assert incoming.add(packet(number, data)) == (False, None), "aiortc has nothing left to decode"
        assert len(heard) == number + 1
        assert (heard[-1].samples.shape, heard[-1].rate) == ((960,), 48_000)
    assert heard[-1].rms_dbfs == pytest.approx(loud(0.02).rms_dbfs, abs=1)


def test_at_rest_packets_are_decoded_together_and_none_is_lost() -> None:
    heard: list[AudioFrame] = []
    resting = True
    incoming = IncomingSound({96: OPUS}, heard.append, pytest.fail, lambda: resting, lambda: True)
    sound = loud(0.5, 48_000).samples
    for number, data in enumerate(opus(sound)):
        resting = number < 2 * SILENT_BATCH + 3
        incoming.add(packet(number, data))
    assert [len(frame.samples) // 960 for frame in heard] == [SILENT_BATCH, SILENT_BATCH, 4] + [1] * 11
    assert sum(len(frame.samples) for frame in heard) == len(sound)


def test_what_can_not_be_decoded_is_told_once_until_it_can_for_a_while() -> None:
    heard: list[AudioFrame] = []
    told: list[str] = []
    incoming = IncomingSound({96: OPUS}, heard.append, told.append, lambda: False, lambda: True)
    (good,) = opus(np.zeros(960, np.int16))
    bad = b"\xff\0"
    for number, data in enumerate([good, bad, bad] + [good, bad, b""] * 100):
        incoming.add(packet(number, data))
    assert len(heard) == 101 and len(told) == 1, "good ones between bad ones are no news"
    for number, data in enumerate([good] * 250 + [bad], 303):
        incoming.add(packet(number, data))
    assert len(told) == 2 and all(told)


def test_what_is_not_admitted_is_not_decoded() -> None:
    heard: list[AudioFrame] = []
    incoming = IncomingSound({96: OPUS}, heard.append, pytest.fail, lambda: False, lambda: False)
    for number in range(10):
        incoming.add(packet(number, b"\xff\0"))
    assert not heard
