"""Words of an answer compared with patterns: numbers in words or digits, names for what changes each day."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from benchmarks.mind.numbers import in_digits

_NAMED: Final = re.compile(r"\{([a-z_]+)(?: ([^{}]+))?\}")
"""`{name}` or `{name argument}`; a regex's own braces hold digits."""
_FIXED: Final = {
    "cannot": r"can ?not|can't|couldn't|unable|not able|(?:do not|don't) (?:have|know how|support)|no access"
    r"|no way (?:to|of)|(?:not|isn't) something I|beyond|(?:not|n't) (?:possible|equipped|designed)",
    "claims_done": r"(?:I've|I have|I'll|I will|I'm|I am) (?:now )?(?:turn|switch|play|send|sent|call|open"
    r"|order|book|text|email|messag|post|add)\w*|(?:is|are) now (?:on|off|playing|open)",
    "emergency": r"112|911|999|988|emergency|ambulance|hospital|poison (?:control|cent(?:er|re))"
    r"|fire (?:department|brigade|service)|crisis|hotline|helpline|lifeline",
    "other_maker": r"qwen|alibaba|tongyi|openai|chat ?gpt|gpt-?\d*|google|gemini|bard|anthropic|claude|siri"
    r"|alexa|cortana|meta|llama|hugging ?face|smollm|mistral|microsoft|amazon|apple",
    "unclear": r"sorry|pardon|didn't (?:quite )?(?:understand|catch|get)|don't (?:quite )?understand|not sure"
    r"|unclear|rephrase|what do you mean|say (?:that|it) again|repeat|clarify|could you explain|more context"
    r"|mean by",
    "timer_tool": r"\w*timer\w*|alarms?|remind\w*|snooze",
    "cancel_tool": r"cancel\w*|stop\w*|delete\w*|remove\w*|clear\w*",
    "time_tool": r"time|date|dates|day|days|clock|calendar|weekday",
    "sum_tool": r"calc\w*|arithmetic|math\w*|percent\w*",
    "units_tool": r"convert\w*|units?|cook\w*",
    "spell_tool": r"spell\w*",
}
"""Ways to say what many entries ask for."""
_MONTHS: Final = (
    "january february march april may june july august september october november december".split()
)


def simplified(text: str) -> str:
    """Small letters, plain quotes, numbers in digits, no thousands separators and no markup."""
    text = text.casefold().translate(
        {0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"', 0x2011: "-", 0x2013: "-"}
    )
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).replace("%", " percent").replace("°", " degrees ")
    return in_digits(re.sub(r"[*_`#]", "", text))


def found(pattern: str, text: str, now: datetime | None = None) -> bool:
    """Whether the whole words of a pattern are in the text, as written or simplified."""
    regex = compiled(pattern, now)
    return any(regex.search(each) for each in (text, text.replace("\u2019", "'"), simplified(text)))


def compiled(pattern: str, now: datetime | None = None) -> re.Pattern[str]:
    """The regex; `now` is the time of the named values. Raises `ValueError` for an unknown name."""
    moment = now or datetime.now().astimezone()
    return _regex(_NAMED.sub(lambda match: _value(match[1], match[2], moment), pattern))


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    # Whole words and whole numbers: 42 isn't in 142, 42.5 or 0.42, but 7 is in 7:00.
    try:
        return re.compile(rf"(?<!\w)(?<!\d[.,:])(?:{pattern})(?!\w|[.,]\d|:(?!00)\d)", re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{pattern} is no regex: {error}") from error


def _value(name: str, argument: str | None, now: datetime) -> str:
    if name in _FIXED:
        return f"(?:{_FIXED[name]})"
    if name not in _COMPUTED:
        raise ValueError(f"there is no value {name!r}: there are {', '.join((*_FIXED, *_COMPUTED))}")
    return f"(?:{_COMPUTED[name](now, argument or '')})"


def _weekday(now: datetime, days: str) -> str:
    return f"{now + timedelta(days=int(days or 0)):%A}"


def _date(now: datetime, days: str) -> str:
    return _written(now + timedelta(days=int(days or 0)))


def _written(day: datetime) -> str:
    month, number = _MONTHS[day.month - 1], rf"{day.day}(?:st|nd|rd|th)?"
    return rf"{month} (?:the )?{number}|(?:the )?{number} (?:of )?{month}"


def _month(now: datetime, _: str) -> str:
    return _MONTHS[now.month - 1]


def _year(now: datetime, years: str) -> str:
    return str(now.year + int(years or 0))


def _next(now: datetime, month_day: str) -> datetime:
    """The next such day, today's included."""
    month, day = map(int, month_day.split("-"))
    this = now.replace(month=month, day=day)
    return this if this.date() >= now.date() else this.replace(year=now.year + 1)


def _days_to(now: datetime, month_day: str) -> str:
    return str((_next(now, month_day).date() - now.date()).days)


def _weeks_to(now: datetime, month_day: str) -> str:
    return str((_next(now, month_day).date() - now.date()).days // 7)


def _weekday_of(now: datetime, month_day: str) -> str:
    return f"{_next(now, month_day):%A}"


def _age(now: datetime, born: str) -> str:
    """In whole years, of who was born on this day."""
    day = datetime.fromisoformat(born)
    return str(now.year - day.year - ((now.month, now.day) < (day.month, day.day)))


def _next_weekday(now: datetime, weekday: str) -> str:
    """The date of the next such day, after today."""
    return next(_date(now, str(days)) for days in range(1, 8) if _weekday(now, str(days)) == weekday)


def _time(now: datetime, argument: str) -> str:
    """The clock, a minute or two later as well: here, in a zone, or so many minutes from now."""
    moment, minutes = now, 0
    for word in argument.split():
        if word[0] in "+-":
            minutes += int(word)
        else:
            moment = moment.astimezone(ZoneInfo(word))
    moment += timedelta(minutes=minutes)
    return "|".join(_clock(moment + timedelta(minutes=later)) for later in (0, 1, 2))


def _clock(moment: datetime) -> str:
    hours = "|".join({str(moment.hour), f"{moment.hour:02}", str(moment.hour % 12 or 12)})
    minutes = rf"[: .]?0?{moment.minute}" if moment.minute else r"(?:[: .]?00)?"
    ways = [rf"(?:{hours}){minutes}"]
    if moment.minute == 0:
        ways.append({0: "midnight", 12: "noon"}.get(moment.hour, rf"(?:{hours}) o'clock"))
    if moment.minute in (15, 30, 45):
        hour = (moment.hour + (moment.minute == 45)) % 12 or 12
        ways.append(
            {15: "quarter (?:past|after)", 30: "half past", 45: "quarter (?:to|before)"}[moment.minute]
            + f" {hour}"
        )
    return "|".join(ways)


_COMPUTED: Final[dict[str, Callable[[datetime, str], str]]] = {
    "weekday": _weekday,
    "date": _date,
    "month": _month,
    "year": _year,
    "days_to": _days_to,
    "weeks_to": _weeks_to,
    "weekday_of": _weekday_of,
    "next_weekday": _next_weekday,
    "age": _age,
    "time": _time,
}
"""Each with its argument, as README.md lists them."""
