"""What leads a conversation: what the LLM is told and may do in each pass, and when that changes.

A plain agent has one prompt and its tools for ever. A playbook moves from stage to stage. The turn knows
neither: it asks its `Director`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localvoice.application.hooks import ToolResult
from localvoice.config import AgentSettings
from localvoice.contract.errors import VoiceError
from localvoice.engines.types import CHOOSE_FREELY, ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.tools import Tool, ToolRegistry


@dataclass(frozen=True)
class Brief:
    """What the LLM is told and may do in its next pass."""

    system_prompt: str
    """Who it is and what it is to do now."""
    tools: tuple[Tool, ...]
    """What it may call."""
    tool_choice: str
    """`auto`, `none`, `required` or the name of a tool."""
    sampling: Sampling
    """How it picks its tokens."""

    def offer(self, calls_left: bool = True) -> ToolOffer | None:
        """The tools as the LLM gets them; None without any. It must talk when it has no calls left."""
        if not self.tools:
            return None
        return ToolOffer(tuple(tool.spec for tool in self.tools), self.tool_choice if calls_left else "none")


@dataclass(frozen=True)
class Exchange:
    """What has been said and done in a turn so far."""

    turn_id: str
    """The turn's."""
    words: str
    """What the user said."""
    calls: tuple[ToolCall, ...]
    """The tools that the LLM called."""
    results: tuple[ToolResult, ...]
    """What became of them."""
    reply: str
    """What the LLM answered; empty while it has not yet."""
    messages: tuple[ChatMessage, ...]
    """The conversation, without a system prompt."""
    user_speaks: bool = False
    """Whether the user speaks over the answer, or has cut it short."""


@dataclass(frozen=True)
class StageChange:
    """The conversation has moved on; the director has done so already, this is to be told and spoken."""

    from_stage: str
    """Id of the stage that ended."""
    to_stage: str
    """Id of the stage that began."""
    reason: str
    """Why, for the `stage-change` message."""
    say: str | None = None
    """A sentence to speak at the change."""
    clear_history: bool = False
    """Whether what was said before is to be forgotten."""


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
        """The stage's time is over while nobody speaks."""
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
        """Go on where `save` was; what no longer fits is logged, and the conversation begins anew."""
        ...


DirectorMaker = Callable[[str], Director]
"""Makes the director of the conversation with this session id."""


class PlainDirector:
    """One prompt and the same tools, for ever: it keeps nothing, and one may lead all conversations."""

    def __init__(self, settings: AgentSettings, tools: ToolRegistry) -> None:
        self._brief = Brief(settings.system_prompt, tuple(tools), CHOOSE_FREELY, sampling_of(settings))

    def brief(self) -> Brief:
        """Always the same."""
        return self._brief

    async def begin(self) -> None:
        """There is nothing to enter."""

    async def after_calls(self, exchange: Exchange) -> StageChange | None:
        """Nothing changes."""
        return None

    async def after_reply(self, exchange: Exchange) -> StageChange | None:
        """Nothing changes."""
        return None

    def foreseeable(self) -> bool:
        """Always."""
        return True

    def seconds_left(self) -> float | None:
        """No end."""
        return None

    async def on_timeout(self) -> StageChange | None:
        """Never comes."""
        return None

    def take_problems(self) -> Sequence[VoiceError]:
        """None can arise."""
        return ()

    def forget(self) -> None:
        """It keeps nothing."""

    def save(self) -> Mapping[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Nothing to go on with."""


def sampling_of(settings: AgentSettings) -> Sampling:
    """How the LLM picks its tokens by the settings."""
    return Sampling(
        temperature=settings.temperature,
        top_p=settings.top_p,
        repeat_penalty=settings.repeat_penalty,
        max_tokens=settings.max_tokens,
    )
