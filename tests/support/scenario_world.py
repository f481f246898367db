"""A conversation drawn at random, played through a session's outer surface alone, and all that was seen.

Everything that is said has a number, and each reply names the number of the words that it answers.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localvoice import Playbook
from localvoice.application.hooks import Hooks
from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract.messages import ServerMessage, ToolCallEnd
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.session import Session
from localvoice.engines.chat import (
    CALL_NOTHING,
    ChatMessage,
    ReplyItem,
    Sampling,
    ToolCall,
    ToolOffer,
    ToolSpec,
)
from localvoice.engines.types import Transcript
from localvoice.tools import Tool, ToolContext, ToolRegistry
from tests.support.directors import agent_of
from tests.support.fakes import (
    LLM_FAILED,
    STT_FAILED,
    TTS_FAILED,
    FakeLlm,
    FakeStt,
    FakeTts,
    FakeVad,
    fake_engines,
    loud,
    silent,
)

RATE = 16_000
STEP = 0.032
"""Seconds of one frame, in and out."""
NUMBERED = re.compile(r"\bnumber (\d+)\b")
_SPOKEN: Final[Mapping[str, tuple[float | None, float]]] = {
    "speak": (None, 0.6),
    "begin": (None, 0.0),  # and what comes next is said or done while the utterance isn't over
    "pause": (0.3, 0.3),
    "cough": (0.1, 0.6),
}
"""Seconds of voice, as planned where None, and of silence after it."""
LONG = " ".join(f"word{index}" for index in range(60)) + "."


async def _slow(arguments: Any, context: ToolContext) -> str:
    await asyncio.sleep(1.0)
    return "done"


async def _timer(arguments: Any, context: ToolContext) -> str:
    context.announce(2.0, "Your tool is done.")
    return "set"


async def _pay(arguments: Any, context: ToolContext) -> str:
    return "paid"


_NOTHING: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
TOOLS: Final = (
    Tool(ToolSpec("slow", "Takes a second.", _NOTHING), _slow),
    Tool(ToolSpec("timer", "Sets a timer.", _NOTHING), _timer, "sequential"),
    Tool(ToolSpec("pay", "Pays.", _NOTHING), _pay, confirm="Shall I pay it?"),
)


@dataclass(frozen=True)
class Plan:
    """What is drawn for one conversation."""

    actions: tuple[tuple[str, float], ...]
    """What the user does, each with a length in seconds."""
    words: tuple[str, ...]
    """What is understood of their utterances, in turn; `#` stands for a new number."""
    replies: tuple[str, ...]
    """What the LLM does, in turn."""
    voice_fails: tuple[bool, ...]
    """Whether the voice fails at its pieces, in turn."""
    stt_seconds: float = 0.1
    llm_seconds: float = 0.0
    """Before each word."""
    tts_seconds: float = 0.0
    hook_seconds: float = 0.0
    """What each hook and each handler of the playbook takes."""
    save_seconds: float = 0.0
    """What the disk takes."""
    eager: bool = True
    streaming: bool = True
    playbook: Playbook | None = None
    settles: bool = True
    """Whether the session is closed in peace, or in the middle of it."""


@dataclass(frozen=True)
class Event:
    """What was seen, and when."""

    time: float
    kind: str
    """A message's type, or `sound`, `asked`, `paid`, `typed`, or a hook's name."""
    what: Any = None


class NumberedStt(FakeStt):
    """Understands what is planned. What is said gets its number when the transcription begins."""

    def __init__(self, world: "World", words: Sequence[str], delay: float) -> None:
        super().__init__(delay=delay)
        self._world = world
        self._words = itertools.cycle(words)

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        words = self._world.numbered(next(self._words))
        await asyncio.sleep(self.delay)
        if words == "fails":
            raise STT_FAILED
        return Transcript(words)


class AnsweringLlm(FakeLlm):
    """Does what is planned, and says which words it answers."""

    def __init__(self, world: "World", replies: Sequence[str], delay: float) -> None:
        super().__init__(delay=delay)
        self._world = world
        self._replies = itertools.cycle(replies)
        self._calls = itertools.count()

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        if aside:
            kinds = ["intent"] if offer is not None else ["short"]
        else:
            self._world.note("asked", tuple(messages))
            kinds = next(self._replies).split()
        parts = [part for kind in kinds for part in self._parts(kind, messages, offer)]
        self.script = [parts]
        async for item in super().reply(messages, sampling, offer, aside):
            yield item

    def _parts(
        self, kind: str, messages: Sequence[ChatMessage], offer: ToolOffer | None
    ) -> list[str | ToolCall | Exception]:
        asked = next((each.content for each in reversed(messages) if each.role == "user"), "")
        answers = f"This answers {', '.join(f'number {number}' for number in NUMBERED.findall(asked))}"
        tools = () if offer is None or offer.choice == CALL_NOTHING else offer.tools
        offered = {tool.name: tool.parameters["properties"] for tool in tools}
        match kind:
            case "short":
                return [f"{answers}. "]
            case "long":
                return [f"{answers}. {LONG} "]
            case "question":
                return [f"{answers}. Is it you? "]
            case "empty":
                return []
            case "fails":
                return ["Half a ", LLM_FAILED]
            case "intent":
                return [ToolCall("intent", "playbook_intent", {"intent": "leave", "confidence": 100})]
            case tool if tool in offered:
                ways = offered[tool].get("targetStage", {}).get("enum", [])
                arguments = {"targetStage": ways[0], "reason": "it is time"} if ways else {}
                return [ToolCall(f"call-{next(self._calls)}", tool, arguments)]
            case _:
                return [f"{answers}, without a tool. "]


class FailingTts(FakeTts):
    """Fails where that is planned."""

    def __init__(self, fails: Sequence[bool], delay: float) -> None:
        super().__init__(delay=delay)
        self._fails = itertools.cycle(fails)

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        self.script = [TTS_FAILED if next(self._fails) else None]
        async for frame in super().synthesize(text):
            yield frame


class World:
    """A user with a microphone, a keyboard and a loudspeaker, a session, and the notes of what was seen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.events: list[Event] = []
        self._numbers = itertools.count(1)
        self.playout = Playout(RATE)
        self.llm = AnsweringLlm(self, plan.replies, plan.llm_seconds)
        engines = fake_engines(
            NumberedStt(self, plan.words, plan.stt_seconds),
            self.llm,
            FailingTts(plan.voice_fails, plan.tts_seconds),
            FakeVad(),
        )
        settings = Settings.model_validate(
            {
                "agent": {"summarise": False, "streaming_speech": plan.streaming, "history_messages": 200},
                "listening": {"eager": plan.eager},
            }
        )
        hooks = Hooks(
            on_turn_start=self._hook("turn-start"),
            on_turn_end=self._hook("turn-end"),
            on_llm_start=self._hook("llm-start"),
            on_llm_error=self._hook("llm-end"),
            on_llm_end=self._hook("llm-end"),
            on_tts_start=self._hook("piece"),
            on_tool_start=self._hook("tool"),
            on_stage_enter=self._hook("stage"),
            on_transition=lambda _, transition, *ends: self.note("transition", transition),
        )
        self.agent = agent_of(settings, engines, hooks, tools=ToolRegistry(TOOLS), playbook=plan.playbook)
        self.conversations: list[Conversation] = []
        self._resuming: asyncio.Task[None] | None = None
        self.session = Session(self.agent, self._conversation(), self.playout, self._emit, self._save)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def note(self, kind: str, what: Any = None) -> None:
        self.events.append(Event(self.now, kind, what))

    def numbered(self, words: str) -> str:
        return words.replace("#", f"number {next(self._numbers)}") if "#" in words else words

    async def live(self) -> None:
        """The whole plan, and the end of the session."""
        player = asyncio.create_task(self._play())
        for action, seconds in self.plan.actions:
            await self._do(action, seconds)
        await self._resumed()
        if self.plan.settles:
            await self._hear(silent(1.0))
            for _ in range(3):  # what is due afterwards, such as a stage's last word
                await self.session.settle()
                await asyncio.sleep(10.0)
            self.note("settled")
        await self.session.close()
        for conversation in self.conversations:
            conversation.reminders.close()
        player.cancel()
        await asyncio.wait([player])

    async def _do(self, action: str, seconds: float) -> None:
        if action in _SPOKEN:
            voice, silence = _SPOKEN[action]
            await self._hear(loud(seconds if voice is None else voice))
            await self._hear(silent(silence))
        elif action == "wait":
            await asyncio.sleep(seconds)
        elif action == "resume":
            await self._resumed()
            self._resuming = asyncio.create_task(self.session.resume(self._conversation()))
        else:
            self._click(action, seconds)

    async def _resumed(self) -> None:
        """A client asks for one conversation after the other, and speaks meanwhile."""
        if self._resuming is not None:
            await self._resuming

    def _click(self, action: str, seconds: float) -> None:
        match action:
            case "type":
                words = self.numbered("Type #.")
                self.note("typed", words)
                self.session.answer_text(words)
            case "type yes":
                self.session.answer_text("Yes.")
            case "send":
                self.session.answer_utterance(loud(seconds))
            case "forget":
                self.session.forget(everything=seconds > 1)
            case "announce":
                self.conversations[-1].announce("Your timer has run out.")

    async def _hear(self, sound: AudioFrame) -> None:
        step = int(STEP * RATE)
        for at in range(0, len(sound.samples), step):
            self.session.hear(AudioFrame(sound.samples[at : at + step], RATE))
            await asyncio.sleep(STEP)

    async def _play(self) -> None:
        """The loudspeaker. It reads only while there is something to read: silence tells nothing."""
        while True:
            await self.playout.sounding()
            if self.playout.read(int(STEP * RATE)).any():
                self.note("sound")
            await asyncio.sleep(STEP)

    def _hook(self, kind: str) -> Callable[..., Awaitable[None]]:
        async def noted(context: Any, *_: object) -> None:
            self.note(kind, getattr(context, "turn_id", None))
            if self.plan.hook_seconds:
                await asyncio.sleep(self.plan.hook_seconds)

        return noted

    async def _save(self, conversation: Conversation) -> bool:
        await asyncio.sleep(self.plan.save_seconds)
        return True

    def _emit(self, message: ServerMessage) -> None:
        self.note(message.type, message)
        if isinstance(message, ToolCallEnd) and message.result == "paid":
            words = [each for each in self.conversations[-1].history.messages if each.role == "user"]
            self.note("paid", words[-1].content if words else "")

    def _conversation(self) -> Conversation:
        name = f"conversation-{len(self.conversations)}"
        self.conversations.append(Conversation(name, self.agent.direct(name)))
        return self.conversations[-1]
