"""Conversations by id: made here, kept for a while, told apart when gone."""

import asyncio

import pytest

from localvoice.agent.sessions import SWEEP_SECONDS, Sessions
from localvoice.contract.errors import ErrorCode, VoiceError

pytestmark = pytest.mark.virtual_clock


async def refusal(sessions: Sessions, session_id: str) -> ErrorCode:
    with pytest.raises(VoiceError) as caught:
        sessions.resume(session_id)
    return caught.value.code


async def test_each_has_an_id_that_cannot_be_guessed() -> None:
    sessions = Sessions(30)
    ids = {sessions.create().id for _ in range(100)}
    assert len(ids) == len(sessions) == 100
    assert all(len(each) >= 22 for each in ids)


async def test_the_same_conversation_comes_back() -> None:
    sessions = Sessions(30)
    conversation = sessions.create()
    conversation.history.add_user("hello")
    await asyncio.sleep(29 * 60)
    assert sessions.resume(conversation.id) is conversation
    await asyncio.sleep(29 * 60)
    assert sessions.resume(conversation.id) is conversation, "coming back is a sign of life"


async def test_a_touch_keeps_it() -> None:
    sessions = Sessions(30)
    conversation = sessions.create()
    for _ in range(10):
        await asyncio.sleep(20 * 60)
        conversation.touch()
    assert sessions.resume(conversation.id) is conversation


async def test_unknown_expired_and_discarded_are_told_apart() -> None:
    sessions = Sessions(30)
    old, left = sessions.create(), sessions.create()
    sessions.discard(left)
    sessions.discard(left)
    await asyncio.sleep(30 * 60 + 1)
    assert await refusal(sessions, old.id) == ErrorCode.SESSION_EXPIRED
    assert await refusal(sessions, left.id) == ErrorCode.SESSION_NOT_FOUND
    assert await refusal(sessions, "nonsense") == ErrorCode.SESSION_NOT_FOUND
    assert len(sessions) == 0


async def test_what_is_remembered_of_the_expired_is_bounded() -> None:
    sessions = Sessions(1)
    first = sessions.create()
    await asyncio.sleep(61)
    sessions.sweep()
    others = [sessions.create() for _ in range(1_000)]
    await asyncio.sleep(61)
    sessions.sweep()
    assert await refusal(sessions, others[0].id) == ErrorCode.SESSION_EXPIRED
    assert await refusal(sessions, first.id) == ErrorCode.SESSION_NOT_FOUND


async def test_the_sweeper_forgets_by_itself() -> None:
    sessions = Sessions(1)
    sessions.create()
    sweeper = asyncio.create_task(sessions.keep_sweeping())
    await asyncio.sleep(SWEEP_SECONDS - 1)
    fresh = sessions.create()
    await asyncio.sleep(2)
    assert len(sessions) == 1
    assert sessions.resume(fresh.id) is fresh
    sweeper.cancel()
