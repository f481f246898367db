"""Prompts that are tokenised once, away from the event loop, and read as they are."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Prompt, Sampling, ToolOffer, ToolSpec
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.pictures import Image
from tests.support.small_llama import MODEL, PLAN

pytestmark = pytest.mark.integration

ASKED = [ChatMessage("system", "Be short."), ChatMessage("user", "What is the capital of France?")]
CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object"})
LIGHT = ToolSpec("light", "Switches the light.", {"type": "object"})


@pytest.fixture(scope="module")
def llm() -> Iterator[LlamaLlm]:
    if not MODEL.exists():
        pytest.skip("SmolLM2 isn't downloaded: make download-models PROFILE=tiny")
    engine = asyncio.run(LlamaLlm.load("smollm2-135m-instruct", MODEL, PLAN, context_tokens=1024))
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def rendered(llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The thread of each time that the chat template is applied, from now on."""
    template = llm._model.prompts._template
    threads: list[str] = []

    def watched(messages: Any) -> Any:
        threads.append(threading.current_thread().name)
        return template(messages)

    monkeypatch.setattr(llm._model.prompts, "_template", watched)
    return threads


async def reply(llm: LlamaLlm, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> str:
    async with aclosing(llm.reply(messages, Sampling(max_tokens=12), offer)) as items:
        return "".join([str(item) async for item in items])


async def test_a_prompt_is_tokenised_once_and_off_the_event_loop(llm: LlamaLlm, rendered: list[str]) -> None:
    prompt = await llm.prompt(ASKED)
    await llm.prepare(prompt)
    said = await reply(llm, prompt)
    (thread,) = rendered
    assert thread not in ("MainThread", "llm")
    assert said == await reply(llm, ASKED) and len(rendered) == 2


async def test_it_is_its_messages(llm: LlamaLlm) -> None:
    prompt = await llm.prompt(ASKED, ToolOffer((CLOCK,)))
    assert list(prompt) == ASKED and prompt == tuple(ASKED)
    assert prompt.offer == ToolOffer((CLOCK,))
    assert not isinstance(prompt[:1], Prompt), "a part of it has other tokens"


async def test_its_tokens_are_those_that_are_read(llm: LlamaLlm) -> None:
    prompt = await llm.prompt(ASKED)
    assert (
        prompt.tokens
        == len(llm._model.prompts.tokens(prompt, None))
        == len(llm._model.prompts.tokens(ASKED, None))
    )
    offer = ToolOffer((CLOCK, LIGHT))
    with_tools = await llm.prompt(ASKED, offer)
    assert with_tools.tokens > len(llm._model.prompts.tokens(with_tools, offer)) > prompt.tokens


async def test_another_choice_is_the_same_prompt_and_other_tools_are_not(
    llm: LlamaLlm, rendered: list[str]
) -> None:
    prompt = await llm.prompt(ASKED, ToolOffer((CLOCK, LIGHT)))
    tokens = llm._model.prompts.tokens
    of_prompt = tokens(prompt, ToolOffer((CLOCK, LIGHT), "none"))
    assert len(rendered) == 1
    for offer in (ToolOffer((CLOCK,)), None):
        assert tokens(prompt, offer) == tokens(ASKED, offer) != of_prompt
    assert len(rendered) == 5


async def test_another_model_tokenises_it_for_itself(llm: LlamaLlm, rendered: list[str]) -> None:
    other = await LlamaLlm.load("other", MODEL, PLAN, context_tokens=512)
    try:
        prompt = await other.prompt(ASKED)
        assert await reply(llm, prompt) == await reply(llm, ASKED)
        assert len(rendered) == 2
    finally:
        await other.close()


async def test_an_image_that_is_not_seen_is_told_in_words(llm: LlamaLlm) -> None:
    sent = [ChatMessage("user", "What is it?", images=(Image(b"", alt="a red square"),))]
    prompt = await llm.prompt(sent)
    assert prompt.tokens == len(llm._model.prompts.tokens(prompt, None))


async def test_a_prompt_is_made_while_a_reply_is_written(llm: LlamaLlm) -> None:
    async with aclosing(llm.reply(ASKED, Sampling(max_tokens=100))) as items:
        await anext(items)
        prompt = await llm.prompt(
            [*ASKED, ChatMessage("assistant", "Paris."), ChatMessage("user", "Thanks!")]
        )
    assert 20 < prompt.tokens < 100


async def test_an_unknown_choice_is_named(llm: LlamaLlm) -> None:
    with pytest.raises(VoiceError, match="brew_coffee") as caught:
        await llm.prompt(ASKED, ToolOffer((CLOCK,), "brew_coffee"))
    assert caught.value.code is ErrorCode.LLM_ERROR


async def test_a_template_that_fails_says_so(llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(messages: Any) -> Any:
        raise ValueError("roles must alternate")

    monkeypatch.setattr(llm._model.prompts, "_template", failing)
    with pytest.raises(VoiceError, match="roles must alternate") as caught:
        await llm.prompt(ASKED)
    assert caught.value.code is ErrorCode.LLM_ERROR
