"""Connections that show no token: bounded in all, by address and in time, and told once."""

import logging

import pytest

from localvoice.server.strangers import Strangers


class Arrival:
    def __init__(self, address: str, port: int, since: float = 0.0) -> None:
        self.source = (address, port)
        self.since = since
        self.over = False
        self.ended = False

    def end(self) -> None:
        self.ended = True


def arrivals(strangers: Strangers, address: str, count: int, first: int = 1) -> list[Arrival]:
    """So many connections of an address, one after another."""
    came = [Arrival(address, first + number) for number in range(count)]
    for each in came:
        strangers.come(each)
    return came


def ended(came: list[Arrival]) -> list[int]:
    return [each.source[1] for each in came if each.ended]


def test_an_address_may_have_half_and_its_oldest_go() -> None:
    strangers = Strangers(8)
    came = arrivals(strangers, "10.0.0.1", 10)
    assert ended(came) == [1, 2, 3, 4, 5, 6] and len(strangers) == 4


def test_others_are_not_shut_out_by_it() -> None:
    strangers = Strangers(8)
    arrivals(strangers, "10.0.0.1", 500)
    others = arrivals(strangers, "10.0.0.2", 3)
    arrivals(strangers, "10.0.0.1", 500, first=1000)
    assert not ended(others)


def test_past_all_the_oldest_of_the_address_with_most_goes() -> None:
    strangers = Strangers(8)
    many, few = arrivals(strangers, "10.0.0.1", 4), arrivals(strangers, "10.0.0.2", 2)
    for number in range(20):
        arrivals(strangers, f"10.0.1.{number}", 1)
    assert len(strangers) == 8 and ended(many)[:3] == [1, 2, 3] and len(ended(few)) >= 1


def test_an_ipv6_network_is_one_address() -> None:
    strangers = Strangers(8)
    for number in range(10):
        arrivals(strangers, f"2001:db8::{number:x}", 1)
    assert len(strangers) == 4
    arrivals(strangers, "2001:db8:0:1::1", 1)
    assert len(strangers) == 5


def test_those_who_are_admitted_or_over_do_not_count() -> None:
    strangers = Strangers(8)
    came = arrivals(strangers, "10.0.0.1", 4)
    strangers.admit(came[0].source)
    came[1].over = True
    more = arrivals(strangers, "10.0.0.1", 2, first=100)
    assert len(strangers) == 4 and not ended(came) and not ended(more)
    strangers.admit(("10.9.9.9", 1))  # none of them


def test_nobody_stays_for_more_than_a_minute() -> None:
    strangers = Strangers(8)
    old, new = Arrival("10.0.0.1", 1, since=0.0), Arrival("10.0.0.1", 2, since=30.0)
    for each in (old, new):
        strangers.come(each)
    strangers.sweep(61.0)
    assert (old.ended, new.ended, len(strangers)) == (True, False, 1)


def test_room_is_made_where_there_is_somebody_to_end() -> None:
    strangers = Strangers(8)
    assert not strangers.make_room()
    came = arrivals(strangers, "10.0.0.1", 2)
    assert strangers.make_room() and ended(came) == [1]


def test_a_crowd_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers(8)
    for _ in range(3):
        came = arrivals(strangers, "10.0.0.1", 5_000)
        strangers.sweep(1.0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.getMessage().startswith("10.0.0.1 ")
    for each in came:
        each.over = True
    strangers.sweep(2.0)
    strangers.sweep(3.0)
    assert [each.getMessage() for each in caplog.records[1:]] == [
        "the connections without a token are few again"
    ]
