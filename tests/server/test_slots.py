"""Conversation slots: how many there are, which are taken, and how long the others are told to wait."""

import asyncio

import pytest

from localvoice.config import LimitSettings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.server.slots import KEEP_SECONDS, ConversationSlots
from tests.support.told_seconds import seconds_told

pytestmark = pytest.mark.virtual_clock


def slots(turn_seconds: float = 0.0, **given: int) -> ConversationSlots:
    return ConversationSlots(LimitSettings.model_validate(given), turn_seconds)


def refused(room: ConversationSlots, who: str) -> int:
    """The seconds that it is told to wait."""
    with pytest.raises(VoiceError, match="The server is full") as caught:
        room.check(who)
    assert caught.value.code == ErrorCode.RATE_LIMITED
    assert caught.value.retry_after == seconds_told(caught.value)
    return seconds_told(caught.value)


@pytest.mark.parametrize(
    ("turn_seconds", "count"), [(0, 32), (0.05, 32), (0.5, 8), (1.3, 3), (1.9, 2), (4, 2), (30, 2)]
)
async def test_there_are_as_many_as_keep_the_models_at_work_half_of_the_time(
    turn_seconds: float, count: int
) -> None:
    assert slots(turn_seconds).count == count


async def test_a_setting_and_the_connections_limit_it() -> None:
    assert slots(0.5, conversations=20).count == 20
    assert slots(0.5, conversations=1).count == 1
    assert slots(0.1, connections=5).count == 5


async def test_real_turns_count_after_the_rehearsal() -> None:
    room = slots(0.5)
    for _ in range(30):
        room.note_work(1.3)
    assert room.count == 3
    for _ in range(40):
        room.note_work(0.2)
    assert room.count > 15


async def test_a_slot_is_kept_through_a_pause_and_the_others_are_told_when_to_come() -> None:
    room = slots(conversations=1)
    room.take("one")
    await asyncio.sleep(6)
    room.rest("one")
    await asyncio.sleep(5)
    assert refused(room, "two") == KEEP_SECONDS - 5
    room.check("one")
    await asyncio.sleep(KEEP_SECONDS - 5)
    room.check("two")
    room.take("two")
    await asyncio.sleep(2)
    assert refused(room, "one") >= 4 + KEEP_SECONDS, "turns take 6 s here, and there is a pause after them"


async def test_a_cough_takes_no_slot_and_costs_none() -> None:
    room = slots(conversations=1)
    room.take("one")
    room.rest("one", answered=False)
    assert room.taken == 0
    room.take("one")
    room.rest("one")
    room.take("one")
    await asyncio.sleep(1)
    room.rest("one", answered=False)
    assert room.has("one")
    await asyncio.sleep(KEEP_SECONDS)
    assert not room.has("one")


async def test_a_slot_is_free_as_soon_as_its_client_has_gone() -> None:
    room = slots(conversations=2)
    for who in ("one", "two"):
        room.take(who)
    refused(room, "three")
    room.free("one")
    room.check("three")


async def test_where_conversations_are_long_the_wait_is() -> None:
    room = slots(conversations=2)
    for number in range(10):
        room.take(str(number))
        await asyncio.sleep(80)
        room.free(str(number))
    room.take("a")
    room.take("b")
    assert refused(room, "c") == 40, "one of two ends every 40 s"


async def test_who_tells_is_told() -> None:
    told = list[tuple[int, int]]()
    room = ConversationSlots(LimitSettings(conversations=3), 0.0, lambda *now: told.append(now))
    room.take("one")
    room.rest("one")
    room.free("one")
    assert told == [(1, 3), (0, 3)]
