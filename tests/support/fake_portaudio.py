"""A PortAudio that the test plays, and a sound card that runs on it."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard.card import SoundCard

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
    sound_card = SoundCard(inbox, names.get("input"), names.get("output"))
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
