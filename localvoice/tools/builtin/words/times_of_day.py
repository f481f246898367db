"""Times of day in words: "half past six", "seven tomorrow morning", "on Friday at noon"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final, Literal

from localvoice.tools.builtin import wall
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.wording import corrected
from localvoice.tools.errors import ToolError

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AM: Final = r"a\.? ?m\b\.?|(?:in the |this )?morning"
_PM: Final = r"p\.? ?m\b\.?|(?:in the |this )?(?:afternoon|evening)|at night|tonight|night"
_HALF: Final = re.compile(rf"(?:^|(?<![a-z])) ?(?:(?P<am>{_AM})|(?P<pm>{_PM}))(?![a-z])")
_DAY: Final = re.compile(
    rf"\b(?:(?P<word>the day after tomorrow|today|tonight|tomorrow|this (?=morning|afternoon|evening))"
    rf"|(?:on |next |this )?(?P<weekday>{'|'.join(WEEKDAYS)})s?)\b"
)
_REPEATS: Final = re.compile(
    r"\b(?:(?:every|each)(?: (?:single|other|working|work|school|week))?(?: (?:week)?days?| weekends?)?|daily"
    r"|(?:on |during )?(?:weekdays|weekends|workdays|(?:working|school) days)"
    r"|(?:from |on )?mondays? (?:to|through|till|until) fridays?)\b"
)
_CLOCK: Final = re.compile(
    r"(?P<hour>\d{1,2})(?:[:. ](?P<minute>\d\d)| (?:o|oh|0) ?(?P<few>\d))?(?: ?o'?clock| hours?)?"
    r"|(?P<hour24>[01]\d|2[0-3])(?P<minute24>[0-5]\d)(?:(?<=0\d{3})| hours)"
    r"|half (?P<half>\d{1,2})(?: ?o'?clock)?"
    r"|(?P<word>noon|midday|midnight|lunch ?time)"
    r"|(?:a )?(?:(?P<part>half|quarter)|(?P<count>\d{1,2})(?: minutes?)?)"
    r" (?P<side>past|after|to|before|till|until) (?P<of>\d{1,2}|noon|midnight)(?: ?o'?clock)?"
)
_AROUND: Final = re.compile(
    r"^(?:(?:at|for|by|before|no later than|from|to|the|exactly|precisely|about|around|roughly|like|say) )+"
    r"|(?: (?:at|on|in the|sharp|exactly|on the dot))+$"
)
"""What stands around a time."""
_TWO: Final = re.compile(r"(?<=\w) and (?=\w)", re.IGNORECASE)
_HOURS: Final = {"noon": 12, "midday": 12, "midnight": 0, "lunchtime": 12, "lunch time": 12}
_USUAL_HOURS: Final = (
    ("morning", (9,)),
    ("afternoon", (15, 17)),
    ("evening", (19, 21)),
    ("night", (20, 22)),
    ("today", (12, 15, 18, 20, 22)),
    ("", (9, 12, 18)),
)
"""What people mean by a part of the day, where they name no hour; the first that lies ahead."""
_ADVICE: Final = "say it like half past six, 7:30 PM or tomorrow at noon"


@dataclass(frozen=True)
class TimeOfDay:
    """A time as people say it, which leaves open which day, or which half of it."""

    hour: int
    minute: int
    half: Literal["am", "pm", ""] = ""
    """Empty: both are possible, or the hour is above 12."""
    day: str = ""
    """"today", "tomorrow", a weekday; empty: the next time that it is so late."""
    repeats: bool = False

    def moments(self) -> Iterator[datetime]:
        """All that are meant, in order, and lie ahead."""
        present = wall.now()
        halves = {"am": (0,), "pm": (12,), "": (0, 12)}[self.half]
        hours = (self.hour,) if self.hour > 12 else tuple(self.hour % 12 + half for half in halves)
        for day in self._days(present.date()):
            for hour in hours:
                moment = datetime.combine(day, time(hour, self.minute)).astimezone()
                if moment > present:
                    yield moment

    def next(self, early: bool = False, awake: bool = False) -> datetime:
        """The one that is most likely meant, where both halves are possible; `early`: in the morning,
        `awake`: not in the night, unless it is said then.

        Raises `ToolError` if it has passed.
        """
        moments = list(self.moments())
        if not moments:
            raise ToolError("That time has passed already.")
        likely: list[datetime] = []
        if early:
            likely = [moment for moment in moments if 5 <= moment.hour < 12]
        if awake and 6 <= wall.now().hour < 21:
            likely = [moment for moment in moments if moment.hour >= 6]
        if not likely and self.day not in ("", "today", "tonight"):
            likely = [moment for moment in moments if 7 <= moment.hour < 19]
        return (likely or moments)[0]

    def nearest(self, to: datetime) -> datetime:
        """The one next to this: where "seven tomorrow morning" becomes "eight", that is tomorrow, too.

        Raises `ToolError` if it has passed.
        """
        days = [self.day] if self.day else [f"{to + timedelta(days=days):%Y-%m-%d}" for days in (-1, 0, 1)]
        moments = [moment for day in days for moment in replace(self, day=day).moments()]
        if not moments:
            raise ToolError("That time has passed already.")
        return min(moments, key=lambda moment: abs(moment - to))

    def _days(self, today: date) -> Iterator[date]:
        ahead = {"today": 0, "tonight": 0, "tomorrow": 1, "the day after tomorrow": 2}
        if self.day == "tonight" and self.half == "am":  # before midnight they mean the night to come
            yield from (today, today + timedelta(days=1))
        elif self.day in ahead:
            yield today + timedelta(days=ahead[self.day])
        elif self.day in WEEKDAYS:
            days = (WEEKDAYS.index(self.day) - today.weekday()) % 7
            yield today + timedelta(days=days)
            yield today + timedelta(days=days + 7)
        elif self.day:
            yield date.fromisoformat(self.day)
        else:
            yield from (today, today + timedelta(days=1), today + timedelta(days=2))


def time_of_day(words: str) -> TimeOfDay:
    """Raises `ToolError` for what is none. Of "seven, no, eight" the last is meant."""
    last, before = corrected(words)
    if before:
        time_of_day(before)
    text = in_digits(last).strip(" .,")
    text = re.sub(r"[, ]+", " ", text)
    repeats = _REPEATS.search(text) is not None
    text = _REPEATS.sub("", text)
    day = ""
    half: Literal["am", "pm", ""] = ""
    if (found := _DAY.search(text)) is not None:
        day = found["weekday"] or found["word"]
        day = "today" if day.startswith("this") else day
        text = _cut(text, found)
    if (found := _HALF.search(text)) is not None:
        half = "am" if found["am"] else "pm"
        text = _cut(text, found)
    clock = _CLOCK.fullmatch(_AROUND.sub("", text.strip()).strip())
    if clock is None or _TWO.search(last):
        raise ToolError(f"{words[:60]!r} isn't a time of day: {_ADVICE}")
    hour, minute = _hour_and_minute(clock)
    if hour > 23 or minute > 59:
        raise ToolError(f"there is no time {words[:60]!r}: {_ADVICE}")
    if day == "tonight" and 5 <= hour < 12:
        half = "pm"
    elif clock["word"] or clock["of"] in _HOURS or _is_whole(clock):
        half = "am" if hour < 12 else "pm"
    elif hour > 12:
        half = ""
    elif day == "tonight" and not half:
        half = "am"
    return TimeOfDay(hour, minute, half, day, repeats)


def usual_time(words: str) -> TimeOfDay:
    """Of a day or a part of it: "tomorrow", "this evening"; raises `ToolError` for what is neither.

    Also of what comes again without a time of day: "every two hours".
    """
    if _REPEATS.search(words.lower()):
        return TimeOfDay(_USUAL_HOURS[0][1][0], 0, repeats=True)
    for part, hours in _USUAL_HOURS:
        if part in words.lower():
            times = [time_of_day(f"{words} at {hour}:00") for hour in hours]
            return next((each for each in times if any(each.moments())), times[0])
    raise AssertionError


def _is_whole(clock: re.Match[str]) -> bool:
    """Whether it tells which half of the day it is in: "07:30", "1900"."""
    return (clock["hour"] or clock["hour24"] or "").startswith("0")


def _cut(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]} {text[found.end() :]}".strip().replace("  ", " ")


def _hour_and_minute(clock: re.Match[str]) -> tuple[int, int]:
    if clock["word"]:
        return _HOURS[clock["word"]], 0
    if clock["hour24"]:
        return int(clock["hour24"]), int(clock["minute24"])
    if clock["half"]:  # as the British say it
        return int(clock["half"]), 30
    if clock["hour"]:
        return int(clock["hour"]), int(clock["minute"] or clock["few"] or 0)
    hour = _HOURS[clock["of"]] if clock["of"] in _HOURS else int(clock["of"])
    minutes = {"half": 30, "quarter": 15}.get(clock["part"] or "") or int(clock["count"])
    if clock["side"] in ("past", "after"):
        return hour, minutes
    return (hour - 1) % 24 if hour != 1 else 12, 60 - minutes
