"""When each kind of condition holds."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from localvoice import (
    CustomCondition,
    IntentCondition,
    KeywordCondition,
    LlmDecisionCondition,
    MaxTurnsCondition,
    Playbook,
    Stage,
    TimeoutCondition,
    Tool,
    ToolCallCondition,
    Transition,
    TransitionAction,
)
from localvoice.conversation.agent import Exchange
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.playbook.asking import classify, transition_tool
from localvoice.playbook.conditions import Evidence, Handler, Intent, Verdict, judge, words_of


def call(tool: str, **arguments: Any) -> ToolCall:
    return ToolCall("call-1", tool, arguments)


def way(condition: Any, to: str = "b", description: str = "") -> Transition:
    action = TransitionAction(target_stage=to)
    return Transition(id="t", from_stage="a", condition=condition, action=action, description=description)


async def verdict(
    condition: Any,
    words: str = "",
    calls: tuple[ToolCall, ...] = (),
    reply: str = "",
    answered: bool = False,
    turns: int = 1,
    seconds: float = 0,
    stage: Mapping[str, Any] | None = None,
    intent: Intent | None = None,
    agrees: bool = False,
) -> Verdict | None:
    async def ask_intent() -> Intent | None:
        return intent

    async def ask_handler(handler: Handler) -> bool:
        assert handler == "ready"
        return agrees

    evidence = Evidence(words, calls, reply, answered, turns, seconds, **(stage or {}))
    return await judge(condition, "b", evidence, ask_intent, ask_handler)


async def reason(condition: Any, **circumstances: Any) -> str | None:
    given = await verdict(condition, **circumstances)
    return given.reason if given else None


@pytest.mark.parametrize(
    ("keyword", "words", "holds"),
    [
        ("cancel", "Please CANCEL it.", True),
        ("cancel", "The cancellation", False),
        ("cancel", "uncancel", False),
        ("talk to a person", "Could I talk, to a person?", True),
        ("talk to a person", "Talk to that person", False),
        ("don't", "I don\u2019t know", True),
        ("check-in", "the check in desk", True),
        ("STRASSE", "Königstraße, Straße 7", True),
        ("911", "call 911!", True),
        ("911", "call 9112", False),
        ("c++", "I write C", True),
        ("cancel", "", False),
    ],
)
async def test_keywords_are_whole_words_in_any_case(keyword: str, words: str, holds: bool) -> None:
    condition = KeywordCondition(keywords=("never said", keyword))
    assert await reason(condition, words=words) == (f"keyword {keyword}" if holds else None)


async def test_keywords_of_the_reply() -> None:
    condition = KeywordCondition(keywords=("goodbye",), in_reply=True)
    assert await reason(condition, words="Goodbye!") is None
    assert await reason(condition, reply="Well then, goodbye.", answered=True) == "keyword goodbye"


async def test_a_tool_call() -> None:
    condition = ToolCallCondition(tool_name="book")
    assert await reason(condition) is None
    assert await reason(condition, calls=(call("look"),)) is None
    assert await reason(condition, calls=(call("look"), call("book"))) == "tool_call book"


async def test_a_tool_call_with_arguments() -> None:
    condition = ToolCallCondition(tool_name="book", arguments={"people": 2, "note": None})
    assert await reason(condition, calls=(call("book", people=3, note=None),)) is None
    assert await reason(condition, calls=(call("book", people=2),)) is None
    assert (
        await reason(condition, calls=(call("book", people=2, note=None, day="Friday"),)) == "tool_call book"
    )


async def test_an_intent_needs_confidence() -> None:
    condition = IntentCondition(intent="cancel", confidence=0.75)
    assert await reason(condition, words="Stop", intent=Intent("cancel", 0.75)) == "intent cancel"
    assert await reason(condition, words="Stop", intent=Intent("cancel", 0.5)) is None
    assert await reason(condition, words="Stop", intent=Intent("other", 1.0)) is None
    assert await reason(condition, words="Stop", intent=None) is None


async def test_without_words_no_intent_is_asked_for() -> None:
    assert await reason(IntentCondition(intent="cancel"), words="", intent=Intent("cancel", 1.0)) is None


async def test_a_handler_says() -> None:
    assert await reason(CustomCondition(evaluate="ready"), agrees=True) == "custom"
    assert await reason(CustomCondition(evaluate="ready"), agrees=False) is None


@pytest.mark.parametrize(
    ("count", "own", "turns", "holds"),
    [(2, None, 1, False), (2, None, 2, True), (None, 3, 2, False), (None, 3, 3, True), (5, 3, 3, True)],
)
async def test_turns_are_counted_after_the_answer(
    count: int | None, own: int | None, turns: int, holds: bool
) -> None:
    condition, stage = MaxTurnsCondition(count=count), {"max_turns": own}
    assert await reason(condition, stage=stage, turns=turns) is None
    assert await reason(condition, stage=stage, turns=turns, answered=True) == (
        "max_turns" if holds else None
    )


async def test_turns_without_a_limit_are_never_over() -> None:
    assert await reason(MaxTurnsCondition(), turns=99, answered=True) is None
    assert await reason(TimeoutCondition(), seconds=99, answered=True) is None


@pytest.mark.parametrize(
    ("duration", "own", "seconds", "holds"),
    [(2000, None, 1.9, False), (2000, None, 2.0, True), (None, 3000, 3.0, True), (9000, 3000, 3.0, True)],
)
async def test_time_is_judged_after_the_answer(
    duration: int | None, own: int | None, seconds: float, holds: bool
) -> None:
    condition, stage = TimeoutCondition(duration_ms=duration), {"timeout_ms": own}
    assert await reason(condition, stage=stage, seconds=seconds) is None
    after = await reason(condition, stage=stage, seconds=seconds, answered=True)
    assert after == ("timeout" if holds else None)


async def test_the_llm_decides() -> None:
    condition = LlmDecisionCondition()
    decision = call("playbook_transition", targetStage="b", reason="all is said", data={"people": 2})
    assert await verdict(condition) is None
    assert await verdict(condition, calls=(call("book", targetStage="b"),)) is None
    assert await verdict(condition, calls=(decision,)) == Verdict("all is said", {"people": 2})
    elsewhere = call("playbook_transition", targetStage="c", reason="")
    assert await verdict(condition, calls=(decision, elsewhere)) is None
    bare = call("playbook_transition", targetStage="b", reason="", data="people")
    assert await verdict(condition, calls=(elsewhere, bare)) == Verdict("llm_decision", {})


async def test_the_tool_by_which_the_llm_decides() -> None:
    stages = tuple(
        Stage(id=each, name=each.upper(), system_prompt="Talk.", description=description)
        for each, description in (("a", ""), ("b", "Booking a table."), ("c", ""))
    )

    def tool_for(*ways: Transition) -> Tool | None:
        playbook = Playbook(id="p", name="P", initial_stage="a", stages=stages, transitions=ways)
        return transition_tool(playbook, "a")

    ways = [
        way(LlmDecisionCondition(), description="The day is known"),
        way(LlmDecisionCondition(), description="never read"),
        way(LlmDecisionCondition(), to="c"),
        way(KeywordCondition(keywords=("go",))),
    ]
    tool = tool_for(*ways)
    assert tool is not None
    assert tool.name == "playbook_transition"
    assert tool.spec.description.endswith("b: The day is known. c: C.")
    assert tool.spec.parameters["properties"]["targetStage"]["enum"] == ["b", "c"]
    assert tool.spec.parameters["required"] == ["targetStage", "reason"]
    assert set(tool.spec.parameters["properties"]) == {"targetStage", "reason", "data"}
    arguments = tool.validate({"targetStage": "c", "reason": "so", "data": {"people": 2}})
    context: Any = None
    assert await tool.handler(arguments, context) == {"accepted": True, "targetStage": "c"}
    own = tool_for(way(LlmDecisionCondition()))
    assert own is not None and own.spec.description.endswith("b: Booking a table.")
    assert tool_for(*ways[3:]) is None


def test_words() -> None:
    assert words_of("  It's 5 o'clock -- OK?! ") == ["it's", "5", "o'clock", "ok"]
    assert words_of("... ?!") == []


class Classifier:
    """An LLM that answers with these items and notes what it was asked."""

    def __init__(self, *items: str | ToolCall) -> None:
        self._items = items
        self.messages: Sequence[ChatMessage] = ()
        self.offer: ToolOffer | None = None

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        self.messages, self.offer = messages, offer
        for item in self._items:
            yield item


async def classified(llm: Any) -> Intent | None:
    wanted = [
        IntentCondition(intent="cancel_order"),
        IntentCondition(intent="pay", description="wants to pay"),
    ]
    messages = (
        ChatMessage("user", "Hello"),
        ChatMessage("assistant", "How can I help?"),
        ChatMessage("user", "I don't want it."),
    )
    return await classify(llm, wanted, Exchange("t", "I don't want it.", (), (), "", messages))


async def test_the_llm_is_asked_for_the_intent_under_a_forced_call() -> None:
    llm = Classifier(call("playbook_intent", intent="cancel_order", confidence=75))
    assert await classified(llm) == Intent("cancel_order", 0.75)
    assert llm.offer is not None
    (spec,) = llm.offer.tools
    assert llm.offer.choice == spec.name == "playbook_intent"
    assert spec.parameters["properties"]["intent"]["enum"] == ["cancel_order", "pay", "other"]
    assert spec.parameters["properties"]["confidence"]["enum"] == [0, 25, 50, 75, 100]
    assert [message.role for message in llm.messages] == ["system", "user"]
    for words in ("- cancel_order: cancel order", "- pay: wants to pay", "- other: "):
        assert words in llm.messages[0].content
    assert "How can I help?" in llm.messages[1].content
    assert "I don't want it." in llm.messages[1].content


@pytest.mark.parametrize(
    ("item", "intent"),
    [
        (call("playbook_intent", intent="pay", confidence=900), Intent("pay", 1.0)),
        (call("playbook_intent", intent="pay", confidence="sure"), Intent("pay", 0.0)),
        (call("playbook_intent", intent="pay"), Intent("pay", 0.0)),
        (call("playbook_intent", intent="fly", confidence=100), None),
        (call("playbook_intent"), None),
        ("I think they want to pay.", None),
    ],
)
async def test_answers_that_no_grammar_would_give(item: str | ToolCall, intent: Intent | None) -> None:
    assert await classified(Classifier(item)) == intent
