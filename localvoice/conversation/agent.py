"""An agent: what all conversations of a process share, and what leads each of them.

A plain agent has one prompt and the same tools for ever. A playbook moves from stage to stage. The turn knows
neither: it asks its `Director`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Protocol

from localvoice.application.hooks import Hooks, ToolResult
from localvoice.config import AgentSettings, Settings
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metrics, NoMetrics
from localvoice.conversation.phrases.answers import Facts
from localvoice.conversation.phrases.danger import Question, danger_question
from localvoice.conversation.phrases.understanding import Understanding
from localvoice.engines.chat import (
    CALL_NOTHING,
    CHOOSE_FREELY,
    OPENING,
    ChatMessage,
    Prompt,
    Sampling,
    ToolCall,
    ToolOffer,
)
from localvoice.engines.types import Engines
from localvoice.languages import DEFAULT
from localvoice.languages.templates import PLAIN, Templates, Usage
from localvoice.tools import Tool, ToolRegistry


@dataclass(frozen=True)
class Brief:
    """What the LLM is told and may do in its next pass."""

    system_prompt: str
    tools: tuple[Tool, ...]
    tool_choice: str  # `auto`, `none`, `required` or the name of a tool
    sampling: Sampling
    examples: tuple[tuple[str, str], ...] = ()  # what the user may say, and a good answer

    def opening(self, talks: bool) -> list[ChatMessage]:
        """What each prompt begins with; examples are for prompts on which the LLM only talks."""
        shown = self.examples if talks else ()
        pairs = ((ChatMessage("user", said), ChatMessage("assistant", answer)) for said, answer in shown)
        return [ChatMessage("system", self.system_prompt), *chain.from_iterable(pairs)]

    def offer(self, calls_left: bool = True) -> ToolOffer | None:
        """The tools as the LLM gets them; None without any. It must talk when it has no calls left."""
        if not self.tools:
            return None
        return ToolOffer(
            tuple(tool.spec for tool in self.tools), self.tool_choice if calls_left else CALL_NOTHING
        )

    @property
    def is_gated(self) -> bool:
        """Whether the LLM is told of the tools only after one of their cues, on a prompt of its own."""
        free = self.tool_choice == CHOOSE_FREELY
        return free and bool(self.tools) and all(tool.cues for tool in self.tools)

    def cued(self, words: str) -> tuple[str, ...]:
        """Names of the tools of which a cue is in these words."""
        return tuple(tool.name for tool in self.tools if _cues(tool.cues, tool.usage or PLAIN).fit(words))

    def following(self, name: str) -> tuple[str, ...]:
        """Names of the tools that what is said after a call of this one may be about."""
        return tuple(tool.name for tool in self.tools if name in (tool.name, *tool.follows))


@lru_cache(maxsize=256)
def _cues(cues: tuple[str, ...], usage: Usage) -> Templates:
    return Templates((f"* {cue} *" for cue in cues), usage)


@dataclass(frozen=True)
class Exchange:
    """What has been said and done in a turn so far."""

    turn_id: str
    words: str  # what the user said
    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]
    reply: str  # what the LLM answered; empty while it has not yet
    messages: tuple[ChatMessage, ...]  # the conversation, without a system prompt
    user_speaks: bool = False  # whether the user speaks over the answer, or has cut it short


@dataclass(frozen=True)
class StageChange:
    """The conversation has moved on; the director has done so already, this is to be told and spoken."""

    from_stage: str
    to_stage: str
    reason: str  # for the `stage-change` message
    say: str | None = None  # a sentence to speak at the change
    clear_history: bool = False  # whether what was said before is to be forgotten


class Director(Protocol):
    """Leads one conversation. Each method is awaited by the turn that runs, one at a time."""

    def brief(self) -> Brief:
        """What the LLM is told and may do now."""
        ...

    async def begin(self) -> None:
        """A turn begins. The first one enters the initial stage."""
        ...

    async def after_calls(self, exchange: Exchange) -> StageChange | None:
        """All tool calls of the turn, if any, have been made and nothing has been said yet."""
        ...

    async def after_reply(self, exchange: Exchange) -> StageChange | None:
        """The reply is complete; also when it was cut short."""
        ...

    def foreseeable(self) -> bool:
        """Whether what the LLM is asked next depends on nothing that has to be asked first."""
        ...

    def seconds_left(self) -> float | None:
        """Until the stage's time is over: 0 when it is; None if it has no end."""
        ...

    async def on_timeout(self) -> StageChange | None:
        """The stage's time is over while no one speaks."""
        ...

    def take_problems(self) -> Sequence[VoiceError]:
        """What has failed since this was last asked; the conversation went on in spite of it. To be told."""
        ...

    def forget(self) -> None:
        """Keep nothing of what was said; where the conversation stands may stay."""
        ...

    def save(self) -> Mapping[str, Any]:
        """What `restore` needs after a restart of the process, as JSON types."""
        ...

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on where `save` was; what no longer fits is logged, and the conversation begins at its start."""
        ...


DirectorMaker = Callable[[str], Director]
"""Makes the director of the conversation with this session id."""


class PlainDirector:
    """One prompt and the same tools, for ever: it keeps nothing, and one may lead all conversations."""

    def __init__(
        self, settings: AgentSettings, tools: ToolRegistry, examples: tuple[tuple[str, str], ...] = ()
    ) -> None:
        sampling = sampling_of(settings)
        self._brief = Brief(settings.system_prompt, tuple(tools), CHOOSE_FREELY, sampling, examples)

    def brief(self) -> Brief:
        return self._brief

    async def begin(self) -> None:
        return None

    async def after_calls(self, exchange: Exchange) -> StageChange | None:
        return None

    async def after_reply(self, exchange: Exchange) -> StageChange | None:
        return None

    def foreseeable(self) -> bool:
        return True

    def seconds_left(self) -> float | None:
        return None

    async def on_timeout(self) -> StageChange | None:
        return None

    def take_problems(self) -> Sequence[VoiceError]:
        return ()

    def forget(self) -> None:
        return None

    def save(self) -> Mapping[str, Any]:
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        return None


def sampling_of(settings: AgentSettings) -> Sampling:
    """What the settings say of it; the rest is left to the model."""
    return Sampling(
        temperature=settings.temperature,
        top_p=settings.top_p,
        repeat_penalty=settings.repeat_penalty,
        max_tokens=settings.max_tokens,
        top_k=None,
        min_p=None,
    )


@dataclass(frozen=True)
class Agent:
    """Models, settings, and all that an application brings along."""

    settings: Settings
    engines: Engines
    hooks: Hooks = field(default_factory=Hooks)
    metrics: Metrics = field(default_factory=NoMetrics)
    tools: ToolRegistry = field(default_factory=ToolRegistry)
    """What the LLM may call; a playbook's stages pick from them."""
    make_director: DirectorMaker | None = None
    """Makes the director of each conversation; None if the system prompt and all tools always apply."""
    delete_recordings: Callable[[str], Awaitable[bool]] | None = None
    """Deletes the sound that was saved of the session with this id, and says whether it could."""
    examples: tuple[tuple[str, str], ...] = ()
    """What a user may say, and how the agent answers well: small models answer as they are shown."""
    own_persona: bool = False
    """Whether the application has a prompt or a playbook of its own: less is understood by rule then."""
    own_models: bool = False
    """Whether models of its own take part: where they run, the agent doesn't know."""
    judges_danger: bool = True
    """Whether the LLM is asked if someone is in danger."""

    def direct(self, session_id: str) -> Director:
        """The director of a new conversation."""
        return self._plain_director if self.make_director is None else self.make_director(session_id)

    @cached_property
    def understanding(self) -> Understanding:
        """What is understood without the LLM."""
        settings = self.settings
        kept = settings.server.sessions_dir, settings.monitor.audio_dir, settings.monitor.transcripts
        facts = Facts(settings.agent.emergency_number, any(kept), self.own_models)
        return Understanding(settings.phrases, self.own_persona, facts)

    @property
    def danger_question(self) -> Question | None:
        """How the LLM is asked if someone is in danger; None where it isn't."""
        asks = self.judges_danger and self.understanding.looks_for_danger
        return danger_question(DEFAULT) if asks else None

    @cached_property
    def _plain_director(self) -> PlainDirector:
        return PlainDirector(self.settings.agent, self.tools, self.examples)

    async def warm_up(self) -> None:
        """Have the LLM read what every conversation begins with. Raises its `VoiceError`."""
        await asyncio.to_thread(self.understanding.prepare, tuple(self.tools))
        llm, brief = self.engines.llm, self.direct("warm-up").brief()
        offer = brief.offer()
        prompts: list[Prompt] = []  # that of the talk is read last: most turns begin with it
        if (question := self.danger_question) is not None:
            prompts.append(await llm.prompt(question.opening, question.offer))
        if offer is not None:
            prompts.append(await llm.prompt(brief.opening(talks=False), offer))
        if offer is None or brief.is_gated:
            prompts.append(await llm.prompt(brief.opening(talks=True)))
        for prompt in prompts:
            prompt.talk = OPENING
            await llm.prepare(prompt, prompt.offer)
