"""The inbox: bounded, in order, and a source that stops sounds silent."""

import asyncio

import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.transports.inbox import FrameInbox
from tests.support.fakes import loud

pytestmark = pytest.mark.virtual_clock


async def collect(inbox: FrameInbox, into: list[AudioFrame]) -> None:
    async for frame in inbox:
        into.append(frame)


async def test_frames_come_out_as_they_went_in() -> None:
    inbox, frames = FrameInbox(), [loud(0.02) for _ in range(10)]
    for frame in frames:
        inbox.put(frame)
    inbox.end()
    out: list[AudioFrame] = []
    await collect(inbox, out)
    assert [id(frame) for frame in out] == [id(frame) for frame in frames]


async def test_when_nothing_is_read_the_oldest_are_dropped() -> None:
    inbox, frames = FrameInbox(), [loud(0.02) for _ in range(1_000)]
    for frame in frames:
        inbox.put(frame)
    inbox.end()
    out: list[AudioFrame] = []
    await collect(inbox, out)
    assert 3 <= sum(frame.seconds for frame in out) <= 6
    assert out[-1] is frames[-1]


async def test_a_source_that_stops_is_silent_for_a_while_and_then_nothing() -> None:
    inbox = FrameInbox()
    out: list[AudioFrame] = []
    reader = asyncio.create_task(collect(inbox, out))
    await asyncio.sleep(5)
    assert out == [], "no silence before the first frame"
    inbox.put(loud(0.02, 48_000))
    await asyncio.sleep(60)
    silence = out[1:]
    assert all(frame.rate == 48_000 and not frame.samples.any() for frame in silence)
    assert sum(frame.seconds for frame in silence) == pytest.approx(2.0, abs=0.2)
    inbox.put(loud(0.02, 48_000))
    await asyncio.sleep(60)
    assert len(out) == 2 * (1 + len(silence)), "and the same after it has come back"
    inbox.end()
    await reader


async def test_a_steady_source_is_not_touched() -> None:
    inbox = FrameInbox()
    out: list[AudioFrame] = []
    reader = asyncio.create_task(collect(inbox, out))
    for _ in range(100):
        inbox.put(loud(0.02))
        await asyncio.sleep(0.1)  # late, but not gone
    assert len(out) == 100
    inbox.end()
    await reader


async def test_sound_faster_than_it_is_spoken_is_refused_and_its_sender_told_once_a_minute() -> None:
    inbox, told = FrameInbox(), list[VoiceError]()
    admitted = 0.0
    for _ in range(60 * 10):
        for _ in range(10):  # at ten times real time
            try:
                if inbox.admits():
                    inbox.put(loud(0.1))
                    admitted += 0.1
            except VoiceError as error:
                told.append(error)
        await asyncio.sleep(0.1)
    assert 60 <= admitted <= 60 * 1.02 + 15 + 1
    assert [each.code for each in told] == [ErrorCode.RATE_LIMITED]
    assert "faster than it can be spoken" in told[0].message


async def test_sound_that_waited_for_the_network_is_taken_at_once() -> None:
    inbox = FrameInbox()
    for _ in range(10):
        await asyncio.sleep(14)
        for _ in range(14 * 50):
            assert inbox.admits()
            inbox.put(loud(0.02))


async def test_a_full_inbox_does_not_keep_others_waiting() -> None:
    inbox, out = FrameInbox(), list[AudioFrame]()
    for _ in range(100):
        inbox.put(loud(0.02))
    reader = asyncio.create_task(collect(inbox, out))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < len(out) < 10
    inbox.end()
    await reader
