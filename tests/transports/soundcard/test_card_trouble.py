"""A sound card in trouble: lost sound, devices that go and come back, digital silence."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.contract.errors import VoiceError
from localvoice.engines import worker
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard import card as card_module
from localvoice.transports.soundcard.card import SoundCard
from tests.support.clock import VirtualClockLoop
from tests.support.fake_portaudio import FakePortAudio, FakeStream, blocks, info, running, say


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_lost_sound_is_counted_for_developers_only(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "localvoice")
    async with running(card):
        await blocks(card, 0.5)
        assert not caplog.records
        card.stream("input").record(np.ones((320, 1), np.int16), status="input overflow")
        card.stream("output").play(status="output underflow")
        card.stream("output").play(status="output underflow")
        await blocks(card, 1.0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "Webcam: sound was lost in 1 blocks"),
        ("DEBUG", "Headphones: sound was lost in 2 blocks"),
    ]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio answers in no time, so that no virtual time passes meanwhile."""

    class AtOnce:
        def __init__(self, *_: object) -> None:
            """It needs no thread."""

        async def run(self, job: Callable[[], Any]) -> Any:
            return job()

        async def close(self) -> None:
            """It has nothing to end."""

    monkeypatch.setattr("localvoice.transports.soundcard.card.Worker", AtOnce)


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_an_unplugged_headset_is_waited_for_and_the_reply_goes_on(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    playout = Playout(48_000)
    await say(playout, AudioFrame(np.full(48_000 * 7, 5, np.int16), 48_000))
    async with running(card, playout, input="0", output="head") as (inbox, _, _):
        await blocks(card, 6.0)
        webcam, headphones = card.devices
        card.devices = []
        await asyncio.sleep(2.2)
        assert not caplog.messages  # PortAudio may pause for so long after an underrun
        await asyncio.sleep(0.7)
        assert 'no answer from "Headphones" and "Webcam".' in caplog.messages[0]
        assert caplog.messages[1] == 'Not back yet. "Webcam" is not there.'
        assert card.rescans == 1

        await asyncio.sleep(10.0)
        assert card.rescans == 6  # each 2 s
        assert len(caplog.messages) == 2  # and says so once
        card.devices = [info("HDMI", outputs=8), webcam]
        await asyncio.sleep(2.0)
        assert caplog.messages[2] == 'Not back yet. "Headphones" is not there.'

        # Back, at another number.
        card.devices = [info("HDMI", outputs=8), headphones, webcam]
        await asyncio.sleep(2.0)
        assert caplog.messages[3:] == ['The sound is back: "Webcam" and "Headphones".']
        assert card.stream("input").options["device"] == 2
        assert card.stream("output").options["device"] == 1

        played = np.concatenate(await blocks(card, 2.0))
        assert np.count_nonzero(played[:, 0]) == 48_000  # 6 of its 7 s were played before
        card.stream("input").record(np.full((320, 1), 42, np.int16))
        assert await heard(inbox, 42)
    assert [stream.calls for stream in card.streams] == [["start", "stop", "close"]] * 4


async def heard(inbox: FrameInbox, value: int) -> bool:
    """Read the inbox up to a frame with this value."""
    async with asyncio.timeout(1.0):
        async for frame in inbox:
            if frame.samples[0] == value:
                return True
    return False


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("alive", "gone"), [("output", "Webcam"), ("input", "Headphones")])
async def test_one_device_of_two_can_go(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture, alive: str, gone: str
) -> None:
    async with running(card):
        await blocks(card, 6.0)
        for _ in range(150):
            if alive == "output":
                card.stream("output").play()
            else:
                card.stream("input").record(np.ones((320, 1), np.int16))
            await asyncio.sleep(0.02)
        assert f'The sound stopped: no answer from "{gone}".' in caplog.messages[0]


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_while_a_sound_server_restarts_no_other_device_takes_its_place(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    before = card.devices, card.default_device
    built_in = info("Built-in", inputs=2, outputs=2, rate=44_100.0)
    async with running(card):
        await blocks(card, 6.0)
        card.devices, card.default_device = [built_in], (0, 0)
        await asyncio.sleep(15.0)
        assert 'Not back yet. "Webcam" is not there.' in caplog.messages
        card.devices, card.default_device = [built_in, *before[0]], (0, 0)
        await asyncio.sleep(3.0)
        assert 'The sound is back: "Webcam" and "Headphones".' in caplog.messages


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_the_default_may_be_another_device_afterwards(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    async with running(card):
        await blocks(card, 6.0)
        card.devices, card.default_device = [info("Built-in", inputs=2, outputs=2, rate=44_100.0)], (0, 0)
        await asyncio.sleep(30.0)
        assert 'The sound is back: "Built-in" and "Built-in".' in caplog.messages
        # The playout's rate stays what it is; the microphone's may change.
        assert card.stream("output").options["samplerate"] == 48_000
        assert card.stream("input").options["samplerate"] == 44_100


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_an_output_that_comes_back_without_the_rate_is_not_back(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    async with running(card):
        await blocks(card, 6.0)
        card.refused = lambda kind, rate, channels: kind == "output" and rate != 44_100
        await asyncio.sleep(3.0)
        assert 'Not back yet. "Headphones"' in caplog.messages[1]
        assert "Invalid sample rate 48000" in caplog.messages[1]


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_portaudio_that_fails_to_start_again_is_tried_again(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    async with running(card):
        await blocks(card, 6.0)
        card.cannot_initialize = True
        await asyncio.sleep(3.0)
        assert "PortAudio can't start (Unanticipated host error)" in caplog.messages[1]
        card.cannot_initialize = False
        await asyncio.sleep(2.0)
        assert "The sound is back" in caplog.messages[2]
    assert card.initialized == 1


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_devices_may_take_their_time_to_start_but_not_for_ever(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(card):
        await asyncio.sleep(4.5)
        assert not caplog.messages
        await asyncio.sleep(1.0)
        assert "The sound stopped" in caplog.messages[0] and card.rescans == 1


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_a_process_that_stood_still_does_not_think_its_devices_unplugged(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    loop.set_debug(False)  # asyncio would take note of so long a callback, too
    async with running(card):
        await blocks(card, 6.0)
        loop._jumping.now += 3600.0  # the lid was closed, or a debugger had it
        await asyncio.sleep(0.3)
        await blocks(card, 2.0)
        assert not caplog.messages


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_a_microphone_without_any_sound_is_questioned_once(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(card):
        for _ in range(500):
            card.stream("input").record(np.zeros((320, 1), np.int16))
            card.stream("output").play()
            await asyncio.sleep(0.02)
    assert len(caplog.messages) == 1
    assert 'digital silence comes from "Webcam"' in caplog.messages[0]


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_cancelling_while_waiting_for_a_device_is_quiet(card: FakePortAudio) -> None:
    async with running(card):
        await blocks(card, 6.0)
        card.devices = []
        await asyncio.sleep(5.0)
        assert card.rescans == 2
    assert [stream.calls for stream in card.streams] == [["start", "stop", "close"]] * 2


async def test_a_driver_that_hangs_is_told_and_does_not_keep_the_process(
    card: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_module, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(card_module, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(worker, "LEAVE_SECONDS", 0.05)
    hang = threading.Event()
    sound_card = SoundCard(FrameInbox(), None, None)
    monkeypatch.setattr(FakeStream, "stop", lambda _: hang.wait(10))
    try:
        async with asyncio.timeout(5):
            with pytest.raises(VoiceError, match=r"no answer for 0\.2 s. Start localvoice again"):
                await sound_card.run(Playout(sound_card.rate))  # no callback ever comes
    finally:
        hang.set()
