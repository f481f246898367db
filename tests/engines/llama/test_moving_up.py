"""A prompt that leaves something of its talk out: what follows is moved up in the cache, not read again."""

import pytest

from localvoice.engines.chat import ChatMessage
from localvoice.engines.llama.engine import LlamaLlm
from tests.support.llama_talks import FEW, SYSTEM, eggs, reply
from tests.support.llama_talks import llm as llm
from tests.support.llama_talks import loaded as loaded
from tests.support.llama_talks import reads as reads

OLD = [
    ChatMessage("user", "My name is Marta, and I am looking for a small flat in Ghent."),
    ChatMessage("assistant", "Hello Marta. Ghent is a lovely city, and there are many small flats."),
]
KEPT = [
    ChatMessage("user", "My sister Ingrid lives in Lisbon, and she works there as a carpenter."),
    ChatMessage("assistant", "I see. Lisbon is a beautiful city, and carpenters are needed everywhere."),
    ChatMessage("user", "We have a dog called Biscuit, who likes to run on the beach every day."),
    ChatMessage("assistant", "Biscuit is a nice name for a dog, and the beach is a good place to run."),
]
NOTES = [
    ChatMessage("user", "Remember what I told you earlier. My name is Marta."),
    ChatMessage("assistant", "Yes, I remember."),
]
QUESTION = ChatMessage("user", "What is our dog called?")

pytestmark = pytest.mark.integration


async def ask(llm: LlamaLlm, *messages: ChatMessage, talk: object) -> str:
    prompt = await llm.prompt([SYSTEM, *messages])
    prompt.talk = talk
    return await reply(llm, prompt)


async def test_only_what_is_new_is_read(llm: LlamaLlm, reads: list[int]) -> None:
    talk = object()
    await ask(llm, *OLD, *KEPT, QUESTION, talk=talk)
    reads.clear()
    assert "Biscuit" in await ask(llm, *KEPT, QUESTION, talk=talk)
    assert sum(reads) <= FEW + 12
    reads.clear()
    await ask(llm, *KEPT, *NOTES, QUESTION, talk=talk)
    assert sum(reads) <= 2 * FEW + 12
    reads.clear()
    await ask(llm, *KEPT[2:], *NOTES, QUESTION, talk=talk)
    assert sum(reads) <= FEW + 12


async def test_of_another_talk_nothing_is_moved(llm: LlamaLlm, reads: list[int]) -> None:
    await ask(llm, *KEPT, QUESTION, talk=object())
    alone = await ask(llm, *KEPT[2:], QUESTION, talk=object())
    llm._model.forget()
    for one, other in ((object(), object()), (None, None), (object(), None), (None, object())):
        await ask(llm, *OLD, *KEPT, QUESTION, talk=one)
        reads.clear()
        assert await ask(llm, *KEPT[2:], QUESTION, talk=other) == alone
        assert sum(reads) > FEW + 12
        llm._model.forget()


async def test_what_is_kept_outside_of_the_cache_is_moved_up_as_well(llm: LlamaLlm, reads: list[int]) -> None:
    talk = object()
    await ask(llm, *OLD, *KEPT, QUESTION, talk=talk)
    await eggs(llm).goes_on()
    reads.clear()
    assert "Biscuit" in await ask(llm, *KEPT, QUESTION, talk=talk)
    assert sum(reads) <= FEW + 12
    assert len(llm._model._cache._kept) == 1, "the other talk; what is left out never comes back"


async def test_forgetting_leaves_nothing_to_move(llm: LlamaLlm, reads: list[int]) -> None:
    talk = object()
    await ask(llm, *OLD, *KEPT, QUESTION, talk=talk)
    llm._model.forget()
    reads.clear()
    await ask(llm, *KEPT, QUESTION, talk=talk)
    assert sum(reads) > 150
