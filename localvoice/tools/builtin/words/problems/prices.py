"""What things cost together, what one of them costs, what each pays, and the change."""

import re
from collections.abc import Sequence
from typing import Final

from localvoice.tools.builtin.words.problems.told import EACH, MONEY, Item, Told
from localvoice.tools.builtin.words.sums import Sum

_LISTED: Final = "total|altogether|all together|in all|add|adds|sum|combined|together|all in|overall"
_OTHER_STEPS: Final = (
    "times|each|every|per|more than|less than|multiply|multiplied|divide|divided|minus|subtract|take away"
)
SHARED: Final = (
    "split|splits|splitting|divide|divided|dividing|share|shared|sharing|between|among|amongst|evenly"
    "|equally|fair"
    "|each (?:of (?:us|them|you)|get|gets|pay|pays|owe|owes|person|one|kid|child|friend)|apiece|per "
    "(?:person|head|kid|child)|ways"
    "|(?:is|does|will|would|do|should|must|'s|for|get|pay|owe) (?:(?:that|we|they|it|everyone"
    "|everybody|one|you) )?(?:make |get |pay |owe )?each"
    "|(?:everyone|everybody|each)(?: of us| person)? (?:pay|pays|owe|owes|get|gets)|a head|each"
)
_SHARERS: Final = frozenset(
    "person people friend kid child adult guest way part grandchild student sister brother guy girl "
    "boy roommate flatmate "
    "colleague player family grandkid cousin neighbor neighbour man woman pupil teammate coworker "
    "housemate us sibling "
    "daughter son classmate dog cat grandson granddaughter member mate lad plate bag box jar pile group team "
    "table share".split()
)
_TOTAL: Final = (
    "total|altogether|all together|in all|all in|adds? up|sum|damage|combined|together|comes? to"
    "|how much (?:do|did|have|will|would|is|does|'s|should) (?:i|we|that|it|this|they|everything|all "
    "that|all of it|the lot|my bill)"
    "|what (?:do|did|will|would|have|should) (?:i|we)(?: have to)? (?:owe|pay|spend|spent)|what "
    "(?:does|do|will|would) (?:it|that|they|everything|all that|the lot)(?: all)? (?:cost|come|make)"
    "|what's (?:that|it|the bill|the lot|all that)|what is (?:that|it)|that's what|that makes|do i owe"
    "|do we owe"
)
_CHANGE: Final = (
    "(?:my|the|much|in|any|what|what's|of|as|for|get) change|change (?:do|should|will|would|from|for"
    "|back|is|am|out|if|off)"
    "|(?:get|give|gave|getting|given|gives|hand|owe|owed|have|receive)(?: [a-z]+)? back|back from"
)
_GIVEN: Final = re.compile(
    r"(?:\bfrom|\bwith|\bg[ia]ve(?: [a-z']+){0,3}|\bpa(?:y|id|ying)(?: [a-z']+){0,3}|\bhand(?:ed)?(?: "
    r"[a-z']+){0,3}|\bout of|\bhave|\bgot)"
    r"(?: an?| my| the)? $"
)
_PRICED: Final = re.compile(r"\b(?:how much|what)(?: (?:is|are|do|does|would|will|for|'s|i need|to buy))* $")
_NOTE: Final = re.compile(r" ?(?:[a-z]+ )?(?:note|bill)\b(?! (?:is|was|comes|came))")
LEFT: Final = "remain|remains|remaining|left|keep|take home|end up with|over|still have|have now"
_OTHERWISE: Final = (
    f"{LEFT}|save|afford|difference|more|change|each|which|went up|gone up|go up|last (?:year|month"
    f"|week)|used to"
    "|than|cheaper|expensive|worth|before|now|raise|instead|or"
)


def change(told: Told) -> Sum | None:
    """As in "I gave her forty dollars and it came to $27.35: is my change right?"."""
    if told.percents or len(told.items) < 2 or not told.says(_CHANGE):
        return None
    given = [item for item in told.items if _GIVEN.search(item.before) or _NOTE.match(item.after)]
    largest = max(told.items, key=lambda item: item.size)
    paid = given[0] if len(given) == 1 else largest
    cost = cost_of([item for item in told.items if item is not paid])
    if cost is None or paid.per or (len(told.items) == 2 and paid is not largest):
        return None
    return Sum(f"{paid.value} - ({cost})", told.money or told.currency)


def shared_out(told: Told) -> Sum | None:
    """ "17 sweets among five children"."""
    if told.percents or len(told.items) < 2 or not told.says(SHARED):
        return None
    sharers = [item for item in told.items if shares(item)]
    goods = [item for item in told.items if item not in sharers]
    if len(sharers) != 1 or any(item.per for item in sharers):
        return None
    cost = goods[0].value if len(goods) == 1 and not goods[0].per else cost_of(goods)
    if cost is None or (len(goods) > 1 and told.money is None):
        return None
    people = sharers[0].value
    if told.money is not None:
        return Sum(f"({cost}) / {people}", told.money)
    if told.says("left over|leftover|left|remain\\w*|remainder"):
        return Sum(f"({cost}) // {people}", remainder=f"({cost}) mod {people}")
    return Sum(f"({cost}) / {people}")


def priced(told: Told) -> Sum | None:
    """As in "tickets are 15 dollars, how much for three?"."""
    if len(told.items) != 2 or told.percents:
        return None
    price, count = told.items
    if price.kind != MONEY or not count.is_count or not _PRICED.search(count.before):
        return None
    return Sum(f"{count.value} * {price.value}", told.money)


def proportional(told: Told) -> Sum | None:
    """As in "three apples cost two dollars, what do twelve cost?"."""
    if len(told.items) != 3 or told.percents or told.rates:
        return None
    some, price, others = told.items
    if price.kind != MONEY or not (some.is_count and others.is_count) or not _PRICED.search(others.before):
        return None
    if others.nouns and some.nouns and not others.counted & some.counted:
        return None
    return Sum(f"{price.value} * {others.value} / {some.value}", told.money)


def piece(told: Told) -> Sum | None:
    """What one costs, if so many cost so much."""
    if len(told.items) != 2 or told.percents or told.rates or told.money is None:
        return None
    if not told.says(
        r"each|apiece|per|a piece|one|a single|a (?:can|bottle|roll|egg|night|month|week|day|year|box"
        r"|pound|kilo)"
    ):
        return None
    money = [item for item in told.items if item.kind == MONEY]
    counts = [item for item in told.items if item.is_count]
    if len(money) != 1 or len(counts) != 1 or not told.says("how much|what|what's|price|cost"):
        return None
    return Sum(f"{money[0].value} / {counts[0].value}", told.money)


def total(told: Told) -> Sum | None:
    if told.percents or len(told.items) < 2:
        return None
    if told.money is not None and told.says(_TOTAL) and not told.says(_OTHERWISE):
        cost = cost_of(told.items)
        return None if cost is None else Sum(cost, told.money)
    return None if told.money is not None else _count(told)


def _count(told: Told) -> Sum | None:
    if told.says(_OTHER_STEPS) or not told.says(_LISTED) or told.rates or told.says(LEFT):
        return None
    nouns = [item.counted for item in told.items if item.nouns]
    if len(told.items) == 2 and not told.says("altogether|all together|in total|in all|add|combined|sum"):
        return None
    alike = (
        not nouns
        or bool(set.intersection(*nouns))
        or told.says("altogether|in total|in all|combined|total|all together")
    )
    return Sum(" + ".join(item.value for item in told.items)) if alike else None


def cost_of(items: Sequence[Item]) -> str | None:
    """The sum of prices, with how many there are of each; None if that isn't clear."""
    parts: list[str] = []
    count: Item | None = None
    for item in items:
        if item.per == EACH or (item.per and count is not None and item.per in count.counted):
            if count is None:
                return None
            parts.append(f"{count.value} * {item.value}")
            count = None
        elif item.kind == MONEY or (len(items) == 1 and not item.per):
            parts.append(item.value)  # of so many together
            count = None
        elif count is not None or item.per:
            return None
        else:
            count = item
    return " + ".join(parts) if parts and count is None else None


def shares(item: Item) -> bool:
    """Whether it is how many something is divided among."""
    if item.kind or "/" in item.value or "." in item.value:
        return False
    return bool(
        item.counted & _SHARERS
        or re.match(r" (?:of (?:us|them|you)|ways)\b", item.after)
        or re.search(r"\b(?:between|among|amongst|by|into)(?: the| all)? $", item.before)
    )
