"""Replies that end in an odd way: without a word to say, or cut off at the LLM's limit of tokens."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from localvoice.application.hooks import Hooks, LlmResult, Rejection, TurnContext
from localvoice.contract.messages import LlmReply
from localvoice.conversation.reply import DONE, MORE, NO_WORDS
from localvoice.engines.chat import CutOff, ReplyItem, ToolCall
from localvoice.observability.stopwatch import Timing
from localvoice.tools import tool
from tests.support.fakes import FakeLlm
from tests.support.post import Post
from tests.support.post import post as post
from tests.support.session_room import Room, Rooms, codes

pytestmark = pytest.mark.virtual_clock

WORDLESS = ["", "...", "👍", "```\n```", "**", " \n ", "…?!", "<br>"]


async def says(r: Room, text: str = "Hello.") -> None:
    r.session.answer_text(text)
    await r.session.settle()


def shown(r: Room) -> list[str]:
    return [message.text for message in r.all(LlmReply)]


@pytest.mark.parametrize("written", WORDLESS)
async def test_a_reply_without_words_is_not_silent_and_not_kept(room: Rooms, written: str) -> None:
    r = room(llm=FakeLlm([written] if written else [], "Paris."))
    await says(r)
    assert r.tts.said[-1] == NO_WORDS and "tts-complete" in r.kinds() and not codes(r)
    assert shown(r) == [NO_WORDS] and r.said() == [("user", "Hello."), ("assistant", NO_WORDS)]
    await says(r, "What is the capital of France?")
    assert [message.content for message in r.llm.asked[1][1:]] == [*(text for _, text in r.said()[:3])]
    assert shown(r)[-1] == r.said()[-1][1] == "Paris."


@pytest.mark.parametrize("written", WORDLESS)
async def test_after_a_tool_it_is_said_to_be_done(room: Rooms, post: Post, written: str) -> None:
    @tool
    def light(on: bool) -> str:
        """Switch the light."""
        return "on"

    r = room(llm=FakeLlm([ToolCall("c", "light", {"on": True})], [written]), tools=[light])
    await says(r)
    assert r.tts.said[-1] == DONE and r.said()[-1] == ("assistant", DONE) and shown(r) == [DONE]


async def test_after_a_tool_that_failed_it_is_not(room: Rooms) -> None:
    r = room(llm=FakeLlm([ToolCall("c", "unknown", {})], "..."))
    await says(r)
    assert r.said()[-1] == ("assistant", NO_WORDS)


async def test_words_before_or_after_a_tool_are_enough(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm(["I look. ", ToolCall("c", "look", {"at": "home"})], "..."), tools=post.tools())
    await says(r)
    assert NO_WORDS not in r.tts.said and DONE not in r.tts.said and shown(r)[0].startswith("I look.")


async def test_a_hook_may_still_silence_a_reply(room: Rooms) -> None:
    def never(ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
        raise Rejection("no")

    r = room(llm=FakeLlm("Secret."), hooks=Hooks(on_llm_end=never))
    await says(r)
    assert NO_WORDS not in r.tts.said and r.said() == [("user", "Hello.")]


def cut_off(*parts: Any) -> FakeLlm:
    return FakeLlm([*parts, CutOff()], "More of it.")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("One is one. Two is two. Three is", f"One is one. Two is two. {MORE}"),
        ("One is one.\n- two\n- thr", f"One is one.\n- two {MORE}"),
        ("It is late.", f"It is late. {MORE}"),
        ("It is late. Good ni", f"It is late. {MORE}"),
        ("There are many of them, and I like all of them, above all the ones th", None),
        ("One", f"One… {MORE}"),
        ("One two", f"One… {MORE}"),
        ("It was Mr. Smi", f"It was Mr.… {MORE}"),
    ],
)
async def test_a_reply_that_is_cut_off_offers_to_go_on(room: Rooms, written: str, kept: str | None) -> None:
    if kept is None:  # its beginning has been said already
        kept = f"There are many of them, and I like all of them, above all the ones… {MORE}"
    r = room(llm=cut_off(written))
    await says(r)
    assert r.said()[-1] == ("assistant", kept) and shown(r) == [kept]
    assert " ".join(r.tts.said).split() == kept.split()
    await says(r, "Yes.")
    assert r.said()[-1] == ("assistant", "More of it.")


async def test_a_reply_may_be_cut_off_right_behind_a_clause(room: Rooms) -> None:
    class Spaced(FakeLlm):
        async def reply(self, *asked: Any, **given: Any) -> AsyncGenerator[ReplyItem, None]:
            for item in ("Well, I think that,", " ", CutOff()):
                yield item

    r = room(llm=Spaced())
    await says(r)
    assert not codes(r) and r.said()[-1] == ("assistant", f"Well, I think that, {MORE}")


async def test_a_reply_that_ended_by_itself_offers_nothing(room: Rooms) -> None:
    r = room(llm=FakeLlm("One is one. Two is"))
    await says(r)
    assert r.said()[-1] == ("assistant", "One is one. Two is")


async def test_dots_up_to_the_limit_are_no_words(room: Rooms) -> None:
    r = room(llm=cut_off("... ... ..."))
    await says(r)
    assert r.said()[-1] == ("assistant", NO_WORDS)


async def test_a_sentence_of_a_hook_stays_the_last_word(room: Rooms) -> None:
    def never(ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
        raise Rejection("no", say="I can't say that.")

    r = room(llm=cut_off("One is one. Two is"), hooks=Hooks(on_llm_end=never))
    await says(r)
    assert r.said()[-1] == ("assistant", "I can't say that.")


async def test_hooks_are_told_why_the_llm_stopped(room: Rooms) -> None:
    told: list[str] = []
    hooks = Hooks(on_llm_end=lambda ctx, result, timing: told.append(result.stop_reason))
    r = room(llm=FakeLlm([ToolCall("c", "unknown", {})], "Sorry.", ["And so", CutOff()]), hooks=hooks)
    for _ in range(3):
        await says(r)
    assert told == ["tool_use", "end_turn", "max_tokens"], "in LLMRTC's words"
