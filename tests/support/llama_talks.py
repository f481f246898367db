"""PromptCache at one small language model, which at the beginning of each test knows nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing

import pytest

from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.llama import cache as llama_state
from localvoice.engines.llama.engine import LlamaLlm
from tests.support.llama_reads import counted_reads
from tests.support.small_llama import MODEL, PLAN

SYSTEM = ChatMessage("system", "You are a helpful voice assistant. Answer in one short sentence. " * 8)
FEW = 40
"""Tokens of a question and what the template puts around it, at most."""


@pytest.fixture(scope="module")
def loaded() -> Iterator[LlamaLlm]:
    if not MODEL.exists():
        pytest.skip("SmolLM2 isn't downloaded: make download-models PROFILE=tiny")
    engine = asyncio.run(LlamaLlm.load("smollm2-135m-instruct", MODEL, PLAN, context_tokens=2048))
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def llm(loaded: LlamaLlm) -> LlamaLlm:
    """It knows nothing."""
    loaded._model._cache = llama_state.PromptCache(loaded._model._llama)
    loaded._model._llama.n_tokens = 0
    return loaded


@pytest.fixture
def reads(llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return counted_reads(llm, monkeypatch)


class Talk:
    """One session's conversation."""

    def __init__(self, llm: LlamaLlm, *words: str) -> None:
        self._llm = llm
        self._words = iter(words)
        self.messages = [SYSTEM]

    async def goes_on(self, max_tokens: int = 12) -> str:
        self.messages.append(ChatMessage("user", next(self._words)))
        said = await reply(self._llm, self.messages, max_tokens)
        self.messages.append(ChatMessage("assistant", said))
        return said


async def reply(
    llm: LlamaLlm, messages: Sequence[ChatMessage], max_tokens: int = 12, aside: bool = False
) -> str:
    async with aclosing(llm.reply(messages, Sampling(max_tokens=max_tokens), aside=aside)) as items:
        return "".join([item async for item in items if isinstance(item, str)])


def france(llm: LlamaLlm) -> Talk:
    return Talk(llm, "What is the capital of France?", "And of Spain?", "And of Italy?")


def eggs(llm: LlamaLlm) -> Talk:
    return Talk(llm, "How do I boil an egg?", "How long does it take?", "What goes well with it?")
