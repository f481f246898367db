"""A conversation led through the stages of a playbook."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pytest

from localvoice.agent.director import Director, Exchange, PlainDirector, StageChange
from localvoice.agent.hooks import Hooks, PlaybookContext, Timing, ToolResult
from localvoice.agent.playbook import (
    CustomCondition,
    IntentCondition,
    KeywordCondition,
    LlmConfig,
    LlmDecisionCondition,
    MaxTurnsCondition,
    Playbook,
    Stage,
    TimeoutCondition,
    ToolCallCondition,
    Transition,
    TransitionAction,
    check,
)
from localvoice.agent.playbook_conditions import JudgingContext, StageContext
from localvoice.agent.playbook_director import PlaybookDirector
from localvoice.agent.tools import Tool, ToolRegistry
from localvoice.config import AgentSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.metrics import NO_TAGS, Metric, Tags
from localvoice.engines.protocols import ChatMessage, Sampling, ToolCall, ToolOffer, ToolSpec

STAGES = ("a", "b", "c")
numbers = itertools.count()


class ScriptedLlm:
    """Says each intent of its script once; an exception is raised, None never comes."""

    def __init__(self, *script: str | Exception | None) -> None:
        self.script = list(script)
        self.asked: list[ToolOffer | None] = []

    async def reply(
        self, messages: Sequence[ChatMessage], sampling: Sampling, offer: ToolOffer | None = None
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
        check(self.playbook, TOOLS, handlers or {})
        self.hooked: list[tuple[Any, ...]] = []
        self.figures = Figures()
        self.llm: Any = llm or ScriptedLlm()
        self._made_of = (hooks or noting_hooks(self.hooked), self.figures, handlers or {})
        self._settings = AgentSettings(**(settings or {}))
        self.director = self.fresh()

    def fresh(self, playbook: Playbook | None = None) -> PlaybookDirector:
        return PlaybookDirector(
            playbook or self.playbook, TOOLS, self._settings, self.llm, "session", *self._made_of
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
    return [change and change.to_stage for change in changes]


def is_director(director: Director) -> Director:
    """For the type checker: whatever is passed here fits the protocol."""
    return director


async def test_it_is_a_director() -> None:
    assert is_director(Talk(way("t", said("go"))).director).take_problems() == ()
    assert is_director(PlainDirector(AgentSettings(), TOOLS)).take_problems() == ()


async def test_a_stage_has_its_own_prompt_tools_choice_and_sampling() -> None:
    talk = Talk(
        way("t", said("go")),
        stages={
            "a": {"tools": ("look", "clock"), "tool_choice": "look", "llm_config": LlmConfig(temperature=1)},
            "b": {"system_prompt": "Other."},
        },
        global_tools=("clock",),
        global_system_prompt="You book tables.\n",
        default_llm_config=LlmConfig(temperature=0.5, max_tokens=50),
        settings={"max_tokens": 99, "top_p": 0.7},
    )
    brief = talk.director.brief()
    assert brief.system_prompt == "You book tables.\n\nYou are in a."
    assert [tool.name for tool in brief.tools] == ["clock", "look"]
    assert brief.tool_choice == "look"
    assert (brief.sampling.temperature, brief.sampling.max_tokens, brief.sampling.top_p) == (1, 50, 0.7)
    await talk.turn("go")
    brief = talk.director.brief()
    assert brief.system_prompt == "You book tables.\n\nOther."
    assert [tool.name for tool in brief.tools] == ["clock"]
    assert (brief.tool_choice, brief.sampling.temperature) == ("auto", 0.5)


async def test_without_a_global_prompt_the_settings_prompt_stands_there() -> None:
    settings = {"system_prompt": "Be kind."}
    assert Talk(settings=settings).director.brief().system_prompt == "Be kind.\n\nYou are in a."
    assert Talk(settings=settings, global_system_prompt="").director.brief().system_prompt == "You are in a."


async def test_the_transition_tool_is_offered_where_the_llm_may_decide() -> None:
    talk = Talk(way("t", LlmDecisionCondition()), stages={"a": {"tools": ("look",)}})
    assert [tool.name for tool in talk.director.brief().tools] == ["look", "playbook_transition"]
    before, after = await talk.turn("I am done", decision("b", people=2))
    assert before == StageChange("a", "b", "the LLM says so")
    assert after is None
    assert talk.director.data == {"people": 2}
    assert talk.director.brief().tools == ()


@pytest.mark.parametrize("success", [True, False])
async def test_a_tool_call_leads_on_before_the_answer_if_it_succeeded(success: bool) -> None:
    talk = Talk(way("t", ToolCallCondition(tool_name="look")), stages={"a": {"tools": ("look",)}})
    before, after = await talk.turn("4217", called("look", success))
    assert targets(before, after) == (["b", None] if success else [None, None])
    assert talk.stage == ("b" if success else "a")


async def test_what_was_said_leads_on_before_the_llm_is_asked() -> None:
    talk = Talk(way("t", said("go")))
    assert targets(*await talk.turn("stay")) == [None, None]
    assert targets(*await talk.turn("Go!")) == ["b", None]


async def test_a_keyword_of_the_reply_leads_on_after_it() -> None:
    talk = Talk(way("t", said("goodbye", in_reply=True)))
    assert targets(*await talk.turn("goodbye", reply="See you.")) == [None, None]
    assert targets(*await talk.turn("goodbye", reply="Goodbye!")) == [None, "b"]


async def test_an_intent_is_asked_for_once_a_turn() -> None:
    ways = (way("t", IntentCondition(intent="pay")), way("u", IntentCondition(intent="leave"), to="c"))
    talk = Talk(*ways, llm=ScriptedLlm("other", "leave"))
    assert targets(*await talk.turn("Hello", called("clock"))) == [None, None]
    assert len(talk.llm.asked) == 1
    assert targets(*await talk.turn("I must go")) == ["c", None]
    assert len(talk.llm.asked) == 2
    (spec,) = talk.llm.asked[0].tools
    assert spec.parameters["properties"]["intent"]["enum"] == ["pay", "leave", "other"]


async def test_no_intent_is_asked_for_where_something_before_it_leads_on() -> None:
    talk = Talk(way("t", IntentCondition(intent="pay")), way("u", said("go"), to="c", priority=1))
    assert targets(*await talk.turn("go")) == ["c", None]
    assert talk.llm.asked == []


@pytest.mark.virtual_clock
async def test_an_llm_that_fails_or_hangs_leaves_the_conversation_in_its_stage() -> None:
    trouble = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "no memory")
    talk = Talk(way("t", IntentCondition(intent="pay")), llm=ScriptedLlm(trouble, None))
    assert targets(*await talk.turn("Hello")) == [None, None]
    assert targets(*await talk.turn("Hello?")) == [None, None]
    first, second = talk.director.take_problems()
    assert first.code == second.code == ErrorCode.PLAYBOOK_ERROR
    assert "no memory" in first.message
    assert "longer than 10 s" in second.message
    assert talk.stage == "a"


async def test_the_highest_priority_is_taken_and_the_first_among_equals() -> None:
    talk = Talk(
        way("low", said("go"), to="c", priority=-1), way("t", said("go")), way("u", said("go"), to="c")
    )
    assert targets(*await talk.turn("go")) == ["b", None]
    talk = Talk(way("t", said("go")), way("high", said("go"), to="c", source="*", priority=1))
    assert targets(*await talk.turn("go")) == ["c", None]


async def test_a_star_leads_from_every_stage_but_its_target() -> None:
    talk = Talk(way("t", said("go")), way("stop", said("stop"), to="c", source="*"))
    await talk.turn("go")
    assert targets(*await talk.turn("stop")) == ["c", None]
    assert targets(*await talk.turn("stop")) == [None, None]


async def test_what_led_to_a_stage_leads_no_further() -> None:
    ways = (
        way("t", said("go")),
        way("u", said("go"), source="b", to="c"),
        way("v", ToolCallCondition(tool_name="look"), source="b", to="c"),
        way("w", IntentCondition(intent="pay"), source="b", to="a"),
    )
    talk = Talk(*ways, global_tools=("look",))
    exchange, change = await talk.before("go")
    assert targets(change) == ["b"]
    call, result = called("look")
    later = Exchange(exchange.turn_id, "go", (call,), (result,), "", ())
    assert targets(await talk.director.after_calls(later)) == ["c"]  # the call came in b
    talk = Talk(*ways[1:], way("x", ToolCallCondition(tool_name="look")), global_tools=("look",))
    assert targets(*await talk.turn("go", called("look"))) == ["b", None]
    assert talk.llm.asked == []


async def test_in_one_phase_the_stage_in_which_the_turn_began_answers() -> None:
    ways = (
        way("t", ToolCallCondition(tool_name="look")),
        way("u", LlmDecisionCondition(), to="c"),
        way("v", said("go"), to="c"),
        way("w", IntentCondition(intent="pay"), to="c"),
    )
    stages = {"a": {"tools": ("look",), "two_phase_execution": False}}

    def talk(*script: str) -> Talk:
        return Talk(*ways, stages=stages, llm=ScriptedLlm(*script))

    assert targets(*await talk().turn("4217", called("look"))) == [None, "b"]
    assert targets(*await talk().turn("go")) == [None, "c"]
    assert targets(*await talk("pay").turn("Here you are")) == [None, "c"]
    assert targets(*await talk("other").turn("", decision("c"))) == [None, "c"]


async def test_the_turns_of_a_stage_are_limited() -> None:
    talk = Talk(
        way("t", MaxTurnsCondition(), to="b"),
        way("u", MaxTurnsCondition(count=1), source="b", to="c"),
        stages={"a": {"max_turns": 2}},
    )
    assert targets(*await talk.turn("one")) == [None, None]
    assert targets(*await talk.turn("two")) == [None, "b"]
    assert targets(*await talk.turn("three")) == [None, "c"]


async def test_a_turn_answered_by_a_new_stage_is_not_one_of_its_own() -> None:
    talk = Talk(way("t", said("go")), way("u", MaxTurnsCondition(count=1), source="b", to="c"))
    assert targets(*await talk.turn("go")) == ["b", None]
    assert targets(*await talk.turn("on")) == [None, "c"]


@pytest.mark.virtual_clock
async def test_the_time_of_a_stage_is_limited() -> None:
    talk = Talk(
        way("t", TimeoutCondition(duration_ms=90_000), to="c"),
        way("u", TimeoutCondition(), to="b", transition_message="Are you there?"),
        stages={"a": {"timeout_ms": 60_000}},
    )
    assert talk.director.seconds_left() is None  # nobody has said anything yet
    await talk.turn("Hello")
    assert talk.director.seconds_left() == 60
    await asyncio.sleep(20)
    assert talk.director.seconds_left() == 40
    assert await talk.director.on_timeout() is None
    await asyncio.sleep(40)
    assert talk.director.seconds_left() == 0
    change = await talk.director.on_timeout()
    # Both are due by the stage's own limit: the first in the list is taken.
    assert change == StageChange("a", "c", "timeout")
    assert talk.director.seconds_left() is None


@pytest.mark.virtual_clock
async def test_a_time_that_ends_within_a_turn_leads_on_after_the_answer() -> None:
    talk = Talk(way("t", TimeoutCondition(duration_ms=5_000), source="*", transition_message="Time is up."))
    exchange, change = await talk.before("Hello")
    assert change is None
    await asyncio.sleep(6)
    assert await talk.director.after_calls(exchange) is None
    assert await talk.director.after_reply(exchange) == StageChange("a", "b", "timeout", "Time is up.")
    assert talk.director.seconds_left() is None


@pytest.mark.virtual_clock
async def test_a_stage_that_leads_to_itself_begins_anew() -> None:
    talk = Talk(way("t", TimeoutCondition(duration_ms=5_000), to="a", transition_message="Hello?"))
    await talk.turn("Hello")
    for _ in range(2):
        await asyncio.sleep(5)
        assert await talk.director.on_timeout() == StageChange("a", "a", "timeout", "Hello?")
    assert talk.director.seconds_left() == 5
    assert talk.figures.of(Metric.COMPLETIONS) == []


async def test_message_history_and_data_of_a_transition() -> None:
    action = {
        "transition_message": "A table for {people}, {when}?",
        "clear_history": True,
        "data": {"people": 4, "place": "the {people} window"},
    }
    talk = Talk(
        way("t", said("go"), **action), stages={"b": {"system_prompt": "Table for {people} at {place}, {x}"}}
    )
    before, _ = await talk.turn("go")
    assert before == StageChange("a", "b", "keyword go", "A table for 4, {when}?", clear_history=True)
    assert talk.director.brief().system_prompt.endswith("Table for 4 at the {people} window, {x}")


async def test_the_playbooks_own_data_stays_as_it_is() -> None:
    def order(context: StageContext) -> None:
        context.data["dishes"].append("soup")

    talk = Talk(way("t", said("go"), data={"dishes": []}), stages={"b": {"on_enter": order}})
    await talk.turn("go")
    assert talk.director.data == {"dishes": ["soup"]}
    assert talk.playbook.transitions[0].action.data == {"dishes": []}


@pytest.mark.virtual_clock
async def test_a_custom_condition_is_told_everything() -> None:
    seen: list[JudgingContext] = []

    async def ready(context: JudgingContext) -> bool:
        seen.append(context)
        context.data["asked"] = len(seen)
        return context.exchange.reply == "Goodbye."

    talk = Talk(way("t", CustomCondition(evaluate="ready")), handlers={"ready": ready})
    await talk.turn("Hello")
    await asyncio.sleep(2)
    assert targets(*await talk.turn("Bye", reply="Goodbye.")) == [None, "b"]
    assert [context.exchange.reply for context in seen] == ["", "Fine.", "", "Goodbye."]
    assert seen[-1].playbook == PlaybookContext("test", "a", "session", 2, 2000)
    assert (seen[-1].turns_in_stage, seen[-1].exchange.words) == (2, "Bye")
    assert talk.director.data == {"asked": 4}


async def test_a_custom_condition_may_be_a_plain_function() -> None:
    talk = Talk(way("t", CustomCondition(evaluate=lambda context: context.exchange.words == "now")))
    assert targets(*await talk.turn("later")) == [None, None]
    assert targets(*await talk.turn("now")) == ["b", None]


async def test_a_custom_condition_that_fails_leaves_the_conversation_in_its_stage() -> None:
    def broken(context: JudgingContext) -> bool:
        raise ValueError("no such table")

    talk = Talk(
        way("t", CustomCondition(evaluate=broken), priority=1),
        way("u", said("go"), to="c"),
    )
    await talk.before("Hello")
    assert talk.stage == "a"
    (problem,) = talk.director.take_problems()
    assert (problem.code, problem.component) == (ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK)
    assert "broken failed: ValueError: no such table" in problem.message
    assert isinstance(problem.__cause__, ValueError)
    assert talk.director.take_problems() == []
    assert targets((await talk.before("go"))[1]) == ["c"]  # the others are judged all the same


@pytest.mark.virtual_clock
async def test_a_handler_that_hangs_is_given_up() -> None:
    async def stuck(context: JudgingContext) -> bool:
        await asyncio.Event().wait()
        return True

    talk = Talk(way("t", CustomCondition(evaluate=stuck)))
    assert targets((await talk.before("Hello"))[1]) == [None]
    (problem,) = talk.director.take_problems()
    assert "longer than 10 s" in problem.message


@pytest.mark.virtual_clock
async def test_hooks_and_handlers_in_their_order() -> None:
    talk: Talk

    def note(name: str) -> Callable[[StageContext], None]:
        return lambda context: talk.hooked.append((name, context))

    talk = Talk(
        way("t", said("go"), data={"people": 2}),
        stages={
            "a": {"on_enter": "enter", "on_exit": "leave"},
            "b": {"on_enter": note("enter b")},
        },
        handlers={"enter": note("enter a"), "leave": note("leave a")},
    )
    await talk.turn("Hello", called("clock"), reply="Hi.")
    await asyncio.sleep(3)
    await talk.turn("go", reply="Gone.")
    a, b = (talk.playbook.stage(each) for each in "ab")
    assert a and b
    entered, left = (PlaybookContext("test", "a", "session", *each) for each in ((0, 0), (2, 3000)))
    in_b = PlaybookContext("test", "b", "session", 2, 0)
    data = {"people": 2}
    timing = talk.hooked[4][-1]
    assert isinstance(timing, Timing)
    assert timing.duration_ms == 3000 == timing.end_time - timing.start_time
    assert talk.hooked == [
        ("on_stage_enter", entered, "a", None),
        ("enter a", StageContext(entered, a, None, {}, data)),
        ("on_playbook_turn_end", PlaybookContext("test", "a", "session", 1, 0), "Hi.", 1),
        ("leave a", StageContext(left, a, b, data, data)),
        ("on_stage_exit", left, "a", "b", timing),
        ("on_transition", left, "t", "a", "b"),
        ("on_stage_enter", in_b, "b", "a"),
        ("enter b", StageContext(in_b, b, a, data, data)),
        ("on_playbook_complete", in_b, "b", 2),
        ("on_playbook_turn_end", in_b, "Gone.", 0),
    ]


async def test_what_fails_at_a_change_of_stage_does_not_hold_it_up(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*args: object) -> None:
        raise ValueError("broken")

    talk = Talk(
        way("t", said("go")),
        stages={"a": {"on_enter": broken, "on_exit": broken}, "b": {"on_enter": broken}},
        hooks=Hooks(on_stage_exit=broken, on_stage_enter=broken),
    )
    assert targets(*await talk.turn("go")) == ["b", None]
    assert [each.message.split(" failed")[0] for each in talk.director.take_problems()] == [
        "The playbook's on_enter of a",
        "The playbook's on_exit of a",
        "The playbook's on_enter of b",
    ]
    assert sum("hook" in record.getMessage() for record in caplog.records) == 3


async def test_no_stage_is_complete_that_has_a_way_out() -> None:
    talk = Talk(way("t", said("go")), way("u", said("stop"), source="*", to="c"))
    await talk.turn("go")
    assert talk.figures.of(Metric.COMPLETIONS) == []
    await talk.turn("stop")
    assert talk.figures.of(Metric.COMPLETIONS) == [(1, {"playbook": "test", "stage": "c"})]
    assert [each[2:] for each in talk.hooked if each[0] == "on_playbook_complete"] == [("c", 2)]


@pytest.mark.virtual_clock
async def test_figures() -> None:
    talk = Talk(way("t", said("go")))
    await talk.turn("Hello")
    await asyncio.sleep(1.5)
    await talk.turn("go")
    await talk.turn("on")
    a, b = ({"playbook": "test", "stage": each} for each in "ab")
    assert talk.figures.of(Metric.STAGE_TURNS) == [(1, a), (1, a), (1, b)]
    assert talk.figures.of(Metric.STAGE_DURATION) == [(1500, a)]
    assert talk.figures.of(Metric.STAGE_CURRENT) == [(1, a), (0, a), (1, b)]
    assert talk.figures.of(Metric.TRANSITIONS) == [(1, {"playbook": "test", "from": "a", "to": "b"})]
    assert talk.figures.of(Metric.COMPLETIONS) == [(1, b)]


async def test_a_cancelled_turn_leaves_the_change_of_stage_whole() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def load(context: StageContext) -> None:
        entered.set()
        await release.wait()
        context.data["loaded"] = True

    talk = Talk(
        way("t", said("go"), transition_message="Now {loaded}.", clear_history=True),
        way("u", said("on"), source="b", to="c"),
        stages={"b": {"on_enter": load}},
    )
    turn = asyncio.create_task(talk.turn("go"))
    await entered.wait()
    turn.cancel()
    await asyncio.wait([turn])
    assert turn.cancelled()
    assert talk.stage == "b"
    assert talk.director.save()["turns_in_stage"] == 0
    assert talk.director.seconds_left() == 0  # so that the change is told even if nobody speaks
    release.set()
    exchange, change = await talk.before("on")
    assert talk.director.data == {"loaded": True}
    assert change == StageChange("a", "b", "keyword go", "Now True.", clear_history=True)
    assert [each[0] for each in talk.hooked].count("on_stage_enter") == 2
    assert targets(await talk.director.after_reply(exchange)) == ["c"]


async def test_a_change_that_was_not_told_is_told_in_silence() -> None:
    entered = asyncio.Event()

    async def slow(context: StageContext) -> None:
        entered.set()
        await asyncio.sleep(0)

    talk = Talk(way("t", said("go")), stages={"b": {"on_enter": slow}})
    turn = asyncio.create_task(talk.turn("go"))
    await entered.wait()
    turn.cancel()
    await asyncio.wait([turn])
    assert targets(await talk.director.on_timeout(), await talk.director.on_timeout()) == ["b", None]


async def test_a_turn_that_was_never_answered_changes_nothing_more() -> None:
    talk = Talk(
        way("t", said("go")), way("u", said("on"), source="b", to="c"), stages={"a": {"tools": ("look",)}}
    )
    await talk.before("go")  # cancelled here: no after_reply
    assert talk.stage == "b"
    assert targets(*await talk.turn("on")) == ["c", None]


@pytest.mark.virtual_clock
async def test_it_goes_on_after_a_restart() -> None:
    ways = (
        way("t", said("go"), data={"people": 2}),
        way("u", MaxTurnsCondition(count=2), source="b", to="c"),
        way("v", TimeoutCondition(duration_ms=60_000), source="b", to="a"),
    )
    talk = Talk(*ways)
    assert talk.director.save() == {}
    await talk.turn("go")
    await talk.turn("one")
    await asyncio.sleep(20)
    saved = talk.director.save()
    assert saved == {
        "playbook": "test",
        "stage": "b",
        "turns": 2,
        "turns_in_stage": 1,
        "seconds_in_stage": 20,
        "data": {"people": 2},
    }
    await asyncio.sleep(1000)
    talk.hooked.clear()
    talk.director = talk.fresh()
    talk.director.restore(saved)
    assert talk.stage == "b"
    assert talk.director.seconds_left() == 40
    assert talk.director.data == {"people": 2}
    assert targets(*await talk.turn("two")) == [None, "c"]
    assert [each[0] for each in talk.hooked][:2] == ["on_playbook_turn_end", "on_stage_exit"]
    assert talk.hooked[0][1] == PlaybookContext("test", "b", "session", 3, 20_000)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "gone"},
        {"playbook": "another"},
        {"turns": -1},
        {"data": 1},
        {"seconds_in_stage": float("inf")},
    ],
)
async def test_what_no_longer_fits_begins_anew(
    change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    talk = Talk(way("t", said("go")))
    await talk.turn("go")
    saved = {**talk.director.save(), **change}
    talk.director = talk.fresh()
    talk.director.restore(saved)
    assert len(caplog.records) == 1
    assert "begins anew" in caplog.text
    assert (talk.stage, talk.director.save()) == ("a", {})


async def test_nothing_saved_is_nothing_to_log(caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk(way("t", said("go")))
    talk.director.restore({})
    assert talk.stage == "a"
    assert not caplog.records


async def test_data_without_a_json_type_is_not_saved(caplog: pytest.LogCaptureFixture) -> None:
    def fill(context: StageContext) -> None:
        context.data.update(people=2, lock=asyncio.Lock(), share=float("nan"))

    talk = Talk(way("t", said("go")), stages={"a": {"on_enter": fill}})
    await talk.turn("Hello")
    assert talk.director.save()["data"] == {"people": 2}
    assert len(caplog.records) == 2
