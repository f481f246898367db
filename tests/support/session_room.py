"""A session with a user before it, on a virtual clock.

Sound flows in and out in steps of 20 ms, and a delay is exact.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from localvoice import Playbook
from localvoice.application.hooks import Hooks
from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract.messages import ErrorMessage, ServerMessage, StateMessage
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.session import Session
from localvoice.observability.adapters import InMemoryMetrics
from localvoice.observability.stopwatch import now as now
from localvoice.tools import Tool, ToolRegistry
from tests.support.directors import agent_of
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, FakeTurn, FakeVad, fake_engines, loud, silent

RATE = 16_000
STEP = 0.02
ONSET, PAUSE, END = 0.064, 0.032, 0.512
"""Seconds, from the default settings."""
LONG = "This is a rather long reply, and it has many words. They go on. " * 5


class Room:
    """A user with a microphone and a loudspeaker, and the session between them."""

    def __init__(
        self,
        stt: FakeStt,
        llm: FakeLlm,
        tts: FakeTts,
        vad: FakeVad,
        turn: FakeTurn | None,
        settings: Settings,
        save: Callable[[Conversation], Awaitable[bool]] | None = None,
        **brought: Any,
    ) -> None:
        self.stt, self.llm, self.tts, self.vad = stt, llm, tts, vad
        self.messages: list[ServerMessage] = []
        self.times: list[float] = []
        self.played: list[tuple[float, bool]] = []
        self.playout = Playout(RATE)
        self.metrics = InMemoryMetrics()
        engines = fake_engines(stt, llm, tts, vad, turn)
        self.agent = agent_of(settings, engines, metrics=self.metrics, **brought)
        self.conversation = Conversation("test", self.agent.direct("test"))
        self.session = Session(self.agent, self.conversation, self.playout, self._emit, save)

    def _emit(self, message: ServerMessage) -> None:
        self.messages.append(message)
        self.times.append(now())

    async def play(self) -> None:
        """The loudspeaker: reads for ever, in real time."""
        while True:
            self.played.append((now(), bool(self.playout.read(int(STEP * RATE)).any())))
            await asyncio.sleep(STEP)

    async def user(self, sound: AudioFrame) -> None:
        """Sound at the microphone, in real time."""
        step = int(STEP * RATE)
        for at in range(0, len(sound.samples), step):
            self.session.hear(AudioFrame(sound.samples[at : at + step], RATE))
            await asyncio.sleep(STEP)

    async def says(self, seconds: float = 0.6) -> None:
        """An utterance, with the silence that ends it."""
        await self.user(loud(seconds))
        await self.user(silent(END + 0.05))

    async def until(self, kind: str) -> None:
        """Wait for a message of this type."""
        async with asyncio.timeout(60):
            while kind not in self.kinds():  # noqa: ASYNC110 - time jumps
                await asyncio.sleep(STEP / 4)

    def kinds(self, *left_out: str) -> list[str]:
        return [message.type for message in self.messages if message.type not in left_out]

    def told(self) -> list[str]:
        """The stock client's messages in order, each run of chunks as one."""
        kinds = self.kinds("state", "turn-metrics", "reply-heard")
        return [kind for at, kind in enumerate(kinds) if kind != "llm-chunk" or kinds[at - 1] != kind]

    def states(self) -> list[str]:
        return [message.state for message in self.messages if isinstance(message, StateMessage)]

    def all(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def said(self) -> list[tuple[str, str]]:
        return [(message.role, message.content) for message in self.conversation.history.messages]

    def time_of(self, kind: str) -> float:
        return self.times[self.kinds().index(kind)]


def codes(r: Room) -> list[str]:
    return [message.code for message in r.all(ErrorMessage)]


@pytest.fixture
async def room() -> AsyncIterator[Callable[..., Room]]:
    rooms: list[tuple[Room, asyncio.Task[None]]] = []

    def make(
        stt: FakeStt | None = None,
        llm: FakeLlm | None = None,
        tts: FakeTts | None = None,
        vad: FakeVad | None = None,
        turn: FakeTurn | None = None,
        hooks: Hooks | None = None,
        tools: Iterable[Tool] = (),
        playbook: Playbook | None = None,
        save: Callable[[Conversation], Awaitable[bool]] | None = None,
        delete_recordings: Callable[[str], Awaitable[bool]] | None = None,
        **settings: Any,
    ) -> Room:
        made = Room(
            stt or FakeStt(),
            llm or FakeLlm(),
            tts or FakeTts(),
            vad or FakeVad(),
            turn,
            # A scripted LLM would give its lines to the summary.
            Settings(**settings | {"agent": {"summarise": False, **settings.get("agent", {})}}),
            hooks=hooks or Hooks(),
            tools=ToolRegistry(tools),
            playbook=playbook,
            save=save,
            delete_recordings=delete_recordings,
        )
        rooms.append((made, asyncio.create_task(made.play())))
        return made

    yield make
    for made, player in rooms:
        await made.session.close()
        made.conversation.reminders.close()
        player.cancel()
        assert not made.llm.running, "no reply goes on being written when nobody waits for it"


Rooms = Callable[..., Room]
