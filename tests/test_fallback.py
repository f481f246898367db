"""Retries and the fallback of the LLM, on a clock that jumps."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.fallback import (
    LlmSource,
    Patience,
    ResilientLlm,
    load_with_fallback,
    log_switch,
)
from localvoice.engines.protocols import ChatMessage, Llm, Sampling, ToolCall, ToolOffer, ToolSpec

pytestmark = pytest.mark.virtual_clock

QUESTION = [ChatMessage("user", "How are you?")]
OFFER = ToolOffer((ToolSpec("clock", "Tells the time.", {"type": "object"}),))
PATIENCE = Patience()
FAILED = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "The mind failed.")
TOO_LONG = VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "It is too long.", retryable=False)
FINE = ("I ", "am ", "fine.")
HANGS = 1e6
"""In a script: seconds that nobody waits."""

Script = Sequence[str | float | VoiceError]


class Mind:
    """Writes the script, an item a reply and then the last again: words, pauses in seconds, failures."""

    sees = False

    def __init__(self, *script: Script, name: str = "big", context_tokens: int = 4096) -> None:
        self.script = list(script)
        self.name = name
        self.context_tokens = context_tokens
        self.asked: list[tuple[float, Any]] = []
        """When, and with which offer."""
        self.running = self.forgets = self.warmed = self.closed = self.prepared = 0

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        self.asked.append((now(), offer))
        script = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.running += 1
        try:
            for part in script:
                if isinstance(part, VoiceError):
                    raise part
                if isinstance(part, str):
                    yield part
                else:
                    await asyncio.sleep(part)
        finally:
            self.running -= 1

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        self.prepared += 1
        if isinstance(part := self.script[0][0], VoiceError):
            raise part

    def prompt_tokens(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> int:
        return len(messages) + len(self.name)

    async def forget(self) -> None:
        self.forgets += 1

    async def warm_up(self) -> None:
        self.warmed += 1

    async def close(self) -> None:
        self.closed += 1

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.asked]


class Spare:
    """A fallback that takes so many seconds to load; an exception in the script is a failed loading."""

    def __init__(self, *script: Mind | Exception, seconds: float = 5.0) -> None:
        self.script = list(script)
        self.seconds = seconds
        self.loading = self.loaded = self.cancelled = 0
        self.source = LlmSource("small", self.load)

    async def load(self) -> Llm:
        self.loading += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        result = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(result, Exception):
            raise result
        self.loaded += 1
        return result


class Told:
    """What `on_switch` was told."""

    def __init__(self) -> None:
        self.switches: list[tuple[str, str, str]] = []

    def __call__(self, failed: str, successor: str, error: Exception) -> None:
        self.switches.append((failed, successor, str(error)))


def now() -> float:
    return asyncio.get_running_loop().time()


def small(*script: Script) -> Mind:
    return Mind(*(script or [FINE]), name="small", context_tokens=2048)


async def ask(llm: Llm, seen: list[str | ToolCall] | None = None) -> str:
    items = seen if seen is not None else []
    async with aclosing(llm.reply(QUESTION, Sampling(), OFFER)) as reply:
        async for item in reply:
            items.append(item)
    return "".join(map(str, items))


async def test_a_reply_that_works_is_passed_on_as_it_is() -> None:
    mind, spare = Mind(FINE), Spare(small())
    llm: Llm = ResilientLlm(mind, PATIENCE, spare.source)
    assert await ask(llm) == "I am fine."
    assert mind.asked == [(0, OFFER)]
    assert (llm.name, llm.context_tokens, llm.sees, llm.prompt_tokens(QUESTION)) == ("big", 4096, False, 4)
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
        await ask(ResilientLlm(mind, Patience(retries=4, backoff_seconds=2)))
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
        await ask(ResilientLlm(mind, Patience(retries=0)))
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
    seen: list[str | ToolCall] = []
    with pytest.raises(VoiceError) as caught:
        await ask(ResilientLlm(mind, PATIENCE), seen)
    assert caught.value.code == code and seen == ["I "] and len(mind.asked) == 1


async def test_what_trying_again_cant_mend_is_not_tried_again() -> None:
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


async def test_after_three_failures_the_fallback_answers_and_stays() -> None:
    mind, successor, told = Mind([FAILED]), small(), Told()
    spare = Spare(successor)
    llm = ResilientLlm(mind, PATIENCE, spare.source, told)
    assert await ask(llm) == "I am fine."
    assert mind.times == [0, 0.25, 0.75] and successor.asked == [(5.75, OFFER)]
    assert told.switches == [("big", "small", "LLM_ERROR: The mind failed.")]
    assert (llm.name, llm.context_tokens, llm.prompt_tokens(QUESTION)) == ("small", 2048, 6)

    assert await ask(llm) == "I am fine."
    await llm.prepare(QUESTION)
    assert len(mind.asked) == 3 and successor.prepared == 1 and mind.prepared == 0
    assert len(told.switches) == spare.loading == 1
    await llm.close()
    assert (mind.closed, successor.closed) == (1, 1)


async def test_few_retries_still_reach_the_fallback_over_several_requests() -> None:
    mind, spare = Mind([FAILED]), Spare(small())
    llm = ResilientLlm(mind, Patience(retries=0), spare.source)
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


async def test_requests_share_one_loading_and_one_switch() -> None:
    mind, successor, told = Mind([FAILED]), small(), Told()
    spare = Spare(successor)
    llm = ResilientLlm(mind, PATIENCE, spare.source, told)
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


async def test_a_request_that_fails_on_the_primary_after_the_switch_goes_to_the_fallback() -> None:
    mind, told = Mind([20.0, FAILED], [FAILED]), Told()
    spare = Spare(small())
    llm = ResilientLlm(mind, Patience(retries=0), spare.source, told)
    late = asyncio.create_task(ask(llm))
    await asyncio.sleep(0.1)
    for _ in range(2):
        with pytest.raises(VoiceError):
            await ask(llm)
    assert await ask(llm) == "I am fine."
    assert now() < 20
    assert await late == "I am fine."
    assert spare.loading == len(told.switches) == 1


async def test_the_fallback_has_retries_of_its_own_and_nobody_behind_it() -> None:
    mind, successor, told = Mind([FAILED]), small([FAILED]), Told()
    llm = ResilientLlm(mind, PATIENCE, Spare(successor, seconds=0).source, told)
    with pytest.raises(VoiceError, match=r"small was asked 4 times\.$"):
        await ask(llm)
    assert successor.times == [0.75, 1, 1.5, 2.5]
    assert len(told.switches) == 1


async def test_a_fallback_that_cant_be_loaded_is_told_and_the_primary_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mind, told = Mind([FAILED]), Told()
    spare = Spare(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "The file is broken."), OSError("no disk"))
    llm = ResilientLlm(mind, PATIENCE, spare.source, told)
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


async def test_cancelling_while_the_fallback_loads_leaves_the_loading_to_the_others() -> None:
    mind, spare = Mind([FAILED]), Spare(small())
    llm = ResilientLlm(mind, PATIENCE, spare.source)
    tasks = [asyncio.create_task(ask(llm)) for _ in range(2)]
    await asyncio.sleep(2)
    assert spare.loading == 1
    await cancel(tasks[0])
    assert await tasks[1] == "I am fine."
    assert (spare.loading, spare.cancelled, llm.name) == (1, 0, "small")


async def test_closing_while_the_fallback_loads_ends_the_loading() -> None:
    mind, successor, told = Mind([FAILED]), small(), Told()
    spare = Spare(successor)
    llm = ResilientLlm(mind, PATIENCE, spare.source, told)
    task = asyncio.create_task(ask(llm))
    await asyncio.sleep(2)
    mind.script = [[VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "It was shut down.", retryable=False)]]
    await llm.close()
    with pytest.raises(VoiceError, match="shut down"):
        await task
    assert (spare.cancelled, spare.loaded, mind.closed, told.switches) == (1, 0, 1, [])


async def test_at_the_start_the_primary_is_loaded_and_the_fallback_kept_for_later() -> None:
    mind, spare, told = Mind([FAILED]), Spare(small()), Told()
    llm = await load_with_fallback(LlmSource("big", Spare(mind).load), spare.source, PATIENCE, told)
    assert (llm.name, spare.loading) == ("big", 0)
    assert await ask(llm) == "I am fine."
    assert told.switches == [("big", "small", "LLM_ERROR: The mind failed.")]


async def test_at_the_start_the_fallback_is_loaded_where_the_primary_cant_be() -> None:
    broken, spare, told = Spare(FAILED), Spare(small([FAILED])), Told()
    llm = await load_with_fallback(LlmSource("big", broken.load), spare.source, PATIENCE, told)
    assert llm.name == "small"
    assert told.switches == [("big", "small", "LLM_ERROR: The mind failed.")]
    with pytest.raises(VoiceError, match=r"small was asked 4 times\.$"):
        await ask(llm)
    assert spare.loading == len(told.switches) == 1, "it is no fallback of its own"


async def test_at_the_start_both_failures_are_told() -> None:
    broken = Spare(FAILED)
    with pytest.raises(VoiceError) as caught:
        await load_with_fallback(
            LlmSource("big", broken.load), Spare(OSError("no disk")).source, PATIENCE, Told()
        )
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
    task = asyncio.create_task(
        load_with_fallback(LlmSource("big", first.load), spare.source, PATIENCE, Told())
    )
    await asyncio.sleep(1)
    await cancel(task)
    assert (first.cancelled, spare.loading) == (1, 0)


async def test_a_switch_is_logged_if_nobody_else_wants_to_know(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log_switch("big", "small", FAILED)
    assert "the language model small takes over from big: The mind failed." in caplog.text


async def cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


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
