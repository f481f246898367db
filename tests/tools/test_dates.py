"""Days in words, and what is told of them."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.tools import ToolError
from localvoice.tools.builtin import feasts, wall
from localvoice.tools.builtin.words.days import day_of
from tests.support.builtin_use import use


@pytest.fixture(autouse=True)
def on_a_tuesday(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setattr(wall, "now", lambda zone=None: datetime(2026, 12, 1, 12, 40).astimezone(zone))


@pytest.mark.parametrize(
    ("words", "day"),
    [
        ("today", "2026-12-01"),
        ("the day after tomorrow", "2026-12-03"),
        ("Friday", "2026-12-04"),
        ("this Tuesday", "2026-12-01"),
        ("next Tuesday", "2026-12-08"),
        ("last Friday", "2026-11-27"),
        ("in thirty days", "2026-12-31"),
        ("in a month", "2027-01-01"),
        ("a fortnight from today", "2026-12-15"),
        ("100 days ago", "2026-08-23"),
        ("two weeks before Christmas", "2026-12-11"),
        ("three days after the 4th of July", "2027-07-07"),
        ("July 4th, 2027", "2027-07-04"),
        ("the fifth of May nineteen ninety", "1990-05-05"),
        ("2027-02-28", "2027-02-28"),
        ("February 29", "2028-02-29"),
        ("the end of the year", "2026-12-31"),
        ("New Year's Day", "2027-01-01"),
        ("Christmas next year", "2027-12-25"),
        ("Christmas 1999", "1999-12-25"),
        ("Easter", "2027-03-28"),
        ("Good Friday 2026", "2026-04-03"),
        ("Black Friday", "2027-11-26"),
        ("Mother's Day", "2027-05-09"),
        ("Memorial Day", "2027-05-31"),
        ("Labor Day", "2027-09-06"),
        ("St. Patrick's Day", "2027-03-17"),
        ("advent", "2027-11-28"),
        ("the sixth", "2026-12-06"),
        ("the 1st of next month", "2027-01-01"),
        ("Friday the thirteenth", "2027-08-13"),
        ("Friday week", "2026-12-11"),
        ("Monday next week", "2026-12-07"),
        ("two Fridays from now", "2026-12-11"),
        ("the second Sunday of May 2027", "2027-05-09"),
        ("the last day of February", "2027-02-28"),
        ("the end of May", "2027-05-31"),
        ("the beginning of next year", "2027-01-01"),
        ("ten working days from now", "2026-12-15"),
        ("five business days ago", "2026-11-24"),
        ("a year and a half from now", "2028-06-01"),
        ("two years and three months ago", "2024-09-01"),
        ("the Monday after Easter", "2027-03-29"),
        ("last Christmas", "2025-12-25"),
        ("today plus 90 days", "2027-03-01"),
        ("the fifth of May nineteen oh five", "1905-05-05"),
        ("Hanukkah", "2026-12-05"),
        ("the first day of summer", "2027-06-21"),
    ],
)
def test_a_day_in_words(words: str, day: str) -> None:
    assert day_of(words).next() == date.fromisoformat(day)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "10",
        "may",
        "the moon",
        "30th of February",
        "in many days",
        "a week",
        "next",
        "my mother",
        "Paris 2024",
    ],
)
def test_what_is_no_day_is_refused(words: str) -> None:
    with pytest.raises(ToolError):
        day_of(words)


@given(st.text(max_size=60))
def test_any_words_are_a_day_or_refused(words: str) -> None:
    try:
        day_of(words).next()
    except ToolError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("place", "name", "day"),
    [
        ("de_DE", "German Unity Day", "2027-10-03"),
        ("en_GB", "Mother's Day", "2027-03-07"),
        ("en_CA", "Thanksgiving", "2027-10-11"),
        ("fr_FR", "Ascension Day", "2027-05-06"),
        ("en_GB", "Memorial Day", "2027-05-31"),
        ("C", "Independence Day", "2027-07-04"),
    ],
)
def test_feasts_are_those_of_the_country(
    place: str, name: str, day: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", f"{place}.UTF-8")
    assert day_of(name).next() == date.fromisoformat(day)


def test_a_day_that_is_counted_from_a_feast_may_be_in_another_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "now", lambda zone=None: datetime(2027, 1, 2, 9, 0).astimezone(zone))
    assert day_of("ten days after Christmas").next() == date(2027, 1, 4)
    assert day_of("a week before Christmas").next() == date(2027, 12, 18)
    monkeypatch.setattr(wall, "now", lambda zone=None: datetime(2026, 12, 28, 9, 0).astimezone(zone))
    assert day_of("a week before New Year's Day").last() == date(2026, 12, 25)
    assert day_of("Christmas").last() == date(2026, 12, 25)


def test_a_country_without_a_calendar_has_only_what_all_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_ZZ")
    assert feasts.next_holiday(date(2026, 12, 1)) is None
    assert feasts.feast("Halloween", 2026) == date(2026, 10, 31)


@pytest.mark.parametrize(
    ("day", "ask", "said"),
    [
        ("tomorrow", "weekday", "Tomorrow is a Wednesday."),
        ("yesterday", "date", "Yesterday was Monday, November 30, 2026."),
        ("today", "days until", "That is today."),
        ("Christmas", "weeks until", "It's 3 weeks and 3 days until Christmas."),
        ("last Friday", "days until", "Friday, November 27, 2026 was 4 days ago."),
        ("tomorrow", "days until", "It's 1 day until Wednesday, December 2, 2026."),
        ("Halloween", "days since", "It's been 31 days since Halloween."),
        ("2027", "leap year", "No, 2027 is not a leap year."),
        ("May 5 1990", "age", "36 years old."),
        ("December 25 1990", "age", "35 years old."),
        ("today to Christmas", "days until", "That's 24 days."),
        ("Thanksgiving to Christmas", "days until", "That's 30 days."),
        ("Christmas", "working days until", "It's 18 working days, not counting holidays, until Christmas."),
        ("June 2020", "years since", "It's been 6 years and 6 months since Monday, June 1, 2020."),
        ("February this year", "days in", "February 2026 has 28 days."),
        ("Christmas", "holiday", "Yes, Christmas is Christmas Day."),
        ("Monday", "holiday", "No, December 7, 2026 is not a public holiday."),
        ("2030", "age", "error: That year isn't over yet."),
        ("in 9000 years", "date", "error: invalid arguments: day: Value error, That is too far away for me."),
        ("2027", "date", "error: Which day of that year do you mean?"),
    ],
)
async def test_what_is_told(day: str, ask: str, said: str) -> None:
    assert await use("get_date", day=day, ask=ask) == said
