"""What all conversations begin with is read once, and is never forgotten."""

import pytest

from localvoice.engines.chat import OPENING, ChatMessage
from localvoice.engines.llama.engine import LlamaLlm
from tests.support.llama_talks import FEW, reply
from tests.support.llama_talks import llm as llm
from tests.support.llama_talks import loaded as loaded
from tests.support.llama_talks import reads as reads

RULES = ChatMessage("system", "You know all about bridges, and you answer in one short sentence. " * 8)
OTHER = ChatMessage("system", "You count sheep, and you say a number. " * 8)


async def read(llm: LlamaLlm, *messages: ChatMessage) -> None:
    prompt = await llm.prompt(messages)
    prompt.talk = OPENING
    await llm.prepare(prompt)


@pytest.mark.integration
async def test_an_opening_stays_whatever_is_said_and_forgotten(llm: LlamaLlm, reads: list[int]) -> None:
    await read(llm, RULES)
    await read(llm, OTHER)
    for number in range(12):
        await reply(llm, [ChatMessage("user", f"What is {number} and {number}? " * 6)], 1)
        await reply(llm, [OTHER, ChatMessage("user", f"Count to {number}.")], 1, aside=True)
    await llm.forget()
    for opening in (RULES, OTHER):
        reads.clear()
        await reply(llm, [opening, ChatMessage("user", "Go on.")], 1)
        assert sum(reads) <= FEW + 12


@pytest.mark.integration
async def test_an_opening_without_room_is_not_kept(
    llm: LlamaLlm, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm._model._cache, "_kept_bytes", 0)
    await read(llm, RULES)
    await llm.forget()
    reads.clear()
    await reply(llm, [RULES, ChatMessage("user", "Go on.")], 1)
    assert sum(reads) > FEW + 12
