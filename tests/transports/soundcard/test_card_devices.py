"""The sound card through the real PortAudio, on a PulseAudio of the test's own that needs no hardware.

ALSA's pulse plugin makes devices of its null sinks, and a null sink keeps real time. What is played into the
sink "mic" is what the microphone hears; what is said is recorded from the headphones' monitor.
"""

import asyncio
import contextlib
import io
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.audio.playout import Playout
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.config import Settings
from localvoice.contract.errors import VoiceError
from localvoice.conversation.agent import Agent
from localvoice.process.talk import talk_on_sound_card
from localvoice.setting_sources import load_settings
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard.card import SoundCard
from localvoice.transports.soundcard.devices import list_devices
from tests.support.fakes import WORD_SECONDS, fake_engines
from tests.support.folders import SPEECH
from tests.support.pulse_server import SoundServer
from tests.support.pulse_server import server as server

pytestmark = pytest.mark.integration

HELLO: Final = SPEECH / "hello_world.wav"


def speech() -> AudioFrame:
    """A person speaking where there is such a clip, and otherwise noise in the rhythm of syllables."""
    if HELLO.exists():
        return read_wav(HELLO).resampled(SPEECH_RATE)
    times = np.arange(2 * SPEECH_RATE) / SPEECH_RATE
    noise = np.random.default_rng(7).normal(0, 4000, len(times)) * np.sin(2 * np.pi * 2 * times) ** 2
    return AudioFrame(noise.clip(-32768, 32767).astype(np.int16), SPEECH_RATE)


def tone(seconds: float, rate: int) -> AudioFrame:
    times = np.arange(round(seconds * rate)) / rate
    return AudioFrame((8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16), rate)


def likeness(original: AudioFrame, recorded: AudioFrame) -> float:
    """How well pieces of one are found in the other: 1 is the same, 0.3 may be any other speech.

    Piece by piece, because a busy machine may lose a block, and what follows is then late.
    """
    found = recorded.resampled(SPEECH_RATE).as_float()
    pieces = np.array_split(original.resampled(SPEECH_RATE).as_float(), round(original.seconds / 0.2))
    return float(np.median([_best_match(piece, found) for piece in pieces]))


def _best_match(piece: npt.NDArray[np.float32], sound: npt.NDArray[np.float32]) -> float:
    products = np.correlate(sound, piece)
    energies = np.convolve(np.square(sound), np.ones(len(piece), np.float32), "valid")
    return float(np.max(products / np.sqrt(np.square(piece).sum() * energies + 1e-6)))


@contextlib.asynccontextmanager
async def running(sound_card: SoundCard, playout: Playout) -> AsyncIterator[None]:
    task = asyncio.create_task(sound_card.run(playout))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def play_into_microphone(server: SoundServer, sound: AudioFrame) -> None:
    """A person speaks, in real time."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(wav_bytes(sound))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            "pacat", "--playback", "--file-format=wav", "--device=mic", file.name, env=server.environment
        )
        assert await process.wait() == 0


@contextlib.asynccontextmanager
async def recording(server: SoundServer, sides: list[AudioFrame]) -> AsyncIterator[None]:
    """Record what the headphones play; afterwards, `sides` holds the left one and the right one."""
    options = ("--raw", "--format=s16le", "--rate=48000", "--channels=2", "--latency-msec=20")
    with tempfile.TemporaryFile() as file:
        process = await asyncio.create_subprocess_exec(
            *("pacat", "--record", "--device=phones.monitor", *options), env=server.environment, stdout=file
        )
        await until(lambda: os.fstat(file.fileno()).st_size > 0, 10)
        yield
        process.terminate()
        await process.wait()
        file.seek(0)
        both = file.read()
    stereo = np.frombuffer(both[: len(both) // 4 * 4], "<i2").reshape(-1, 2)
    sides.extend(AudioFrame(side, 48_000) for side in stereo.T.copy())


async def collect(inbox: FrameInbox, frames: list[AudioFrame]) -> None:
    async for frame in inbox:
        frames.append(frame)


def test_portaudio_lists_the_devices(server: SoundServer) -> None:
    devices = {device.name: device for device in list_devices()}
    assert set(devices) == {
        "localvoice_microphone",
        "localvoice_headphones",
        "localvoice_loopback",
        "default",
    }
    assert devices["default"].default and not devices["localvoice_microphone"].default
    with pytest.raises(VoiceError, match='"localvoice" fits several devices'):
        SoundCard(FrameInbox(), "localvoice", None)


async def test_what_is_spoken_arrives_as_frames(server: SoundServer) -> None:
    inbox, frames = FrameInbox(), list[AudioFrame]()
    sound_card = SoundCard(inbox, "Microphone", "headphones")
    said = speech()
    collector = asyncio.create_task(collect(inbox, frames))
    async with running(sound_card, Playout(sound_card.rate)):
        await play_into_microphone(server, said)
        await asyncio.sleep(0.3)
    inbox.end()
    await collector
    assert {len(frame.samples) * 50 for frame in frames} == {frames[0].rate}  # 20 ms each
    assert likeness(said, concatenate(frames)) > 0.95


async def test_what_is_said_is_heard_in_the_headphones(server: SoundServer) -> None:
    sound_card = SoundCard(FrameInbox(), "microphone", "headphones")
    playout, sides = Playout(sound_card.rate), list[AudioFrame]()
    said = speech()
    async with recording(server, sides), running(sound_card, playout):
        await asyncio.sleep(0.2)
        playout.begin()
        await playout.write("Hello.", said)
        playout.complete()
        await playout.finished()
        await asyncio.sleep(0.5)
    left, right = sides
    assert np.array_equal(left.samples, right.samples)
    assert likeness(said, left) > 0.95
    assert not left.samples[-4_800:].any()  # and then it is silent


async def test_barge_in_is_silent_at_once(
    server: SoundServer, own_time: Callable[[], Callable[[], float]]
) -> None:
    """Through the headphones and back through a microphone that hears them: both delays count."""
    inbox = FrameInbox()
    sound_card = SoundCard(inbox, "loopback", "headphones")
    playout = Playout(sound_card.rate)
    async with running(sound_card, playout), asyncio.timeout(20):
        playout.begin()
        await playout.write("A long reply.", tone(6.0, sound_card.rate))
        frames = aiter(inbox)
        while (await anext(frames)).rms_dbfs < -30:
            pass
        for _ in range(25):
            await anext(frames)  # until it flows
        spent = own_time()
        playout.stop()
        while (await anext(frames)).rms_dbfs > -60:
            pass
        took = spent()
    assert took < 0.5, f"silent only after {1000 * took:.0f} ms"


async def test_a_sound_server_that_dies_is_waited_for(
    server: SoundServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    inbox, frames = FrameInbox(), list[AudioFrame]()
    sound_card = SoundCard(inbox, "microphone", "headphones")
    collector = asyncio.create_task(collect(inbox, frames))
    async with running(sound_card, Playout(sound_card.rate)):
        await until(lambda: len(frames) > 10, 10)
        server.kill()
        await until(lambda: "The sound stopped" in caplog.text, 10)
        await until(lambda: "Not back yet" in caplog.text, 10)
        await asyncio.to_thread(server.start)
        await until(lambda: "The sound is back" in caplog.text, 10)
        before = len(frames)
        said = speech()
        await play_into_microphone(server, said)
        await asyncio.sleep(0.3)
    inbox.end()
    await collector
    assert likeness(said, concatenate(frames[before:])) > 0.95


async def test_talk_is_a_conversation_through_the_sound_card(
    server: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def no_models(settings: Settings, console: Console) -> AsyncIterator[Agent]:
        yield Agent(settings, fake_engines())

    monkeypatch.setattr("localvoice.process.talk.ready_agent", no_models)
    settings = load_settings(microphone={"input": "microphone", "output": "headphones"})
    terminal, sides = io.StringIO(), list[AudioFrame]()
    async with recording(server, sides):
        talking = asyncio.create_task(talk_on_sound_card(settings, Console(file=terminal)))
        await until(lambda: "Talk." in terminal.getvalue(), 10)
        await play_into_microphone(server, tone(1.0, SPEECH_RATE))
        await until(lambda: "from your last word" in terminal.getvalue(), 10)
        await asyncio.sleep(0.7)
        talking.cancel()
        await asyncio.wait([talking])
    assert "you  hello there" in terminal.getvalue()
    assert "agent  I am fine." in terminal.getvalue()
    spoken = np.count_nonzero(np.abs(sides[0].samples, dtype=np.int32) > 100) / 48_000
    assert 0.7 < spoken / (3 * WORD_SECONDS) < 1.3


async def until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)
