"""The sound card as a transport, on a PortAudio that the test plays."""

import asyncio
import contextlib
import importlib.abc
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clock import VirtualClockLoop

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.devices import Device, Direction, choose
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.microphone import SoundCard, list_devices

Block = npt.NDArray[np.int16]


class PortAudioError(Exception):
    """As sounddevice's own."""


class FakeStream:
    """A stream whose callbacks come when the test says so."""

    def __init__(self, card: "FakePortAudio", kind: str, options: dict[str, Any]) -> None:
        self.card = card
        self.kind = kind
        self.options = options
        self.calls: list[str] = []

    @property
    def block(self) -> int:
        return int(self.options["blocksize"])

    def start(self) -> None:
        if self.kind in self.card.broken:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")

    def record(self, samples: Block, status: object = None) -> None:
        self.options["callback"](samples, len(samples), None, status)

    def play(self, status: object = None) -> Block:
        # Not zeros: PortAudio hands over whatever was in the memory.
        out = np.full((self.block, self.options["channels"]), 99, np.int16)
        self.options["callback"](out, self.block, None, status)
        return out


@dataclass
class FakePortAudio:
    """What stands in for the sounddevice module."""

    devices: list[dict[str, Any]]
    default_device: tuple[int, int] = (0, 1)
    refused: Callable[[str, int, int], bool] = lambda kind, rate, channels: False
    broken: set[str] = field(default_factory=set)
    streams: list[FakeStream] = field(default_factory=list)
    initialized: int = 1
    rescans: int = 0
    cannot_initialize: bool = False

    def stream(self, kind: str) -> FakeStream:
        """The last one of this kind that was opened."""
        return [stream for stream in self.streams if stream.kind == kind][-1]

    def check(self, kind: str, device: int, channels: int, dtype: str, samplerate: int) -> None:
        assert dtype == "int16"
        if self.refused(kind, samplerate, channels):
            raise PortAudioError(f"Invalid sample rate {samplerate}")

    def open(self, kind: str, options: dict[str, Any]) -> FakeStream:
        self.streams.append(FakeStream(self, kind, options))
        return self.streams[-1]

    def terminate(self) -> None:
        assert self.initialized == 1
        assert all(stream.calls[-1:] == ["close"] for stream in self.streams)
        self.initialized -= 1

    def initialize(self) -> None:
        self.rescans += 1
        if self.cannot_initialize:
            raise PortAudioError("Unanticipated host error")
        self.initialized += 1

    def module(self) -> ModuleType:
        """It as `import sounddevice` finds it."""
        card = self

        class Module(ModuleType):
            PortAudioError = PortAudioError

            @property
            def _initialized(self) -> int:
                return card.initialized

            @property
            def default(self) -> Any:
                return type("default", (), {"device": card.default_device})

        module: Any = Module("sounddevice")
        module.query_devices = lambda: card.devices
        module.check_input_settings = lambda **options: card.check("input", **options)
        module.check_output_settings = lambda **options: card.check("output", **options)
        module.InputStream = lambda **options: card.open("input", options)
        module.OutputStream = lambda **options: card.open("output", options)
        module._terminate = card.terminate
        module._initialize = card.initialize
        return module  # type: ignore[no-any-return]


def info(name: str, inputs: int = 0, outputs: int = 0, rate: float = 48_000.0) -> dict[str, Any]:
    return {
        "name": name,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    """A webcam's microphone at 16 kHz and headphones at 48 kHz."""
    fake = FakePortAudio([info("Webcam", inputs=1, rate=16_000.0), info("Headphones", outputs=2)])
    monkeypatch.setitem(sys.modules, "sounddevice", fake.module())
    return fake


async def soon(condition: Callable[[], object]) -> None:
    """Wait for what another thread does, without letting a virtual clock run on."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(
    card: FakePortAudio, playout: Playout | None = None, **names: str
) -> AsyncIterator[tuple[FrameInbox, Playout, SoundCard]]:
    """A sound card that records and plays."""
    inbox = FrameInbox()
    sound_card = SoundCard.open(inbox, names.get("input"), names.get("output"))
    playout = playout or Playout(sound_card.rate)
    opened = len(card.streams)
    task = asyncio.create_task(sound_card.run(playout))
    await soon(lambda: len(card.streams) == opened + 2 and card.streams[-1].calls == ["start"])
    try:
        yield inbox, playout, sound_card
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


def ramp(count: int, rate: int = 48_000) -> AudioFrame:
    """Samples that tell where they belong: 1, 2, 3 …"""
    return AudioFrame(np.arange(1, count + 1, dtype=np.int16), rate)


async def say(playout: Playout, frame: AudioFrame) -> None:
    playout.begin()
    await playout.write("Something.", frame)
    playout.complete()


async def blocks(card: FakePortAudio, seconds: float) -> list[Block]:
    """Let both devices call back, every 20 ms; what was played."""
    played = []
    for _ in range(round(seconds * 50)):
        card.stream("input").record(np.ones((card.stream("input").block, 1), np.int16))
        played.append(card.stream("output").play())
        await asyncio.sleep(0.02)
    return played


# Choosing


HEADSET = Device(0, "USB Headset", 1, 2, 48_000)
CAMERA = Device(1, "USB Camera", 2, 0, 32_000)
SPEAKERS = Device(2, "Built-in Audio", 0, 2, 44_100, default_output=True)
SERVER = Device(3, "default", 32, 32, 44_100, default_input=True)
PLUGIN = Device(4, "sysdefault", 32, 32, 44_100)
DEVICES = [HEADSET, CAMERA, SPEAKERS, SERVER, PLUGIN]


@pytest.mark.parametrize(
    ("wanted", "direction", "expected"),
    [
        (None, Direction.INPUT, SERVER),
        ("", Direction.INPUT, SERVER),
        (None, Direction.OUTPUT, SPEAKERS),
        ("cam", Direction.INPUT, CAMERA),
        ("HEADSET", Direction.INPUT, HEADSET),
        ("usb", Direction.OUTPUT, HEADSET),  # the camera can't speak
        ("Default", Direction.INPUT, SERVER),  # the whole name, not a part of "sysdefault"
        ("1", Direction.INPUT, CAMERA),
        ("4", Direction.OUTPUT, PLUGIN),
    ],
)
def test_a_device_is_chosen_by_number_or_name(
    wanted: str | None, direction: Direction, expected: Device
) -> None:
    assert choose(DEVICES, wanted, direction) is expected


@pytest.mark.parametrize(
    ("devices", "wanted", "message"),
    [
        (DEVICES, "usb", '"usb" fits several devices.*--input.*: 0 "USB Headset", 1 "USB Camera"\\.$'),
        (
            DEVICES,
            "jabra",
            'No microphone.*"jabra".*--input.*0 "USB Headset", 1 "USB Camera", 3 "default", 4',
        ),
        (DEVICES, "2", 'No microphone.*"2".*0 "USB Headset"'),  # it is there, but it is no microphone
        ([HEADSET, CAMERA], None, 'no default microphone.*--input.*0 "USB Headset", 1 "USB Camera"'),
        ([SPEAKERS], None, "no microphone on this machine.*localvoice serve"),
        ([], "usb", "no microphone on this machine"),
    ],
)
def test_a_choice_that_is_not_clear_says_what_there_is(
    devices: list[Device], wanted: str | None, message: str
) -> None:
    with pytest.raises(VoiceError, match=message) as caught:
        choose(devices, wanted, Direction.INPUT)
    assert caught.value.code is ErrorCode.AUDIO_PROCESSING_ERROR
    assert caught.value.component is Component.SERVER


def test_a_missing_output_names_its_own_option() -> None:
    with pytest.raises(VoiceError, match='No output device.*"jabra".*--output.*0 "USB Headset", 2'):
        choose(DEVICES, "jabra", Direction.OUTPUT)


def test_devices_are_listed_as_portaudio_has_them(card: FakePortAudio) -> None:
    card.devices.append(info("Monitor", outputs=8, rate=44_100.0))
    assert list_devices() == [
        Device(0, "Webcam", 1, 0, 16_000, default_input=True),
        Device(1, "Headphones", 0, 2, 48_000, default_output=True),
        Device(2, "Monitor", 0, 8, 44_100),
    ]
    assert [device.default for device in list_devices()] == [True, True, False]


class _NoPortAudio(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "sounddevice":
            raise OSError("PortAudio library not found")


@pytest.fixture
def no_portaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_NoPortAudio(), *sys.meta_path])
    yield


@pytest.mark.usefixtures("no_portaudio")
@pytest.mark.parametrize("use", [list_devices, lambda: SoundCard.open(FrameInbox(), None, None)])
async def test_without_portaudio_it_is_said_what_to_install(use: Callable[[], object]) -> None:
    with pytest.raises(
        VoiceError, match="apt install libportaudio2.*dnf install portaudio.*localvoice serve"
    ):
        use()


# Opening


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
    SoundCard.open(FrameInbox(), None, None)
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
        SoundCard.open(FrameInbox(), None, None)


async def test_devices_that_cannot_start_end_the_run_and_leave_nothing_open(card: FakePortAudio) -> None:
    card.broken = {"output"}
    sound_card = SoundCard.open(FrameInbox(), None, None)
    with pytest.raises(VoiceError, match='"Headphones".*Device unavailable'):
        await sound_card.run(Playout(sound_card.rate))
    assert [stream.calls[-2:] for stream in card.streams] == [["stop", "close"]] * 2


async def test_cancelling_stops_the_streams_and_then_closes_them(card: FakePortAudio) -> None:
    async with running(card):
        pass
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


# Trouble


@pytest.mark.virtual_clock
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

    class AtOnce(Executor):
        def __init__(self, *_: object) -> None:
            """It needs no thread."""

        def submit(self, job: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
            done: Future[Any] = Future()
            try:
                done.set_result(job(*args, **options))
            except Exception as error:
                done.set_exception(error)
            return done

    monkeypatch.setattr("localvoice.transports.microphone.ThreadPoolExecutor", AtOnce)


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
        await asyncio.sleep(0.7)
        assert not caplog.messages  # a short pause is nothing yet
        await asyncio.sleep(0.7)
        assert 'no answer from "Headphones" and "Webcam".' in caplog.messages[0]
        assert "Not back yet. There is no microphone" in caplog.messages[1]
        assert card.rescans == 1

        await asyncio.sleep(10.0)
        assert card.rescans == 6  # each 2 s
        assert len(caplog.messages) == 2  # and says so once
        card.devices = [info("HDMI", outputs=8), webcam]
        await asyncio.sleep(2.0)
        assert 'Not back yet. No output device is called or numbered "head"' in caplog.messages[2]

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
        for _ in range(75):
            if alive == "output":
                card.stream("output").play()
            else:
                card.stream("input").record(np.ones((320, 1), np.int16))
            await asyncio.sleep(0.02)
        assert f'The sound stopped: no answer from "{gone}".' in caplog.messages[0]


@pytest.mark.virtual_clock
@pytest.mark.usefixtures("at_once")
async def test_the_default_may_be_another_device_afterwards(
    card: FakePortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    async with running(card):
        await blocks(card, 6.0)
        card.devices, card.default_device = [info("Built-in", inputs=2, outputs=2, rate=44_100.0)], (0, 0)
        await asyncio.sleep(2.0)
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
        await asyncio.sleep(2.0)
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
        await asyncio.sleep(2.0)
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


async def test_cancelling_while_the_devices_open_closes_them(card: FakePortAudio) -> None:
    entered, go_on = threading.Event(), threading.Event()
    open_now = card.open

    def open_slowly(kind: str, options: dict[str, Any]) -> FakeStream:
        entered.set()
        assert go_on.wait(5.0)
        return open_now(kind, options)

    card.open = open_slowly  # type: ignore[method-assign]
    sound_card = SoundCard.open(FrameInbox(), None, None)
    task = asyncio.create_task(sound_card.run(Playout(sound_card.rate)))
    await soon(entered.is_set)
    task.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.wait([task])
    assert [stream.calls for stream in card.streams] == [["start", "stop", "close"]] * 2
