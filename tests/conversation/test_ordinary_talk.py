"""What people ask and tell in passing is for the language model, whatever words it holds."""

import asyncio

from localvoice.conversation.phrases.understanding import Understanding
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


def test_there_is_much() -> None:
    assert len(TALK) >= 200
