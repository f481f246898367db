"""Every stage of a turn, each as long as a test needs it: engines that do what they are told in words.

What the user says is a stage's name and a number, as in "tool 7"; in that stage the turn then stays.
"""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Final

from localvoice.audio.frames import AudioFrame
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.types import Engines, Transcript
from localvoice.tools import ToolRegistry, tool
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, fake_engines, loud, silent, until
from tests.support.server_site import Client

FOR_EVER: Final = 60.0
"""Seconds: longer than any test waits."""
GROUPS: Final[dict[str, dict[str, Any]]] = {
    "limits": {
        "messages_per_second": 10**6,
        "message_burst": 10**9,
        "turns_per_minute": 10**9,
        "sessions_per_minute": 10**6,
        "conversations": 10**3,  # a killed client's place is kept for 15 s, should it come back
    },
    "listening": {"partial_ms": 0},
    "agent": {"history_messages": 1000, "summarise": False},
}


class Work:
    """What the engines and tools are doing, and when they were last at it; the event loop's time."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.ended = 0.0

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        self.under_way.append(what)
        try:
            yield
        finally:
            self.under_way.remove(what)
            self.ended = asyncio.get_running_loop().time()


class StagedStt(FakeStt):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work
        self.words = "check 0"
        self.known: list[str] = []
        """What it has understood, where somebody waited for it."""

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        words = self.words
        with self._work.on("stt"):
            await asyncio.sleep(FOR_EVER if "transcribing" in words else 0.0)
        self.known.append(words)
        return Transcript(words)


class StagedLlm(FakeLlm):
    context_tokens = 10**9

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        with self._work.on("reading"):
            await asyncio.sleep(FOR_EVER if "between" in messages[-1].content else 0.0)

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        self.asked.append(list(messages))
        asked = re.findall(r"(\w+) (\d+)\.", messages[-1].content)
        stage, number = asked[-1] if asked else ("check", "0")
        with self._work.on("llm"):
            await asyncio.sleep(FOR_EVER if stage in ("thinking", "draft") else 0.0)
            if stage == "tool":
                yield ToolCall(f"call-{number}", "work", {"number": int(number)})
                return
            async with aclosing(self._write(stage, number)) as words:
                async for word in words:
                    yield word

    async def _write(self, stage: str, number: str) -> AsyncGenerator[str, None]:
        for word in reply_to(stage, number).split(" "):
            await asyncio.sleep(0.05 if stage == "writing" else 0.0)
            yield f"{word} "


class StagedTts(FakeTts):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        with self._work.on("tts"):
            await asyncio.sleep(FOR_EVER if "voicing" in text else 0.0)
            async with aclosing(super().synthesize(text)) as frames:
                async for frame in frames:
                    yield frame


class Cast:
    """Engines and a tool, and what they do."""

    def __init__(self) -> None:
        self.work = Work()
        self.stt, self.llm, self.tts = StagedStt(self.work), StagedLlm(self.work), StagedTts(self.work)
        self.runs: list[int] = []
        """The tool's arguments, once for each time that it ran."""

        @tool(name="work")
        async def work(number: int) -> str:
            """Do something that must not be done twice."""
            self.runs.append(number)
            with self.work.on("tool"):
                await asyncio.sleep(FOR_EVER)
            return "done"

        self.tools = ToolRegistry([work])

    def hears(self, words: str) -> None:
        """This is what the STT will understand."""
        self.stt.words = words

    async def at_work(self, what: str) -> None:
        """Wait until an engine or the tool is under way."""
        await until(lambda: what in self.work.under_way)

    @property
    def engines(self) -> Engines:
        return fake_engines(self.stt, self.llm, self.tts)


def reply_to(stage: str, number: str) -> str:
    """What the LLM answers."""
    return f"Reply to {stage} {number}" + (" and so on" * 60 if stage in ("writing", "playing") else "") + "."


async def speak(client: Client, *sounds: AudioFrame) -> None:
    """Send sound in pieces of 20 ms, sooner than it would be spoken."""
    for sound in sounds:
        for start in range(0, len(sound.samples), 320):
            data = base64.b64encode(sound.samples[start : start + 320].astype("<i2").tobytes()).decode()
            await client.send("audio-chunk", data=data, sampleRate=16_000)


async def _type(client: Client, stage: str, number: int) -> None:
    await client.send("text", text=f"{stage} {number}.")


async def _idle(client: Client, cast: Cast, number: int) -> None:
    await client.sync()


async def _speaking(client: Client, cast: Cast, number: int) -> None:
    await speak(client, loud(0.3))
    await client.expect("speech-start")


async def _transcribing(client: Client, cast: Cast, number: int) -> None:
    cast.hears(f"transcribing {number}.")
    await speak(client, loud(0.4), silent(0.7))
    await client.expect("speech-end")


async def _draft(client: Client, cast: Cast, number: int) -> None:
    cast.hears(f"draft {number}.")
    await speak(client, loud(0.4), silent(0.1))
    await cast.at_work("llm")


async def _thinking(client: Client, cast: Cast, number: int) -> None:
    await _type(client, "thinking", number)
    await cast.at_work("llm")


async def _writing(client: Client, cast: Cast, number: int) -> None:
    await _type(client, "writing", number)
    await client.expect("llm-chunk")


async def _tool(client: Client, cast: Cast, number: int) -> None:
    await _type(client, "tool", number)
    await client.expect("tool-call-start")
    await cast.at_work("tool")


async def _voicing(client: Client, cast: Cast, number: int) -> None:
    await _type(client, "voicing", number)
    await cast.at_work("tts")


async def _playing(client: Client, cast: Cast, number: int) -> None:
    await _type(client, "playing", number)
    await client.expect("tts-chunk")
    await asyncio.sleep(0.1)


async def _held(client: Client, cast: Cast, number: int) -> None:
    await _playing(client, cast, number)
    await speak(client, loud(0.2))
    await client.expect("speech-start")


async def _between(client: Client, cast: Cast, number: int) -> None:
    await _type(client, "between", number)
    await client.expect("tts-complete")
    await cast.at_work("reading")


STAGES: Final[dict[str, Callable[[Client, Cast, int], Awaitable[None]]]] = {
    "idle": _idle,
    "speaking": _speaking,
    "transcribing": _transcribing,
    "draft": _draft,
    "thinking": _thinking,
    "writing": _writing,
    "tool": _tool,
    "voicing": _voicing,
    "playing": _playing,
    "held": _held,
    "between": _between,
}
"""What brings a client's turn into each stage."""
