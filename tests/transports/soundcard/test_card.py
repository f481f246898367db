"""The sound card as a transport, on a PortAudio that the test plays: opening, sound, closing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from localvoice.audio.playout import Playout
from localvoice.contract.errors import VoiceError
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard.card import SoundCard
from tests.support.fake_portaudio import FakePortAudio, FakeStream, blocks, info, ramp, running, say, soon

# Opening and closing


async def test_two_devices_run_at_their_own_rates(card: FakePortAudio) -> None:
    async with running(card) as (_, _, sound_card):
        assert sound_card.rate == 48_000
    shared = {"dtype": "int16", "latency": "low"}
    for kind, expected in (
        ("input", {"device": 0, "samplerate": 16_000, "channels": 1, "blocksize": 320}),
        ("output", {"device": 1, "samplerate": 48_000, "channels": 2, "blocksize": 960}),
    ):
        options = card.stream(kind).options
        assert {name: options[name] for name in options if name != "callback"} == expected | shared


async def test_nothing_is_recorded_before_it_runs(card: FakePortAudio) -> None:
    SoundCard(FrameInbox(), None, None)
    assert not card.streams


@pytest.mark.parametrize(
    ("device", "refused", "rate", "channels"),
    [
        (info("A", 0, 1), lambda kind, rate, channels: False, 48_000, 1),
        (info("A", 0, 8), lambda kind, rate, channels: False, 48_000, 2),
        (info("A", 0, 8), lambda kind, rate, channels: kind == "output" and channels != 8, 48_000, 8),
        (info("A", 0, 2), lambda kind, rate, channels: kind == "output" and channels != 1, 48_000, 1),
        (info("A", 0, 2, 96_000.0), lambda kind, rate, channels: rate > 44_100, 44_100, 2),
    ],
)
async def test_a_fussy_output_is_opened_as_it_likes(
    card: FakePortAudio,
    device: dict[str, Any],
    refused: Callable[[str, int, int], bool],
    rate: int,
    channels: int,
) -> None:
    card.devices[1], card.refused = device, refused
    async with running(card) as (_, _, sound_card):
        assert sound_card.rate == rate
        assert card.stream("output").options["samplerate"] == rate
        assert card.stream("output").options["channels"] == channels


async def test_a_microphone_that_is_never_mono_gives_its_first_channel(card: FakePortAudio) -> None:
    card.devices[0] = info("Interface", inputs=4)
    card.refused = lambda kind, rate, channels: kind == "input" and channels == 1
    async with running(card) as (inbox, _, _):
        recorded = np.tile(np.array([7, -1, -2, -3], np.int16), (960, 1))
        card.stream("input").record(recorded)
        frame = await anext(aiter(inbox))
        assert card.stream("input").options["channels"] == 4
        assert (frame.samples == 7).all() and frame.samples.shape == (960,)


async def test_a_device_that_refuses_everything_says_why(card: FakePortAudio) -> None:
    card.refused = lambda kind, rate, channels: kind == "output"
    with pytest.raises(VoiceError, match='"Headphones".*Invalid sample rate 48000.*--output.*--list-devices'):
        SoundCard(FrameInbox(), None, None)


async def test_devices_that_cannot_start_end_the_run_and_leave_nothing_open(card: FakePortAudio) -> None:
    card.broken = {"output"}
    sound_card = SoundCard(FrameInbox(), None, None)
    with pytest.raises(VoiceError, match='"Headphones".*Device unavailable'):
        await sound_card.run(Playout(sound_card.rate))
    assert [stream.calls[-2:] for stream in card.streams] == [["stop", "close"]] * 2


async def test_cancelling_stops_the_streams_and_then_closes_them(card: FakePortAudio) -> None:
    async with running(card):
        pass
    assert [stream.calls for stream in card.streams] == [["start", "stop", "close"]] * 2


async def test_cancelling_while_the_devices_open_closes_them(card: FakePortAudio) -> None:
    entered, go_on = threading.Event(), threading.Event()
    open_now = card.open

    def open_slowly(kind: str, options: dict[str, Any]) -> FakeStream:
        entered.set()
        assert go_on.wait(5.0)
        return open_now(kind, options)

    card.open = open_slowly  # type: ignore[method-assign]
    sound_card = SoundCard(FrameInbox(), None, None)
    task = asyncio.create_task(sound_card.run(Playout(sound_card.rate)))
    await soon(entered.is_set)
    task.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.wait([task])
    assert [stream.calls for stream in card.streams] == [["start", "stop", "close"]] * 2


# Sound


async def test_what_is_recorded_reaches_the_inbox(card: FakePortAudio) -> None:
    async with running(card) as (inbox, _, _):
        memory = np.zeros((320, 1), np.int16)
        for value in (1, 2):
            memory[:] = value  # PortAudio uses the same memory for each block
            card.stream("input").record(memory)
        frames = aiter(inbox)
        first, second = await anext(frames), await anext(frames)
    assert first.rate == second.rate == 16_000
    assert (first.samples == 1).all() and (second.samples == 2).all()


async def test_what_is_said_is_played_on_all_channels(card: FakePortAudio) -> None:
    playout = Playout(48_000)
    await say(playout, ramp(9_600))
    async with running(card, playout):
        played = np.concatenate(await blocks(card, 0.2))
        assert np.array_equal(played[:, 0], np.arange(1, 9_601))
        assert np.array_equal(played[:, 0], played[:, 1])
        assert not card.stream("output").play().any()  # it has said all


async def test_a_busy_loop_is_heard_as_silence_after_60_ms(card: FakePortAudio) -> None:
    playout = Playout(48_000)
    await say(playout, ramp(9_600))
    async with running(card, playout):
        stream = card.stream("output")
        meanwhile = [stream.play() for _ in range(5)]  # the loop has no turn in between
        assert [block.any() for block in meanwhile] == [True, True, True, False, False]
        await asyncio.sleep(0)
        after = stream.play()
        assert after[0, 0] == meanwhile[2][-1, 0] + 1  # late, but nothing is left out


async def test_barge_in_is_silent_after_three_blocks(card: FakePortAudio) -> None:
    playout = Playout(48_000)
    await say(playout, ramp(30_000))
    async with running(card, playout):
        assert (await blocks(card, 0.1))[-1].all()
        playout.stop()
        played = await blocks(card, 0.2)
        assert [bool(block.any()) for block in played] == [True] * 3 + [False] * 7


async def test_no_more_than_60_ms_counts_as_heard_before_it_is(card: FakePortAudio) -> None:
    playout = Playout(48_000)
    await say(playout, ramp(9_600))
    async with running(card, playout):
        await asyncio.sleep(0.1)  # the device asks for nothing
        assert len(playout.read(9_600).nonzero()[0]) == 9_600 - 3 * 960
