"""When a transition of a playbook is taken: one judgement for each kind of condition."""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from localvoice.application.hooks import PlaybookContext
from localvoice.conversation.agent import Exchange
from localvoice.engines.types import ChatMessage, Llm, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.playbook.schema import (
    CustomCondition,
    Handler,
    IntentCondition,
    KeywordCondition,
    LlmDecisionCondition,
    MaxTurnsCondition,
    Stage,
    TimeoutCondition,
    ToolCallCondition,
    Transition,
)
from localvoice.tools import Tool, ToolContext

TRANSITION_TOOL: Final = "playbook_transition"
"""The tool by which the LLM decides on a transition."""
OTHER_INTENT: Final = "other"
"""What the LLM answers when the user wants none of the intents."""

_INTENT_TOOL: Final = "playbook_intent"
_CERTAINTIES: Final = (0, 25, 50, 75, 100)
"""Percent. Few to choose from: a small model's 83 and 87 mean nothing."""
_INTENT_TOKENS: Final = 64
"""Room for the one call."""
_REASON_LETTERS: Final = 200
"""A small model would go on."""
_TICK: Final = 0.001
"""Seconds that a timer may be early."""


@dataclass(frozen=True)
class JudgingContext:
    """What a custom condition is given."""

    playbook: PlaybookContext
    """Where the conversation stands."""
    turns_in_stage: int
    """Turns in this stage so far, this one with them."""
    exchange: Exchange
    """What was said and done in this turn; its reply is empty before the answer."""
    data: dict[str, Any]
    """The playbook's data in this conversation. May be changed."""


@dataclass(frozen=True)
class StageContext:
    """What a stage's `on_enter` and `on_exit` are given."""

    playbook: PlaybookContext
    """Where the conversation stands: in the stage that was entered, or that is left."""
    stage: Stage
    """The stage that was entered, or that is left."""
    other_stage: Stage | None
    """The one before it, or after it; None at the start of the conversation."""
    transition_data: Mapping[str, Any]
    """The transition's own data; it is part of `data` already."""
    data: dict[str, Any]
    """The playbook's data in this conversation. May be changed."""


@dataclass(frozen=True)
class Intent:
    """What the user wants, as the LLM sees it."""

    name: str
    """One of those asked for, or `other`."""
    confidence: float
    """How sure it is, 0 to 1."""


@dataclass(frozen=True)
class Evidence:
    """What a judgement goes by. What has led to a transition already is not in it."""

    words: str
    """What the user said."""
    calls: tuple[ToolCall, ...]
    """The tool calls of the turn that succeeded."""
    reply: str
    """The answer; empty before it."""
    answered: bool
    """Whether this is the judgement after the answer."""
    turns_in_stage: int
    """This one with them."""
    seconds_in_stage: float
    """Since it was entered."""
    user_speaks: bool = False
    """Whether the user speaks over the answer, or has cut it short: no stage runs out then."""


@dataclass(frozen=True)
class Verdict:
    """A condition holds."""

    reason: str
    """Why, for the client."""
    data: Mapping[str, Any]
    """What the LLM gave along."""


async def judge(
    transition: Transition,
    stage: Stage,
    evidence: Evidence,
    ask_intent: Callable[[], Awaitable[Intent | None]],
    ask_handler: Callable[[Handler], Awaitable[bool]],
) -> Verdict | None:
    """Whether a transition from this stage is to be taken now.

    What takes time is asked only when the judgement comes to depend on it.
    """
    reason: str | None = None
    condition = transition.condition
    match condition:
        case LlmDecisionCondition():
            return _decided(transition.action.target_stage, evidence.calls)
        case ToolCallCondition():
            reason = _called(condition, evidence.calls)
        case KeywordCondition():
            reason = _said(condition, evidence)
        case MaxTurnsCondition():
            reason = _turns_are_over(condition, stage, evidence)
        case TimeoutCondition():
            in_silence = evidence.answered and not evidence.user_speaks
            limit = time_limit(condition, stage) if in_silence else None
            over = limit is not None and is_over(limit, evidence.seconds_in_stage)
            reason = "timeout" if over else None
        case IntentCondition():
            intent = await ask_intent() if evidence.words else None
            if intent and intent.name == condition.intent and intent.confidence >= condition.confidence:
                reason = f"intent {intent.name}"
        case CustomCondition():
            reason = "custom" if await ask_handler(condition.evaluate) else None
    return None if reason is None else Verdict(reason, {})


def time_limit(condition: TimeoutCondition, stage: Stage) -> float | None:
    """Seconds that a stage may last by this condition and by its own limit."""
    limits = [each for each in (condition.duration_ms, stage.timeout_ms) if each is not None]
    return min(limits) / 1000 if limits else None


def is_over(limit: float, seconds_in_stage: float) -> bool:
    """Whether a stage has lasted as long as that."""
    return seconds_in_stage >= limit - _TICK


def words_of(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return re.findall(r"\w+(?:'\w+)*", _plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()


def transition_tool(ways: Sequence[Transition], stages: Mapping[str, Stage]) -> Tool | None:
    """The tool by which the LLM takes one of these transitions; None if none is its to take."""
    targets: dict[str, str] = {}
    for way in ways:
        if isinstance(way.condition, LlmDecisionCondition):
            stage = stages[way.action.target_stage]
            targets.setdefault(stage.id, way.description or stage.description or stage.name)
    if not targets:
        return None
    when = " ".join(f"{stage_id}: {description.rstrip('.')}." for stage_id, description in targets.items())
    properties = {
        "targetStage": {"type": "string", "enum": list(targets)},
        "reason": {"type": "string", "description": "Why, in a few words", "maxLength": _REASON_LETTERS},
        "data": {"type": "object", "description": "What the next part needs to know"},
    }
    spec = ToolSpec(
        TRANSITION_TOOL,
        f"Go on to another part of the conversation. {when}",
        {
            "type": "object",
            "properties": properties,
            "required": ["targetStage", "reason"],
            "additionalProperties": False,
        },
    )
    return Tool(spec, _accept, "sequential")


async def classify(llm: Llm, wanted: Sequence[IntentCondition], exchange: Exchange) -> Intent | None:
    """Ask the LLM what the user wants. Raises the LLM's `VoiceError`."""
    described = {each.intent: each.description or each.intent.replace("_", " ") for each in wanted}
    names = [*described, OTHER_INTENT]
    arguments = {
        "intent": {"type": "string", "enum": names},
        "confidence": {"type": "integer", "enum": list(_CERTAINTIES), "description": "How sure, in percent"},
    }
    spec = ToolSpec(
        _INTENT_TOOL,
        "Say what the user wants.",
        {
            "type": "object",
            "properties": arguments,
            "required": list(arguments),
            "additionalProperties": False,
        },
    )
    offer = ToolOffer((spec,), _INTENT_TOOL)
    messages = _question(described, exchange)
    sampling = Sampling(max_tokens=_INTENT_TOKENS)
    async with aclosing(llm.reply(messages, sampling, offer, aside=True)) as items:
        async for item in items:
            if isinstance(item, ToolCall):
                name, percent = item.arguments.get("intent"), item.arguments.get("confidence")
                sure = percent if isinstance(percent, int | float) else 0
                return Intent(str(name), min(max(sure / 100, 0.0), 1.0)) if name in names else None
    return None


def _question(described: Mapping[str, str], exchange: Exchange) -> list[ChatMessage]:
    """Short, because the user waits: the intents, the agent's last sentence and the user's."""
    intents = "\n".join(f"- {name}: {description}" for name, description in described.items())
    before = [each.content for each in exchange.messages if each.role == "assistant" and each.content]
    asked = f'The assistant said: "{before[-1]}"\n' if before else ""
    return [
        ChatMessage("system", f"Tell what the user wants:\n{intents}\n- {OTHER_INTENT}: none of these"),
        ChatMessage("user", f'{asked}The user said: "{exchange.words}"'),
    ]


async def _accept(arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
    """The director acts on the call itself, when all calls of the turn are made."""
    return {"accepted": True, "targetStage": arguments["targetStage"]}


def _called(condition: ToolCallCondition, calls: Sequence[ToolCall]) -> str | None:
    missing = object()
    for call in calls:
        if call.name == condition.tool_name and all(
            call.arguments.get(name, missing) == value for name, value in condition.arguments.items()
        ):
            return f"tool_call {call.name}"
    return None


def _decided(target_stage: str, calls: Sequence[ToolCall]) -> Verdict | None:
    """Whether the LLM's last decision on a transition was for this stage."""
    decisions = [call for call in calls if call.name == TRANSITION_TOOL]
    if not decisions or decisions[-1].arguments.get("targetStage") != target_stage:
        return None
    arguments = decisions[-1].arguments
    data = arguments.get("data")
    reason = str(arguments.get("reason") or "llm_decision")
    return Verdict(reason[:_REASON_LETTERS], data if isinstance(data, dict) else {})


def _said(condition: KeywordCondition, evidence: Evidence) -> str | None:
    text = evidence.reply if condition.in_reply else evidence.words
    said, letters = f" {' '.join(words_of(text))} ", _plain(text)
    for keyword in condition.keywords:
        whole = f" {' '.join(words_of(keyword))} " in said
        if whole or (condition.within_words and _plain(keyword) in letters):
            return f"keyword {keyword}"
    return None


def _turns_are_over(condition: MaxTurnsCondition, stage: Stage, evidence: Evidence) -> str | None:
    limits = [each for each in (condition.count, stage.max_turns) if each is not None]
    over = evidence.answered and limits and evidence.turns_in_stage >= min(limits)
    return "max_turns" if over else None
