"""Numbers in words, as people say them: "two and a half", "a hundred and forty-four"."""

import re
from functools import lru_cache
from typing import Final

from text_to_num import alpha2digit  # type: ignore[attr-defined]  # it has no __all__

_LANGUAGE: Final = "en"
_POWERS: Final = "1(?:000)+|100"
NUMBER: Final = r"(?:\d+(?:\.\d+)?|\.\d+)"
"""A number in digits, as a regular expression."""


@lru_cache(maxsize=8)
def in_digits(words: str) -> str:
    """The text in small letters with its numbers in digits; other words stay as they are."""
    text = words.lower().replace("\u2019", "'").replace("\u2013", "-").replace("\u2212", "-")
    text = re.sub(r"(?<=[a-z0-9])-(?=[a-z])", " ", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = alpha2digit(text, _LANGUAGE, threshold=0)
    text = re.sub(rf"\ba ({_POWERS})\b", r"\1", text)
    text = re.sub(rf"\b({NUMBER}) ({_POWERS})\b", lambda match: _times(match[1], match[2]), text)
    return _with_fractions(text)


def _times(number: str, power: str) -> str:
    return f"{float(number) * int(power):.6f}".rstrip("0").rstrip(".")


def _with_fractions(text: str) -> str:
    text = re.sub(r"\b(\d+) (\d+)/(\d+)\b", lambda match: _sum(match[1], match[2], match[3]), text)
    for sign, decimals in (("½", ".5"), ("¼", ".25"), ("¾", ".75")):
        text = re.sub(rf"(\d+) ?{sign}", rf"\g<1>{decimals}", text).replace(sign, f"0{decimals}")
    text = re.sub(r"\b(\d+) and (?:a|1) half\b", r"\1.5", text)
    text = re.sub(r"\b(\d+) and (?:a|1) quarter\b", r"\1.25", text)
    text = re.sub(r"\b(\d+) and (?:3|three) quarters\b", r"\1.75", text)
    return text


def _sum(whole: str, above: str, below: str) -> str:
    return (
        f"{int(whole) + int(above) / int(below):.6f}".rstrip("0")
        if int(below)
        else f"{whole} {above}/{below}"
    )
