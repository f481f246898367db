"""What a connected peer sends as sound and reports costs little, is kept in small part, and ends nothing."""

import asyncio
import struct
from types import SimpleNamespace

import pytest
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
)

from localvoice.transports.webrtc.patches import dtls as rtp_guard
from tests.support.dtls_pair import AUDIO_LEVEL, Call, call
from tests.support.fakes import until

SILENCE = b"\xf8\xff\xfe"


def sound(number: int, source: int = 1, timestamp: int | None = None) -> bytes:
    stamp = number * 960 if timestamp is None else timestamp
    return struct.pack("!BBHLL", 0x80, 96, number % 2**16, stamp % 2**32, source) + SILENCE


def tables(of: Call) -> list[int]:
    """How many sources each of the receiver's tables holds."""
    names = ("active_ssrc", "remote_streams", "lsr", "lsr_time")
    kept = [len(vars(of.receiver)[f"_RTCRtpReceiver__{name}"]) for name in names]
    return [*kept, len(of.ours._rtp_router.ssrc_table)]


async def goes_on(of: Call) -> None:
    heard = of.sounds
    await of.attack(sound(1, source=9))
    assert of.sounds == heard + 1 and of.ours.state == "connected"


@pytest.fixture(autouse=True)
def reports_are_sent_often(monkeypatch: pytest.MonkeyPatch) -> None:
    often = SimpleNamespace(random=lambda: -0.49)
    monkeypatch.setattr("aiortc.rtcrtpreceiver.random", often)
    monkeypatch.setattr("aiortc.rtcrtpsender.random.random", often.random)


def reporting(of: Call) -> bool:
    """Whether our end still tells what it has received."""
    return not vars(of.receiver)["_RTCRtpReceiver__rtcp_task"].done()


async def test_many_sources_are_not_kept_and_the_report_of_them_can_be_sent() -> None:
    async with call() as attacked:
        for source in range(300):
            await attacked.attack(sound(source, source))
        await asyncio.sleep(0.05)
        assert reporting(attacked)
        assert max(tables(attacked)) <= rtp_guard._SOURCES
        assert attacked.sounds == 300
        await goes_on(attacked)


async def test_a_source_that_goes_on_is_kept_beside_many_others() -> None:
    async with call() as attacked:
        for number in range(100):
            await attacked.attack(sound(number, 1))
            await attacked.attack(sound(0, 1_000 + number))
        streams = vars(attacked.receiver)["_RTCRtpReceiver__remote_streams"]
        assert streams[1].packets_received == 100


def test_timestamps_that_jump_leave_a_report_that_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamStatistics(48_000)
    for number in range(1_001):
        monkeypatch.setattr("aiortc.rtcrtpreceiver.time", SimpleNamespace(time=lambda now=number * 60: now))
        stream.add(RtpPacket.parse(sound(number, 1, -(number % 2))))
    assert stream._jitter_q4 >> 4 > 2**32
    bytes(RtcpReceiverInfo(1, stream.fraction_lost, stream.packets_lost, 1, stream.jitter, 0, 0))


async def test_a_task_of_reports_that_fails_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with call() as attacked:

        async def fails(packet: object) -> None:
            raise RuntimeError("libsrtp has had enough")

        await attacked.attack(sound(1))
        monkeypatch.setattr(attacked.receiver, "_send_rtcp", fails)
        monkeypatch.setattr(attacked.sender, "_send_rtcp", fails)
        await until(lambda: not reporting(attacked))
        async with asyncio.timeout(5):
            await attacked.receiver.stop()
            await attacked.sender.stop()
    assert caplog.text.count("no more reports are sent") == 2


def feedback(of: Call) -> list[bytes]:
    """That is malformed, or asks for much."""
    ours = of.sender._ssrc
    everything = struct.pack("!BBHLL", 0x81, 205, 332, 1, ours) + struct.pack("!HH", 5, 0xFFFF) * 330
    remb = RtcpPsfbPacket(15, 1, 0, b"REMB" + bytes([200, 0, 0, 0]))
    return [
        bytes(remb),
        everything,
        bytes(RtcpPsfbPacket(1, 1, ours)),
        bytes(RtcpRtpfbPacket(15, 1, ours)),
        struct.pack("!BBH", 0x9F, 202, 3) + b"\0" * 12,
        struct.pack("!BBHL", 0x9F, 203, 1, 1),
        struct.pack("!BBH", 0xBF, 201, 1) + b"\0\0\0\xff",
        struct.pack("!BBHL", 0x9F, 201, 1, 1),
    ]


async def test_feedback_that_is_malformed_or_asks_for_much_changes_nothing() -> None:
    async with call() as attacked:
        history = vars(attacked.sender)["_RTCRtpSender__rtp_history"]
        history[5] = RtpPacket(payload_type=96, sequence_number=5, payload=b"x" * 1_000)
        for packet in feedback(attacked):
            before = attacked.theirs.transport.came.qsize()  # type: ignore[attr-defined]
            await attacked.attack(packet)
            assert attacked.theirs.transport.came.qsize() <= before + 5, "reports of ours, at most"  # type: ignore[attr-defined]
        await goes_on(attacked)


@pytest.mark.parametrize("level", [b"", b"ab", b"abc"])
async def test_a_header_extension_of_a_wrong_length_costs_that_packet(level: bytes) -> None:
    value = bytes([AUDIO_LEVEL, len(level)]) + level
    value += bytes(-len(value) % 4)
    head = struct.pack("!BBHLL", 0x90, 96, 1, 0, 1) + struct.pack("!HH", 0x1000, len(value) // 4)
    async with call() as attacked:
        await attacked.attack(head + value + SILENCE)
        assert not attacked.sounds
        await goes_on(attacked)


def test_what_sound_has_a_use_for_is_read_as_before() -> None:
    info = RtcpReceiverInfo(2, 0, 0, 0, 0, 0, 0)
    packets: list[AnyRtcpPacket] = [
        RtcpSrPacket(1, RtcpSenderInfo(1, 2, 3, 4), [info]),
        RtcpRrPacket(1, [info]),
        RtcpByePacket([1]),
    ]
    assert RtcpPacket.parse(b"".join(bytes(each) for each in packets)) == packets
