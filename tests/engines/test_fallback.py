"""The fallback of the LLM, on a clock that jumps."""

import asyncio
import logging

import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.fallback import (
    LlmSource,
    ResilientLlm,
    RetryPolicy,
    load_with_fallback,
    log_switch,
)
from tests.support.failing_minds import (
    FAILED,
    FINE,
    OFFER,
    PATIENCE,
    QUESTION,
    Mind,
    Spare,
    Told,
    ask,
    cancel,
    now,
    small,
)
from tests.support.failing_minds import told as told

pytestmark = pytest.mark.virtual_clock


async def test_after_three_failures_the_fallback_answers_and_stays(told: Told) -> None:
    mind, successor = Mind([FAILED]), small()
    spare = Spare(successor)
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    assert await ask(llm) == "I am fine."
    assert mind.times == [0, 0.25, 0.75] and successor.asked == [(5.75, OFFER)]
    assert told.switches == [("big", "small", "LLM_ERROR: The mind failed.")]
    assert (llm.name, llm.context_tokens, (await llm.prompt(QUESTION)).tokens) == ("small", 2048, 6)

    assert await ask(llm) == "I am fine."
    await llm.prepare(QUESTION)
    assert len(mind.asked) == 3 and successor.prepared == 1 and mind.prepared == 0
    assert len(told.switches) == spare.loading == 1
    await llm.close()
    assert (mind.closed, successor.closed) == (1, 1)


async def test_few_retries_still_reach_the_fallback_over_several_requests() -> None:
    mind, spare = Mind([FAILED]), Spare(small())
    llm = ResilientLlm(mind, RetryPolicy(retries=0), spare.source)
    for _ in range(2):
        with pytest.raises(VoiceError):
            await ask(llm)
    assert await ask(llm) == "I am fine."
    assert len(mind.asked) == 3


async def test_failures_count_only_in_a_row() -> None:
    mind, spare = Mind([FAILED], [FAILED], FINE), Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    assert await ask(llm) == "I am fine."
    mind.script = [[FAILED], [FAILED], FINE]
    assert await ask(llm) == "I am fine."
    assert spare.loading == 0 and llm.name == "big"


async def test_failures_in_mid_reply_count_too() -> None:
    mind, spare = Mind(["I ", FAILED]), Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    for _ in range(3):
        with pytest.raises(VoiceError):
            await ask(llm)
    assert await ask(llm) == "I am fine."
    assert len(mind.asked) == 3 and now() == 5, "the next request waits for the loading"


async def test_requests_share_one_loading_and_one_switch(told: Told) -> None:
    mind, successor = Mind([FAILED]), small()
    spare = Spare(successor)
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    assert await asyncio.gather(*(ask(llm) for _ in range(5))) == ["I am fine."] * 5
    assert spare.loading == len(told.switches) == 1 and len(successor.asked) == 5


async def test_a_failure_while_the_fallback_loads_loads_no_second() -> None:
    mind = Mind(["I ", 2.0, FAILED], [FAILED])
    spare = Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    late, asked = asyncio.create_task(ask(llm)), asyncio.create_task(ask(llm))
    with pytest.raises(VoiceError):
        await late
    assert now() == 2 and spare.loading == 1
    assert await asked == "I am fine."
    assert spare.loading == spare.loaded == 1


async def test_a_request_that_fails_on_the_primary_after_the_switch_goes_to_the_fallback(told: Told) -> None:
    mind = Mind([20.0, FAILED], [FAILED])
    spare = Spare(small())
    llm = ResilientLlm(mind, RetryPolicy(retries=0), spare.source)
    late = asyncio.create_task(ask(llm))
    await asyncio.sleep(0.1)
    for _ in range(2):
        with pytest.raises(VoiceError):
            await ask(llm)
    assert await ask(llm) == "I am fine."
    assert now() < 20
    assert await late == "I am fine."
    assert spare.loading == len(told.switches) == 1


async def test_the_fallback_has_retries_of_its_own_and_no_fallback(told: Told) -> None:
    mind, successor = Mind([FAILED]), small([FAILED])
    llm = ResilientLlm(mind, PATIENCE, Spare(successor, seconds=0).source)
    with pytest.raises(VoiceError, match=r"small was asked 4 times\.$"):
        await ask(llm)
    assert successor.times == [0.75, 1, 1.5, 2.5]
    assert len(told.switches) == 1


async def test_a_fallback_that_cant_be_loaded_is_told_and_the_primary_goes_on(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    mind = Mind([FAILED])
    spare = Spare(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "The file is broken."), OSError("no disk"))
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    with pytest.raises(VoiceError) as caught:
        await ask(llm)
    assert caught.value.message == (
        "The mind failed. big was asked 4 times. Its fallback small can't be loaded: The file is broken."
    )
    assert "fallback small can't be loaded" in caplog.text
    assert (len(mind.asked), spare.loading, llm.name, told.switches) == (4, 1, "big", [])

    with pytest.raises(VoiceError, match="no disk"):
        await ask(llm)
    assert spare.loading == 2, "it is tried again after three failures more"
    mind.script = [FINE]
    assert await ask(llm) == "I am fine."


async def test_cancelling_while_the_fallback_loads_leaves_the_loading_to_the_others() -> None:
    mind, spare = Mind([FAILED]), Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    tasks = [asyncio.create_task(ask(llm)) for _ in range(2)]
    await asyncio.sleep(2)
    assert spare.loading == 1
    await cancel(tasks[0])
    assert await tasks[1] == "I am fine."
    assert (spare.loading, spare.cancelled, llm.name) == (1, 0, "small")


async def test_closing_while_the_fallback_loads_ends_the_loading(told: Told) -> None:
    mind, successor = Mind([FAILED]), small()
    spare = Spare(successor)
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    task = asyncio.create_task(ask(llm))
    await asyncio.sleep(2)
    mind.script = [[VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "It was shut down.", retryable=False)]]
    await llm.close()
    with pytest.raises(VoiceError, match="shut down"):
        await task
    assert (spare.cancelled, spare.loaded, mind.closed, told.switches) == (1, 0, 1, [])


async def test_at_the_start_the_primary_is_loaded_and_the_fallback_kept_for_later(told: Told) -> None:
    mind, spare = Mind([FAILED]), Spare(small())
    llm = await load_with_fallback(LlmSource("big", Spare(mind).load), spare.source, PATIENCE)
    assert (llm.name, spare.loading) == ("big", 0)
    assert await ask(llm) == "I am fine."
    assert told.switches == [("big", "small", "LLM_ERROR: The mind failed.")]


async def test_at_the_start_the_fallback_is_loaded_where_the_primary_cant_be(told: Told) -> None:
    broken, spare = Spare(FAILED), Spare(small([FAILED]))
    llm = await load_with_fallback(LlmSource("big", broken.load), spare.source, PATIENCE)
    assert llm.name == "small"
    assert told.switches == [("big", "small", "LLM_ERROR: The mind failed.")]
    with pytest.raises(VoiceError, match=r"small was asked 4 times\.$"):
        await ask(llm)
    assert spare.loading == len(told.switches) == 1, "it is no fallback of its own"


async def test_at_the_start_both_failures_are_told() -> None:
    broken = Spare(FAILED)
    with pytest.raises(VoiceError) as caught:
        await load_with_fallback(LlmSource("big", broken.load), Spare(OSError("no disk")).source, PATIENCE)
    assert caught.value.code is ErrorCode.LLM_ERROR
    assert caught.value.message == (
        "Neither language model can be loaded. big: The mind failed. Its fallback small: no disk"
    )


async def test_at_the_start_without_a_fallback_the_failure_is_as_it_was() -> None:
    with pytest.raises(VoiceError) as caught:
        await load_with_fallback(LlmSource("big", Spare(FAILED).load), None, PATIENCE)
    assert caught.value is FAILED


async def test_cancelling_the_start_loads_nothing_else() -> None:
    first, spare = Spare(Mind(FINE)), Spare(small())
    task = asyncio.create_task(load_with_fallback(LlmSource("big", first.load), spare.source, PATIENCE))
    await asyncio.sleep(1)
    await cancel(task)
    assert (first.cancelled, spare.loading) == (1, 0)


async def test_a_switch_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log_switch("big", "small", FAILED)
    assert "the language model small takes over from big: The mind failed." in caplog.text


@pytest.mark.virtual_clock
async def test_both_models_forget() -> None:
    """The one that failed still holds what it read."""
    primary, small = Mind([FAILED]), Mind(FINE, name="small")
    llm = ResilientLlm(primary, PATIENCE, Spare(small).source)
    await llm.forget()
    assert (primary.forgets, small.forgets) == (1, 0)
    await ask(llm)
    await llm.forget()
    assert (primary.forgets, small.forgets) == (2, 1)
    await llm.close()
