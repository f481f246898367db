"""The real agent, by typed words: its LLM, its tools and all that decides. It has no ears or voice."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console

from localvoice import Hooks, OwnEngines, Settings
from localvoice.audio.frames import AudioFrame
from localvoice.contract.messages import ToolCallEnd, ToolCallStart
from localvoice.engines.types import Transcript, VadStream
from localvoice.startup import ready_agent
from localvoice.transports.dialogue import Answer, Dialogue, dialogue

_RATE: Final = 24_000
_SAMPLES: Final = _RATE // 100


@dataclass(frozen=True)
class Call:
    """A tool that was called, and what it gave."""

    name: str
    arguments: dict[str, Any]
    result: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came of one turn."""

    said: str
    text: str
    """Empty for silence."""
    at: datetime
    """When the user had said it."""
    calls: tuple[Call, ...] = ()
    errors: tuple[str, ...] = ()
    """Codes of what failed."""
    first_ms: float | None = None
    """Until the first piece that can be spoken; None for silence."""
    end_ms: float = 0.0
    """Until all was written."""

    @property
    def words(self) -> int:
        return len(self.text.split())


class _Still:
    """What an engine has that does nothing."""

    name = "still"

    async def warm_up(self) -> None:
        """It is warm."""

    async def close(self) -> None:
        """It holds nothing."""


class _Silence:
    """A microphone's stream in which no one speaks."""

    def stream(self) -> VadStream:
        return self

    def __call__(self, window: npt.NDArray[np.float32]) -> float:
        return 0.0

    def reset(self) -> None:
        """It remembers nothing."""


class _Ear(_Still):
    async def transcribe(self, _speech: AudioFrame) -> Transcript:
        return Transcript("")


class _Tact(_Still):
    async def complete(self, _speech: AudioFrame) -> float:
        return 1.0


class Voice(_Still):
    """Speaks a few silent samples, and notes when it was given the first piece."""

    def __init__(self) -> None:
        self.spoke_at: float | None = None

    async def synthesize(self, _text: str) -> AsyncGenerator[AudioFrame, None]:
        if self.spoke_at is None:
            self.spoke_at = time.monotonic()
        yield AudioFrame(np.zeros(_SAMPLES, np.int16), _RATE)

    def synthesize_at(self, text: str, _pace: float) -> AsyncGenerator[AudioFrame, None]:
        return self.synthesize(text)


class Talker:
    """Holds conversations with one agent."""

    def __init__(
        self, open_dialogue: Callable[[], AbstractAsyncContextManager[Dialogue]], voice: Voice
    ) -> None:
        self._open = open_dialogue
        self._voice = voice

    async def converse(
        self, said: Iterable[str], pause: Callable[[Reply], float] = lambda _: 0.0
    ) -> AsyncIterator[Reply]:
        """A conversation of its own; `pause` gives the seconds after which the user speaks again."""
        async with self._open() as talk:
            seconds = 0.0
            for words in said:
                await asyncio.sleep(seconds)
                reply = await self._say(talk, words)
                seconds = pause(reply)
                yield reply

    async def _say(self, talk: Dialogue, words: str) -> Reply:
        self._voice.spoke_at = None
        at, begun = datetime.now().astimezone(), time.monotonic()
        answer = await talk.say(words)
        ended = time.monotonic()
        first = self._voice.spoke_at
        return Reply(
            words,
            answer.reply.strip(),
            at,
            tuple(_calls(answer)),
            tuple(str(each.code) for each in answer.errors),
            None if first is None else 1000 * (first - begun),
            1000 * (ended - begun),
        )


@asynccontextmanager
async def talker(profile: str) -> AsyncIterator[Talker]:
    """An agent of this profile with its built-in tools and the default prompt, loaded once."""
    voice = Voice()
    engines = OwnEngines(vad=_Silence(), stt=_Ear(), tts=voice, turn=_Tact())
    # These ears and this voice are no one's own: who the agent is, is told as of a whole one.
    settings = Settings.model_validate({"profile": profile, "phrases": {"identity": True}})
    async with ready_agent(settings, Console(stderr=True), Hooks(), engines=engines) as agent:
        yield Talker(lambda: dialogue(agent), voice)


def _calls(answer: Answer) -> list[Call]:
    ends = {each.call_id: each for each in answer.messages if isinstance(each, ToolCallEnd)}
    nothing = ToolCallEnd("", 0.0, error="never ended")
    return [
        Call(each.name, dict(each.arguments), end.result, end.error)
        for each in answer.messages
        if isinstance(each, ToolCallStart)
        for end in [ends.get(each.call_id, nothing)]
    ]
