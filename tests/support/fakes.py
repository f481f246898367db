"""Engines without models: scripted, instant unless told otherwise, and recording what they were given."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Prompt, ReplyItem, Sampling, ToolOffer
from localvoice.engines.types import Engines, Transcript

VOICE_RATE = 22_050
WORD_SECONDS = 0.06
"""What the fake voice takes for one word."""

STT_FAILED = VoiceError(ErrorCode.STT_ERROR, Component.STT, "The ears failed.")
LLM_FAILED = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "The mind failed.")
TTS_FAILED = VoiceError(ErrorCode.TTS_ERROR, Component.TTS, "The voice failed.")
TURN_FAILED = VoiceError(ErrorCode.VAD_ERROR, Component.VAD, "The tact failed.")
VAD_FAILED = VoiceError(ErrorCode.VAD_ERROR, Component.VAD, "The attention failed.")


def loud(seconds: float, rate: int = SPEECH_RATE) -> AudioFrame:
    """What the fake VAD takes for speech: a tone at -15 dBFS."""
    times = np.arange(round(seconds * rate)) / rate
    return AudioFrame((8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16), rate)


def silent(seconds: float, rate: int = SPEECH_RATE) -> AudioFrame:
    """Digital silence."""
    return AudioFrame(np.zeros(round(seconds * rate), np.int16), rate)


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    """Wait until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it knows nothing of us
            await asyncio.sleep(0.005)


class FakeVad:
    """Hears speech wherever there is sound."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def stream(self) -> "FakeVad":
        return self

    def __call__(self, window: npt.NDArray[np.float32]) -> float:
        assert window.shape == (512,) and window.dtype == np.float32
        if self.error is not None:
            raise self.error
        return 0.95 if float(np.sqrt(np.mean(np.square(window)))) > 0.02 else 0.02

    def reset(self) -> None:
        """It remembers nothing."""


class _FakeEngine:
    async def warm_up(self) -> None:
        """It is warm."""

    async def close(self) -> None:
        """It holds nothing."""


class FakeStt(_FakeEngine):
    """Hears the script, an item for each utterance that it is let finish, and then "hello there"."""

    name = "fake-ears"

    def __init__(self, *script: str | Exception, delay: float = 0.0) -> None:
        self.script = list(script)
        self.delay = delay
        self.heard: list[AudioFrame] = []
        """What it was given, also where the answer was not waited for."""
        self.cancelled = 0

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        self.heard.append(speech)
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        said = self.script.pop(0) if self.script else "hello there"
        if isinstance(said, Exception):
            raise said
        return Transcript(said)


class FakeTurn(_FakeEngine):
    """Thinks of each pause what the script says, and then that the turn is complete."""

    name = "fake-tact"

    def __init__(self, *script: float | Exception, delay: float = 0.05) -> None:
        self.script = list(script)
        self.delay = delay
        self.heard: list[AudioFrame] = []

    async def complete(self, speech: AudioFrame) -> float:
        self.heard.append(speech)
        thought = self.script.pop(0) if self.script else 0.99
        await asyncio.sleep(self.delay)
        if isinstance(thought, Exception):
            raise thought
        return thought


class FakeLlm(_FakeEngine):
    """Writes the script word by word: an item a reply, in which it may fail, call or be cut off."""

    name = "fake-mind"
    context_tokens = 4096

    sees = False

    def __init__(self, *script: str | Sequence[ReplyItem | Exception], delay: float = 0.0) -> None:
        self.script = list(script)
        self.delay = delay
        """Seconds before each word."""
        self.asked: list[list[ChatMessage]] = []
        self.offers: list[ToolOffer | None] = []
        """The tools that came with each."""
        self.asides: list[bool] = []
        """Whether each was aside."""
        self.prepared: list[list[ChatMessage]] = []
        """What it was given to read ahead."""
        self.running = 0
        """Replies that are being written now."""
        self.closed = 0
        """Replies that were closed before their end."""
        self.forgets = 0
        """How often it was told to forget."""

    async def forget(self) -> None:
        self.forgets += 1

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        self.prepared.append(list(messages))

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        return Prompt(messages, offer, self.prompt_tokens(messages, offer))

    def prompt_tokens(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> int:
        """What a prompt of these counts as."""
        return sum(8 + len(message.content.split()) for message in messages)

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        self.asked.append(list(messages))
        self.offers.append(offer)
        self.asides.append(aside)
        reply = self.script.pop(0) if self.script else "I am fine."
        self.running += 1
        finished = False
        try:
            for part in [reply] if isinstance(reply, str) else reply:
                if isinstance(part, Exception):
                    finished = True
                    raise part
                if not isinstance(part, str):
                    await asyncio.sleep(self.delay)
                    yield part
                    continue
                for word in re.findall(r"\s*\S+", part):
                    await asyncio.sleep(self.delay)
                    yield word
            finished = True
        finally:
            self.running -= 1
            self.closed += not finished


class FakeTts(_FakeEngine):
    """Says a tone of 60 ms for each word; fails where the script holds an exception."""

    name = "fake-voice"

    def __init__(self, *script: Exception | None, delay: float = 0.0) -> None:
        self.script = list(script)
        self.delay = delay
        self.said: list[str] = []

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        self.said.append(text)
        await asyncio.sleep(self.delay)
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        words = len(re.findall(r"\w+", text))
        if words:
            yield loud(WORD_SECONDS * words, VOICE_RATE)


def fake_engines(
    stt: FakeStt | None = None,
    llm: FakeLlm | None = None,
    tts: FakeTts | None = None,
    vad: FakeVad | None = None,
    turn: FakeTurn | None = None,
) -> Engines:
    """A whole set, in which what isn't given is the plain fake."""
    return Engines(vad or FakeVad(), stt or FakeStt(), llm or FakeLlm(), tts or FakeTts(), turn)
