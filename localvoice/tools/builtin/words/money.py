"""Amounts of money in words: "twelve dollars fifty", "$3.20", "60 pence", "five pound twenty"."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from localvoice.tools.builtin.words.numbers import NUMBER

MARK: Final = "¤"
"""Stands after a number that is an amount of money."""
SIGN: Final = r"[$€£¥₹]"


@dataclass(frozen=True)
class Currency:
    """What money is called."""

    one: str
    several: str
    parts: tuple[str, str] | None = None
    """One and several of its hundredths, where they are spoken."""


_CENTS: Final = ("cent", "cents")
_DOLLARS: Final = Currency("dollar", "dollars", _CENTS)
_POUNDS: Final = Currency("pound", "pounds", ("penny", "pence"))
_CURRENCIES: Final[Mapping[str, Currency]] = {
    r"dollars?|bucks?|\$": _DOLLARS,
    r"euros?|€": Currency("euro", "euros", _CENTS),
    r"pounds?|quid|£": _POUNDS,
    r"francs?": Currency("franc", "francs"),
    r"yen|¥": Currency("yen", "yen"),
    r"rupees?|₹": Currency("rupee", "rupees"),
    r"crowns?|kroner|kronor": Currency("crown", "crowns"),
}
_NAMES: Final = "|".join(_CURRENCIES)
_WEIGHT: Final = re.compile(
    r"\bweigh|\bpounds? of [a-z]|\bounces?\b|\bkilos?\b|\bpounds? (?:heavier|lighter)"
)
_POUND_WEIGHT: Final = re.compile(r"\bpounds?\b")
_AMOUNT: Final = re.compile(
    rf"(?:(?P<sign>{SIGN}) ?)?(?P<whole>{NUMBER})(?(sign)| (?P<currency>{_NAMES})\b"
    r"(?: (?:and )?(?P<cents>\d\d?(?= cents?| pence)|\d\d)(?: cents?| pence)?\b"
    r"(?! ?(?:%|(?!and\b)[a-z]+ ?\d)|\.))?)"
)
_SMALL: Final = re.compile(rf"\b({NUMBER}) (?:cents?|(?P<pence>pence|p)\b)")
_PRICE: Final = re.compile(
    r"(\b(?:at|for|is|was|'s|are|costs?|and) )(\d{1,3}) (\d\d)\b(?! ?[%\d]| [a-z]+s\b)"
)
"""A price without its currency, after another one: "for one sixty"."""


def amounts_marked(text: str) -> tuple[str, Currency | None]:
    """Amounts of money as numbers with `MARK` after them, and their currency if they have one and the same.

    The text has its numbers in digits. Where something is weighed, pounds are no money.
    """
    hidden = _WEIGHT.search(text) is not None or (
        re.search(r"[$€¥₹]|\b(?:dollars?|bucks?|euros?|quid)\b|£", text) is not None
    )
    if hidden:
        text = _POUND_WEIGHT.sub(lambda found: found[0].replace("pound", "lb"), text)
    currencies: set[Currency] = set()

    def amount(found: re.Match[str]) -> str:
        name = found["sign"] or found["currency"]
        currencies.add(next(each for names, each in _CURRENCIES.items() if re.fullmatch(names, name)))
        cents = found["cents"]
        whole = f"{found['whole']}.{int(cents):02}" if cents and "." not in found["whole"] else found["whole"]
        return whole + MARK

    def small(found: re.Match[str]) -> str:
        currencies.add(_POUNDS if found["pence"] else next(iter(currencies), _DOLLARS))
        return f"{float(found[1]) / 100:g}{MARK}"

    text = _SMALL.sub(small, _AMOUNT.sub(amount, text))
    if currencies:
        text = _PRICE.sub(rf"\1\2.\3{MARK}", text)
    if hidden:
        text = re.sub(r"\blb(s?)\b", r"pound\1", text)
    return text, currencies.pop() if len(currencies) == 1 else None
