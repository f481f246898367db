"""Reasoning in all the ways that models mark it: none of it is for the listener, and all else is."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from localvoice.engines import reasoning
from localvoice.engines.chat import CutOff, ReplyItem, Retracted, Thinking, ToolCall
from localvoice.engines.reasoning import BLOCKS, SpokenText, left_open, spoken


def heard(text: str, *sizes: int, ends: Sequence[str] = (), controls: Sequence[str] = ()) -> str:
    """What is left of the text when it comes in deltas of these sizes, again and again."""
    filtered, kept, at, number = SpokenText(ends, controls), "", 0, 0
    while at < len(text) and not filtered.over:
        size = sizes[number % len(sizes)]
        said = filtered.feed(text[at : at + size])
        kept = said if filtered.retracted else kept + said
        at, number = at + size, number + 1
    return kept + filtered.flush()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("text", "left"),
    [
        *((f"{opener}Be kind.\n{closer}\n\nHello.", "Hello.") for opener, closer in BLOCKS.items()),
        ("<think></think>Hello.", "Hello."),
        ("\n<think>\n\n</think>\n\nHello.", "\nHello."),
        ("<think>A tag <b> and [x], a < b, </thinking> too.</think>Hello.", "Hello."),
        ("<think>One.</think>\n<think>Two.</think>\nHello.", "Hello."),
        ("Wait. <think>Which one?</think>The red one.", "Wait. The red one."),
        ("<think>This never ends", ""),
        ("They greet me. Be short.\n</think>\n\nHello.", "Hello."),
        ("They greet me.[/THINK]Hello.", "Hello."),
        # Channels.
        ("<|channel|>final<|message|>Hello.<|return|>", "Hello."),
        ("<|channel|>analysis<|message|>A greeting.", ""),
        (
            "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
            "Hello.",
        ),
        (
            "<|start|>assistant<|channel|>analysis<|message|>A.<|end|>"
            "<|start|>assistant<|channel|>commentary to=clock<|message|>{}<|call|>"
            "<|start|>assistant<|channel|>final<|message|>Hello.<|end|><|start|>user<|message|>Hi",
            "Hello.",
        ),
        # What belongs to a chat template ends the reply, and what stands before its first word is its header.
        ("Hello.<|im_end|>\n<|im_start|>user\nHow are you?", "Hello."),
        ("Hello.</s>", "Hello."),
        ("Hello.<end_of_turn>\n<start_of_turn>user", "Hello."),
        ("Hello. [INST] And now?", "Hello. "),
        ("<|im_start|>assistant\nHello.<|im_end|>", "Hello."),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nHello.", "\n\nHello."),
        ("<start_of_turn>model\nHello.", "Hello."),
        ("<|im_start|>user\nHow are you?", ""),
        ("<|assistant|>Hello.", "Hello."),
    ],
)
def test_only_what_is_for_the_listener_is_left(text: str, left: str, size: int) -> None:
    assert heard(text, size) == left


ORDINARY = [
    "If a<b then c is bigger, but if x<think you are, it is thinking.",
    "I think <thin> is a word, and </b> ends bold. Think!",
    "The list is List<String>, and [1] is the first, [THIS] the next.",
    "5 < 7, 7 > 5, <jane@example.com>, <https://example.com>, <|, |>, <|x|> and ◁ are fine.",
    "Milk<br>Eggs<br>Bread, <start of turn>, [IN], <s",
    "It ends with a <",
    "It ends with <thi",
    "",
    "   \n",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_untouched(text: str) -> None:
    for size in (1, 2, 3, 1000):
        assert heard(text, size) == text


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_hardly_held_back(text: str) -> None:
    """Only the beginning of a mark is, for as long as it may be one."""
    filtered, given = SpokenText(), ""
    for number, character in enumerate(text, 1):
        given += filtered.feed(character)
        held = text[len(given) : number]
        assert not held or held[0] in "<[◁" and len(held) < len("<think>")


def test_marks_come_in_deltas_of_any_size() -> None:
    chance = random.Random(5)
    text = "<think>One.</think> <|channel|>final<|message|>It is 3 < 5. <think>Two.</think>Fine.</s>No."
    whole = heard(text, 1000)
    assert whole == "It is 3 < 5. Fine."
    for _ in range(200):
        assert heard(text, *(chance.randint(1, 9) for _ in range(20))) == whole


def test_a_models_own_control_tokens_and_the_ends_of_a_request_end_the_reply() -> None:
    text = "Fine.<|mine|>No.\nTool: clock"
    assert heard(text, 1) == text
    assert heard(text, 1, controls=["<|mine|>"]) == "Fine."
    assert heard("<|mine|>Fine.", 1, controls=["<|mine|>"]) == "Fine."
    assert heard("Fine.\nTool: clock", 1, ends=["\nTool:"]) == "Fine."
    assert heard("<think>\nTool: a</think>Fine.\nTools", 1, ends=["\nTool:"]) == "Fine.\nTools"


def test_what_turns_out_to_be_reasoning_is_taken_back_once() -> None:
    filtered = SpokenText()
    assert filtered.feed("They greet me. ") == "They greet me. " and not filtered.retracted
    assert filtered.feed("</think>\n\nHel") == "Hel" and filtered.retracted
    assert filtered.block == ("<think>", "</think>")
    assert filtered.feed("lo.") == "lo." and not filtered.retracted
    early = SpokenText()
    assert early.feed("They greet me.</think>Hello.") == "Hello."
    assert not early.retracted, "nothing of it was given"


def test_a_prompt_may_begin_the_reasoning() -> None:
    assert left_open("<|im_start|>assistant\n<think>\n") == "</think>"
    assert left_open("assistant\n◁think▷") == "◁/think▷"
    assert left_open("<think>\n\n</think>\n\n") == left_open("What is <think>?") == left_open("") == ""


async def deltas(*items: ReplyItem | float) -> AsyncGenerator[ReplyItem, None]:
    """Items, and pauses in seconds."""
    for item in items:
        if isinstance(item, float):
            await asyncio.sleep(item)
        else:
            yield item


async def given(*items: ReplyItem | float) -> list[ReplyItem]:
    async with aclosing(spoken(deltas(*items))) as reply:
        return [item async for item in reply]


@pytest.mark.virtual_clock
async def test_any_llms_reply_is_given_without_its_reasoning() -> None:
    call = ToolCall("1", "clock", {})
    assert await given("<think>A", "b</think>", "Hello", ".", CutOff()) == ["Hello", ".", CutOff()]
    assert await given("It is <", call) == ["It is ", "<", call]
    assert await given("A <") == ["A ", "<"]
    assert await given("A.", "</think>B.") == ["A.", Retracted(), "B."]
    assert await given("A.</s>", "B.") == ["A."]


@pytest.mark.virtual_clock
async def test_reasoning_that_lasts_is_told_once_and_ended_in_the_end() -> None:
    quick: list[ReplyItem | float] = ["<think>", 1.0, "a", 0.5, "b", "</think>", "Hello."]
    assert await given(*quick) == ["Hello."]
    lasting: list[ReplyItem | float] = ["<think>", 1.5, "a", 1.5, "b", 1.0, "c", "</think>", "Hello."]
    assert await given(*lasting) == [Thinking(), "Hello."]
    seconds: list[ReplyItem | float] = [1.0, "a"]
    endless = ["<think>", *(100 * seconds)]
    start = asyncio.get_running_loop().time()
    assert await given(*endless) == [Thinking()]
    assert asyncio.get_running_loop().time() - start == reasoning.MOST_SECONDS
