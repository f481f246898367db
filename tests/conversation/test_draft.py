"""Replies begun in a pause: the turn gets them if it asks for just that; else they leave no trace."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from localvoice.application.hooks import Hooks, Rejection
from localvoice.config import Settings
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import LlmChunk, LlmReply, TranscriptMessage
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.sentences import Written
from localvoice.conversation.speculation import Draft, Speculation
from localvoice.engines.chat import ToolCall
from localvoice.engines.pictures import Image
from localvoice.tools import tool
from tests.support.fakes import LLM_FAILED, FakeLlm, FakeStt, FakeTts, fake_engines, loud, silent
from tests.support.session_room import STEP, Room, Rooms, codes


async def pauses(r: Room, seconds: float = 0.35) -> None:
    """The user speaks and stops, but the turn has not ended."""
    await r.user(loud(0.5))
    await r.user(silent(seconds))


async def test_the_reply_begins_in_the_pause_and_sounds_when_the_turn_ends(room: Rooms) -> None:
    r = room(FakeStt("How are you?"), FakeLlm("I am fine today, thank you."))
    await pauses(r)
    assert len(r.llm.asked) == 1 and r.tts.said == ["I am fine today,"]
    assert not r.said() and not r.all(TranscriptMessage) and not r.all(LlmChunk)
    await r.user(silent(0.4))
    await r.session.settle()
    assert len(r.llm.asked) == 1, "what was drafted is what is said"
    assert r.tts.said == ["I am fine today,", "thank you."]
    assert [each.text for each in r.all(LlmReply)] == ["I am fine today, thank you."]
    assert r.said() == [("user", "How are you?"), ("assistant", "I am fine today, thank you.")]


async def test_the_first_sound_comes_sooner_by_what_the_pause_was_used_for(room: Rooms) -> None:
    async def first_sound(eager: bool) -> float:
        r = room(FakeStt("Hi."), FakeLlm("Yes, I can hear you.", delay=0.05), listening={"eager": eager})
        await r.says()
        await r.session.settle()
        return r.time_of("tts-start") - r.time_of("speech-end")

    patient, eager = await first_sound(False), await first_sound(True)
    assert patient >= 0.2, "four words"
    assert eager < patient - 0.15


async def test_a_draft_is_dropped_without_a_trace_when_the_user_goes_on(room: Rooms) -> None:
    started: list[object] = []
    stt = FakeStt("I would like", "I would like some tea.")
    llm = FakeLlm("Like what?", "Here you are.", delay=0.3)
    r = room(stt, llm, hooks=Hooks(on_llm_start=lambda *seen: started.append(seen)))
    await pauses(r)
    assert llm.running == 1
    await r.user(loud(0.3))
    await asyncio.sleep(STEP)
    assert llm.running == 0 and llm.closed == 1, "at once"
    await r.user(silent(0.7))
    await r.session.settle()
    assert r.said() == [("user", "I would like some tea."), ("assistant", "Here you are.")]
    assert len(started) == 1
    told = [(message.text, message.is_final) for message in r.all(TranscriptMessage)]
    assert told == [("I would like", False), ("I would like some tea.", True)], "part of the user's words"


async def test_no_tool_runs_before_the_turn_has_ended(room: Rooms) -> None:
    ran: list[str] = []

    @tool
    def open_door() -> str:
        """Open the door."""
        ran.append("opened")
        return "open"

    llm = FakeLlm([ToolCall("c1", "open_door", {})], "It is open.")
    r = room(FakeStt("Open the door."), llm, tools=[open_door])
    await pauses(r)
    assert len(llm.asked) == 1 and not ran
    await r.user(silent(0.4))
    await r.session.settle()
    assert ran == ["opened"] and len(llm.asked) == 2
    assert r.said()[-1] == ("assistant", "It is open.")


async def test_what_a_hook_rejects_is_never_heard(room: Rooms) -> None:
    def reject(*_: Any) -> None:
        raise Rejection("not here", "No.")

    r = room(FakeStt("A secret."), FakeLlm("I know a secret."), hooks=Hooks(on_stt_end=reject))
    await r.says()
    await r.session.settle()
    assert [text for role, text in r.said() if role == "assistant"] == ["No."]
    assert not [each for each in r.all(LlmChunk) if "secret" in each.content]


async def test_a_draft_that_fails_fails_the_turn_as_always(room: Rooms) -> None:
    r = room(FakeStt("Hi."), FakeLlm([LLM_FAILED], "I'm back."))
    await r.says()
    await r.session.settle()
    assert codes(r) == ["LLM_ERROR"]
    await r.says()
    await r.session.settle()
    assert r.said()[-1] == ("assistant", "I'm back.")


# --- the draft itself ---


def speculation_of(
    *script: str | Sequence[str | ToolCall | Exception], delay: float = 0.0
) -> tuple[Speculation, Conversation, FakeLlm]:
    llm = FakeLlm(*script, delay=delay)
    agent = Agent(Settings(), fake_engines(llm=llm, tts=FakeTts()))
    return Speculation(agent), Conversation("test", agent.direct("test")), llm


async def words_of(draft: Draft) -> str:
    return "".join([item.text async for item in draft.reply if isinstance(item, Written)])


async def test_only_the_turn_that_answers_the_same_words_gets_the_draft() -> None:
    speculation, conversation, llm = speculation_of("Drafted.", delay=0.01)
    source = object()
    speculation.begin(source, "Hello?", conversation)
    assert speculation.take(object()) is None
    draft = speculation.take(source)
    assert draft is not None and await words_of(draft) == "Drafted."
    assert speculation.take(source) is None, "once"
    speculation.begin(source, "Hello?", conversation)
    await asyncio.sleep(0.005)
    await speculation.close()
    assert llm.closed == 1 and llm.running == 0


async def test_a_draft_knows_whether_the_conversation_has_changed_since() -> None:
    speculation, conversation, _ = speculation_of("Drafted.", "Drafted.")
    source = object()
    changes: list[Callable[[], object]] = [
        lambda: conversation.history.add_user("something else"),
        lambda: conversation.attach([Image(b"door", "image/png", "a red door")]),
        lambda: conversation.leave_stage(False),
        lambda: conversation.history.clear(),
    ]
    for change in changes:
        speculation.begin(source, "Hello?", conversation)
        draft = speculation.take(source)
        assert draft is not None and draft.revision == conversation.revision
        change()
        assert draft.revision != conversation.revision
        speculation.drop_draft(draft)
    await speculation.close()


async def test_pictures_that_come_while_the_draft_is_written_are_asked_about(room: Rooms) -> None:
    llm = FakeLlm("I am fine today, thank you.", "It is red.")
    llm.sees = True
    r = room(FakeStt("How is it?"), llm)
    await pauses(r)
    r.conversation.attach([Image(b"door", "image/png", "a red door")])
    await r.user(silent(0.4))
    await r.session.settle()
    assert r.said()[-1] == ("assistant", "It is red.")
    assert [len(messages[-1].images) for messages in r.llm.asked] == [0, 1]


async def test_what_was_written_before_a_failure_comes_before_it() -> None:
    speculation, conversation, _ = speculation_of(["Well,", LLM_FAILED])
    source = object()
    speculation.begin(source, "Hello?", conversation)
    await asyncio.sleep(0.01)
    draft = speculation.take(source)
    assert draft is not None
    items = draft.reply
    assert await anext(items) == Written("Well,", [])
    with pytest.raises(VoiceError):
        await anext(items)
    speculation.drop_draft(draft)
    await speculation.close()


async def test_closing_what_was_drafted_closes_the_models_work() -> None:
    speculation, conversation, llm = speculation_of("One two three four five.", delay=0.05)
    source = object()
    speculation.begin(source, "Hello?", conversation)
    draft = speculation.take(source)
    assert draft is not None
    items = draft.reply
    await anext(items)
    await items.aclose()
    assert llm.closed == 1 and llm.running == 0
    speculation.drop_draft(draft)
    speculation.begin(source, "Hello?", conversation)
    await asyncio.sleep(0)
    await speculation.close()
    assert llm.running == 0
