"""Connections that show no token: bounded in all, by address and in time, and told once."""

import logging
from typing import Any

import pytest

from localvoice.server.listener import PendingConnection, PendingConnections


class Arrival(PendingConnection):
    """A connection whose socket is itself."""

    def __init__(self, address: str, port: int, since: float = 0.0) -> None:
        itself: Any = self
        super().__init__((address, port), since, itself, self._end)
        self.over = False
        self.ended = False

    def fileno(self) -> int:
        return -1 if self.over else 3

    def _end(self) -> None:
        self.ended = True


def arrivals(pending: PendingConnections, address: str, count: int, first: int = 1) -> list[Arrival]:
    """So many connections of an address, one after another."""
    came = [Arrival(address, first + number) for number in range(count)]
    for each in came:
        pending.add(each)
    return came


def ended(came: list[Arrival]) -> list[int]:
    return [each.source[1] for each in came if each.ended]


def test_an_address_may_have_half_and_its_oldest_go() -> None:
    pending = PendingConnections(8)
    came = arrivals(pending, "10.0.0.1", 10)
    assert ended(came) == [1, 2, 3, 4, 5, 6] and len(pending) == 4


def test_others_are_not_shut_out_by_it() -> None:
    pending = PendingConnections(8)
    arrivals(pending, "10.0.0.1", 500)
    others = arrivals(pending, "10.0.0.2", 3)
    arrivals(pending, "10.0.0.1", 500, first=1000)
    assert not ended(others)


def test_past_all_the_oldest_of_the_address_with_most_goes() -> None:
    pending = PendingConnections(8)
    many, few = arrivals(pending, "10.0.0.1", 4), arrivals(pending, "10.0.0.2", 2)
    for number in range(20):
        arrivals(pending, f"10.0.1.{number}", 1)
    assert len(pending) == 8 and ended(many)[:3] == [1, 2, 3] and len(ended(few)) >= 1


def test_an_ipv6_network_is_one_address() -> None:
    pending = PendingConnections(8)
    for number in range(10):
        arrivals(pending, f"2001:db8::{number:x}", 1)
    assert len(pending) == 4
    arrivals(pending, "2001:db8:0:1::1", 1)
    assert len(pending) == 5


def test_those_who_are_admitted_or_over_do_not_count() -> None:
    pending = PendingConnections(8)
    came = arrivals(pending, "10.0.0.1", 4)
    pending.authenticated(came[0].source)
    came[1].over = True
    more = arrivals(pending, "10.0.0.1", 2, first=100)
    assert len(pending) == 4 and not ended(came) and not ended(more)
    pending.authenticated(("10.9.9.9", 1))  # none of them


def test_none_stays_for_more_than_a_minute() -> None:
    pending = PendingConnections(8)
    old, new = Arrival("10.0.0.1", 1, since=0.0), Arrival("10.0.0.1", 2, since=30.0)
    for each in (old, new):
        pending.add(each)
    pending.sweep(61.0)
    assert (old.ended, new.ended, len(pending)) == (True, False, 1)


def test_room_is_made_where_there_is_one_to_end() -> None:
    pending = PendingConnections(8)
    assert not pending.make_room()
    came = arrivals(pending, "10.0.0.1", 2)
    assert pending.make_room() and ended(came) == [1]


def test_a_crowd_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    pending = PendingConnections(8)
    for _ in range(3):
        came = arrivals(pending, "10.0.0.1", 5_000)
        pending.sweep(1.0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.getMessage().startswith("10.0.0.1 ")
    for each in came:
        each.over = True
    pending.sweep(2.0)
    pending.sweep(3.0)
    assert [each.getMessage() for each in caplog.records[1:]] == [
        "the flood of connections without a token is over"
    ]
