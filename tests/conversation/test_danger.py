"""Words that may tell of danger: where no sentence is known, the LLM is asked about them before it talks."""

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from localvoice.catalog import load_catalog
from localvoice.conversation.gates import Gate, question
from localvoice.conversation.phrases.danger import danger_question
from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Say
from localvoice.conversation.speculation import Speculation
from localvoice.engines.chat import CALL_OR_NOTHING, ChatMessage, ToolCall
from localvoice.languages import language
from tests.conversation.test_tool_choice import open_door, replies, say
from tests.support.fakes import FakeLlm
from tests.support.session_room import Room, Rooms

pytestmark = pytest.mark.virtual_clock

UNHEARD_OF = "Cut my wrist with the chef's knife, it's spurting."
"""Of a danger, though no sentence for it is known."""
HARMLESS = "My red shirt is bleeding in the wash."
SAID: dict[str, list[str]] = tomllib.loads(
    (Path(__file__).parents[1] / "support" / "data" / "dangers.toml").read_text()
)
HELP = ToolCall("call_1", "get_help", {})


def urgent(r: Room) -> bool:
    return "Call" in replies(r)[-1] and "112" in replies(r)[-1]


async def test_words_that_no_rule_knows_have_the_llm_judge(room: Rooms) -> None:
    assert Understanding().of(UNHEARD_OF, (), None) is None
    r = room(llm=(llm := FakeLlm([HELP])), tools=[open_door])
    await say(r, UNHEARD_OF)
    (offer,) = llm.offers
    assert offer is not None and [tool.name for tool in offer.tools] == ["get_help"]
    assert offer.choice == CALL_OR_NOTHING and offer.lean > 0 and llm.asides == [True]
    assert urgent(r) and "Press hard on the wound" in replies(r)[-1]
    assert "tool-call-start" not in r.told(), "no tool is run"


async def test_where_it_finds_none_it_talks(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm([], "Then wash it cold.")), tools=[open_door])
    await say(r, HARMLESS)
    assert [offer is None for offer in llm.offers] == [False, True] and llm.asides == [True, False]
    assert replies(r) == ["Then wash it cold."]


async def test_an_llm_that_talks_where_it_should_call_or_write_nothing_is_listened_to(room: Rooms) -> None:
    r = room(llm=FakeLlm("Press on it."))
    await say(r, UNHEARD_OF)
    assert replies(r) == ["Press on it."]


async def test_it_is_asked_about_danger_and_then_about_tools(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm([], [], "Well.")), tools=[open_door])
    await say(r, "I'm bleeding the radiator by the gate.")
    named = [offer and [tool.name for tool in offer.tools] for offer in llm.offers]
    assert named == [["get_help"], ["open_door"], None] and replies(r) == ["Well."]


@pytest.mark.parametrize("words", ["How are you?", "Who wrote Hamlet?", "I like it here."])
async def test_other_words_cost_nothing(room: Rooms, words: str) -> None:
    r = room(llm=(llm := FakeLlm("Fine.")))
    await say(r, words)
    assert llm.offers == [None]


async def test_the_setting_of_emergencies_holds_for_it_too(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm("Press on it.")), phrases={"emergencies": False})
    await say(r, UNHEARD_OF)
    assert llm.offers == [None] and replies(r) == ["Press on it."]


async def test_what_was_answered_is_not_asked_again(room: Rooms) -> None:
    r = room(llm=FakeLlm([], "Then wash it cold."))
    await say(r, HARMLESS)
    brief, messages = r.agent.direct("x").brief(), r.conversation.history.messages
    assert messages[-1].role == "assistant" and await question(r.agent, brief, messages, frozenset()) is None
    first = await question(r.agent, brief, messages[:-1], frozenset())
    assert first is not None and first.gate is Gate.DANGER


def test_each_sign_has_an_answer_and_the_likeliest_one_counts() -> None:
    known, understanding = language("en"), Understanding()
    assert known is not None and known.danger is not None
    assert known.danger.signs.keys() <= known.replies.keys()
    answers = [understanding.help(name) for name in known.danger.signs]
    assert all(isinstance(each, Say) and each.urgent for each in answers)
    assert known.sign("A pan of hot oil fell on his chest, and the skin is burnt.") == "emergency.medical"
    assert known.sign("There's smoke, and the socket is in flames.") == "emergency.fire"
    assert known.sign("What a lovely day.") is None


@pytest.mark.parametrize("danger", [name for name in SAID if name != "harmless"])
def test_what_people_say_in_need_is_known_or_judged(danger: str) -> None:
    understanding = Understanding()
    for words in SAID[danger]:
        known = understanding.of(words, (), None)
        if known is None:
            assert understanding.sign_of_danger(words) == danger, words
        else:
            assert isinstance(known, Say) and known.urgent, words


def test_ordinary_talk_with_such_words_is_not_judged() -> None:
    judged = [words for words in SAID["harmless"] if Understanding().sign_of_danger(words) is not None]
    assert not judged


def test_words_between_those_of_a_sign_may_be_others() -> None:
    known = language("en")
    assert known is not None
    assert known.sign("He hit the back of his head.") == "emergency.medical"
    assert known.sign("He hit the road, and then the rain came over his head.") is None


def test_the_question_shows_both_answers() -> None:
    asked = danger_question("en")
    assert asked is not None and {tool for _, tool in asked.offer.examples} == {"", "get_help"}
    assert danger_question("xx") is None


async def test_a_draft_goes_on_to_the_talk_after_the_question(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm([], "Then wash it cold.")))
    conversation = r.conversation
    history = conversation.history_with(r.agent, HARMLESS)
    assert history is not None
    speculation = Speculation(r.agent)
    speculation.begin(source := object(), HARMLESS, conversation)
    await asyncio.sleep(1)
    assert [offer is None for offer in llm.offers] == [False, True], "before the turn begins"
    draft = speculation.take(source)
    assert draft is not None and draft.next is not None and draft.next.first_piece is not None
    speculation.drop_draft(draft)


async def test_a_model_that_can_not_judge_is_not_asked(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm("Press on it.")), tools=[open_door])
    agent = replace(r.agent, judges_danger=False)
    brief, said = agent.direct("x").brief(), [ChatMessage("user", UNHEARD_OF)]
    assert await question(agent, brief, said, frozenset()) is None and llm.offers == []
    assert load_catalog().models["smollm2-135m-instruct"].judges is False
