"""The built-in tool for timers, alarms and reminders that are set: list, change, cancel, snooze."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from localvoice.tools import ToolContext, ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.timers.finding import ALL, found
from localvoice.tools.builtin.timers.setting import (
    end_of,
    length_or_time,
    moment_in,
    reminder_at,
    reminder_in,
    spoken_end,
    timer_of,
    within_a_week,
)
from localvoice.tools.builtin.words.durations import is_bare, seconds_like, seconds_of, spoken_duration
from localvoice.tools.builtin.words.times_of_day import time_of_day
from localvoice.tools.builtin.words.wording import accepted_by, turned
from localvoice.tools.reminders import Kind, Reminder, Reminders

_SNOOZE_SECONDS: Final = 600.0
_HEARD_SECONDS: Final = 30.0
"""For so long after one has gone off, it is the one that is to stop."""

_TOLD: Final = ("list", "left", "cancel", "change", "add", "snooze")
Action = Annotated[
    Literal["list", "left", "cancel", "change", "add", "snooze", "shorten", "restart", "pause"],
    Field(json_schema_extra={"enum": [*_TOLD]}),
]
"""The LLM is told of the first ones: small models choose better among few. The others are for sentences."""


def _singular(kind: Any) -> Any:
    return (kind.strip().lower().removesuffix("s") or None) if isinstance(kind, str) else kind


def _without_more(words: Any) -> Any:
    """Five more minutes are five minutes."""
    return re.sub(r"(?i) *\b(?:more|extra)\b *", " ", words).strip() if isinstance(words, str) else words


def _nothing_or_new_time(words: str) -> None:
    if words and not is_bare(words):
        length_or_time(words)


NewTime = Annotated[
    str,
    BeforeValidator(_without_more),
    accepted_by(_nothing_or_new_time),
    Field(description="the new or added time"),
]


@tool(speaks=True, follows=("set_timer", "set_alarm", "remind"))
async def manage_timers(
    context: ToolContext,
    action: Action,
    kind: Annotated[Kind | None, BeforeValidator(_singular)] = None,
    which: Annotated[str, Field(description="its name or length, or all")] = "",
    time: NewTime = "",
) -> str:
    """List, cancel, change or snooze timers, alarms and reminders, or tell the time left."""
    reminders = context.reminders
    rings = not reminders.waiting and reminders.last_due is not None
    match action:
        case "list":
            return _listed(found(reminders, kind, which, needed=False), kind)
        case "left":
            return " ".join(map(_time_left, found(reminders, kind, which, needed=True)))
        case "cancel":
            return _cancelled(reminders, kind, which)
        case "restart":
            return _restarted(reminders, which)
        case "pause":
            raise ToolError("I can't pause a timer. I can add time to it, or cancel it.")
        case "snooze":
            return _snooze(reminders, time)
        case "add" if rings:
            return _snooze(reminders, time)
    return _altered(reminders, kind, which, action, time)


def _altered(reminders: Reminders, kind: Kind | None, which: str, action: str, time: str) -> str:
    chosen = found(reminders, kind, which, needed=True)
    if len(chosen) > 1:
        return _which_of(chosen)
    if not time:
        raise ToolError(
            "To what time shall I change it?" if action == "change" else "How much time do you mean?"
        )
    if action == "change":
        return _changed(reminders, chosen[0], time)
    return _added(reminders, chosen[0], time, less=action == "shorten")


def _cancelled(reminders: Reminders, kind: Kind | None, which: str) -> str:
    if not which and _goes_off_now(reminders, kind):
        return _gone_off(found(reminders, kind, which, needed=False))
    chosen = found(reminders, kind, which, needed=True)
    if which != ALL and len(chosen) > 1:
        return _which_of(chosen)
    for each in chosen:
        reminders.remove(each)
    if which != ALL:
        return f"{_named(chosen[0])} is cancelled."
    return {1: "It is cancelled.", 2: "Both are cancelled."}.get(
        len(chosen), f"All {len(chosen)} are cancelled."
    )


def _which_of(chosen: Sequence[Reminder]) -> str:
    return f"You have {_several(chosen)}. Which one do you mean?"


def _goes_off_now(reminders: Reminders, kind: Kind | None) -> bool:
    """Whether "stop the alarm" is said of the one that is heard, rather than of another that waits."""
    last = reminders.last_due
    recent = reminders.seconds_since_due < _HEARD_SECONDS
    return recent and last is not None and kind in (None, last.kind)


def _gone_off(others: Sequence[Reminder]) -> str:
    if not others:
        return "It has gone off already."
    still = _several(others) if len(others) > 1 else _phrase(others[0])
    return f"It has gone off already. You still have {still}."


def _snooze(reminders: Reminders, time: str) -> str:
    last = reminders.last_due
    if last is None or last.kind is None:
        raise ToolError("Nothing has gone off that I could snooze.")
    seconds = seconds_like(time, 60) if time else _SNOOZE_SECONDS
    reminders.add(reminder_in(last.kind, last.label, seconds, max(last.seconds, seconds)))
    return f"All right, again in {spoken_duration(round(seconds))}."


def _restarted(reminders: Reminders, which: str) -> str:
    last = reminders.last_due
    if not reminders.waiting and last is not None and last.kind == "timer":
        new = timer_of(last.seconds, last.label)
        reminders.add(new)
    else:
        chosen = found(reminders, "timer", which, needed=True)
        if len(chosen) > 1:
            return _which_of(chosen)
        new = timer_of(chosen[0].seconds, chosen[0].label)
        reminders.replace(chosen[0], new)
    return f"{_named(new)} starts again, and runs until {spoken_end(new)}."


def _changed(reminders: Reminders, old: Reminder, time: str) -> str:
    assert old.kind is not None
    if old.by_clock:
        return _moved(reminders, old, time)
    try:
        seconds = seconds_like(time, old.seconds)
    except ToolError:
        seconds = (time_of_day(time).next() - wall.now()).total_seconds()
    if old.kind == "timer":
        new = timer_of(seconds, old.label)
        words = f"The timer is now set for {spoken_duration(round(new.seconds))}, until {spoken_end(new)}."
    else:
        new = reminder_in(old.kind, old.label, seconds)
        words = f"{_named(old)} is now due in {spoken_duration(round(seconds))}."
    reminders.replace(old, new)
    return words


def _moved(reminders: Reminders, old: Reminder, time: str) -> str:
    assert old.kind is not None
    try:
        moment = time_of_day(time).nearest(end_of(old))
    except ToolError:
        moment = moment_in(seconds_of(time))
    new = reminder_at(old.kind, old.label, moment)
    reminders.replace(old, new)
    return f"The {old.kind} is now set for {spoken_end(new)}."


def _added(reminders: Reminders, old: Reminder, time: str, less: bool) -> str:
    assert old.kind is not None
    more = seconds_like(time, old.seconds or 60)
    if less and more >= old.seconds_left:
        raise ToolError(f"There is less than that left. {_time_left(old)}")
    more = -more if less else more
    if old.by_clock:
        new = reminder_at(old.kind, old.label, end_of(old) + timedelta(seconds=within_a_week(more)))
    else:
        new = reminder_in(old.kind, old.label, old.seconds_left + more, old.seconds + more)
    reminders.replace(old, new)
    return _time_left(new)


def _listed(chosen: Sequence[Reminder], kind: Kind | None) -> str:
    if not chosen:
        return f"There is no {kind or 'timer, alarm or reminder'} set."
    if len(chosen) == 1:
        return _time_left(chosen[0])
    return f"You have {_several(chosen)}."


def _several(chosen: Sequence[Reminder]) -> str:
    *others, last = (_phrase(each) for each in chosen)
    kinds = {each.kind for each in chosen}
    head = f"{len(chosen)} {chosen[0].kind}s: " if len(kinds) == 1 else ""
    return f"{head}{', '.join(others)} and {last}"


def _phrase(reminder: Reminder) -> str:
    """Within a list."""
    if reminder.kind == "timer":
        return f"a timer of {_length(reminder)}{_purpose(reminder)}, with {_left(reminder)} left"
    what = "an alarm" if reminder.kind == "alarm" else "a reminder"
    return f"{what} for {spoken_end(reminder)}{_purpose(reminder)}"


def _named(reminder: Reminder) -> str:
    """At the beginning of a sentence."""
    if reminder.kind == "timer":
        return f"The timer of {_length(reminder)}{_purpose(reminder)}"
    if reminder.by_clock:
        return f"The {reminder.kind} for {spoken_end(reminder)}"
    return f"The {reminder.kind}{_purpose(reminder)}{',' if reminder.label else ''}"


def _time_left(reminder: Reminder) -> str:
    if reminder.kind == "timer":
        return f"{_named(reminder)} has {_left(reminder)} left."
    if not reminder.by_clock:
        return f"{_named(reminder)} is due in {_left(reminder)}, at {spoken_end(reminder)}."
    purpose = f",{_purpose(reminder).removeprefix(',')}," if reminder.kind == "reminder" else ""
    return f"{_named(reminder)}{purpose} is due in {_left(reminder)}."


def _length(reminder: Reminder) -> str:
    return spoken_duration(max(1, round(reminder.seconds)))


def _purpose(reminder: Reminder) -> str:
    if not reminder.label:
        return ""
    # Of a reminder it is a sentence or the like, in any form.
    return f"{',' if reminder.kind == 'reminder' else ' for'} {turned(reminder.label)}"


def _left(reminder: Reminder) -> str:
    seconds = max(1, round(reminder.seconds_left))
    return spoken_duration(seconds if seconds < 3600 else seconds - seconds % 60)
