"""Language models that work, fail or hang by a script, and fallbacks that take their time to load."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines import fallback
from localvoice.engines.chat import ChatMessage, Prompt, ReplyItem, Sampling, ToolOffer, ToolSpec
from localvoice.engines.fallback import LlmSource, RetryPolicy
from localvoice.engines.types import Llm
from localvoice.observability.stopwatch import now as now

QUESTION = [ChatMessage("user", "How are you?")]
OFFER = ToolOffer((ToolSpec("clock", "Tells the time.", {"type": "object"}),))
PATIENCE = RetryPolicy()
FAILED = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "The mind failed.")
FINE = ("I ", "am ", "fine.")
HANGS = 1e6
"""In a script: seconds that nobody waits."""
Script = Sequence[str | float | VoiceError]


class Mind:
    """Writes the script, an item a reply and then the last again: words, pauses in seconds, failures."""

    sees = False

    def __init__(self, *script: Script, name: str = "big", context_tokens: int = 4096) -> None:
        self.script = list(script)
        self.name = name
        self.context_tokens = context_tokens
        self.asked: list[tuple[float, Any]] = []
        """When, and with which offer."""
        self.running = self.forgets = self.warmed = self.closed = self.prepared = 0

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        self.asked.append((now(), offer))
        script = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.running += 1
        try:
            for part in script:
                if isinstance(part, VoiceError):
                    raise part
                if isinstance(part, str):
                    yield part
                else:
                    await asyncio.sleep(part)
        finally:
            self.running -= 1

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        self.prepared += 1
        if isinstance(part := self.script[0][0], VoiceError):
            raise part

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        return Prompt(messages, offer, len(messages) + len(self.name))

    async def forget(self) -> None:
        self.forgets += 1

    async def warm_up(self) -> None:
        self.warmed += 1

    async def close(self) -> None:
        self.closed += 1

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.asked]


class Spare:
    """A fallback that takes so many seconds to load; an exception in the script is a failed loading."""

    def __init__(self, *script: Mind | Exception, seconds: float = 5.0) -> None:
        self.script = list(script)
        self.seconds = seconds
        self.loading = self.loaded = self.cancelled = 0
        self.source = LlmSource("small", self.load)

    async def load(self) -> Llm:
        self.loading += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        result = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(result, Exception):
            raise result
        self.loaded += 1
        return result


class Told:
    """What was logged of switches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.switches: list[tuple[str, str, str]] = []
        monkeypatch.setattr(fallback, "log_switch", self)

    def __call__(self, failed: str, successor: str, error: Exception) -> None:
        self.switches.append((failed, successor, str(error)))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def small(*script: Script) -> Mind:
    return Mind(*(script or [FINE]), name="small", context_tokens=2048)


async def ask(llm: Llm, seen: list[ReplyItem] | None = None) -> str:
    items = seen if seen is not None else []
    async with aclosing(llm.reply(QUESTION, Sampling(), OFFER)) as reply:
        async for item in reply:
            items.append(item)
    return "".join(map(str, items))


async def cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
