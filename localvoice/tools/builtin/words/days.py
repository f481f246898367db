"""Days in words: "next Friday", "in 30 days", "two weeks before Christmas", "July 4th 2027"."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from localvoice.tools.builtin import wall
from localvoice.tools.builtin.feasts import NEXT_HOLIDAY, feast, is_feast
from localvoice.tools.builtin.words.day import Day, fixed
from localvoice.tools.builtin.words.months import (
    COUNTED,
    MONTH,
    SHIFTS,
    SPAN,
    counted_in,
    date_of,
    date_or_none,
    month_of,
    month_start,
    part_of,
    span_of,
)
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.periods import PERIODS, away
from localvoice.tools.builtin.words.times_of_day import WEEKDAYS
from localvoice.tools.errors import ToolError

Match = re.Match[str]
_WEEKDAY: Final = "|".join(WEEKDAYS)
_NEAR: Final = {
    "today": 0, "now": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1, "day after tomorrow": 2,
    "day before yesterday": -2, "last night": -1, "this": 0,
}  # fmt: skip
_YEAR: Final = r"(?:,? (?:of |in )?(?P<year>\d{4}))?"
_ORDINAL: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)"
_WAYS: Final = r"from|after|before|ago|on"
_SEASONS: Final = ("spring", "summer", "fall", "autumn", "winter")
_ADVICE: Final = "say it like Christmas, next Friday or July 4, 2027"


def day_of(words: str) -> Day:
    """Raises `ToolError` for what is no day. Nothing is looked up before the day is asked for."""
    text = in_plain(words)
    text = re.sub(r"^(?:on|my birthday(?: which is)?(?: on)?|the date of|exactly) (?=.)", "", text)
    text = re.sub(r"(?<=day) (?:that|which) (?:comes|is coming)(?: now| next| up)?$", "", text)
    if not is_feast(text):  # such as Burns Night
        text = re.sub(r"(?<=.) (?:in the )?(?:morning|afternoon|evening|night)$", "", text)
    if text.removeprefix("the ") in _NEAR:
        return fixed(_today() + timedelta(days=_NEAR[text.removeprefix("the ")]))
    for pattern, read in _RULES:
        if (found := pattern.fullmatch(text)) is not None:
            return read(found)
    return _feast(text, words)


def in_plain(words: str) -> str:
    """In small letters, with numbers and years in digits: "May next year" is "may 2027"."""
    text = re.sub(r"[, ]+", " ", _years_joined(in_digits(words))).strip(" .?")
    return re.sub(r"(?<=. )(?<!^in )(this|next|last) year$", _year_said, text)


def _today() -> date:
    return wall.now().date()


def _year_said(found: Match) -> str:
    return f"{_today().year + SHIFTS[found[1]]}"


def _years_joined(text: str) -> str:
    """Years are said in two parts: "nineteen eighty-four", "nineteen oh five"."""
    text = re.sub(r"\b(1[0-9]|20) (\d\d)\b(?!:)", r"\1\2", text)
    return re.sub(r"\b(1[0-9]|20) (?:oh|o) (\d)\b", r"\g<1>0\2", text)


def _named_weekday(found: Match) -> Day:
    """This week's or the next one's."""
    days = (WEEKDAYS.index(found["day"]) - _today().weekday()) % 7
    which = found["which"] or ""
    if which in ("last", "past", "this past"):
        days -= 7
    elif which.endswith("next") and days == 0:
        days = 7
    return fixed(_today() + timedelta(days=days + (7 if found["later"] else 0)))


def _weekday_in_week(found: Match) -> Day:
    monday = _today() - timedelta(days=_today().weekday() - 7 * SHIFTS[found["which"]])
    return fixed(monday + timedelta(days=WEEKDAYS.index(found["day"])))


def _weekdays_away(found: Match) -> Day:
    return fixed(_coming(WEEKDAYS.index(found["day"]), _today(), int(found["count"])))


def _weekday_by(found: Match) -> Day:
    """Such as the Monday after Easter."""
    weekday, start = WEEKDAYS.index(found["day"]), day_of(found["start"])
    count = 1 if found["way"] == "after" else -1
    return start.then(lambda day: _coming(weekday, day, count))


def _coming(weekday: int, start: date, count: int) -> date:
    """The first one after the day, the second and so on; below 0, before it."""
    way = 1 if count > 0 else -1
    days = (weekday - start.weekday()) * way % 7 or 7
    return start + timedelta(days=(days + 7 * (abs(count) - 1)) * way)


def _of_a_month(found: Match) -> Day:
    day, month = int(found["day"]), month_of(found["month"])
    if found["year"] is not None:
        return fixed(date_of(int(found["year"]), month, day))
    date_of(2000, month, day)  # any leap year: whether there is such a day
    return Day("", lambda year: date_or_none(year, month, day), open_year=True)


def _numbered(found: Match) -> Day:
    """Such as the 15th, or the 1st of next month."""
    day, today = int(found["day"]), _today()
    which = found["which"]
    months = [month_start(SHIFTS[which])] if which else [month_start(ahead) for ahead in range(3)]
    days = [date_or_none(month.year, month.month, day) for month in months]
    meant = next((each for each in days if each is not None and (which or each >= today)), None)
    if meant is None:
        raise ToolError(f"there is no such day {found[0][:60]!r}")
    return fixed(meant)


def _weekday_numbered(found: Match) -> Day:
    """Such as the next Friday the 13th."""
    weekday, day, today = WEEKDAYS.index(found["day_name"]), int(found["day"]), _today()
    months = (month_start(ahead) for ahead in range(20 * 12))
    days = (date_or_none(month.year, month.month, day) for month in months)
    meant = next((each for each in days if each and each.weekday() == weekday and each >= today), None)
    if meant is None:
        raise ToolError(f"{found[0][:60]!r} isn't a day: {_ADVICE}")
    return fixed(meant)


def _weekend(found: Match) -> Day:
    days = (5 - _today().weekday()) % 7
    return fixed(_today() + timedelta(days=days + (7 if found["next"] else 0)))


def _away(found: Match) -> Day:
    delta = away(found["periods"])
    way, start = found["way"], found["start"]
    ahead = found["ahead"] or found["periods"].endswith(" time")
    if (way is None and not ahead) or (way == "ago" and start and start != "today"):
        raise ToolError(f"{found[0][:60]!r} isn't a day: say it like in 30 days or 30 days ago")
    back = way == "ago" or (way == "before" and start is not None)
    begin = day_of(start) if start and way != "ago" else fixed(_today())
    return begin.then(lambda day: delta(day, -1 if back else 1))


def _added(found: Match) -> Day:
    delta = away(found["periods"])
    return day_of(found["start"]).then(lambda day: delta(day, -1 if found["way"] == "minus" else 1))


def _iso(found: Match) -> Day:
    try:
        return fixed(date.fromisoformat(found[0]))
    except ValueError:
        raise ToolError(f"there is no day {found[0]!r}") from None


def _last(found: Match) -> Day:
    meant = day_of(found["what"])
    return Day(meant.name, lambda _: meant.last())


def _feast(text: str, words: str) -> Day:
    year: int | None = None
    if (found := _IN_THE_YEAR.fullmatch(text)) is not None:
        year, text = int(found["year"]), found["what"]
    text = re.sub(r"^(?:the )?(?:next|this|coming|upcoming) (?:coming )?", "", text)
    text = text.replace("1st day", "first day")
    if not is_feast(text):
        raise ToolError(f"{words[:60]!r} isn't a day: {_ADVICE}")
    season = text.rpartition(" ")[2]
    name = f"The first day of {season}" if season in _SEASONS else _as_name(text)
    if year is not None:
        return Day(name, lambda _, year=year: feast(text, year))  # type: ignore[misc]
    return Day(name, lambda year: feast(text, year), open_year=True)


def _as_name(text: str) -> str:
    small = ("of", "the")
    return " ".join(word if word in small else word[:1].upper() + word[1:] for word in text.split())


def _next_holiday(_: Match) -> Day:
    return Day(NEXT_HOLIDAY, lambda _: None)


_IN_THE_YEAR: Final = re.compile(r"(?P<what>.+?)(?:,| in| of)? (?P<year>\d{4})")
_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[Match], Day]], ...]] = tuple(
    (re.compile(pattern), read)
    for pattern, read in (
        (r"\d{4}-\d\d-\d\d", _iso),
        (
            r"(?:the )?(?:(?P<which>next|this|this coming|this next|coming|upcoming|last|this past|past) )?"
            rf"(?P<day>{_WEEKDAY})(?P<later> week| after next)?",
            _named_weekday,
        ),
        (rf"(?P<day>{_WEEKDAY}) (?:of )?(?P<which>this|next) week", _weekday_in_week),
        (rf"(?P<which>this|next) week (?:on )?(?P<day>{_WEEKDAY})", _weekday_in_week),
        (rf"(?:in )?(?P<count>\d\d?) (?P<day>{_WEEKDAY})s (?:from (?:now|today)|time)", _weekdays_away),
        (rf"(?:the )?(?:first |next )?(?P<day>{_WEEKDAY}) (?P<way>after|before) (?P<start>.+)", _weekday_by),
        (rf"(?:the )?(?:next )?(?P<day_name>{_WEEKDAY}) (?:the )?{_ORDINAL}", _weekday_numbered),
        (
            rf"(?:(?:{_WEEKDAY}) )?(?:the )?(?:next |coming )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?:day )?"
            rf"(?:of )?(?P<month>{MONTH}){_YEAR}",
            _of_a_month,
        ),
        (
            rf"(?:(?:{_WEEKDAY}) )?(?:the )?(?:next |coming |this coming )?(?P<month>{MONTH}) (?:the )?"
            rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?{_YEAR}",
            _of_a_month,
        ),
        (rf"(?:the )?{_ORDINAL}(?: of (?P<which>this|the|next) month)?", _numbered),
        (
            rf"(?:the )?(?:{COUNTED}) (?:(?P<day_name>{_WEEKDAY})|day) (?:of|in) (?P<span>{SPAN})",
            counted_in,
        ),
        (rf"(?:the )?(?P<part>beginning|start|end|middle) of (?P<span>{SPAN})", part_of),
        (r"(?P<next>next )?(?:(?:the |this )?(?:coming )?)weekend", _weekend),
        (
            rf"(?P<ahead>(?:in|after) )?(?:exactly |about )?(?P<periods>{PERIODS})"
            rf"(?: (?P<way>{_WAYS})(?: (?P<start>.+))?)?",
            _away,
        ),
        (rf"(?P<way>add|plus) (?P<periods>{PERIODS}) to (?P<start>.+)", _added),
        (rf"(?P<start>.+) (?P<way>plus|minus) (?P<periods>{PERIODS})", _added),
        (r"(?:the )?next (?:public |bank |national |federal |legal )?holiday", _next_holiday),
        (
            r"(?:in )?(?P<span>(?:the|this|next) (?:year|month|week)"
            rf"|(?!may$)(?:{MONTH})(?: (?:of )?\d{{4}})?)",
            span_of,
        ),
        (r"last (?P<what>.+)", _last),
    )
)
