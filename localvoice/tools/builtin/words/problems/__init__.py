"""Word problems: "the jacket is 80 dollars and 30% off, what do I pay?".

Every number that is told must have its part in the sum, and there must be one sum that is asked for; else it
is for the LLM.
"""

import re
from collections.abc import Callable
from typing import Final

from localvoice.tools.builtin.words.problems.counts import average, balance, needed, older, times_in
from localvoice.tools.builtin.words.problems.measures import area, scaled, served
from localvoice.tools.builtin.words.problems.percents import in_percent, percent
from localvoice.tools.builtin.words.problems.plain import claimed, in_figures, remainder, sum_within
from localvoice.tools.builtin.words.problems.prices import (
    change,
    piece,
    priced,
    proportional,
    shared_out,
    total,
)
from localvoice.tools.builtin.words.problems.rates import rates, speed
from localvoice.tools.builtin.words.problems.told import Told, told
from localvoice.tools.builtin.words.sums import Sum

_ASKS: Final = (
    "what|what's|how|calculate|work out|figure out|tell me|add|add up|split|divide|total|average|double|halve"
    "|need to know|in percent|percentage|count up|wonder|check|give me|i'd like|i need|remainder"
)
_ELSE: Final = (
    "what (?:does|do|did) .* mean|it mean|that mean|why|who|whose|where|explain|story|joke|rhyme|meant"
    "|invented|famous|called|born|birthdays?|recommend|guess"
    "|chances?|probability|odds|random|pick|choose|dice|die|coin|timers?|alarms?|remind|wake|tomorrow|tonight"
    r"|\d ?[ap]\.?m|o'clock|half past|movie|song|episodes? of|season|chapter|level|version|score was|calories"
    "|should i buy|worth it|is (?:it|that) normal|normal (?:for|to)|safe|enough|healthy|legal|allowed"
)
"""Asks for something else, though it holds numbers."""
_IDIOMS: Final = re.compile(r"\b(?:50[ -]50|24[ -]7|20[ -]20|9[ -]11|7[ -]11)\b")
_FEW_WORDS: Final = 10
_UNCOUNTED: Final = (
    "half|halves|quarter|twice|double|doubled|triple|couple|pair|pairs|both|dozens|except|without"
    "|besides|the rest"
    "|every other|instead of|rounded|nearest|decimals?"
)
"""Changes a sum, and is no number that is told."""
_PLAINLY: Final = (claimed, remainder, scaled, sum_within)
_FRAMES: Final[tuple[Callable[[Told], Sum | None], ...]] = (
    *(claimed, remainder, in_percent, percent, average, times_in, change, speed, rates, shared_out, area),
    *(balance, needed, priced, proportional, piece, total, scaled, served, older, in_figures, sum_within),
)


def problem_of(words: str) -> Sum | None:
    """The sum that is asked for in these words; None if that isn't sure."""
    problem = told(words)
    if problem is None or problem.says(_ELSE) or _IDIOMS.search(problem.text):
        return None
    if not problem.says(_ASKS):
        plainly = claimed(problem)
        return sum_within(problem) if plainly is None and len(problem.text.split()) <= _FEW_WORDS else plainly
    frames = _PLAINLY if problem.says(_UNCOUNTED) else _FRAMES
    return next((found for frame in frames if (found := frame(problem)) is not None), None)
