"""A day as people say it, which may be in any year."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final

from localvoice.tools.builtin import wall
from localvoice.tools.errors import ToolError

_YEARS_SEARCHED: Final = 9
"""Until there is a 29 February, in the worst case."""


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

    def then(self, at: Callable[[date], date | None]) -> "Day":
        """What is counted from it, such as the day after."""

        def on(year: int) -> date | None:
            day = self.on(year)
            try:
                return None if day is None else at(day)
            except (ValueError, OverflowError):
                raise ToolError("That is too far away for me.") from None

        return Day("", on, self.open_year)

    def _first(self, years: range, fits: Callable[[date], bool]) -> date:
        for year in years if self.open_year else years[:1]:
            day = self.on(year)
            if day is not None and (fits(day) or not self.open_year):
                return day
        raise ToolError(f"I don't know when {self.name or 'that'} is.")


def fixed(day: date) -> Day:
    """A day of a certain year."""
    return Day("", lambda _: day)
