"""Old messages become notes, between turns."""

import asyncio
import logging
import re
from collections.abc import Sequence
from contextlib import aclosing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.conversation.compression import SUMMARY_TOKENS, compress
from localvoice.conversation.history import History
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.threads import plan_threads
from localvoice.engines.types import ChatMessage, Retracted, Sampling, ToolCall, ToolOffer
from tests.support.fakes import LLM_FAILED, FakeLlm
from tests.support.folders import MODELS
from tests.support.histories import after_turns, for_llm

TINY = MODELS / "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
TALK = (
    ("My name is Barbara and I have a dog called Pickle.", "Hello Barbara!"),
    ("What should I cook tonight?", "How about a soup?"),
    ("I don't eat meat, by the way.", "Then a vegetable soup."),
    ("Thank you, that sounds good.", "You are welcome."),
)

PICKLE = "They have a dog called Pickle."
COOKING = "They asked what to cook."


def last_words(asked: list[ChatMessage]) -> str:
    return asked[-1].content


async def test_what_is_pushed_out_becomes_notes_before_what_is_given() -> None:
    history, llm = after_turns(4), FakeLlm(PICKLE, COOKING)
    assert await compress(history, llm, 8)
    assert [last_words(asked) for asked in llm.asked] == ["User: question 0", "User: question 1"]
    history.make_room(8)
    prompt = for_llm(history, "Be kind.", 8)
    assert llm.asides == [True, True], "the conversation stays read"
    assert [message.content for message in prompt] == [
        "Be kind.",
        f"Earlier in this conversation: {PICKLE} {COOKING}\n\nquestion 2",
        "answer 2",
        "question 3",
        "answer 3",
    ]


async def test_reasoning_becomes_no_note() -> None:
    history, llm = after_turns(4), FakeLlm(["They want a note.", Retracted(), PICKLE], COOKING)
    assert await compress(history, llm, 8)
    prompt = for_llm(history, "Be kind.", 8)
    assert f"{PICKLE} {COOKING}" in prompt[1].content and "a note" not in prompt[1].content


async def test_a_past_that_fits_is_left_alone() -> None:
    history, llm = after_turns(3), FakeLlm()
    before = history.save()
    assert not await compress(history, llm, 8)
    assert history.save() == before and not llm.asked


async def test_the_prompt_keeps_its_beginning_between_two_compressions() -> None:
    history, llm = History(), FakeLlm()
    before: list[ChatMessage] = []
    read_anew = 0
    for turn in range(40):
        history.add_user(f"question {turn}")
        now = for_llm(history, "Be kind.", 8)
        read_anew += now[: len(before)] != before
        before = now
        history.add_assistant(f"answer {turn}")
        await compress(history, llm, 8)
        history.make_room(8)
    assert read_anew <= 40 / 2


async def test_what_was_forgotten_in_a_hurry_is_made_up_for() -> None:
    history, llm = after_turns(10), FakeLlm()
    history.add_user("and now?")
    for_llm(history, "Be kind.", 4)  # the user didn't leave a gap
    assert await compress(history, llm, 4)
    assert [last_words(asked) for asked in llm.asked] == [f"User: question {turn}" for turn in range(10)]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.5, 6.5, 7.5, 12.5])
async def test_it_may_be_cancelled_at_any_moment(seconds: float) -> None:
    history, llm = after_turns(4), FakeLlm(PICKLE, COOKING, delay=1.0)
    messages = list(history.messages)
    work = asyncio.create_task(compress(history, llm, 8))
    await asyncio.sleep(seconds)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    assert llm.running == 0, "the LLM is free for the user"
    assert history.messages == messages
    assert history.summary in ("", PICKLE, f"{PICKLE} {COOKING}"), "a step is done, or not at all"
    llm.script = [PICKLE, COOKING] if not history.summary else [COOKING]
    await compress(history, llm, 8)
    assert history.summary == f"{PICKLE} {COOKING}", "the next gap goes on"


@pytest.mark.virtual_clock
async def test_the_conversation_may_go_on_meanwhile() -> None:
    history, llm = after_turns(4), FakeLlm(PICKLE, COOKING, delay=1.0)
    work = asyncio.create_task(compress(history, llm, 8))
    await asyncio.sleep(1.5)
    history.add_user("and now?")
    history.add_assistant("Now, too.")
    assert await work
    assert [message.content for message in for_llm(history, "Be kind.", 8)[1:]][-2:] == [
        "and now?",
        "Now, too.",
    ]


@pytest.mark.virtual_clock
async def test_what_is_cleared_meanwhile_stays_forgotten() -> None:
    history, llm = after_turns(4), FakeLlm(PICKLE, delay=1.0)
    work = asyncio.create_task(compress(history, llm, 8))
    await asyncio.sleep(1.5)
    history.clear()
    assert not await work
    assert history.summary == "" and not history.messages


async def test_a_failure_is_logged_and_the_old_is_forgotten_as_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history, llm = after_turns(4), FakeLlm([LLM_FAILED])
    before = history.save()
    assert not await compress(history, llm, 8)
    assert history.save() == before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "The mind failed" in caplog.text
    history.make_room(8)
    assert [message.role for message in for_llm(history, "Be kind.", 8)] == [
        "system",
        *["user", "assistant"] * 2,
    ]
    llm.script = [PICKLE, COOKING]
    assert await compress(history, llm, 8), "the next gap tries again"
    assert history.summary == f"{PICKLE} {COOKING}"


async def test_an_answer_is_understood_by_its_question() -> None:
    history, llm = History(), FakeLlm()
    history.add_user("a table, please")
    history.add_assistant("With pleasure. For how many people?")
    history.add_user("four")
    history.add_assistant("Noted.")
    history.add_user("on Friday")
    await compress(history, llm, 2)
    assert [last_words(asked) for asked in llm.asked] == [
        "User: a table, please",
        "Assistant: For how many people?\nUser: four",
    ]


async def test_tools_are_noted_without_their_answers() -> None:
    history, llm = History(), FakeLlm("They want a table.", "They asked the time.", "Bye.")
    history.add_user("a table for Jones")
    history.add_calls([ToolCall("1", "book", {"name": "Jones", "note": "x" * 500})])
    history.add_result("1", '{"ok": true, "seats": [1, 2, 3]}')
    history.add_assistant("Done.")
    history.add_user("what time is it, and cancel the other one")
    history.add_calls([ToolCall("2", "time", {}), ToolCall("3", "cancel", {"number": 7})])
    history.add_result("2", '"12:30"')
    history.add_result("3", '{"error": "there is no such booking"}')
    history.add_assistant("Half past twelve.")
    history.add_user("thanks")
    await compress(history, llm, 2)
    assert history.summary.startswith('They want a table. The assistant used book: {"name": "Jones"')
    assert history.summary.endswith("…. They asked the time.")
    assert len(history.summary) < 250
    assert (
        "seats" not in history.summary and "12:30" not in history.summary and "cancel" not in history.summary
    )


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("The user is Tom. They have a dog called Pickle.", PICKLE),
        ("They need three rooms, for less than 1500 francs.", ""),
        (f"{PICKLE} They also want to go", PICKLE),
        (f"\n{PICKLE}\n\nThey like it.\n", f"{PICKLE} They like it."),
        ("", ""),
    ],
)
async def test_only_sentences_about_this_conversation_are_kept(written: str, kept: str) -> None:
    history = after_turns(1)
    history.add_user("and now?")
    assert await compress(history, FakeLlm(written), 1)
    assert history.summary == kept


async def test_a_user_of_the_same_name_as_the_examples_is_kept() -> None:
    history = History()
    history.add_user("I'm Tom, from Bern.")
    history.add_assistant("Hello, Tom.")
    history.add_user("and now?")
    await compress(history, FakeLlm("The user is Tom, from Bern."), 1)
    assert history.summary == "The user is Tom, from Bern."


async def test_notes_stay_short_and_lose_mere_questions_first() -> None:
    notes = [PICKLE, *(f"They asked how high mountain number {number} is." for number in range(59))]
    history, llm = History(), FakeLlm(*notes)
    for turn in range(60):
        history.add_user(f"question {turn}")
        history.add_assistant(f"answer {turn}")
        await compress(history, llm, 8)
        assert llm.prompt_tokens([ChatMessage("system", history.summary)]) <= SUMMARY_TOKENS
    assert history.summary.startswith(PICKLE)
    assert "number 55 " in history.summary and "number 3 " not in history.summary


async def test_the_oldest_facts_go_when_there_are_only_facts() -> None:
    history = after_turns(60)
    llm = FakeLlm(*(f"They know fact number {number}." for number in range(60)))
    await compress(history, llm, 8)
    assert llm.prompt_tokens([ChatMessage("system", history.summary)]) <= SUMMARY_TOKENS
    assert "number 57." in history.summary and "number 0." not in history.summary


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=6), st.integers(1, 6))
@settings(max_examples=25)
def test_every_request_fits_a_small_context(said: list[str], limit: int) -> None:
    class SmallLlm(FakeLlm):
        context_tokens = 512

        def prompt_tokens(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> int:
            return sum(4 + len(message.content) // 2 for message in messages)

    async def check() -> None:
        history, llm = History(), SmallLlm(*said)
        for text in said:
            history.add_user(text)
            history.add_assistant(text + "?")
        await compress(history, llm, limit)
        assert history.passage(limit) is None
        assert all(llm.prompt_tokens(asked) <= 512 - 60 for asked in llm.asked)

    asyncio.run(check())


@pytest.mark.integration
async def test_a_real_model_writes_notes_that_the_next_prompt_holds() -> None:
    if not TINY.exists():
        pytest.skip(f"{TINY.parent.name} is missing: make download-models PROFILE=tiny")
    llm = await LlamaLlm.load("tiny", TINY, plan_threads(), context_tokens=2048)
    try:
        history = History()
        for said, answer in TALK:
            history.add_user(said)
            history.add_assistant(answer)
        assert await compress(history, llm, 8)
        history.make_room(8)
        history.add_user("What is my dog called?")
        prompt = for_llm(history, "Be kind.", 8)
        assert len(history.summary) > 10
        assert not {"tom", "bern", "kenya"} & set(re.findall(r"\w+", history.summary.lower()))
        assert prompt[1].content.startswith(f"Earlier in this conversation: {history.summary}\n\n")
        assert TALK[0][0] not in [message.content for message in prompt], "its words are not given any more"
        async with aclosing(llm.reply(prompt, Sampling(max_tokens=30))) as deltas:
            assert "".join([delta async for delta in deltas if isinstance(delta, str)]).strip()
    finally:
        await llm.close()
