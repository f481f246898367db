"""The built-in tool for the time, here and elsewhere."""

import re
from datetime import timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.places import SMALL, place_in, plain, zone_of
from localvoice.tools.builtin.times import daytime_of, time_after, time_until
from localvoice.tools.builtin.wall import spoken_clock, spoken_moment, spoken_time_to_come
from localvoice.tools.builtin.words.durations import seconds_of, spoken_duration
from localvoice.tools.builtin.words.times_of_day import time_of_day
from localvoice.tools.builtin.words.wording import accepted_by

# What small models write where the user names no place.
_HERE: Final = frozenset(
    (
        "",
        "here",
        "home",
        "us",
        "me",
        "our place",
        "my place",
        "local",
        "local time",
        "current location",
        "my location",
        "user",
        "none",
        "null",
    )
    + ("now", "today", "day", "date", "time", "year", "city", "the city", "my city", "place", "world")
)
_QUESTION: Final = re.compile(r"\b(?:time|clock|hour|late)\b(?=.* )")
_BEFORE: Final = re.compile(r"(.+) (?:ago|before|earlier)")


def _nothing_or_shift(words: str) -> None:
    if words:
        _shift(words)


def _shift(words: str) -> float:
    """In seconds; below 0 for what was before."""
    found = _BEFORE.fullmatch(words)
    return -seconds_of(found[1]) if found else seconds_of(re.sub(" (?:after|from|past|later)$", "", words))


def _likely_place(words: str) -> str:
    """Names begin with capitals. What doesn't has to be known: "and what about dinner?" asks for no time."""
    try:
        if _QUESTION.search(words):
            return place_in(words)
        if words.endswith(" time") or any(word[0].islower() and word not in SMALL for word in words.split()):
            _place(words)
    except ToolError as error:
        raise ValueError(str(error)) from error
    return words


def _nothing_or_time(words: str) -> None:
    if words:
        time_of_day(words)


@tool(speaks=True)
def get_time(
    place: Annotated[str, AfterValidator(_likely_place), Field(description="a city, or here")] = "here",
    than: Annotated[str, AfterValidator(_likely_place), Field(description="a second city")] = "",
    start: Annotated[str, accepted_by(_nothing_or_time), Field(description="like 3 PM")] = "",
    later: Annotated[str, accepted_by(_nothing_or_shift), Field(description="in 2 hours")] = "",
    until: Annotated[
        str,
        accepted_by(_nothing_or_time),
        Field(description="like 5 PM"),
    ] = "",
    ask: Literal["time", "time and date"] = "time and date",
) -> str:
    """Tell the current time and date."""
    if until:
        return time_after(until, -_shift(later)) if later else time_until(until, start)
    city, zone = _place(place)
    if start:
        if later:
            return time_after(start, _shift(later))
        return _converted(start, *_place(than or "here"), city, zone)
    if than:
        return _difference(city, zone, *_place(than))
    if later:
        return _later(city, zone, _shift(later))
    moment = wall.now(zone)
    spoken = spoken_clock(moment) if ask == "time" else spoken_moment(moment)
    return f"{f'In {city} it is' if city else 'It is'} {spoken}."


def _later(city: str, zone: ZoneInfo | None, seconds: float) -> str:
    try:
        moment = (wall.now() + timedelta(seconds=seconds)).astimezone(zone)
    except OverflowError:
        raise ToolError("That is too far away for me.") from None
    verb = "will be" if seconds > 0 else "was"
    return f"{f'In {city} it' if city else 'It'} {verb} {spoken_time_to_come(moment)}."


def _converted(words: str, there: str, there_zone: ZoneInfo | None, city: str, zone: ZoneInfo | None) -> str:
    """What time it is in the second place when it is so late in the first."""
    then = daytime_of(words)
    moment = wall.now(there_zone).replace(hour=then.hour, minute=then.minute, second=0, microsecond=0)
    other = moment.astimezone(zone)
    days = (other.date() - moment.date()).days
    day = {0: "", 1: " the next day", -1: " the day before"}[days]
    at, place = (f"in {name}" if name else "here" for name in (there, city))
    return f"When it is {spoken_clock(moment)} {at}, it is {spoken_clock(other)}{day} {place}."


def _place(words: str) -> tuple[str, ZoneInfo | None]:
    """Its name and zone; an empty name and none where the machine is."""
    name = " ".join(words.split()).removesuffix(" time").removesuffix("'s")
    if plain(name) in _HERE:
        return "", None
    return name.rpartition("/")[2].replace("_", " "), zone_of(name)


def _difference(city: str, zone: ZoneInfo | None, other: str, other_zone: ZoneInfo | None) -> str:
    ahead, behind = (wall.now(each).utcoffset() or timedelta() for each in (zone, other_zone))
    seconds = round((ahead - behind).total_seconds())
    first, second = city or "Your place", other or "your place"
    if not seconds:
        return f"{first} and {second} have the same time."
    return f"{first} is {spoken_duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} {second}."
