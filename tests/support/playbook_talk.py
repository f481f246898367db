"""A conversation in a playbook, for tests: its director, a scripted LLM, notes of all that is told."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from localvoice import KeywordCondition, Playbook, Stage, Transition, TransitionAction, check_playbook
from localvoice.application.hooks import Hooks, ToolResult
from localvoice.config import AgentSettings
from localvoice.contract.metrics import NO_TAGS, Metric, Tags
from localvoice.conversation.agent import Exchange, StageChange
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.playbook.director import PlaybookDirector
from localvoice.tools import Tool, ToolRegistry

STAGES = ("a", "b", "c")
numbers = itertools.count()


class ScriptedLlm:
    """Says each intent of its script once; an exception is raised, None never comes."""

    def __init__(self, *script: str | Exception | None) -> None:
        self.script = list(script)
        self.asked: list[ToolOffer | None] = []

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        self.asked.append(offer)
        intent = self.script.pop(0)
        if isinstance(intent, Exception):
            raise intent
        if intent is None:
            await asyncio.Event().wait()
        yield ToolCall("call-intent", "playbook_intent", {"intent": intent, "confidence": 100})


class Figures:
    """Metrics, in the order in which they came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, dict[str, str]]] = []

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        self.seen.append((name, value, dict(tags)))

    timing = gauge = increment

    def of(self, name: Metric) -> list[tuple[float, dict[str, str]]]:
        return [(value, tags) for each, value, tags in self.seen if each == name]


def noting_hooks(calls: list[tuple[Any, ...]]) -> Hooks:
    def hook(name: str) -> Callable[..., None]:
        return lambda *args: calls.append((name, *args))

    names = [each.name for each in fields(Hooks) if "stage" in each.name or each.name == "on_transition"]
    names += ["on_playbook_turn_end", "on_playbook_complete"]
    return Hooks(**{name: hook(name) for name in names})


def tool(name: str) -> Tool:
    return Tool(ToolSpec(name, "Does it.", {"type": "object", "properties": {}}), lambda *_: None)


TOOLS = ToolRegistry([tool("clock"), tool("look"), tool("book")])


def stage(stage_id: str, **given: Any) -> Stage:
    return Stage(**{"id": stage_id, "name": stage_id, "system_prompt": f"You are in {stage_id}.", **given})


def way(
    way_id: str, condition: Any, to: str = "b", source: str = "a", priority: int = 0, **action: Any
) -> Any:
    return Transition(
        id=way_id,
        from_stage=source,
        condition=condition,
        action=TransitionAction(target_stage=to, **action),
        priority=priority,
    )


def said(*keywords: str, **given: Any) -> KeywordCondition:
    return KeywordCondition(keywords=keywords, **given)


def called(name: str, success: bool = True, **arguments: Any) -> tuple[ToolCall, ToolResult]:
    call_id = f"call-{next(numbers)}"
    return ToolCall(call_id, name, arguments), ToolResult(call_id, name, success)


def decision(target: str, **data: Any) -> tuple[ToolCall, ToolResult]:
    return called("playbook_transition", targetStage=target, reason="the LLM says so", data=data)


class Talk:
    """A conversation: its director, and turns as `turn.py` leads them."""

    def __init__(
        self,
        *ways: Any,
        stages: Mapping[str, Mapping[str, Any]] | None = None,
        llm: ScriptedLlm | None = None,
        handlers: Mapping[str, Callable[..., Any]] | None = None,
        hooks: Hooks | None = None,
        settings: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        own = stages or {}
        self.playbook = Playbook(
            id="test",
            name="Test",
            stages=tuple(stage(each, **own.get(each, {})) for each in STAGES),
            transitions=ways,
            **{"initial_stage": "a", **given},
        )
        check_playbook(self.playbook, TOOLS, handlers or {})
        self.hooked: list[tuple[Any, ...]] = []
        self.figures = Figures()
        self.llm: Any = llm or ScriptedLlm()
        self._made_of = (hooks or noting_hooks(self.hooked), self.figures, handlers or {})
        self._settings = AgentSettings.model_validate(settings or {})
        self.director = self.fresh()

    def fresh(self, playbook: Playbook | None = None) -> PlaybookDirector:
        return PlaybookDirector(
            playbook or self.playbook, TOOLS, self._settings, self.llm, *self._made_of, "session"
        )

    @property
    def stage(self) -> str:
        """The stage that the LLM is told to be in."""
        return self.director.brief().system_prompt.split()[-1].rstrip(".")

    async def before(
        self, words: str = "", *made: tuple[ToolCall, ToolResult], turn: str = ""
    ) -> tuple[Exchange, StageChange | None]:
        """A turn until the LLM talks."""
        turn = turn or f"turn-{next(numbers)}"
        await self.director.begin()
        exchange = Exchange(turn, words, (), (), "", (ChatMessage("user", words),))
        change = await self.director.after_calls(exchange)
        if made:
            calls, results = zip(*made, strict=True)
            exchange = Exchange(turn, words, calls, results, "", exchange.messages)
            change = await self.director.after_calls(exchange) or change
        return exchange, change

    async def turn(
        self, words: str = "", *made: tuple[ToolCall, ToolResult], reply: str = "Fine."
    ) -> tuple[StageChange | None, StageChange | None]:
        """A whole turn: the changes before and after the answer."""
        exchange, before = await self.before(words, *made)
        answered = Exchange(
            exchange.turn_id, words, exchange.calls, exchange.results, reply, exchange.messages
        )
        return before, await self.director.after_reply(answered)


def targets(*changes: StageChange | None) -> list[str | None]:
    return [change.to_stage if change else None for change in changes]
