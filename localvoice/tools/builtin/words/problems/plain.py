"""A plain sum among other words: "quick, 1,000 minus 387", "seven times eight is 54, right?"."""

import re
from dataclasses import replace
from typing import Final

from localvoice.tools.builtin.words.numbers import NUMBER
from localvoice.tools.builtin.words.problems.told import MONEY, Told
from localvoice.tools.builtin.words.sums import Sum, sum_of

_SUM_WITHIN: Final = re.compile(
    r"(?:\b(?:(?:the )?(?:square root(?: of)?|cube root(?: of)?|half(?: of)?|twice|double|triple|sum "
    r"of|product of"
    r"|difference between|an? (?:3rd|quarter|\d+th) of|add(?: up)?|subtract|take(?: away)?|multiply"
    r"|divide) ))?"
    r"\d.*\d(?:%| squared| cubed|(?:st|nd|rd|th)(?: power)?)?"
    r"|\d[\d.]* (?:squared|cubed)"
    r"|\b(?:(?:square root|cube root|half)(?: of)?|twice|double|triple|an? (?:3rd|quarter|\d+th) of) "
    r"\d[\d.]*"
)
_MORE: Final = re.compile(
    r"\b(?:doubled?|hal(?:f|ves?|ved)|twice|triple|squared?|cubed?|round|rounded|nearest|decimals?"
    r"|percent|percentage"
    r"|average|each|per|rest|left|remain\w*|more|less|fraction|change|discount|tip|tax|minus|plus"
    r"|divided?|multiplied|multiply"
    r"|subtract|add|take away|blood|(?:from|by|to|of|than) (?:that|it|this)|everyone|someone|people"
    r"|year|years)\b"
)
"""Goes on with the sum."""
_MEASURED: Final = re.compile(
    r"\b(?:cups?|(?:tea|table)spoons?|ounces?|pounds?|(?:kilo|milli)?grams?|(?:milli)?lit(?:er|re)s?"
    r"|pints?|quarts?"
    r"|gallons?|(?:kilo|centi|milli)?met(?:er|re)s?|feet|foot|inch(?:es)?|yards?|miles?|celsius"
    r"|fahrenheit|kilos?)\b"
)
"""What asks for other units, and for no sum."""
_CLAIM: Final = re.compile(
    rf"(?P<asks>is |isn't )?(?P<sum>.*?\d.*?)(?P<links> is (?:that|it)| isn't (?:that|it))?(?: (?:is"
    rf"|are|equals?|makes?|that's|it's))?"
    rf" (?P<claim>{NUMBER}%?)(?P<checks> (?:right|correct|isn't it|is it|true|is that (?:right|correct"
    rf"|true)|am i right|yes|yeah)| or .*)?"
)
_IN_FIGURES: Final = (
    "how (?:much|many) (?:is|are)|what is|what's|in (?:numbers|figures|digits)|is what"
    "|as a (?:normal )?number"
    "|is how (?:much|many)"
)


def sum_within(told: Told) -> Sum | None:
    """A plain sum with other words around it: "quick, 1,000 minus 387"."""
    meant = _plain(told.text.replace(MONEY, ""))
    return None if meant is None else replace(meant, money=told.money)


def _plain(text: str) -> Sum | None:
    found = _SUM_WITHIN.search(text)
    if found is None or re.fullmatch(rf"{NUMBER}/{NUMBER}", found[0]):
        return None
    around = text[: found.start()] + text[found.end() :]
    if not re.fullmatch(r"[a-z' ]*", around) or _MEASURED.search(around) or _MORE.search(around):
        return None
    return sum_of(found[0])


def claimed(told: Told) -> Sum | None:
    """As in "Seven times eight is 54, right?"."""
    found = _CLAIM.fullmatch(told.text.replace(MONEY, ""))
    if found is None or not (found["asks"] or found["links"] or found["checks"]):
        return None
    meant = _plain(found["sum"])
    return None if meant is None else replace(meant, money=told.money, claim=found["claim"])


def remainder(told: Told) -> Sum | None:
    if len(told.items) != 2 or not told.says("remainder|modulo"):
        return None
    whole, part = (item.value for item in told.items)
    if told.says("with (?:the )?remainder"):
        return Sum(f"{whole} // {part}", remainder=f"{whole} mod {part}")
    return Sum(f"{whole} mod {part}") if told.says("divided?|of|by|modulo") else None


def in_figures(told: Told) -> Sum | None:
    """ "2.5 lakh as a normal number"."""
    if len(told.items) != 1 or told.percents or told.rates or not told.says(_IN_FIGURES):
        return None
    return Sum(f"1 * {told.items[0].value}", told.money) if told.large else None
