"""Figures as a voice reads them out well."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Final

_LARGEST_WHOLE: Final = 10**15
_SMALLEST: Final = Fraction(1, 10**6)


def spoken_number(value: Fraction, digits: int = 6) -> str:
    """The number: `1,234`, `0.5`, `about 0.333333`, `about 1.2 times 10 to the power of 20`.

    What isn't whole gets about so many significant digits, but two decimals at least.
    """
    size = abs(value)
    if value.denominator == 1 and size < _LARGEST_WHOLE:
        return f"{int(value):,}"
    if size >= _LARGEST_WHOLE or size < _SMALLEST:
        return _scientific(value, digits)
    decimals = max(2, digits - 1 - _magnitude(size))
    rounded = round(value, decimals)
    return _about(rounded != value) + _decimal(rounded)


def spoken_duration(seconds: int) -> str:
    """Such as `1 hour 30 minutes`; `seconds` is at least 1."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "hour"), (minutes, "minute"), (seconds, "second"))
    return " ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count)


def _scientific(value: Fraction, digits: int) -> str:
    exponent = _magnitude(abs(value))
    mantissa = value / Fraction(10) ** exponent
    rounded = round(mantissa, digits - 2)
    power = f"minus {-exponent}" if exponent < 0 else str(exponent)
    return f"{_about(rounded != mantissa)}{_decimal(rounded)} times 10 to the power of {power}"


def _magnitude(size: Fraction) -> int:
    """The power of ten of the first digit; `size` is above 0."""
    guess = math.floor((size.numerator.bit_length() - size.denominator.bit_length()) * math.log10(2))
    while Fraction(10) ** (guess + 1) <= size:
        guess += 1
    while Fraction(10) ** guess > size:
        guess -= 1
    return guess


def _decimal(value: Fraction) -> str:
    """All digits of a fraction that has few of them."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _about(inexact: bool) -> str:
    return "about " if inexact else ""
