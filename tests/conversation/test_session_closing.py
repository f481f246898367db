"""How a session ends: closed in any state, or gone on with in another conversation."""

import asyncio

import numpy as np
import pytest

from localvoice.application.hooks import Hooks
from localvoice.conversation.conversation import Conversation
from localvoice.observability.stopwatch import now
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, loud
from tests.support.session_room import LONG, STEP, Rooms

pytestmark = pytest.mark.virtual_clock


@pytest.mark.parametrize("seconds", [0, 0.1, 0.7, 0.9, 1.3, 1.8, 2.3, 2.5, 3.5, 30])
async def test_closing_in_every_state_leaves_nothing(room: Rooms, seconds: float) -> None:
    r = room(FakeStt("Hi.", delay=0.7), FakeLlm(LONG, delay=0.1), FakeTts(delay=0.1))
    before = asyncio.all_tasks()
    user = asyncio.create_task(r.says())
    await asyncio.sleep(seconds)
    user.cancel()
    await r.session.close()
    await asyncio.wait([user])
    assert asyncio.all_tasks() <= before
    await asyncio.sleep(STEP)
    assert not r.played[-1][1]
    await r.session.close()


async def test_closing_keeps_what_was_heard(room: Rooms) -> None:
    r = room(FakeStt("Hi."), FakeLlm(LONG))
    await r.says()
    await r.until("tts-start")
    await asyncio.sleep(1.0)
    await r.session.close()
    (who, text) = r.said()[1]
    assert who == "assistant" and 12 <= len(text.split()) <= 17


async def test_going_on_with_another_conversation(room: Rooms) -> None:
    r = room(llm=FakeLlm(LONG, "Fine."))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await asyncio.sleep(0.5)
    other = Conversation("other", r.agent.direct("other"))
    other.history.add_user("I am Ann.")
    other.history.add_assistant("Hello Ann.")
    await r.session.resume(other)
    assert r.states()[-1] == "idle"
    assert [who for who, _ in r.said()] == ["user", "assistant"], "the turn that ran ends in its own history"
    r.session.answer_text("Who am I?")
    await r.session.settle()
    assert [message.content for message in r.llm.asked[1][1:]] == ["I am Ann.", "Hello Ann.", "Who am I?"]
    assert np.all([message.role != "system" for message in other.history.messages])


async def test_a_hook_that_nobody_waits_for_holds_up_no_end(room: Rooms) -> None:
    """Its client may be about to come back, and the session is free only then."""

    async def never_ends(*_: object) -> None:
        await asyncio.Event().wait()

    r = room(hooks=Hooks(on_speech_end=never_ends))
    await r.says()
    await r.session.settle()
    begun = now()
    await r.session.close()
    assert now() - begun < 3


@pytest.mark.parametrize("way", ["typed", "spoken", "sent", "forget"])
async def test_what_is_said_while_another_conversation_is_taken_up_belongs_to_that(
    room: Rooms, way: str
) -> None:
    async def save(_: Conversation) -> bool:
        await asyncio.sleep(0.8)
        return True

    r = room(FakeStt("Who am I?"), FakeLlm("Hello."), save=save)
    r.session.answer_text("Hi.")
    await r.session.settle()
    before = r.said()
    other = Conversation("other", r.agent.direct("other"))
    other.history.add_user("I am Ann.")
    other.history.add_assistant("Hello Ann.")
    resuming = asyncio.create_task(r.session.resume(other))
    await asyncio.sleep(0.01)
    match way:
        case "typed":
            r.session.answer_text("Who am I?")
        case "spoken":
            await r.says(0.1)
        case "sent":
            r.session.answer_utterance(loud(0.5))
        case "forget":
            r.session.forget(everything=False)
    assert not resuming.done()
    await resuming
    await r.session.settle()
    assert r.said() == before
    told = [message.content for message in other.history.messages]
    assert told == ([] if way == "forget" else ["I am Ann.", "Hello Ann.", "Who am I?", "I am fine."])
    assert r.states()[-1] == "idle"


@pytest.mark.parametrize("seconds", [0.5, 30])
async def test_what_fell_due_in_the_other_conversation_is_said_once_it_is_taken_up(
    room: Rooms, seconds: float
) -> None:
    """Whether the agent speaks in that moment or not."""
    r = room(llm=FakeLlm(LONG))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await asyncio.sleep(seconds)
    other = Conversation("other", r.agent.direct("other"))
    other.announce("The eggs are done.")
    before = len(r.states())
    await r.session.resume(other)
    await r.session.settle()
    assert [message.content for message in other.history.messages] == ["The eggs are done."]
    told = r.states()[before:]
    assert told[-3:] == ["thinking", "speaking", "idle"] and "idle" not in told[1:-1]
