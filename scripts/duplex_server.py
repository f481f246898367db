"""A server with scripted engines that watches itself, for `duplex.py`.

Prints its address, then, for each line on its standard input, what it has seen since the last one.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from bench_figures import percentile

from localvoice.config import Settings
from localvoice.conversation.agent import Agent
from localvoice.engines.types import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.server.app import VoiceServer
from tests.support.fakes import FakeLlm, FakeVad, fake_engines

SENTENCE: Final = "This is one of the sentences of a rather long story, which goes on and on. "
SENTENCES: Final = 60
"""A minute of sound."""
WRITING_SECONDS: Final = 0.1
"""For a sentence."""
TICK_SECONDS: Final = 0.005


class CountingVad(FakeVad):
    """Counts the windows of each stream: what a session has really consumed of its user's sound."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = 0
        self.streams: list[CountingVad] = []

    def stream(self) -> "CountingVad":
        """A fresh one with a count of its own."""
        self.streams.append(CountingVad())
        return self.streams[-1]

    def __call__(self, window: npt.NDArray[np.float32]) -> float:
        """As the plain fake."""
        self.windows += 1
        return super().__call__(window)


class Storyteller(FakeLlm):
    """Writes a sentence at a time: about as many messages a second as a real one makes."""

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        """A story."""
        for _ in range(SENTENCES):
            await asyncio.sleep(WRITING_SECONDS)
            yield SENTENCE


class Lag:
    """How late the event loop is, asked two hundred times a second."""

    def __init__(self) -> None:
        self._late: list[float] = []

    async def watch(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._late.append(1000 * (loop.time() - due))

    def take(self) -> dict[str, float]:
        """Milliseconds since the last time this was asked."""
        late, self._late = self._late, []
        return {"p50": percentile(late, 50), "p99": percentile(late, 99), "max": max(late)}


async def serve() -> None:
    """Until the standard input ends."""
    vad, lag = CountingVad(), Lag()
    settings = Settings.model_validate({"server": {"port": 0}, "agent": {"summarise": False, "tools": False}})
    agent = Agent(settings, fake_engines(vad=vad, llm=Storyteller()))
    watching = asyncio.create_task(lag.watch())
    async with VoiceServer(agent).running() as address:
        print(address, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            seen: dict[str, Any] = {
                "time": time.monotonic(),
                "cpu": time.process_time(),
                "windows": [stream.windows for stream in vad.streams],
                "lag": lag.take(),
            }
            print(json.dumps(seen), flush=True)
    watching.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
