"""So much for each of something: 8 eggs a cake, 60 miles an hour, 15 dollars an hour for 40 hours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from localvoice.tools.builtin.words.problems.told import EACH, MONEY, Item, Told
from localvoice.tools.builtin.words.sums import Sum
from localvoice.tools.builtin.words.wording import singular

_SECONDS: Final = {
    "millisecond": Fraction(1, 1000), "second": Fraction(1), "minute": Fraction(60), "hour": Fraction(3600),
    "day": Fraction(86400), "week": Fraction(604800),
}  # fmt: skip
_OF_A_YEAR: Final = {"year": 1, "month": 12, "week": 52, "day": 365}
_PERIODS: Final = "millisecond|second|minute|hour|day|week|month|year"
_PLURALS: Final[Mapping[str, str]] = {
    "person": "people",
    "child": "children",
    "box": "boxes",
    "batch": "batches",
    "class": "classes",
    "bus": "buses",
    "glass": "glasses",
}
_OTHER_UNITS: Final = {
    *(
        "liter",
        "milliliter",
        "gallon",
        "quart",
        "pint",
        "cup",
        "gram",
        "kilogram",
        "kilo",
        "ounce",
        "pound",
        "mile",
    ),
    *("kilometer", "meter", "centimeter", "foot", "inch", "yard", "year", "month", "dollar", "euro", "dozen"),
}
_WORKED: Final = "work|worked|working|shifts?|earn|earns|school|class|classes|paid|wage|job|office"
"""Days and hours of work are not all there are."""


def rates(told: Told) -> Sum | None:
    """So much for each, of so many; "and I've got a hundred already" is taken off."""
    if told.percents or told.says("faster|slower|older|younger"):
        return None
    items = [*told.amounts]
    if len(items) < 3 or not told.says("how (?:many|much) more|still need"):
        return _rate_sum(items, told)
    owned = [item for item in items if re.search(r"\b(?:already|got|have|has)\b", item.before)]
    if len(owned) != 1 or owned[0].per:
        return None
    items.remove(owned[0])
    found = _rate_sum(items, told)
    return None if found is None else replace(found, expression=f"{found.expression} - {owned[0].value}")


def _rate_sum(items: Sequence[Item], told: Told) -> Sum | None:
    """The product, or the quotient that is asked for; None if it isn't clear that these go together."""
    rates = [item for item in items if item.per]
    if not rates:
        return None
    if len(items) == 1:
        return _in_another_period(items[0], told)
    if (product := _product(items, told)) is not None:
        return product
    counts = [item for item in items if not item.per]
    return _quotient(rates[0], counts[0], told) if len(items) == 2 and len(counts) == 1 else None


def speed(told: Told) -> Sum | None:
    """As in "150 miles in three hours, how fast is that?"."""
    if len(told.items) != 2 or told.rates or told.percents or told.money:
        return None
    asked = re.search(r"\bhow (?:many|much) ([a-z]+) (?:per|an?|each|every) ([a-z]+)", told.text)
    if asked is not None:
        one, per = singular(asked[1]), singular(asked[2])
    elif told.says("how fast|speed"):
        one, per = "", "hour"
    else:
        return None
    below = [item for item in told.items if per in item.counted]
    above = [item for item in told.items if item not in below and (one in item.counted or not one)]
    if len(below) != 1 or len(above) != 1 or not above[0].nouns:
        return None
    return Sum(
        f"{above[0].value} / {below[0].value}",
        unit=f"{above[0].nouns[-1]} {'an' if per == 'hour' else 'a'} {per}",
    )


def _product(items: Sequence[Item], told: Told) -> Sum | None:
    for start in items:
        rest = [item for item in items if item is not start]
        factors, per = [start.value], start.per
        while per and (follows := next((item for item in rest if _fits(item, per)), None)) is not None:
            rest.remove(follows)
            factors.append(follows.value)
            if per != EACH and (times := _in_one(per, follows.counted)) != 1:
                factors.append(f"{times}")
            per = follows.per
        if start.per and not rest and (not per or told.says("total|altogether|in all") or told.asks_per(per)):
            return _in_asked_unit(start, " * ".join(factors), told)
    return None


def _in_asked_unit(start: Item, product: str, told: Told) -> Sum | None:
    """As many as there are, in the unit that is asked for; None if that is another one."""
    if start.kind == MONEY:
        return Sum(product, told.money)
    asked = re.search(r"\bhow (?:many|much) ([a-z]+)", told.text)
    noun = singular(asked[1]) if asked else ""
    if noun in start.counted or not (noun in _SECONDS or any(noun in item.counted for item in told.items)):
        return None if noun in _OTHER_UNITS - start.counted else Sum(product, unit=" ".join(start.nouns))
    times = _in_one(noun, start.counted)
    return None if times is None else Sum(f"{product} * {times}", unit=plural(noun))


def _fits(item: Item, per: str) -> bool:
    """Whether it tells of how many there are for which something is told."""
    if item.kind == MONEY:
        return False
    return (per == EACH and item.is_count) or _in_one(per, item.counted) is not None


def _in_one(per: str, counted: set[str]) -> Fraction | None:
    """How many of what is counted per are in one of what is counted; None if they are of other kinds."""
    if per in counted:
        return Fraction(1)
    for unit in counted:
        if unit in _SECONDS and per in _SECONDS:
            return _SECONDS[unit] / _SECONDS[per]
        if unit in _OF_A_YEAR and per in _OF_A_YEAR and "year" in (unit, per):
            return Fraction(_OF_A_YEAR[per], _OF_A_YEAR[unit])
    return None


def _quotient(rate: Item, amount: Item, told: Told) -> Sum | None:
    """For how many, or how long, an amount is enough."""
    long = told.says(f"how long|how many {rate.per}s?|when")
    if not long and not told.says("how (?:many|often)"):
        return None
    if rate.kind == amount.kind == MONEY:
        times = Fraction(1)
    elif rate.kind or amount.kind:
        return None
    elif told.says(rf"how many (?:{rate.per}|{plural(rate.per)})") and told.says(
        r"need|(?:do|will) (?:i|we) \w+"
    ):
        if rate.counted & _SECONDS.keys() or amount.counted & _SECONDS.keys():
            return None
        return Sum(f"ceil({amount.value} / {rate.value})", unit=plural(rate.per))
    elif (shared := _shared(rate.counted, amount.counted)) is not None:
        times = shared
    else:
        return None
    expression = (
        f"{amount.value} / {rate.value}" if times == 1 else f"{amount.value} * {times} / {rate.value}"
    )
    if rate.per in _SECONDS or rate.per in _OF_A_YEAR:
        return Sum(expression, unit=plural(rate.per)) if long else None
    return Sum(
        expression.replace("/ " + rate.value, "// " + rate.value),
        unit="" if rate.per == EACH else plural(rate.per),
    )


def _shared(ones: set[str], others: set[str]) -> Fraction | None:
    return next((times for one in ones if (times := _in_one(one, others)) is not None), None)


def _in_another_period(rate: Item, told: Told) -> Sum | None:
    """ "Three cups a day, how many a week?"""
    periods = re.findall(rf"\b(?:an?|per|each|every) ({_PERIODS})\b", told.text)
    if len(periods) != 2 or periods[0] != rate.per or told.says("ago|old"):
        return None
    if told.says(_WORKED) and {"day", "hour"} & set(periods):
        return None
    times = _in_one(rate.per, {periods[1]})
    if times is None or times == 1:
        return None
    return Sum(f"{rate.value} * {times}", told.money, unit="" if told.money else " ".join(rate.nouns))


def plural(noun: str) -> str:
    """Of several."""
    return _PLURALS.get(noun) or (noun if noun.endswith("s") else f"{noun}s")
