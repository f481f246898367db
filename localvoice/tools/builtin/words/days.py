"""Days in words: "next Friday", "in 30 days", "two weeks before Christmas", "July 4th 2027"."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from dateutil.parser import ParserError, parse
from dateutil.relativedelta import relativedelta

from localvoice.tools.builtin import wall
from localvoice.tools.builtin.feasts import NEXT_HOLIDAY, feast, is_feast
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.times_of_day import WEEKDAYS
from localvoice.tools.errors import ToolError

_MONTHS: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
    "|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec"
)
_NEAR: Final = {
    "today": 0, "now": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1, "the day after tomorrow": 2,
    "the day before yesterday": -2,
}  # fmt: skip
_PERIOD: Final = r"(?P<count>\d+|an?|a couple of) (?P<unit>day|week|fortnight|month|year)s?"
_FROM: Final = re.compile(
    rf"(?:in )?{_PERIOD}(?: time)?(?: (?P<way>from|after|before|ago|before)(?: (?P<start>.+))?)?"
)
_IN_THE_YEAR: Final = re.compile(r"(?P<what>.+?)(?:,| in| of)? (?P<year>\d{4}|this year|next year|last year)")
_WEEKDAY: Final = re.compile(
    rf"(?:(?P<which>next|this|this coming|coming|last) )?(?P<day>{'|'.join(WEEKDAYS)})"
)
_YEAR: Final = r"(?:,? (?:of |in )?(\d{4}))?"
_DAY_OF_MONTH: Final = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({_MONTHS}){_YEAR}")
_MONTH_AND_DAY: Final = re.compile(rf"({_MONTHS}) (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?{_YEAR}")
_YEARS_SEARCHED: Final = 9
"""Until there is a 29 February, in the worst case."""
_FARTHEST_YEARS: Final = 3000


@dataclass(frozen=True)
class Day:
    """A day as people say it, which may be in any year."""

    name: str
    """For a feast, as it is called; empty for what is only a date."""
    on: Callable[[int], date | None]
    """The day in this year, which counts only where the year was left open; None if it has none."""
    open_year: bool = False

    def next(self) -> date:
        """It, or the next one from today on. Raises `ToolError`, in words for the user."""
        today = wall.now().date()
        # "Ten days after Christmas" may be in the year after its feast.
        years = range(today.year - 1, today.year + _YEARS_SEARCHED)
        return self._first(years, lambda day: day >= today)

    def last(self) -> date:
        """It, or the last one until today. Raises `ToolError`, in words for the user."""
        today = wall.now().date()
        years = range(today.year + 1, today.year - _YEARS_SEARCHED, -1)
        return self._first(years, lambda day: day <= today)

    def _first(self, years: range, fits: Callable[[date], bool]) -> date:
        for year in years if self.open_year else years[:1]:
            day = self.on(year)
            if day is not None and (fits(day) or not self.open_year):
                return day
        raise ToolError(f"I don't know when {self.name or 'that'} is.")


def day_of(words: str) -> Day:
    """Raises `ToolError` for what is no day. Nothing is looked up before the day is asked for."""
    text = re.sub(r"[, ]+", " ", _years_joined(in_digits(words))).strip(" .?")
    text = re.sub(r"^(?:on|my birthday(?: which is)?(?: on)?|the date of) (?=.)", "", text)
    if text in _NEAR:
        return _fixed(wall.now().date() + timedelta(days=_NEAR[text]))
    if (found := _WEEKDAY.fullmatch(text)) is not None:
        return _fixed(_weekday(found))
    if (found := _DAY_OF_MONTH.fullmatch(text.removeprefix("the "))) is not None:
        return _of_a_month(found[1], found[2], found[3])
    if (found := _MONTH_AND_DAY.fullmatch(text)) is not None:
        return _of_a_month(found[2], found[1], found[3])
    if (found := _FROM.fullmatch(text)) is not None:
        return _away(found, words)
    if text in _ENDS:
        return _fixed(_ENDS[text](wall.now().date()))
    if re.fullmatch(r"(?:the )?next (?:public |bank |national |federal )?holiday", text):
        return Day(NEXT_HOLIDAY, lambda _: None)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return _parsed(text)
    return _feast(text, words)


def _feast(text: str, words: str) -> Day:
    year: int | None = None
    if (found := _IN_THE_YEAR.fullmatch(text)) is not None:
        shift = {"this year": 0, "next year": 1, "last year": -1}
        said = found["year"]
        year = wall.now().year + shift[said] if said in shift else int(said)
        text = found["what"]
    text = text.removeprefix("next ").removeprefix("this ")
    if not is_feast(text):
        raise ToolError(f"{words[:60]!r} isn't a day: say it like Christmas, next Friday or July 4, 2027")
    name = _named(text)
    if year is not None:
        return Day(name, lambda _, year=year: feast(text, year))  # type: ignore[misc]
    return Day(name, lambda year: feast(text, year), open_year=True)


def _named(text: str) -> str:
    small = ("of", "the")
    return " ".join(word if word in small else word[:1].upper() + word[1:] for word in text.split())


def _fixed(day: date) -> Day:
    return Day("", lambda _: day)


def _weekday(found: re.Match[str]) -> date:
    today = wall.now().date()
    days = (WEEKDAYS.index(found["day"]) - today.weekday()) % 7
    if found["which"] == "last":
        days -= 7
    elif found["which"] == "next" and days == 0:
        days = 7
    return today + timedelta(days=days)


def _of_a_month(day: str, month: str, year: str | None) -> Day:
    if year is not None:
        return _parsed(f"{day} {month} {year}")
    _parsed(f"{day} {month} 2000")  # any leap year: whether there is such a day

    def on(year: int) -> date | None:
        try:
            return _date(f"{day} {month} {year}")
        except ParserError:
            return None  # 29 February

    return Day("", on, open_year=True)


def _parsed(text: str) -> Day:
    try:
        return _fixed(_date(text))
    except (ParserError, OverflowError):
        raise ToolError(f"there is no day {text!r}") from None


def _date(text: str) -> date:
    found: datetime = parse(text)
    return found.date()


def _away(found: re.Match[str], words: str) -> Day:
    count = {"a": 1, "an": 1, "a couple of": 2}.get(found["count"]) or int(found["count"])
    unit, way = found["unit"], found["way"]
    count, unit = (2 * count, "week") if unit == "fortnight" else (count, unit)
    if count > _FARTHEST_YEARS * {"day": 365, "week": 52, "month": 12, "year": 1}[unit]:
        raise ToolError("That is too far away for me.")
    months, days = {"day": (0, 1), "week": (0, 7), "month": (1, 0), "year": (12, 0)}[unit]
    delta = relativedelta(months=count * months, days=count * days)
    if way == "ago" or (way == "before" and found["start"]):
        delta = -delta
    elif way is None and not re.match("in ", words.lower().strip()):
        raise ToolError(f"{words[:60]!r} isn't a day: say it like in 30 days")
    start = day_of(found["start"]) if found["start"] else _fixed(wall.now().date())
    if way == "ago" and found["start"]:
        raise ToolError(f"{words[:60]!r} isn't a day: say it like 30 days ago")

    def on(year: int) -> date | None:
        day = start.on(year)
        try:
            return None if day is None else day + delta
        except (ValueError, OverflowError):
            raise ToolError("That is too far away for me.") from None

    return Day("", on, start.open_year)


def _years_joined(text: str) -> str:
    """Years are said in two parts: "nineteen eighty-four"."""
    return re.sub(r"\b(1[0-9]|20) (\d\d)\b(?!:)", r"\1\2", text)


_ENDS: Final[dict[str, Callable[[date], date]]] = {
    "the end of the year": lambda today: date(today.year, 12, 31),
    "the end of this year": lambda today: date(today.year, 12, 31),
    "the end of the month": lambda today: today + relativedelta(day=31),
    "the weekend": lambda today: today + timedelta(days=(5 - today.weekday()) % 7),
    "next year": lambda today: date(today.year + 1, 1, 1),
    "next month": lambda today: today + relativedelta(months=1, day=1),
    "next week": lambda today: today + timedelta(days=7 - today.weekday()),
}
