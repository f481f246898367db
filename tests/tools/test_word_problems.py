"""Word problems are done without a language model; what only holds numbers is left to it."""

import asyncio
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Command
from localvoice.tools import ToolError
from localvoice.tools.builtin import builtin_tools
from localvoice.tools.builtin.arithmetic import evaluate
from localvoice.tools.builtin.words.problems import problem_of
from tests.support.builtin_use import run_tool

DATA = Path(__file__).parents[1] / "support" / "data"
PROBLEMS: dict[str, list[str]] = tomllib.loads((DATA / "word_problems.toml").read_text())
NEAR_PROBLEMS = [
    line for line in (DATA / "near_word_problems.txt").read_text().splitlines() if line[:1] not in ("", "#")
]
TOOLS = builtin_tools()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    Understanding().prepare(TOOLS)  # as at the start of an agent: it takes long


@pytest.mark.parametrize("answer", PROBLEMS)
async def test_a_word_problem_is_worked_out(answer: str) -> None:
    for words in PROBLEMS[answer]:
        known = Understanding().of(words, TOOLS, None)
        assert isinstance(known, Command), words
        assert known.name == "calculate", words
        result = await run_tool(known.name, known.arguments)
        assert result.result == answer, (words, result.error)


async def test_what_only_holds_numbers_is_left_to_the_language_model() -> None:
    for words in NEAR_PROBLEMS:
        await asyncio.sleep(0)
        assert Understanding().of(words, TOOLS, None) is None, words


def test_there_are_many() -> None:
    assert sum(map(len, PROBLEMS.values())) >= 200
    assert len(NEAR_PROBLEMS) >= 60


PIECES = st.sampled_from(
    "I have 3 12 half 20% $5 dollars each per hour apples of and split between people tip off what how many "
    "much left change from is a the 1/0 0 that's miles 60 long minus times double 9999999".split()
)


@settings(deadline=1000)
@given(st.lists(PIECES, max_size=25).map(" ".join))
def test_any_words_are_a_sum_or_none(words: str) -> None:
    found = problem_of(words)
    if found is not None:
        try:
            evaluate(found.expression)
        except ToolError as error:
            assert str(error)
