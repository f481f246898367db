"""The value of an arithmetic expression: exact where it can be, and bounded in time for any input."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final

from localvoice.tools import InvalidArgumentsError, ToolError

_MAX_CHARACTERS: Final = 200
_MAX_BITS: Final = 4096  # of a numerator or denominator; beyond it, powers are computed in floating point
_LARGEST: Final = 10**300  # just within what floating point holds
_WORDS: Final = (
    (r"what is|what's|calculate|compute|how much is", " "),
    (r"(?:the )?square root(?: of)?", "sqrt"),
    (r"raised to the power of|to the power of|power", "**"),
    (r"multiplied by|times|of|x", "*"),
    (r"divided by|over", "/"),
    (r"plus", "+"),
    (r"minus", "-"),
    (r"modulo|mod", " mod "),
    (r"per ?cent", "%"),
    (r"squared", "**2"),
    (r"cubed", "**3"),
)
_WORD_PATTERNS: Final = tuple(
    (re.compile(rf"(?<![a-z])(?:{words})(?![a-z])"), sign) for words, sign in _WORDS
)
_SIGNS: Final = str.maketrans("×·÷−–", "**/--") | str.maketrans(
    {"^": "**", "√": " sqrt ", "π": " pi ", "²": "**2", "³": "**3"}
)
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{1,3}(?![0-9]))?"
_TOKEN: Final = re.compile(rf"{_NUMBER}|(?P<word>[a-z]+)|\*\*|//|[-+*/%()]|(?P<unknown>\S+)")

_END: Final = ""
_AFTER_PERCENT: Final = {_END, "+", "-", "*", "/", ")", "**", "//"}
"""Before one of these, % means percent; otherwise it is the remainder."""
_SUM, _PRODUCT, _SIGN, _POWER = 1, 2, 3, 4  # how strongly an operator binds, as in Python


def evaluate(expression: str) -> Fraction:
    """The value of an expression in digits, signs and words; raises `ToolError`, in words to pass on.

    Knows + - * / // % ** and parentheses, sqrt, abs, round, floor, ceil, pi and e, percent, and the words for
    them. `200 + 10%` is 220, as on a pocket calculator.
    """
    if len(expression) > _MAX_CHARACTERS:
        raise InvalidArgumentsError(f"the expression is too long: at most {_MAX_CHARACTERS} characters")
    try:
        return _Parser(_tokens(expression)).result()
    except ZeroDivisionError:
        raise ToolError("That can't be done: dividing by zero has no result.") from None
    except OverflowError:
        raise ToolError("The result is too large.") from None
    except (SyntaxError, RecursionError):
        raise InvalidArgumentsError(f"this is no arithmetic expression: {expression}") from None


def _tokens(expression: str) -> list[str]:
    text = _THOUSANDS.sub("", expression.translate(_SIGNS).casefold())
    text = re.sub(r"[$€£]", " ", text).strip().rstrip("=?. ")
    for pattern, sign in _WORD_PATTERNS:
        text = pattern.sub(f" {sign} ", text)
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        if match["unknown"] or (match["word"] and match["word"] not in _KNOWN_WORDS):
            raise InvalidArgumentsError(
                f"{match[0][:20]!r} can't be calculated with: use numbers, and only + - * / // % **, sqrt, "
                "abs, round, floor and ceil"
            )
        if match[0] == "(" and tokens and (tokens[-1] == ")" or _is_number(tokens[-1])):
            tokens.append("*")  # 2(3 + 4)
        tokens.append(match[0])
    if not tokens:
        raise InvalidArgumentsError("there is nothing to calculate: give an expression such as 12 * 7")
    return tokens


class _Percent(Fraction):
    """Added to a number, it is a part of that number."""


class _Parser:
    """Evaluates while it reads. Raises `SyntaxError` for what isn't arithmetic."""

    def __init__(self, tokens: list[str]) -> None:
        self._waiting = [_END, *reversed(tokens)]

    def result(self) -> Fraction:
        value = self._value()
        if self._waiting != [_END]:
            raise SyntaxError
        return value

    def _value(self, binding: int = 0) -> Fraction:
        """An operand and all that is joined to it by operators that bind more strongly than this."""
        left = self._operand()
        while (joins := _OPERATORS.get(self._waiting[-1])) and joins[0] > binding:
            self._waiting.pop()
            strength, operate = joins
            right = self._value(_SIGN if strength == _POWER else strength)
            if strength == _SUM and isinstance(right, _Percent):
                right *= left
            left = _bounded(Fraction(operate(left, right)))
        return left

    def _operand(self) -> Fraction:
        token = self._waiting.pop()
        if token in ("+", "-"):
            value = self._value(_SIGN)
            return +value if token == "+" else -value  # either way it is no `_Percent` any more
        value = self._atom(token)
        if _is_number(token) and self._waiting[-1] == "%" and self._waiting[-2] in _AFTER_PERCENT:
            self._waiting.pop()
            return _Percent(_bounded(value / 100))
        return value

    def _atom(self, token: str) -> Fraction:
        if token == "(":
            value = self._value()
            if self._waiting.pop() != ")":
                raise SyntaxError
            return value
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if token in _FUNCTIONS:
            if self._waiting[-1] != "(" and not _is_number(self._waiting[-1]):
                how = f"a number in parentheses after it, as in {token}(4)"
                raise InvalidArgumentsError(f"{token!r} can't be calculated without {how}")
            return _bounded(Fraction(_FUNCTIONS[token](self._atom(self._waiting.pop()))))
        if not _is_number(token):
            raise SyntaxError
        return Fraction(token)


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or token.startswith(".")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if exponent.denominator == 1 and bits * abs(exponent) <= _MAX_BITS:
        return Fraction(base ** int(exponent))
    power = float(base) ** float(exponent)
    if isinstance(power, complex):
        raise ToolError("That root or power of a negative number has no real value.")
    return _from_float(power, is_zero=base == 0)


def _sqrt(value: Fraction) -> Fraction:
    if value < 0:
        raise ToolError("A negative number has no real square root.")
    return _from_float(math.sqrt(value), is_zero=value == 0)


def _round(value: Fraction) -> int:
    # Half goes up, as people learn it at school; Python's own goes to the even neighbour.
    return math.floor(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)


def _from_float(value: float, is_zero: bool) -> Fraction:
    if value == 0 and not is_zero:
        raise ToolError("The result is too close to zero.")
    # Its shortest decimal form: what was 0.1 to a person becomes 1/10 again.
    return Fraction(repr(value))


def _bounded(value: Fraction) -> Fraction:
    """The value, if it is quick to work with; very long fractions lose digits that are never spoken."""
    if abs(value) >= _LARGEST:
        raise OverflowError
    too_long = value.denominator.bit_length() > _MAX_BITS
    return _from_float(float(value), is_zero=value == 0) if too_long else value


_OPERATORS: Final[Mapping[str, tuple[int, Callable[[Fraction, Fraction], Fraction | int]]]] = {
    "+": (_SUM, operator.add),
    "-": (_SUM, operator.sub),
    "*": (_PRODUCT, operator.mul),
    "/": (_PRODUCT, operator.truediv),
    "//": (_PRODUCT, operator.floordiv),
    "%": (_PRODUCT, operator.mod),
    "mod": (_PRODUCT, operator.mod),
    "**": (_POWER, _power),
}
_FUNCTIONS: Final[Mapping[str, Callable[[Fraction], Fraction | int]]] = {
    "sqrt": _sqrt,
    "abs": abs,
    "round": _round,
    "floor": math.floor,
    "ceil": math.ceil,
}
_CONSTANTS: Final = {"pi": Fraction(repr(math.pi)), "e": Fraction(repr(math.e))}
_KNOWN_WORDS: Final = {"mod", *_FUNCTIONS, *_CONSTANTS}
