"""A language model that is to forget: nothing of what it has read is left, and a reply goes on to its end."""

import asyncio

import llama_cpp
import pytest

from localvoice.engines import jobs as job_module
from localvoice.engines.chat import ChatMessage
from localvoice.engines.llama.engine import LlamaLlm
from tests.support.llama_talks import eggs, france, reply
from tests.support.llama_talks import llm as llm
from tests.support.llama_talks import loaded as loaded
from tests.support.llama_talks import reads as reads


def known(llm: LlamaLlm) -> str:
    """The words of all that is kept, in the cache or out of it, also behind the end of it."""
    llama, talks = llm._model._llama, llm._model._cache
    ids = [llama.input_ids.tolist(), *(kept.tokens.tolist() for kept in talks._kept)]
    # Behind the end it may be memory that was never written: numbers that are no tokens end the process.
    tokens = [[each for each in some if 0 <= each < llama.n_vocab()] for some in ids]
    return " ".join(llama.detokenize(each).decode(errors="replace") for each in tokens)


@pytest.mark.integration
async def test_what_is_to_be_forgotten_is_not_kept(llm: LlamaLlm, reads: list[int]) -> None:
    talk = france(llm)
    await talk.goes_on()
    await reply(llm, [ChatMessage("user", "My secret is a plum. " * 20)], 8)
    await reply(llm, [ChatMessage("user", "They say that their secret is a plum. " * 20)], 8, aside=True)
    await eggs(llm).goes_on()
    assert "plum" in known(llm) and "France" in known(llm)

    await llm.forget()
    assert "plum" not in known(llm) and "France" not in known(llm)
    llama = llm._model._llama
    size = llama_cpp.llama_state_seq_get_size(llama.ctx, 0)
    assert size < 1000, "nor are there states of any token"

    reads.clear()
    said = await talk.goes_on()
    assert sum(reads) > 100, "it is read again"
    await llm.forget()
    assert said == await reply(llm, talk.messages[:-1]), "and goes on as one that was never forgotten"


@pytest.mark.integration
async def test_who_writes_meanwhile_goes_on_writing(
    llm: LlamaLlm, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [await talk.goes_on(24) for talk in (france(llm), eggs(llm))]
    await llm.forget()
    monkeypatch.setattr(job_module, "TURN_SECONDS", 1e-6)
    await reply(llm, [ChatMessage("user", "My secret is a plum. " * 20)], 8)

    async def forget_often() -> None:
        for _ in range(5):
            await asyncio.sleep(0.05)
            await llm.forget()

    *said, _ = await asyncio.gather(france(llm).goes_on(24), eggs(llm).goes_on(24), forget_often())
    assert said == expected
    assert "plum" not in known(llm)
