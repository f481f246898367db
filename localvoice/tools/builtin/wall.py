"""The wall clock, and how its times and days are said."""

from datetime import date, datetime
from zoneinfo import ZoneInfo


def now(zone: ZoneInfo | None = None) -> datetime:
    """The wall clock's time; without a zone, that of the machine's place."""
    return datetime.now(zone).astimezone(zone)


def spoken_clock(moment: datetime) -> str:
    """Such as `7:05 AM`."""
    return f"{moment.hour % 12 or 12}:{moment.minute:02} {'AM' if moment.hour < 12 else 'PM'}"


def spoken_date(day: date) -> str:
    """Such as `Friday, December 25, 2026`."""
    return f"{day:%A}, {day:%B} {day.day}, {day.year}"


def spoken_moment(moment: datetime) -> str:
    """Such as `7:05 AM on Friday, December 25, 2026`."""
    return f"{spoken_clock(moment)} on {spoken_date(moment)}"


def spoken_time_to_come(moment: datetime) -> str:
    """Such as `7:05 AM tomorrow`; the day only if it isn't today."""
    days = (moment.date() - now().date()).days
    if days == 0:
        return spoken_clock(moment)
    if days == 1:
        return f"{spoken_clock(moment)} tomorrow"
    day = f"{moment:%A}" if days < 7 else f"{moment:%A}, {moment:%B} {moment.day}"
    return f"{spoken_clock(moment)} on {day}"
