"""Conversations by id: made here, kept for a while, told apart when gone."""

import asyncio
import tracemalloc

import pytest

from localvoice.config import Settings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import MAX_ANNOUNCEMENTS, MAX_ATTACHMENTS, Conversation
from localvoice.conversation.conversations import SWEEP_SECONDS, Sessions
from localvoice.engines.pictures import Image
from tests.support.directors import FakeDirector, refusal
from tests.support.fakes import fake_engines

pytestmark = pytest.mark.virtual_clock


def picture(description: str = "") -> Image:
    return Image(b"png", alt=description)


def a_conversation() -> Conversation:
    return Conversation("test", FakeDirector("test"))


# --- ids, and time to live ---


async def test_each_has_an_id_that_cannot_be_guessed() -> None:
    sessions = Sessions(30, FakeDirector)
    ids = {sessions.create().id for _ in range(100)}
    assert len(ids) == len(sessions) == 100
    assert all(len(each) >= 22 for each in ids)


async def test_each_has_a_director_of_its_own() -> None:
    sessions = Sessions(30, FakeDirector)
    for conversation in (sessions.create(), sessions.create()):
        assert isinstance(conversation.director, FakeDirector)
        assert conversation.director.session_id == conversation.id


async def test_the_same_conversation_comes_back() -> None:
    sessions = Sessions(30, FakeDirector)
    conversation = sessions.create()
    conversation.history.add_user("hello")
    await asyncio.sleep(29 * 60)
    assert sessions.resume(conversation.id) is conversation
    await asyncio.sleep(29 * 60)
    assert sessions.resume(conversation.id) is conversation, "coming back is a sign of life"


async def test_a_touch_keeps_it() -> None:
    sessions = Sessions(30, FakeDirector)
    conversation = sessions.create()
    for _ in range(10):
        await asyncio.sleep(20 * 60)
        conversation.touch()
    assert sessions.resume(conversation.id) is conversation


async def test_unknown_expired_and_discarded_are_told_apart() -> None:
    sessions = Sessions(30, FakeDirector)
    old, left = sessions.create(), sessions.create()
    sessions.discard(left)
    sessions.discard(left)
    await asyncio.sleep(30 * 60 + 1)
    assert await refusal(sessions, old.id) == ErrorCode.SESSION_EXPIRED
    assert await refusal(sessions, left.id) == ErrorCode.SESSION_NOT_FOUND
    assert await refusal(sessions, "nonsense") == ErrorCode.SESSION_NOT_FOUND
    assert len(sessions) == 0


async def test_one_with_a_connection_is_never_swept_away() -> None:
    sessions = Sessions(30, FakeDirector)
    conversation = sessions.create()
    conversation.leave = asyncio.Event
    await asyncio.sleep(3 * 60 * 60)
    await sessions.sweep()
    assert len(sessions) == 1
    conversation.touch()
    conversation.leave = None
    await asyncio.sleep(29 * 60)
    assert sessions.resume(conversation.id) is conversation
    await asyncio.sleep(31 * 60)
    assert await refusal(sessions, conversation.id) == ErrorCode.SESSION_EXPIRED


async def test_what_is_remembered_of_the_expired_is_bounded() -> None:
    sessions = Sessions(1, FakeDirector)
    first = sessions.create()
    await asyncio.sleep(61)
    await sessions.sweep()
    others = [sessions.create() for _ in range(1_000)]
    await asyncio.sleep(61)
    await sessions.sweep()
    assert await refusal(sessions, others[0].id) == ErrorCode.SESSION_EXPIRED
    assert await refusal(sessions, first.id) == ErrorCode.SESSION_NOT_FOUND


async def test_the_sweeper_forgets_by_itself() -> None:
    sessions = Sessions(1, FakeDirector)
    sessions.create()
    sweeper = asyncio.create_task(sessions.keep_sweeping())
    await asyncio.sleep(SWEEP_SECONDS - 1)
    fresh = sessions.create()
    await asyncio.sleep(2)
    assert len(sessions) == 1
    assert sessions.resume(fresh.id) is fresh
    sweeper.cancel()


async def test_each_end_is_told_once_with_all_that_was() -> None:
    ended: list[tuple[str, int, float]] = []
    sessions = Sessions(
        30, FakeDirector, on_end=lambda each: ended.append((each.id, each.turns, each.started))
    )
    await asyncio.sleep(100)
    one, two, three = sessions.create(), sessions.create(), sessions.create()
    one.turns = 7
    sessions.discard(one)
    sessions.discard(one)
    assert ended == [(one.id, 7, 100.0)]
    await asyncio.sleep(20 * 60)
    three.touch()
    await asyncio.sleep(11 * 60)
    await sessions.sweep()
    assert [each[0] for each in ended] == [one.id, two.id]
    await sessions.close()
    assert [each[0] for each in ended] == [one.id, two.id, three.id], (
        "without a store all end with the process"
    )
    assert len(sessions) == 0


async def test_one_in_which_nothing_was_said_is_small() -> None:
    """Each is kept for half an hour, and there may be thousands."""
    agent = Agent(Settings.model_validate({}), fake_engines())
    sessions = Sessions(30, agent.direct)
    sessions.create()
    tracemalloc.start()
    for _ in range(1000):
        sessions.create()
    took, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took / 1000 < 1200, took


# --- reminders and announcements ---


async def test_a_reminder_is_announced_whenever_somebody_is_there() -> None:
    conversation = a_conversation()
    calls: list[int] = []
    conversation.reminders.after(60, "The tea is ready.")
    await asyncio.sleep(61)
    assert list(conversation.announcements) == ["The tea is ready."], "it waits while no client is there"
    conversation.on_announcement = lambda: calls.append(len(conversation.announcements))
    conversation.reminders.after(60, "The eggs are ready.")
    await asyncio.sleep(61)
    assert calls == [2]


async def test_announcements_that_nobody_hears_are_bounded() -> None:
    conversation = a_conversation()
    for number in range(MAX_ANNOUNCEMENTS + 3):
        conversation.announce(str(number))
    assert len(conversation.announcements) == MAX_ANNOUNCEMENTS
    assert conversation.announcements[0] == "3", "the oldest go first"


async def test_reminders_end_with_their_conversation() -> None:
    sessions = Sessions(30, FakeDirector)
    discarded, swept = sessions.create(), sessions.create()
    for conversation in (discarded, swept):
        conversation.reminders.after(3_600, "Too late.")
    sessions.discard(discarded)
    await asyncio.sleep(2 * 60 * 60)
    assert not discarded.announcements
    await sessions.sweep()
    swept.announcements.clear()
    assert discarded.reminders.pending() == swept.reminders.pending() == ()


# --- attachments ---


async def test_attachments_wait_for_the_next_utterance() -> None:
    conversation = a_conversation()
    one, two = picture(), picture()
    conversation.attach([one])
    conversation.attach([two])
    assert conversation.take_attachments() == (one, two)
    assert conversation.take_attachments() == ()


async def test_a_picture_takes_the_place_of_an_earlier_one_with_its_description() -> None:
    conversation = a_conversation()
    plain, *frames = picture(), *(picture("camera frame") for _ in range(2 * MAX_ATTACHMENTS))
    screen = picture("screen frame")
    conversation.attach([plain])
    for frame in frames:
        conversation.attach([frame, screen])
    assert conversation.take_attachments() == (plain, frames[-1], screen)


async def test_too_many_attachments_are_refused_whole() -> None:
    conversation = a_conversation()
    conversation.attach([picture() for _ in range(MAX_ATTACHMENTS - 1)])
    with pytest.raises(VoiceError, match="At most 4 attachments") as caught:
        conversation.attach([picture(), picture()])
    assert caught.value.code == ErrorCode.INVALID_MESSAGE
    conversation.attach([picture()])
    assert len(conversation.take_attachments()) == MAX_ATTACHMENTS
