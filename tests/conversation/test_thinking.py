"""An LLM that reasons before it answers: the user hears that it thinks, and nothing of what."""

import asyncio

import pytest

from localvoice.application.hooks import Hooks
from localvoice.contract.messages import LlmChunk, LlmReply
from localvoice.conversation.reply import NO_WORDS, THINKS
from localvoice.engines.chat import Retracted, Thinking
from tests.support.fakes import FakeLlm, FakeStt, loud, silent
from tests.support.session_room import Room, Rooms, codes

pytestmark = pytest.mark.virtual_clock


async def says(r: Room, text: str = "Hello.") -> None:
    r.session.answer_text(text)
    await r.session.settle()


def captions(r: Room) -> str:
    return "".join(message.content for message in r.all(LlmChunk))


async def test_reasoning_that_lasts_is_told_in_words_before_the_answer(room: Rooms) -> None:
    r = room(llm=FakeLlm([Thinking(), "It is Paris.", " In France."]))
    await says(r)
    whole = f"{THINKS} It is Paris. In France."
    assert r.tts.said == [THINKS, "It is Paris.", "In France."] and not codes(r)
    assert captions(r) == whole and [each.text for each in r.all(LlmReply)] == [whole]
    assert r.said()[-1] == ("assistant", whole), "the history has what was said"


async def test_the_first_token_is_that_of_the_answer(room: Rooms) -> None:
    seen: list[float | None] = []
    hooks = Hooks(on_llm_end=lambda ctx, result, timing: seen.append(timing.ttft_ms))
    r = room(llm=FakeLlm([Thinking(), "It is Paris."], delay=1.0), hooks=hooks)
    await says(r)
    assert seen == [pytest.approx(2000, abs=100)]


async def test_it_is_not_told_where_the_answer_has_begun(room: Rooms) -> None:
    r = room(llm=FakeLlm(["It is Paris.", Thinking(), " In France."]))
    await says(r)
    assert r.said()[-1] == ("assistant", "It is Paris. In France.")


async def test_reasoning_without_an_answer_is_no_answer(room: Rooms) -> None:
    r = room(llm=FakeLlm([Thinking()], "Paris."))
    await says(r)
    assert r.tts.said[-1] == NO_WORDS and r.said()[-1] == ("assistant", NO_WORDS)
    await says(r, "And now?")
    assert r.said()[-1] == ("assistant", "Paris.")


async def test_what_turns_out_to_be_reasoning_is_kept_nowhere(room: Rooms) -> None:
    told: list[str] = []
    hooks = Hooks(on_llm_end=lambda ctx, result, timing: told.append(result.text))
    r = room(llm=FakeLlm(["They greet me.", " I greet", Retracted(), "Hello", " there."]), hooks=hooks)
    await says(r)
    assert r.tts.said[-1] == "Hello there." and not codes(r)
    assert [each.text for each in r.all(LlmReply)] == told == ["Hello there."]
    assert r.said()[-1] == ("assistant", "Hello there.")


async def test_a_draft_tells_it_only_while_it_still_thinks(room: Rooms) -> None:
    r = room(FakeStt("Where?"), FakeLlm([Thinking(), "It is in Paris, France."]))
    await r.user(loud(0.5))
    await r.user(silent(0.35))
    assert len(r.llm.asked) == 1, "it was begun in the pause"
    await r.user(silent(0.4))
    await r.session.settle()
    assert r.said()[-1] == ("assistant", "It is in Paris, France.")

    late = room(FakeStt("Where?"), FakeLlm([Thinking(), "It is in Paris, France."], delay=2.0))
    await late.says()
    await asyncio.sleep(20)
    await late.session.settle()
    assert late.said()[-1] == ("assistant", f"{THINKS} It is in Paris, France.")
