"""What the LLM is told in a stage, and where the conversation is led on."""

import asyncio
from typing import Any

import pytest

from localvoice import (
    IntentCondition,
    LlmConfig,
    LlmDecisionCondition,
    MaxTurnsCondition,
    StageContext,
    TimeoutCondition,
    ToolCallCondition,
)
from localvoice.config import AgentSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Director, Exchange, PlainDirector, StageChange
from tests.support.playbook_talk import (
    TOOLS,
    ScriptedLlm,
    Talk,
    called,
    decision,
    said,
    targets,
    way,
)


def is_director(director: Director) -> Director:
    """For the type checker: what is passed here fits the protocol."""
    return director


async def test_it_is_a_director() -> None:
    assert not is_director(Talk(way("t", said("go"))).director).take_problems()
    assert is_director(PlainDirector(AgentSettings.model_validate({}), TOOLS)).take_problems() == ()


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


def test_a_reply_is_not_drafted_where_the_llm_is_asked_for_an_intent_first() -> None:
    assert Talk(way("t", said("go"))).director.foreseeable()
    assert not Talk(way("t", said("go")), way("u", IntentCondition(intent="pay"))).director.foreseeable()


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
    assert talk.director.seconds_left() is None  # nothing has been said yet
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
async def test_a_stage_that_leads_to_itself_starts_again() -> None:
    talk = Talk(way("t", TimeoutCondition(duration_ms=5_000), to="a", transition_message="Hello?"))
    await talk.turn("Hello")
    for _ in range(2):
        await asyncio.sleep(5)
        assert await talk.director.on_timeout() == StageChange("a", "a", "timeout", "Hello?")
    assert talk.director.seconds_left() == 5
    assert talk.figures.of(Metric.COMPLETIONS) == []


async def test_message_history_and_data_of_a_transition() -> None:
    action: dict[str, Any] = {
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
