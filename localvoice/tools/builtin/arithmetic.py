"""The built-in tool for arithmetic: exact where it can be, and bounded in time whatever it is asked."""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin.speech import spoken_number

_MAX_CHARACTERS: Final = 200
_MAX_BITS: Final = 4096
"""Of a numerator or denominator. Beyond it, powers are computed in floating point."""
_LARGEST: Final = 10**300
"""Just within what floating point holds."""

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
_SIGNS: Final = str.maketrans(
    {
        "×": "*",
        "·": "*",
        "÷": "/",
        "−": "-",
        "–": "-",
        "^": "**",
        "√": " sqrt ",
        "π": " pi ",
        "²": "**2",
        "³": "**3",
    }
)
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER: Final = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,3}(?!\d))?"
_TOKEN: Final = re.compile(rf"\s*(?:({_NUMBER})|([a-z]+)|(\*\*|//|[-+*/%()]))", re.ASCII)
_ENDS: Final = {"", "+", "-", "*", "/", ")", "**", "//"}
"""After one of these, % means percent; otherwise it is the remainder."""

_OPERATIONS: Final[Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CONSTANTS: Final = {"pi": Fraction(repr(math.pi)), "e": Fraction(repr(math.e))}


@tool
async def calculate(
    expression: Annotated[str, Field(description="like (12 + 3) * 4, 15% of 80, 2 ** 10 or sqrt(2)")],
) -> str:
    """Work out arithmetic."""
    return spoken_number(evaluate(expression))


def evaluate(expression: str) -> Fraction:
    """The value of an expression in digits, signs and words; raises `ToolError`, in words to pass on.

    Knows + - * / // % ** and parentheses, sqrt, abs, round, floor, ceil, pi and e, percent, and the words for
    them. `200 + 10%` is 220, as on a pocket calculator.
    """
    if len(expression) > _MAX_CHARACTERS:
        raise ToolError(f"the expression is too long: at most {_MAX_CHARACTERS} characters")
    source, numbers = _translate(_tokens(expression))
    try:
        return _value(ast.parse(source, mode="eval").body, numbers)
    except ZeroDivisionError:
        raise ToolError("dividing by zero has no result") from None
    except OverflowError:
        raise ToolError("the result is too large") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise ToolError(f"this is no arithmetic expression: {expression}") from None


def _tokens(expression: str) -> list[str]:
    text = _THOUSANDS.sub("", expression.translate(_SIGNS).casefold())
    text = re.sub(r"[$€£]", " ", text).strip().rstrip("=?. ")
    for pattern, sign in _WORD_PATTERNS:
        text = pattern.sub(f" {sign} ", text)
    tokens: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ToolError(
                f"{text[position:].split()[0][:20]!r} can't be calculated with: use numbers and signs"
            )
        tokens.append(match[match.lastindex or 0])
        position = match.end()
    if not tokens:
        raise ToolError("there is nothing to calculate: give an expression such as 12 * 7")
    return tokens


def _translate(tokens: list[str]) -> tuple[str, dict[str, Fraction]]:
    """Python source with names instead of numbers, so that they stay exact, and the numbers by name."""
    source: list[str] = []
    numbers: dict[str, Fraction] = {}
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        before = source[-1] if source else ""
        if token[0].isdigit() or token[0] == ".":
            name = f"n{len(numbers)}"
            numbers[name] = Fraction(token)
            source.append(f"({name})" if before in _FUNCTIONS else name)
        elif token == "%" and following in _ENDS and before.strip("()") in numbers:
            source[-1] = f"percent({before})"
        else:
            if token == "(" and (before == ")" or before in numbers):
                source.append("*")  # 2(3 + 4)
            source.append("%" if token == "mod" else token)
    return " ".join(source), numbers


def _value(node: ast.expr, numbers: Mapping[str, Fraction]) -> Fraction:
    match node:
        case ast.Name(id=name) if name in numbers:
            return numbers[name]
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, numbers)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, numbers)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _bounded(Fraction(_FUNCTIONS[name](_value(argument, numbers))))
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(_operate(op, _value(left, numbers), right, numbers))
        case ast.Name(id=name):
            raise ToolError(f"{name!r} can't be calculated with: use numbers and signs")
    raise ToolError("only + - * / // % **, sqrt, abs, round, floor and ceil can be calculated")


def _operate(op: ast.operator, left: Fraction, right: ast.expr, numbers: Mapping[str, Fraction]) -> Fraction:
    value = _value(right, numbers)
    if isinstance(op, ast.Pow):
        return _power(left, value)
    if (
        isinstance(op, ast.Add | ast.Sub)
        and isinstance(right, ast.Call)
        and ast.unparse(right.func) == "percent"
    ):
        value *= left
    if type(op) not in _OPERATIONS:
        raise ToolError("only + - * / // % ** can be calculated")
    return Fraction(_OPERATIONS[type(op)](left, value))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if exponent.denominator == 1 and bits * abs(exponent) <= _MAX_BITS:
        return Fraction(base ** int(exponent))
    power = float(base) ** float(exponent)
    if isinstance(power, complex):
        raise ToolError("that root or power of a negative number has no real value")
    return _from_float(power, is_zero=base == 0)


def _sqrt(value: Fraction) -> Fraction:
    if value < 0:
        raise ToolError("a negative number has no real square root")
    return _from_float(math.sqrt(value), is_zero=value == 0)


def _round(value: Fraction) -> int:
    # Half goes up, as people learn it at school; Python's own goes to the even neighbour.
    return math.floor(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)


def _percent(value: Fraction) -> Fraction:
    return value / 100


_FUNCTIONS: Final[Mapping[str, Callable[[Fraction], Fraction | int]]] = {
    "sqrt": _sqrt,
    "percent": _percent,
    "abs": abs,
    "round": _round,
    "floor": math.floor,
    "ceil": math.ceil,
}


def _from_float(value: float, is_zero: bool) -> Fraction:
    if value == 0 and not is_zero:
        raise ToolError("the result is too close to zero")
    # Its shortest decimal form: what was 0.1 to a person becomes 1/10 again.
    return Fraction(repr(value))


def _bounded(value: Fraction) -> Fraction:
    """The value, if it can still be worked with quickly; very long fractions lose what nobody would hear."""
    if abs(value) >= _LARGEST:
        raise OverflowError
    too_long = value.denominator.bit_length() > _MAX_BITS
    return _from_float(float(value), is_zero=value == 0) if too_long else value
