"""How many there are together, on average, left over or missing."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from localvoice.tools.builtin.words.problems.prices import LEFT
from localvoice.tools.builtin.words.problems.told import EACH, MONEY, Item, Told
from localvoice.tools.builtin.words.sums import Sum

_HAVE: Final = (
    rf"{LEFT}|to go"
    r"|how (?:many|much)(?: [a-z]+){0,2} (?:do|does|did|will) (?:i|we|they|she|he) (?:still )?have"
)
_TAKEN: Final = re.compile(
    r"\b(?:spen[dt]|ate|eats?|eaten|g[ia]ves?|given|uses?|used|lost|loses?|sold|sells?|took|takes?"
    r"|taken|pa(?:y|id)"
    r"|drank|drinks?|minus|broken?|threw|killed|ran|walked|finished|cut|goes|went|removed?|missing"
    r"|read|got rid of"
    r"|handed out|drove|donated?|burned|fell|died|costs?)\b"
)
_GAINED: Final = re.compile(
    r"\b(?:get|gets|got|gained|receives?|received|finds?|found|adds?|added|joined|join|plus"
    r"|earn(?:ed)?|won|wins?"
    r"|collect(?:ed)?|picked up|baked?|made|came|come|arrived?)\b"
)
_BOUGHT: Final = re.compile(r"\b(?:bought|buys?|buying)\b")
_PRICED: Final = re.compile(r"\b(?:is|was|are|were|for|on) $")
_PART_OF: Final = re.compile(r"\b(?:of (?:an?|my|the|our|his|her|those|these)|from|out of(?: my| the)?) $")


def average(told: Told) -> Sum | None:
    if (
        told.percents
        or told.rates
        or len(told.items) < 2
        or not told.says("average|averages|mean of|the mean|mean value|mean score")
    ):
        return None
    listed = told.items[1:] if told.items[0].value == str(len(told.items) - 1) else told.items
    if told.says("average (?:speed|person|american|age of|height of|temperature in)") or not _is_list(listed):
        return None
    values = [item.value for item in listed]
    return Sum(f"({' + '.join(values)}) / {len(values)}", told.money)


def balance(told: Told) -> Sum | None:
    """What there is of the first number when the others are taken away or come to it."""
    if told.percents or len(told.items) < 2 or not told.says(_HAVE):
        return None
    first, *others = told.items
    if len(others) == 1 and _PART_OF.search(others[0].before) and _change_of(first, is_price=False) == "-":
        terms = [f"{others[0].value} - {first.value}"]
    else:
        terms = [first.value]
        sign = ""
        for before, item in pairwise(told.items):
            if item.per == EACH and before.is_count and before is not first:
                terms[-1] += f" * {item.value}"
                continue
            sign = _change_of(item, item.kind == MONEY) or (
                sign if item.before.endswith(("and ", "then ")) else ""
            )
            if not sign or item.per:
                return None
            terms.append(f"{sign} {item.value}")
        if told.money is None and not _alike(first, others):
            return None
    if first.per or (told.says("left|remains?|remaining") and not any("-" in term for term in terms)):
        return None
    return Sum(" ".join(terms), told.money)


def _change_of(item: Item, is_price: bool) -> str:
    """Whether it comes to what there is, or goes; "" if that isn't told."""
    found = [
        (each.end(), sign)
        for pattern, sign in ((_TAKEN, "-"), (_GAINED, "+"), (_BOUGHT, "-" if is_price else "+"))
        for each in pattern.finditer(item.before)
    ]
    return max(found)[1] if found else "-" if is_price and _PRICED.search(item.before) else ""


def needed(told: Told) -> Sum | None:
    """How much more it takes from what there is to what is needed."""
    if told.percents or told.rates or len(told.items) != 2:
        return None
    if not told.says(
        "how (?:many|much) more|still need|short|difference|how much (?:cheaper|dearer|less)|how "
        "(?:much|many) (?:[a-z]+ )?(?:to go|is missing|are missing)"
    ):
        return None
    high, low = sorted(told.items, key=lambda item: -item.size)
    return Sum(f"{high.value} - {low.value}", told.money) if _alike(high, [low]) else None


def older(told: Told) -> Sum | None:
    """As in "I'm 34 and my brother is five years older, how old is he?"."""
    if len(told.items) != 2 or told.percents or told.rates or not told.says("how old (?:is|are|am|'s)"):
        return None
    for item, other in zip(told.items, told.items[::-1], strict=True):
        found = re.match(
            r" (?:years? )?(older|younger) than (?:me|i am)\b|(?: years?) (older|younger)\b(?! than)",
            item.after,
        )
        if found and not other.nouns:
            return Sum(f"{other.value} {'+' if 'older' in found[0] else '-'} {item.value}")
    return None


def times_in(told: Told) -> Sum | None:
    """As in "how many times does 7 go into 100?"."""
    if len(told.items) != 2 or told.percents:
        return None
    first, second = told.items
    if not re.search(r"\bhow (?:many(?: times)?|often) (?:(?:does|do|can|will|would) )?$", first.before):
        return None
    if not re.fullmatch(r" (?:(?:are|there|go(?:es)?|fits?) )*(?:in|into) (?:a )?", second.before):
        return None
    return Sum(f"{second.value} // {first.value}", remainder=f"{second.value} mod {first.value}")


def _is_list(items: Sequence[Item]) -> bool:
    return all(
        re.fullmatch(r"(?: [a-z]+)?(?: and| plus| then|)(?: an?| the)? ", item.before) for item in items[1:]
    )


def _alike(item: Item, others: Sequence[Item]) -> bool:
    """Whether they may count the same."""
    return all(not each.nouns or not item.nouns or each.counted & item.counted for each in others)
