"""Sums, units and words to spell, as people ask for them, need no language model; what is near does."""

import asyncio
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Command
from localvoice.tools import ToolError
from localvoice.tools.builtin import builtin_tools
from localvoice.tools.builtin.expressions import evaluate
from localvoice.tools.builtin.words.problems import problem_of
from tests.support.builtin_use import run_tool

DATA = Path(__file__).parents[1] / "support" / "data"
ASKED = {"calculate": "word_problems", "convert_units": "unit_questions", "spell": "spelling_questions"}
QUESTIONS = [
    (tool, answer, questions)
    for tool, name in ASKED.items()
    for answer, questions in tomllib.loads((DATA / f"{name}.toml").read_text()).items()
]
NEAR = {
    name: [line for line in (DATA / f"near_{name}.txt").read_text().splitlines() if line[:1] not in ("", "#")]
    for name in ASKED.values()
}
TOOLS = builtin_tools()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    Understanding().prepare(TOOLS)  # as at the start of an agent: it takes long


@pytest.mark.parametrize(("tool", "answer", "questions"), QUESTIONS, ids=lambda part: str(part)[:40])
async def test_the_tool_answers(tool: str, answer: str, questions: list[str]) -> None:
    for words in questions:
        known = Understanding().of(words, TOOLS, None)
        assert isinstance(known, Command), words
        assert known.name == tool, words
        result = await run_tool(known.name, known.arguments)
        assert result.result == answer, (words, result.error)


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        (
            [
                "Flip a coin, we can't decide who's washing up.",
                "Flip a coin. Heads I do the dishes.",
                "Hey, can you toss a coin for us?",
                "Could you flip me a coin real quick?",
            ],
            r"(Heads|Tails)\.",
        ),
        (
            [
                "Could you throw a normal six-sided die for me?",
                "Roll a die, it's my turn in the game.",
                "We lost our dice, can you roll one dice for us?",
            ],
            r"You rolled a [1-6]\.",
        ),
        (["Roll two dice for our board game, please."], r"You rolled [1-6] and [1-6]: \d+ in all\."),
        (["Okay, give the kids a number between one and ten."], r"([1-9]|10)\."),
        (["Tea or coffee, you pick.", "I can't decide, pick one: tea or coffee"], r"I pick (tea|coffee)\."),
    ],
)
async def test_it_is_left_to_chance(questions: list[str], says: str) -> None:
    for words in questions:
        known = Understanding().of(words, TOOLS, None)
        assert isinstance(known, Command), words
        assert known.name == "pick_random", words
        result = await run_tool(known.name, known.arguments)
        assert re.fullmatch(says, str(result.result), re.IGNORECASE), (words, result)


@pytest.mark.parametrize("name", NEAR)
async def test_what_is_near_is_left_to_the_language_model(name: str) -> None:
    for words in NEAR[name]:
        await asyncio.sleep(0)
        assert not isinstance(Understanding().of(words, TOOLS, None), Command), words


@pytest.mark.parametrize("name", NEAR)
def test_there_are_many(name: str) -> None:
    tool = next(tool for tool, its in ASKED.items() if its == name)
    assert sum(len(questions) for its, _, questions in QUESTIONS if its == tool) >= 60
    assert len(NEAR[name]) >= 40


PIECES = st.sampled_from(
    "I have 3 12 half 20% $5 dollars each per hour apples of and split between people tip off what how many "
    "much left change from is a the 1/0 0 that's miles 60 long minus times double 9999999".split()
)


@settings(deadline=1000)
@given(st.lists(PIECES, max_size=25).map(" ".join))
@example("what change from 1/0 $5")
@example("1/0 split between 3 people")
def test_any_words_are_a_sum_or_none(words: str) -> None:
    found = problem_of(words)
    if found is not None:
        try:
            evaluate(found.expression)
        except ToolError as error:
            assert str(error)
