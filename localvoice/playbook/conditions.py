"""What a transition of a playbook waits for, and the judgement of each kind of condition."""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PositiveInt, StringConstraints
from pydantic.alias_generators import to_camel

from localvoice.application.hooks import PlaybookContext
from localvoice.engines.chat import ToolCall

if TYPE_CHECKING:  # `import localvoice` leads here, and needs no conversation
    from localvoice.conversation.agent import Exchange

TRANSITION_TOOL: Final = "playbook_transition"  # the tool by which the LLM decides on a transition
OTHER_INTENT: Final = "other"  # what the LLM answers when the user wants none of the intents

REASON_LETTERS: Final = 200  # of the LLM's reason for a transition; a small model would go on
_TICK: Final = 0.001  # seconds that a timer may be early

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Handler = str | Callable[..., Any]
"""A sync or async function, or the name of one in the `handlers` that come with the playbook. A sync one runs
on the event loop, so it must be quick."""


@dataclass(frozen=True)
class Evidence:
    """What a judgement goes by. What has led to a transition already is not in it."""

    words: str  # what the user said
    calls: tuple[ToolCall, ...]  # the tool calls of the turn that succeeded
    reply: str
    answered: bool  # whether the reply is complete; before that, no stage runs out
    turns_in_stage: int  # with this one
    seconds_in_stage: float
    max_turns: int | None = None  # the stage's own limit
    timeout_ms: int | None = None  # the stage's own limit
    user_speaks: bool = False  # over the answer, or has cut it short: no stage's time runs out then


class PlaybookPart(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt one must not pass unseen."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        loc_by_alias=False,
        defer_build=True,
    )


class ToolCallCondition(PlaybookPart):
    """The LLM called a tool, and the tool did its work."""

    type: Literal["tool_call"] = "tool_call"
    tool_name: Name
    """Name of the tool."""
    arguments: dict[str, Any] = {}
    """Arguments that the call must have had; others don't matter."""

    def _reason(self, evidence: Evidence) -> str | None:
        calls = (call.arguments for call in evidence.calls if call.name == self.tool_name)
        held = any(self.arguments.items() <= arguments.items() for arguments in calls)
        return f"tool_call {self.tool_name}" if held else None


class IntentCondition(PlaybookPart):
    """The user wants something. The LLM is asked once a turn, in a short request of its own.

    In a stage with two-phase turns the user waits for that; without, it is asked after the answer.
    """

    type: Literal["intent"] = "intent"
    intent: Name
    """What the user wants, in a word or a few, such as cancel_order."""
    description: str = ""
    """The same in a sentence, for the LLM."""
    confidence: float = Field(default=0.5, ge=0, le=1)
    """How sure the LLM must be. It answers 0, 0.25, 0.5, 0.75 or 1."""


class KeywordCondition(PlaybookPart):
    """One of these words or phrases was said. Whole words; case and punctuation don't matter."""

    type: Literal["keyword"] = "keyword"
    keywords: tuple[str, ...]
    """At least one."""
    in_reply: bool = False
    """Look for them in the agent's reply, not in what the user said."""
    within_words: bool = False
    """Look for them within words, too: `ship` is found in "shipping"."""

    def _reason(self, evidence: Evidence) -> str | None:
        text = evidence.reply if self.in_reply else evidence.words
        said, letters = f" {' '.join(words_of(text))} ", _plain(text)
        for keyword in self.keywords:
            whole = f" {' '.join(words_of(keyword))} " in said
            if whole or (self.within_words and _plain(keyword) in letters):
                return f"keyword {keyword}"
        return None


class LlmDecisionCondition(PlaybookPart):
    """The LLM decides, by calling the tool `playbook_transition`."""

    type: Literal["llm_decision"] = "llm_decision"


class MaxTurnsCondition(PlaybookPart):
    """The stage has had so many turns, and the last of them is answered."""

    type: Literal["max_turns"] = "max_turns"
    count: PositiveInt | None = None
    """How many; the stage's own `max_turns` holds as well."""

    def _reason(self, evidence: Evidence) -> str | None:
        limits = [each for each in (self.count, evidence.max_turns) if each is not None]
        over = evidence.answered and limits and evidence.turns_in_stage >= min(limits)
        return "max_turns" if over else None


class TimeoutCondition(PlaybookPart):
    """The stage has lasted so long. Judged after an answer, and in silence."""

    type: Literal["timeout"] = "timeout"
    duration_ms: PositiveInt | None = None
    """How long; the stage's own `timeout_ms` holds as well."""

    def _reason(self, evidence: Evidence) -> str | None:
        limit = time_limit(self, evidence.timeout_ms)
        in_silence = evidence.answered and not evidence.user_speaks
        return "timeout" if in_silence and limit and is_over(limit, evidence.seconds_in_stage) else None


class CustomCondition(PlaybookPart):
    """A function says so. It gets a `JudgingContext`, before the answer and again after it."""

    type: Literal["custom"] = "custom"
    evaluate: Handler
    """Returns True to take the transition."""


Condition = Annotated[
    ToolCallCondition
    | IntentCondition
    | KeywordCondition
    | LlmDecisionCondition
    | MaxTurnsCondition
    | TimeoutCondition
    | CustomCondition,
    Discriminator("type"),
]


@dataclass(frozen=True)
class JudgingContext:
    """What a custom condition is given."""

    playbook: PlaybookContext
    """Where the conversation stands."""
    turns_in_stage: int
    """Turns in this stage so far, this one with them."""
    exchange: "Exchange"
    """What was said and done in this turn; its reply is empty before the answer."""
    data: dict[str, Any]
    """The playbook's data in this conversation. May be changed."""


@dataclass(frozen=True)
class Intent:
    """What the user wants, as the LLM sees it: one of the names asked for, or `other`."""

    name: str
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Verdict:
    """A condition holds: the reason that the client is told, and the data that the LLM gave."""

    reason: str
    data: Mapping[str, Any]


async def judge(
    condition: Condition,
    target_stage: str,
    evidence: Evidence,
    ask_intent: Callable[[], Awaitable[Intent | None]],
    ask_handler: Callable[[Handler], Awaitable[bool]],
) -> Verdict | None:
    """Whether a transition to this stage is to be taken now.

    What takes time is asked only when the judgement comes to depend on it.
    """
    reason: str | None = None
    match condition:
        case LlmDecisionCondition():
            return _decided(target_stage, evidence.calls)
        case IntentCondition():
            intent = await ask_intent() if evidence.words else None
            if intent and intent.name == condition.intent and intent.confidence >= condition.confidence:
                reason = f"intent {intent.name}"
        case CustomCondition():
            reason = "custom" if await ask_handler(condition.evaluate) else None
        case _:
            reason = condition._reason(evidence)
    return None if reason is None else Verdict(reason, {})


def _decided(target_stage: str, calls: Sequence[ToolCall]) -> Verdict | None:
    """Whether the LLM's last decision on a transition was for this stage."""
    decisions = [call.arguments for call in calls if call.name == TRANSITION_TOOL]
    if not decisions or decisions[-1].get("targetStage") != target_stage:
        return None
    data = decisions[-1].get("data")
    reason = str(decisions[-1].get("reason") or "llm_decision")
    return Verdict(reason[:REASON_LETTERS], data if isinstance(data, dict) else {})


def time_limit(condition: TimeoutCondition, timeout_ms: int | None) -> float | None:
    """Seconds that a stage with this limit of its own may last."""
    limits = [each for each in (condition.duration_ms, timeout_ms) if each is not None]
    return min(limits) / 1000 if limits else None


def is_over(limit: float, seconds_in_stage: float) -> bool:
    """Whether a stage has lasted for its limit."""
    return seconds_in_stage >= limit - _TICK


def words_of(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return re.findall(r"\w+(?:'\w+)*", _plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
