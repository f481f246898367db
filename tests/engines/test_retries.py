"""Retries and deadlines of the LLM, on a clock that jumps."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ReplyItem, Sampling
from localvoice.engines.fallback import ResilientLlm, RetryPolicy
from localvoice.engines.types import Llm
from tests.support.failing_minds import (
    FAILED,
    FINE,
    HANGS,
    OFFER,
    PATIENCE,
    QUESTION,
    Mind,
    Spare,
    ask,
    cancel,
    now,
    small,
)

pytestmark = pytest.mark.virtual_clock
TOO_LONG = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "It is too long.", retryable=False)


async def test_a_reply_that_works_is_passed_on_as_it_is() -> None:
    mind, spare = Mind(FINE), Spare(small())
    llm: Llm = ResilientLlm(mind, PATIENCE, spare.source)
    assert await ask(llm) == "I am fine."
    assert mind.asked == [(0, OFFER)]
    assert (llm.name, llm.context_tokens, llm.sees) == ("big", 4096, False)
    assert (await llm.prompt(QUESTION)).tokens == 4
    await llm.warm_up()
    await llm.prepare(QUESTION, OFFER)
    await llm.close()
    assert (mind.warmed, mind.prepared, mind.closed, spare.loading) == (1, 1, 1, 0)


async def test_retries_wait_longer_each_time() -> None:
    mind = Mind([FAILED], [FAILED], [FAILED], FINE)
    assert await ask(ResilientLlm(mind, PATIENCE)) == "I am fine."
    assert mind.times == [0, 0.25, 0.75, 1.75]


async def test_the_pause_has_a_limit() -> None:
    mind = Mind([FAILED])
    with pytest.raises(VoiceError):
        await ask(ResilientLlm(mind, RetryPolicy(retries=4, backoff_seconds=2)))
    assert mind.times == [0, 2, 6, 10, 14]


async def test_the_last_failure_says_how_often_it_was_tried() -> None:
    mind = Mind([FAILED])
    with pytest.raises(VoiceError, match=r"The mind failed\. big was asked 4 times\.$") as caught:
        await ask(ResilientLlm(mind, PATIENCE))
    assert (caught.value.code, caught.value.component) == (ErrorCode.LLM_ERROR, Component.LLM)
    assert caught.value.__cause__ is FAILED and mind.running == 0


async def test_without_retries_the_failure_is_as_it_was() -> None:
    mind = Mind([FAILED])
    with pytest.raises(VoiceError, match=r"^LLM_ERROR: The mind failed\.$"):
        await ask(ResilientLlm(mind, RetryPolicy(retries=0)))
    assert mind.times == [0]


async def test_a_model_that_hangs_is_stopped_and_asked_again() -> None:
    mind = Mind([HANGS], FINE)
    assert await ask(ResilientLlm(mind, PATIENCE)) == "I am fine."
    assert mind.times == [0, 30.25] and mind.running == 0


async def test_a_model_that_keeps_hanging_is_a_time_out() -> None:
    mind = Mind([HANGS])
    with pytest.raises(VoiceError, match=r"llm_first_token_seconds.*asked 4 times") as caught:
        await ask(ResilientLlm(mind, PATIENCE))
    assert caught.value.code is ErrorCode.LLM_TIMEOUT and mind.running == 0


@pytest.mark.parametrize(("end", "code"), [(FAILED, "LLM_ERROR"), (HANGS, "LLM_TIMEOUT")])
async def test_once_something_was_said_a_failure_is_final(end: VoiceError | float, code: str) -> None:
    mind = Mind(["I ", end], FINE)
    seen: list[ReplyItem] = []
    with pytest.raises(VoiceError) as caught:
        await ask(ResilientLlm(mind, PATIENCE), seen)
    assert caught.value.code == code and seen == ["I "] and len(mind.asked) == 1


async def test_what_trying_again_cant_repair_is_not_tried_again() -> None:
    mind, spare = Mind([TOO_LONG]), Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    for _ in range(4):
        with pytest.raises(VoiceError) as caught:
            await ask(llm)
        assert caught.value is TOO_LONG
    assert mind.times == [0] * 4 and spare.loading == 0


async def test_a_slow_reader_is_not_the_models_delay() -> None:
    llm = ResilientLlm(Mind(FINE), PATIENCE)
    async with aclosing(llm.reply(QUESTION, Sampling())) as reply:
        async for _ in reply:
            await asyncio.sleep(100)
    assert now() == 300


async def test_preparing_is_tried_once_and_counts_for_nothing() -> None:
    mind, spare = Mind([FAILED]), Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    for _ in range(5):
        with pytest.raises(VoiceError):
            await llm.prepare(QUESTION)
    assert mind.prepared == 5 and spare.loading == 0 and now() == 0


async def test_cancelling_while_it_writes_stops_the_model() -> None:
    mind = Mind(["I ", 10.0])
    task = asyncio.create_task(ask(ResilientLlm(mind, PATIENCE)))
    await asyncio.sleep(1)
    assert mind.running == 1
    await cancel(task)
    assert mind.running == 0


async def test_closing_the_reply_stops_the_model() -> None:
    mind = Mind(FINE)
    async with aclosing(ResilientLlm(mind, PATIENCE).reply(QUESTION, Sampling())) as reply:
        assert await anext(reply) == "I "
    assert mind.running == 0 and len(mind.asked) == 1


async def test_cancelling_in_a_pause_asks_no_more() -> None:
    mind = Mind([FAILED])
    task = asyncio.create_task(ask(ResilientLlm(mind, PATIENCE)))
    await asyncio.sleep(0.3)
    await cancel(task)
    await asyncio.sleep(10)
    assert mind.times == [0, 0.25]


async def test_a_prompt_is_the_models_own() -> None:
    llm = ResilientLlm(Mind(FINE), PATIENCE)
    prompt = await llm.prompt(QUESTION, OFFER)
    assert (list(prompt), prompt.offer, prompt.tokens) == (QUESTION, OFFER, 4)


class Unconnected(Mind):
    """An application's own: its call fails before there is a stream."""

    def reply(self, *args: Any, **options: Any) -> AsyncGenerator[ReplyItem, None]:
        if isinstance(failure := self.script[0][0], VoiceError):
            self.asked.append((now(), None))
            self.script = self.script[1:] or self.script
            raise failure
        return super().reply(*args, **options)


async def test_a_call_that_fails_before_there_is_a_stream_is_made_again() -> None:
    mind = Unconnected([FAILED], [FAILED], FINE)
    assert await ask(ResilientLlm(mind, PATIENCE)) == "I am fine."
    assert mind.times == [0, 0.25, 0.75]


async def test_calls_that_fail_before_there_is_a_stream_bring_the_fallback() -> None:
    llm = ResilientLlm(Unconnected([FAILED]), PATIENCE, Spare(small()).source)
    assert await ask(llm) == "I am fine."
    assert llm.name == "small"
