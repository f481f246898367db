"""Many conversations at one model: each costs only its new words, and says what it would say alone."""

import asyncio
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from localvoice.engines import jobs as job_module
from localvoice.engines.chat import ChatMessage, ReplyItem, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.llama import cache as llama_state
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.llama.kept import WORTH_A_CHANGE, Kept, best_start, shared
from tests.support.llama_talks import FEW, SYSTEM, Talk, eggs, france, reply
from tests.support.llama_talks import llm as llm
from tests.support.llama_talks import loaded as loaded
from tests.support.llama_talks import reads as reads

LIGHT = ToolSpec(
    "switch_light", "Switch the light.", {"type": "object", "properties": {"on": {"type": "boolean"}}}
)


def tokens(*each: int) -> Any:
    return np.array(each, np.intc)


def run_of(count: int, then: int = 0) -> Any:
    """So many equal tokens, and `then` others."""
    return np.array([1] * count + [2] * then, np.intc)


def test_how_far_two_conversations_are_alike() -> None:
    assert shared([1, 2, 3], tokens(1, 2, 3, 4)) == 3
    assert shared([1, 2, 3], tokens(1, 5, 3)) == 1
    assert shared([], tokens(1)) == shared([1], tokens()) == 0


@pytest.mark.parametrize(
    ("present", "kept", "cuts", "chosen"),
    [
        (run_of(0), [], True, None),
        (run_of(100), [run_of(100 + WORTH_A_CHANGE - 1)], True, None),
        (run_of(100), [run_of(100 + WORTH_A_CHANGE)], True, 0),
        (run_of(0), [run_of(100), run_of(150), run_of(90)], True, 1),
        (run_of(0), [run_of(150, then=50), run_of(150), run_of(150, then=9)], True, 1),
        (run_of(20, then=400), [run_of(90, then=900)], True, 0),
        # What can't be cut is of use only if all of it is the prompt's.
        (run_of(20), [run_of(90, then=9)], False, None),
        (run_of(20), [run_of(190, then=9), run_of(80)], False, 1),
        (run_of(190, then=9), [run_of(80)], False, 0),
    ],
)
def test_a_prompt_is_read_on_from_where_most_of_it_is_known(
    present: Any, kept: list[Any], cuts: bool, chosen: int | None
) -> None:
    prompt = [1] * 200
    assert best_start(prompt, present, kept, cuts) == chosen


@pytest.mark.integration
async def test_conversations_in_turns_cost_only_their_new_words(llm: LlamaLlm, reads: list[int]) -> None:
    alone = [[await talk.goes_on() for _ in range(3)] for talk in (france(llm), eggs(llm))]
    llm._model._cache._kept.clear()
    await reply(llm, [ChatMessage("user", "Hello")])
    llm._model._cache._kept.clear()

    await llm.prepare([SYSTEM])
    assert sum(reads) > 100
    both: list[list[str]] = [[], []]
    talks = france(llm), eggs(llm)
    for turn in range(3):
        for talk, said in zip(talks, both, strict=True):
            reads.clear()
            said.append(await talk.goes_on())
            assert sum(reads) <= FEW + 12, f"turn {turn + 1} reads what is known"
    assert both == alone


@pytest.mark.integration
@pytest.mark.parametrize("stopped", [False, True])
async def test_a_question_aside_costs_the_conversation_nothing(
    llm: LlamaLlm, reads: list[int], stopped: bool
) -> None:
    alone = france(llm)
    await alone.goes_on()
    undisturbed = await alone.goes_on()
    await llm.forget()
    talk = france(llm)
    await talk.goes_on()
    note = [ChatMessage("user", "Name a colour. " * 30)]
    task = asyncio.create_task(reply(llm, note, 200 if stopped else 8, aside=True))
    if stopped:
        await asyncio.sleep(0.1)
        task.cancel()
    await asyncio.wait([task])
    reads.clear()
    assert await talk.goes_on() == undisturbed
    assert sum(reads) <= FEW + 12

    if not stopped:
        reads.clear()
        await reply(llm, note, 8, aside=True)
        assert sum(reads) <= 12, "nor is the question read again"


@pytest.mark.integration
@pytest.mark.parametrize("kept_mb", [0, 4], ids=["no room", "room for half of the question"])
async def test_a_conversation_waits_for_a_question_aside_however_little_may_be_kept(
    llm: LlamaLlm, reads: list[int], monkeypatch: pytest.MonkeyPatch, kept_mb: int
) -> None:
    talks = llm._model._cache
    monkeypatch.setattr(talks, "_kept_bytes", kept_mb * 2**20)
    talk = france(llm)
    await talk.goes_on()
    await reply(llm, [ChatMessage("user", "Name a colour. " * 30)], 8, aside=True)
    assert not talks._kept, "it is in the cache again, and nothing else is kept"
    reads.clear()
    await talk.goes_on()
    assert sum(reads) <= FEW + 12
    assert not talks._kept


@pytest.mark.integration
async def test_replies_at_the_same_time_say_what_they_would_say_alone(
    llm: LlamaLlm, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [await talk.goes_on(24) for talk in (france(llm), eggs(llm))]
    monkeypatch.setattr(job_module, "TURN_SECONDS", 1e-6)  # they change at each token
    loads: list[int] = []
    load = llm._model._cache._load

    def watched(kept: Kept) -> None:
        loads.append(kept.tokens.size)
        load(kept)

    monkeypatch.setattr(llm._model._cache, "_load", watched)
    said = await asyncio.gather(*(talk.goes_on(24) for talk in (france(llm), eggs(llm))))
    assert said == expected
    assert len(loads) > 8, "they were written in turns"


@pytest.mark.integration
async def test_a_call_and_a_reply_at_the_same_time(llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "TURN_SECONDS", 1e-6)

    async def call() -> list[ReplyItem]:
        messages = [SYSTEM, ChatMessage("user", "Switch on the light.")]
        offer = ToolOffer((LIGHT,), "switch_light")
        async with aclosing(llm.reply(messages, Sampling(), offer)) as items:
            return [item async for item in items]

    (made,), said = await asyncio.gather(call(), france(llm).goes_on())
    assert isinstance(made, ToolCall) and made.name == "switch_light"
    assert "Paris" in said


@pytest.mark.integration
async def test_who_waits_hears_a_word_before_a_long_prompt_is_read(llm: LlamaLlm, reads: list[int]) -> None:
    await llm.prepare([SYSTEM])
    reads.clear()
    long = asyncio.create_task(llm.prepare([ChatMessage("user", "The quick brown fox jumps. " * 250)]))
    while not reads:  # noqa: ASYNC110 - the worker's thread sets what is waited for
        await asyncio.sleep(0.001)
    assert "Paris" in await france(llm).goes_on()
    assert sum(reads) < 500 and not long.done()
    await long
    assert sum(reads) > 1200


@pytest.mark.integration
async def test_who_is_stopped_while_another_writes_leaves_at_once(
    llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await eggs(llm).goes_on(24)
    monkeypatch.setattr(job_module, "TURN_SECONDS", 1e-6)
    other = asyncio.create_task(eggs(llm).goes_on(24))
    async with aclosing(llm.reply([SYSTEM, ChatMessage("user", "Tell me a story.")], Sampling())) as items:
        for _ in range(4):
            await anext(items)
    assert not other.done()
    assert await other == expected


@pytest.mark.integration
async def test_what_is_taken_back_of_a_reply_is_not_kept(llm: LlamaLlm, reads: list[int]) -> None:
    talk = Talk(llm, "Tell me a long story.", "Another one.")
    await talk.goes_on(80)
    talk.messages[-1] = ChatMessage("assistant", "Once")  # the user interrupted
    reads.clear()
    await talk.goes_on(4)
    assert sum(reads) <= FEW
    assert not llm._model._cache._kept


@pytest.mark.integration
async def test_what_was_read_ahead_is_not_read_again(llm: LlamaLlm, reads: list[int]) -> None:
    talk = france(llm)
    await talk.goes_on()
    reads.clear()
    await llm.prepare(talk.messages[:-1])
    assert not reads, "the cache holds it, and more"
    await llm.prepare(talk.messages)
    assert 0 < sum(reads) <= FEW


@pytest.mark.integration
async def test_the_longest_unused_is_forgotten(
    llm: LlamaLlm, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_state, "MOST_KEPT", 2)
    notes = [[ChatMessage("user", f"{word} " * 100)] for word in ("One", "Two", "Three", "Four")]
    for note in notes:
        await reply(llm, note, 2)
    assert len(llm._model._cache._kept) == 2
    for note, known in ((notes[2], True), (notes[1], True), (notes[0], False)):
        reads.clear()
        await reply(llm, note, 2)
        assert (sum(reads) < 20) is known

    talks = llm._model._cache
    monkeypatch.setattr(talks, "_kept_bytes", max(kept.state.nbytes for kept in talks._kept))
    await reply(llm, notes[2], 2)
    assert len(llm._model._cache._kept) == 1


@pytest.mark.integration
async def test_a_question_aside_is_forgotten_before_a_conversation(
    llm: LlamaLlm, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_state, "MOST_KEPT", 1)
    talk = france(llm)
    await talk.goes_on()
    for word in ("One", "Two"):
        await reply(llm, [ChatMessage("user", f"{word} " * 100)], 2, aside=True)
    reads.clear()
    await talk.goes_on()
    assert sum(reads) <= FEW + 12
