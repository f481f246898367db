"""What people ask and tell in passing is for the language model, whatever words it holds."""

import asyncio

from localvoice.conversation.agent import Brief
from localvoice.conversation.phrases.understanding import Understanding
from localvoice.engines.chat import CHOOSE_FREELY, Sampling
from localvoice.tools import tool
from localvoice.tools.builtin import builtin_tools
from tests.conversation.test_understood import DATA

TALK = [line for line in (DATA / "ordinary_talk.txt").read_text().splitlines() if not line.startswith("#")]


async def test_no_rule_takes_it() -> None:
    tools = builtin_tools()
    taken = {}
    for words in TALK:
        await asyncio.sleep(0)
        if (understood := Understanding().of(words, tools, None)) is not None:
            taken[words] = understood
    assert not taken


def test_few_of_it_has_the_llm_look_at_the_tools() -> None:
    brief = Brief("", tuple(builtin_tools()), CHOOSE_FREELY, Sampling())
    assert len([words for words in TALK if brief.cued(words)]) <= len(TALK) / 30


def test_a_cue_may_be_a_part_of_a_sentence() -> None:
    @tool(cues=["(next|last) [night] bus", "tram"])
    def timetable() -> str:
        """Read the timetable."""
        return ""

    brief = Brief("", (timetable,), CHOOSE_FREELY, Sampling())
    for words in ("When is the last night bus?", "The Next bus, please!", "Is there a tram?"):
        assert brief.cued(words), words
    for words in ("I took the bus.", "Trams are red.", "Last night I missed the bus."):
        assert not brief.cued(words), words


def test_there_is_much() -> None:
    assert len(TALK) >= 200
