"""The built-in tool for arithmetic, and how numbers are said."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field

from localvoice.tools import InvalidArgumentsError, ToolError, tool
from localvoice.tools.builtin.expressions import evaluate
from localvoice.tools.builtin.words.money import Currency
from localvoice.tools.builtin.words.problems import problem_of
from localvoice.tools.builtin.words.sums import Sum, sum_of
from localvoice.tools.builtin.words.wording import accepted_by

_LARGEST_WHOLE: Final = 10**15  # from here on, a voice reads a number out in powers of ten
_DECIMALS: Final = 4
_DIGITS: Final = 3
_SMALLEST: Final = Fraction(1, 10**6)
_TIMES: Final = {
    "hours": (60, "minutes"), "minutes": (60, "seconds"), "days": (24, "hours"), "weeks": (7, "days"),
    "years": (12, "months"),
}  # fmt: skip
"""Each with how many of the next smaller one it has."""
_MEASURES: Final = (
    "cups",
    "teaspoons",
    "tablespoons",
    "pounds",
    "sticks",
    "pints",
    "quarts",
    "gallons",
    "liters",
    "litres",
)
_FRACTIONS: Final = {
    Fraction(1, 4): "a quarter of a {one}", Fraction(1, 2): "half a {one}",
    Fraction(3, 4): "three quarters of a {one}",
    Fraction(1, 3): "a third of a {one}", Fraction(2, 3): "two thirds of a {one}",
    Fraction(3, 2): "1 and a half {several}",
}  # fmt: skip
"""What a recipe calls a part of a measure."""


def _readable(words: str) -> None:
    if _meant(words) is None:
        evaluate((sum_of(words) or Sum(words)).expression)
        raise ToolError("there is nothing to calculate: give an expression such as 12 * 7")


def _meant(words: str) -> Sum | None:
    """The sum in these words; None if there is none, or it has words that are no part of it."""
    for found in (sum_of(words), problem_of(words)):
        if found is not None and _is_sum(found):
            return found
    return None


def _is_sum(found: Sum) -> bool:
    try:
        evaluate(found.expression)
    except InvalidArgumentsError:
        return False
    except ToolError:
        pass  # it is one, and why it has no result is for the user
    return True


@tool(speaks=True)
async def calculate(
    expression: Annotated[
        str,
        accepted_by(_readable),
        Field(description="like (12 + 3) * 4, 15% of 80 or sqrt(2)"),
    ],
) -> str:
    """Work out arithmetic."""
    meant = _meant(expression) or Sum(expression)
    value = evaluate(meant.expression)
    if meant.remainder and (over := evaluate(meant.remainder)):
        return f"That's {spoken_number(value)}, with {spoken_result(over)} left over."
    opening = "That's"
    if meant.claim:
        opening = "Yes, that's" if evaluate(meant.claim) == value else "No, that's"
    return f"{opening} {_spoken(value, meant)}."


def _spoken(value: Fraction, meant: Sum) -> str:
    if meant.money is not None:
        return spoken_money(value, meant.money)
    if meant.unit in _TIMES:
        return _spoken_time(value, meant.unit)
    if meant.unit in _MEASURES and value in _FRACTIONS:
        return _FRACTIONS[value].format(one=_one(meant.unit), several=meant.unit)
    of = "percent" if meant.percent else _one(meant.unit) if value == 1 else meant.unit
    return f"{spoken_result(value)} {of}".rstrip()


def spoken_result(value: Fraction) -> str:
    """A number in no more digits than a listener wants: exact to four decimals, or about."""
    exact = value.denominator != 1 and (value * 10**_DECIMALS).denominator == 1
    return spoken_number(value) if exact else spoken_number(value, _DIGITS)


def spoken_money(value: Fraction, currency: Currency) -> str:
    """An amount such as `37 dollars and 50 cents`."""
    cents = round(abs(value) * 100)
    about = "" if Fraction(cents, 100) == abs(value) else "about "
    minus = "minus " if value < 0 and cents else ""
    whole, rest = divmod(cents, 100)
    spoken = [f"{whole:,} {currency.one if whole == 1 else currency.several}"] if whole or not rest else []
    if rest and currency.parts is not None:
        spoken.append(f"{rest} {currency.parts[rest != 1]}")
    elif rest:
        spoken = [f"{whole:,}.{rest:02} {currency.several}"]
    return about + minus + " and ".join(spoken)


def _spoken_time(value: Fraction, unit: str) -> str:
    """Hours and minutes, or minutes and seconds, as far as it makes a difference."""
    parts, smaller = _TIMES[unit]
    whole, rest = divmod(round(value * parts), parts)
    exact = "" if Fraction(whole * parts + rest, parts) == value else "about "
    counted = [(whole, unit), (rest, smaller)]
    return exact + " and ".join(
        f"{many:,} {_one(each) if many == 1 else each}" for many, each in counted if many
    )


def _one(unit: str) -> str:
    return unit.removesuffix("s")


def spoken_number(value: Fraction, digits: int = 6) -> str:
    """A number as a voice reads it out well: `1,234`, `0.5`, `about 1.2 times 10 to the power of 20`.

    What isn't whole gets about so many significant digits, but two decimals at least.
    """
    size = abs(value)
    if value.denominator == 1 and size < _LARGEST_WHOLE:
        return f"{int(value):,}"
    exponent = (Decimal(size.numerator) / Decimal(size.denominator)).adjusted()
    decimals, power = max(2, digits - 1 - exponent), ""
    if not _SMALLEST <= size < _LARGEST_WHOLE:
        value, decimals = value / Fraction(10) ** exponent, digits - 2
        power = f" times 10 to the power of {'minus ' if exponent < 0 else ''}{abs(exponent)}"
    rounded = round(value, decimals)
    shown = Decimal(rounded.numerator) / Decimal(rounded.denominator)
    return f"{'' if rounded == value else 'about '}{shown:,f}{power}"
