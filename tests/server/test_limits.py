"""Token buckets: what passes, what is told, and that a flood costs nothing."""

import asyncio
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.config import LimitSettings
from localvoice.contract.client_messages import MAX_MESSAGE_BYTES
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.server.admission import ConnectionLimits
from localvoice.server.inbound import MessageLimits
from localvoice.transports.limits import TokenBucket
from tests.support.told_seconds import seconds_told

pytestmark = pytest.mark.virtual_clock

RATES = st.floats(0.01, 1_000)
WAITS = st.floats(0, 100)
VOLLEYS = st.lists(st.tuples(WAITS, st.integers(1, 40)), max_size=8)
"""After a wait, so many requests at once."""


def limits(**given: float) -> LimitSettings:
    return LimitSettings.model_validate(given)


@given(RATES, st.integers(1, 20), VOLLEYS)
def test_never_more_than_the_burst_and_the_rate_pass(
    rate: float, burst: int, volleys: list[tuple[float, int]]
) -> None:
    now, passed = 0.0, list[float]()
    bucket = TokenBucket(rate, burst, now)
    for wait, requests in volleys:
        now += wait
        passed += [now for _ in range(requests) if bucket.take(now) == 0]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = Fraction(passed[last]) - Fraction(passed[first])
            assert last - first + 1 <= burst + float(span) * rate + 1e-6


@given(RATES, st.integers(1, 50), st.lists(WAITS, max_size=50))
def test_who_waits_as_long_as_told_passes(rate: float, burst: int, waits: list[float]) -> None:
    now = 0.0
    bucket = TokenBucket(rate, burst, now)
    for wait in waits:
        now += wait
        told = bucket.take(now)
        if told:
            now += math.ceil(told)
            assert bucket.take(now) == 0


@given(RATES, st.integers(1, 50), st.integers(1, 200))
def test_the_whole_burst_passes_at_once_and_no_more(rate: float, burst: int, asked: int) -> None:
    bucket = TokenBucket(rate, burst, 5.0)
    assert sum(bucket.take(5.0) == 0 for _ in range(asked)) == min(asked, burst)


async def test_a_steady_client_never_meets_a_limit() -> None:
    limiter = MessageLimits(limits(messages_per_second=50, message_burst=1))
    for _ in range(1_000):
        assert limiter.admit_message()
        await asyncio.sleep(1 / 50)


async def test_a_flood_is_told_once_a_second_and_otherwise_dropped() -> None:
    limiter = MessageLimits(limits(messages_per_second=50, message_burst=200))
    passed, errors = 0, list[VoiceError]()
    for _ in range(300):  # three seconds of 10 000 messages each
        for _ in range(100):
            try:
                passed += limiter.admit_message()
            except VoiceError as error:
                errors.append(error)
        await asyncio.sleep(0.01)
    assert 345 <= passed <= 350, "the burst and three seconds' worth"
    assert len(errors) == 3
    assert {(error.code, error.component) for error in errors} == {(ErrorCode.RATE_LIMITED, Component.SERVER)}
    assert {seconds_told(error) for error in errors} == {1}, "whole seconds, at least one"


async def test_sound_and_other_messages_have_shares_of_their_own() -> None:
    limiter = MessageLimits(limits())
    for _ in range(100):  # a minute and more of sound, and 10 messages a second beside it
        for number in range(50):
            assert limiter.admit_received(2_000)
            if number % 5 == 0:
                assert limiter.admit_received(100) and limiter.admit_message()
            await asyncio.sleep(1 / 50)


async def test_messages_of_the_largest_size_are_limited_by_their_bytes() -> None:
    limiter = MessageLimits(limits())
    passed = 0
    for _ in range(20):
        try:
            passed += limiter.admit_received(MAX_MESSAGE_BYTES)
        except VoiceError as error:
            assert "bytes" in str(error) and seconds_told(error) == 1
    assert passed == 4
    await asyncio.sleep(1)
    assert limiter.admit_received(1000 * MAX_MESSAGE_BYTES), (
        "it isn't read, so it costs no more than the largest"
    )
    with pytest.raises(VoiceError, match="bytes"):
        limiter.admit_received(1000 * MAX_MESSAGE_BYTES)


async def test_one_flood_with_two_limits_is_told_once() -> None:
    limiter = MessageLimits(limits(message_burst=1, turns_per_minute=1))
    assert limiter.admit_message() and limiter.admit_turn()
    with pytest.raises(VoiceError, match="messages"):
        limiter.admit_message()
    assert limiter.admit_turn() is False
    assert limiter.admit_message() is False


async def test_turns_are_limited_and_pass_after_the_time_told() -> None:
    limiter = MessageLimits(limits(turns_per_minute=6))
    assert all(limiter.admit_turn() for _ in range(6))
    with pytest.raises(VoiceError, match="turns") as caught:
        limiter.admit_turn()
    assert seconds_told(caught.value) == 10
    await asyncio.sleep(9.5)
    with pytest.raises(VoiceError) as caught:
        limiter.admit_turn()
    assert seconds_told(caught.value) == 1
    await asyncio.sleep(1)
    assert limiter.admit_turn()


async def test_less_than_one_turn_a_minute_still_lets_one_pass() -> None:
    limiter = MessageLimits(limits(turns_per_minute=0.5))
    assert limiter.admit_turn()
    with pytest.raises(VoiceError) as caught:
        limiter.admit_turn()
    assert seconds_told(caught.value) == 120
    await asyncio.sleep(120)
    assert limiter.admit_turn()


async def test_connections_have_buckets_of_their_own() -> None:
    settings = limits(message_burst=1)
    flooding, other = MessageLimits(settings), MessageLimits(settings)
    assert flooding.admit_message()
    with pytest.raises(VoiceError):
        flooding.admit_message()
    assert other.admit_message()


async def test_a_full_server_admits_again_when_a_connection_ends() -> None:
    admission = ConnectionLimits(limits(connections=2))
    with admission.connection():
        with admission.connection():
            with pytest.raises(VoiceError, match="All 2 connections") as caught, admission.connection():
                pass
            assert caught.value.code == ErrorCode.RATE_LIMITED
            assert seconds_told(caught.value) >= 1
        with admission.connection():
            pass
    with pytest.raises(KeyError), admission.connection():
        raise KeyError("a connection that failed gives its place back, too")
    with admission.connection(), admission.connection():
        pass


async def test_new_sessions_of_all_clients_are_limited() -> None:
    admission = ConnectionLimits(limits(sessions_per_minute=30))
    for _ in range(30):
        with admission.connection():
            pass
    with pytest.raises(VoiceError, match="new sessions") as caught, admission.connection():
        pass
    await asyncio.sleep(seconds_told(caught.value))
    with admission.connection():
        pass


async def test_a_full_server_spends_no_new_sessions() -> None:
    admission = ConnectionLimits(limits(connections=1, sessions_per_minute=2))
    with admission.connection():
        for _ in range(10):
            with pytest.raises(VoiceError, match="All 1 connections"), admission.connection():
                pass
    with admission.connection():
        pass
