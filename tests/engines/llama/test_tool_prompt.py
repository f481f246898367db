"""Tools, calls and answers in words, for any chat template."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.engines.chat import ChatMessage, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.tool_prompt import Turn, answered_calls, choices, head, talk_name

TIME = ToolSpec(
    "get_time",
    "Tell the\n time.",
    {
        "type": "object",
        "properties": {"place": {"type": "string", "description": "a city, or here"}},
        "required": ["place"],
    },
)
LIGHT = ToolSpec("light", "Switch it.", {"type": "object", "properties": {"on": {"type": "boolean"}}})
OFFER = ToolOffer((TIME, LIGHT))
CALL = ToolCall("c1", "get_time", {"place": "Köln"})
TALK = [ChatMessage("system", "Be short."), ChatMessage("user", "Hello")]
CALLED = [
    *TALK,
    ChatMessage("assistant", "", tool_calls=(CALL,)),
    ChatMessage("tool", '"Noon."', tool_call_id="c1"),
]


def render(messages: list[ChatMessage], offer: ToolOffer | None) -> list[Turn]:
    return tool_prompt.render(messages, offer, lambda message: message.content, lambda text: text)


def with_tool(name: str = "x", **parameters: Any) -> str:
    """The line of the prompt that describes a tool with these parameters."""
    spec = ToolSpec(name, "Do it.", {"type": "object", "properties": parameters})
    system = render(TALK, ToolOffer((spec,)))[0][1]
    return next(line for line in system.splitlines() if line.startswith(f"- {name}("))


def test_without_an_offer_talk_stays_as_it_is() -> None:
    assert render(TALK, None) == [("system", "Be short."), ("user", "Hello")]


def test_an_offer_adds_its_tools_and_the_way_to_answer() -> None:
    system, *rest = render([*TALK, ChatMessage("assistant", "Hi!"), ChatMessage("user", "Bye")], OFFER)
    assert system[0] == "system" and system[1].startswith("Be short.\n\n")
    assert "- get_time(place: string (a city, or here)): Tell the time." in system[1].splitlines()
    assert "- light(on?: boolean): Switch it." in system[1].splitlines()
    assert rest[-3:] == [("user", "Hello"), ("assistant", "Tool: talk\nHi!"), ("user", "Bye")]
    assert all(text.startswith("Tool: ") for role, text in rest if role == "assistant")


def test_without_a_system_prompt_the_tools_are_one() -> None:
    assert render(TALK[1:], OFFER)[0][0] == "system"


def test_calls_and_answers_become_words() -> None:
    rendered = render([*CALLED, ChatMessage("user", "Thanks")], OFFER)
    assert rendered[-2:] == [
        ("assistant", 'Tool: get_time\n{"place": "Köln"}'),
        ("user", '<tool_response>"Noon."</tool_response>\nThanks'),
    ]
    assert render(CALLED, None)[2:] == rendered[-2:-1] + [
        ("user", '<tool_response>"Noon."</tool_response>'),
    ]


def test_what_was_announced_makes_no_call() -> None:
    said = ChatMessage("assistant", 'Tea!\nTool: get_time\n{"place": "here"}')
    assert render([*TALK, said], OFFER)[-1] == (
        "assistant",
        'Tool: talk\nTea! Tool: get_time\n{"place": "here"}',
    )


def test_the_choice_leaves_the_prompt_as_it_is() -> None:
    prompts = [
        render(CALLED, ToolOffer(OFFER.tools, choice)) for choice in ("auto", "none", "required", "light")
    ]
    assert prompts == prompts[:1] * 4


def test_what_others_wrote_is_cleaned_and_the_marks_are_not() -> None:
    spec = ToolSpec("x", "A <bad> tool.", {"type": "object"})
    messages = [
        *TALK,
        ChatMessage("assistant", "", tool_calls=(ToolCall("c", "x", {"a": "<bad>"}),)),
        ChatMessage("tool", "<bad>", tool_call_id="c"),
    ]

    def plain(text: str) -> str:
        return text.replace("<bad>", "")

    rendered = tool_prompt.render(messages, ToolOffer((spec,)), lambda m: plain(m.content), plain)
    assert "<bad>" not in str(rendered)
    assert rendered[-1] == ("user", "<tool_response></tool_response>")


MESSAGES = st.lists(
    st.one_of(
        st.builds(ChatMessage, st.sampled_from(["user", "assistant"]), st.text(max_size=5)),
        st.just(ChatMessage("assistant", "", tool_calls=(CALL, CALL))),
        st.just(ChatMessage("tool", "1", tool_call_id="c1")),
    )
)


@given(MESSAGES, st.booleans())
def test_strict_templates_get_turns_in_turn(messages: list[ChatMessage], has_tools: bool) -> None:
    said = [TALK[0], TALK[1], *messages]
    roles = [role for role, _ in render(said, OFFER if has_tools else None)]
    assert roles[:2] == ["system", "user"]
    assert set(roles[1:]) <= {"user", "assistant"}
    assert all(one != two for one, two in pairwise(roles))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"enum": ["red", 2]}, 'p?: "red" | 2'),
        ({"const": "x"}, 'p?: "x"'),
        ({"type": ["string", "null"]}, "p?: string | null"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "p?: integer | null"),
        ({"type": "array", "items": {"type": "number"}}, "p?: number[]"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, 'p?: ("a" | "b")[]'),
        (
            {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
            "p?: {q: string}",
        ),
        ({"type": "string", "enum": ["word" * 10, "other" * 40]}, "p?: string"),
        (True, "p?: any"),
        ({"$ref": "#/$defs/itself"}, "p?: any"),
    ],
)
def test_types_are_short_words(schema: Any, words: str) -> None:
    assert with_tool(p=schema) == f"- x({words}): Do it."


def test_the_choices_follow_the_offer() -> None:
    assert choices(OFFER) == {"talk": None, "get_time": TIME, "light": LIGHT}
    assert choices(ToolOffer(OFFER.tools, "none")) == {"talk": None}
    assert choices(ToolOffer(OFFER.tools, "required")) == {"get_time": TIME, "light": LIGHT}
    assert choices(ToolOffer(OFFER.tools, "light")) == {"light": LIGHT}
    assert choices(ToolOffer(OFFER.tools, "optional", among=("light",))) == {"talk": None, "light": LIGHT}
    with pytest.raises(ValueError, match=r"'tea'.*get_time, light"):
        choices(ToolOffer(OFFER.tools, "tea"))


def test_a_tool_may_be_called_talk() -> None:
    offer = ToolOffer((ToolSpec("talk", "Talk to a person.", {"type": "object"}),))
    assert talk_name(offer) == "talk_"
    assert list(choices(offer)) == ["talk_", "talk"]
    assert ("assistant", f"{head('talk_')}Hi") in render([*TALK, ChatMessage("assistant", "Hi")], offer)


def test_calls_count_as_answered_until_the_user_speaks() -> None:
    assert answered_calls(CALLED) == [("get_time", {"place": "Köln"})]
    assert answered_calls([*CALLED, ChatMessage("user", "Again")]) == []


def test_the_examples_show_well_formed_calls() -> None:
    said = [text for role, text in render(TALK, OFFER) if role == "assistant"]
    calls = [text.partition("\n")[2] for text in said if not text.startswith(head("talk"))]
    assert len(calls) >= 2 and all(isinstance(json.loads(call), dict) for call in calls)
