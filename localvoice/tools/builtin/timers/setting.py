"""The built-in tools that set timers, alarms and reminders. `managing` has the one for those that are set."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from localvoice.observability.stopwatch import now
from localvoice.tools import ToolContext, ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.wall import spoken_clock, spoken_time_to_come
from localvoice.tools.builtin.words.days import day_of
from localvoice.tools.builtin.words.durations import seconds_of, spoken_duration
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.times_of_day import TimeOfDay, time_of_day, usual_time
from localvoice.tools.builtin.words.wording import accepted_by, label_of, name_of, turned
from localvoice.tools.reminders import Kind, Reminder

_LONGEST_SECONDS: Final = 24 * 3600
_FARTHEST_SECONDS: Final = 7 * 24 * 3600
_SAME_MORNING: Final = timedelta(hours=2)
WAKE_UP: Final = "wake up"
"""The label of an alarm that wakes: it is for the morning."""
_MILITARY: Final = re.compile(r"\b[0-2]\d[0-5]\d hours$")
"""1900 hours is a time of day."""
_EVENT: Final = re.compile(
    r"(?:when|whenever|once|as soon as|before|after|(?:the )?next time) (?:i|we|he|she|they|it|my|the|you)\b",
    re.IGNORECASE,
)
_REASON: Final = re.compile(
    r" (?:because|cause|cuz|otherwise|or(?: else)? (?:i|we)(?:'ll| will)?|so(?: that)? (?:i|we)"
    r"|since (?:i|we))\b.*",
    re.IGNORECASE,
)
"""What users add, and don't want to hear again."""


def length_or_time(words: str) -> float | TimeOfDay:
    """Seconds, or a time of day; raises `ToolError` for what is neither."""
    try:
        return time_of_day(words) if _MILITARY.search(in_digits(words)) else seconds_of(words)
    except ToolError:
        return time_of_day(words)


def when_of(words: str) -> float | TimeOfDay:
    """The same for a reminder, for which the day is enough: "tomorrow", "this evening"."""
    try:
        return length_or_time(words)
    except ToolError as error:
        try:
            return usual_time(words)
        except ToolError:
            return _on_a_date(words, error)


def _on_a_date(words: str, error: ToolError) -> TimeOfDay:
    """ "December 20th at nine"; raises this error for what is none."""
    date, _, clock = words.partition(" at ")
    try:
        day = day_of(date).next()
    except ToolError:
        raise error from None
    return replace(time_of_day(clock or "9 AM"), day=day.isoformat())


def _nothing_or_length(words: str) -> None:
    if words:
        seconds_of(words)


def _nothing_or_when(words: str) -> None:
    if words:
        length_or_time(words)


def _nothing_or_some_time(words: str) -> None:
    if words and not _EVENT.match(words):
        when_of(words)


Duration = Annotated[str, accepted_by(_nothing_or_length), Field(description="like 1 hour 30 minutes")]
_LIKE: Final = "like 7:30 tomorrow or in 20 minutes"
When = Annotated[str, accepted_by(_nothing_or_when), Field(description=_LIKE)]
SomeTime = Annotated[str, accepted_by(_nothing_or_some_time), Field(description=_LIKE)]


@tool(speaks=True)
async def set_timer(context: ToolContext, duration: Duration, label: str | None = None) -> str:
    """Start a timer. It tells the user by itself when it ends."""
    if not duration:
        raise ToolError("How long shall the timer run?")
    timer = timer_of(seconds_of(duration), name_of(label))
    context.reminders.add(timer)
    return f"The timer is set for {spoken_duration(round(timer.seconds))}, until {spoken_end(timer)}."


@tool(speaks=True)
async def set_alarm(context: ToolContext, time: When, label: str | None = None) -> str:
    """Set an alarm for a time of day."""
    if not time:
        raise ToolError("What time shall the alarm be for?")
    purpose = label_of(label)
    others = [end_of(each) for each in context.reminders.waiting if each.kind == "alarm"]
    alarm = reminder_at("alarm", purpose, moment_of(time, early=purpose == WAKE_UP, others=others))
    context.reminders.add(alarm)
    return f"The alarm is set for {spoken_end(alarm)}."


@tool(speaks=True)
async def remind(
    context: ToolContext,
    about: Annotated[str, Field(description="what to say, like call Anna")],
    when: SomeTime,
) -> str:
    """Remind the user of something later."""
    purpose = turned(label_of(_REASON.sub("", about)))
    if not purpose:
        raise ToolError("What shall I remind you of?")
    if not when:
        raise ToolError("When shall I remind you?")
    if _EVENT.match(when):
        raise ToolError("I can't tell when that is, I only know the time. At what time shall I remind you?")
    meant = when_of(when)
    if isinstance(meant, TimeOfDay):
        reminder = reminder_at("reminder", purpose, _once(meant).next(awake=True))
        context.reminders.add(reminder)
        return f"I'll remind you at {spoken_end(reminder)}: {purpose}."
    reminder = reminder_in("reminder", purpose, meant)
    context.reminders.add(reminder)
    return f"I'll remind you in {spoken_duration(round(meant))}: {purpose}."


def moment_of(words: str, early: bool, others: Sequence[datetime]) -> datetime:
    """The moment of an alarm, where others are set already; raises `ToolError` if none can be kept."""
    meant = length_or_time(words)
    if not isinstance(meant, TimeOfDay):
        return moment_in(meant)
    first = _once(meant).next(early or meant.day not in ("", "today", "tonight"))
    # "And another one at seven fifteen" is in the morning, where the one before is.
    near = (each for each in meant.moments() if any(abs(each - other) < _SAME_MORNING for other in others))
    return first if meant.day or meant.half else next(near, first)


def _once(time: TimeOfDay) -> TimeOfDay:
    if time.repeats:
        raise ToolError("I can't repeat that every day. I can set it once, such as for tomorrow.")
    return time


def moment_in(seconds: float) -> datetime:
    """So many seconds from now; raises `ToolError` if that is too far away."""
    return wall.now() + timedelta(seconds=within_a_week(seconds))


def within_a_week(seconds: float) -> float:
    """The same; raises `ToolError` if it is longer."""
    if seconds > _FARTHEST_SECONDS:
        raise ToolError("That is too far ahead: I can keep it for a week at most.")
    return seconds


def timer_of(seconds: float, label: str) -> Reminder:
    """A timer that starts now; raises `ToolError` for a length that makes no sense."""
    if seconds > _LONGEST_SECONDS:
        raise ToolError("A timer can run for 24 hours at most.")
    whole = round(seconds)
    if whole < 1:
        raise ToolError("A timer runs for a second at least.")
    return reminder_in("timer", label, whole)


def reminder_in(kind: Kind, label: str, seconds: float, length: float | None = None) -> Reminder:
    """One that is due after so many seconds; `length` is what it was set for, if that is longer ago."""
    within_a_week(seconds)
    length = seconds if length is None else length
    spoken = spoken_duration(max(1, round(length)))
    texts: dict[Kind, str] = {
        "timer": f"Your timer of {spoken} is up{f': {turned(label)}' if label else ''}.",
        "alarm": alarm_text(wall.now() + timedelta(seconds=seconds), label),
        "reminder": f"Here is your reminder: {label}.",
    }
    return Reminder(texts[kind], now() + seconds, kind=kind, label=label, seconds=length)


def reminder_at(kind: Kind, label: str, moment: datetime) -> Reminder:
    """One for a time of day; raises `ToolError` if that is too far away."""
    within_a_week((moment - wall.now()).total_seconds())
    text = f"Here is your reminder for {spoken_clock(moment)}: {label}."
    if kind == "alarm":
        text = alarm_text(moment, label)
    return Reminder(text, moment.timestamp(), by_clock=True, kind=kind, label=label)


def alarm_text(moment: datetime, label: str) -> str:
    """What an alarm says: what it was for, as it may be heard late, where no one was there or awake."""
    if label == WAKE_UP:
        return f"This is your alarm for {spoken_clock(moment)}. Time to wake up!"
    return f"This is your alarm for {spoken_clock(moment)}{f': {turned(label)}' if label else ''}."


def end_of(reminder: Reminder) -> datetime:
    """When it is due, to the second."""
    if reminder.by_clock:
        return datetime.fromtimestamp(reminder.due).astimezone()
    left = timedelta(seconds=reminder.due - now())
    return (wall.now() + left + timedelta(seconds=0.5)).replace(microsecond=0).astimezone()


def spoken_end(reminder: Reminder) -> str:
    """Such as `7:05 AM tomorrow`."""
    return spoken_time_to_come(end_of(reminder))
