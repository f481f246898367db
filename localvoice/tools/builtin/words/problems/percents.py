"""Discounts, tips, taxes and parts in a hundred."""

import re
from typing import Final

from localvoice.tools.builtin.words.problems.prices import LEFT, SHARED, cost_of, shares
from localvoice.tools.builtin.words.problems.told import Told
from localvoice.tools.builtin.words.sums import Sum

_OFF: Final = (
    "off|discounts?|discounted|reduced|reduction|sale|markdown|marked down|cheaper|rebate|coupon|voucher"
)
_SAVED: Final = (
    "(?:do|would|will|did|can|could|am|'m) (?:i|we|you) (?:save|saving)|saving|how much off|(?:is|'s) "
    "(?:the|that|my) "
    "(?:discount|saving|reduction)|what (?:is|'s) (?:the|my) (?:discount|saving|reduction)|how much "
    "(?:of a )?discount|saves? me"
)
_ADDED: Final = (
    "tip|tips|gratuity|service(?: charge)?|tax|vat|gst|sales tax|interest|surcharge|commission|fee"
)
_RISEN: Final = (
    "raise|increased?|markup|goes up|went up|going up|go up|more expensive|on top|rise|rises|rose|risen"
)
_BY_HOW_MUCH: Final = (
    "how much more|how much extra|how much (?:is|of) (?:a|an|the|my) (?:raise|increase)"
    "|how much (?:does|did|will) .* go up"
)
_THEN: Final = "new|now|then|will it|will that|will i|would i|be|afterwards|after|total"
_WITH: Final = (
    "total|altogether|all together|all in|in all|(?:with|plus|adding) (?:the |that |an? )?(?:[\\d.]+% "
    ")?(?:tip|tax|vat|service|gratuity|interest|raise|increase)"
    "|including|included|includes?|in the end|new (?:price|salary|rent|pay|total|rate|bill)|comes? "
    "(?:out )?to|after (?:the )?(?:tip|tax|raise|increase|vat|gst)|do i (?:owe|pay)"
    "|do we (?:owe|pay)|final (?:price|bill|amount)|now pay|end up paying|what (?:will|would|should"
    "|do) (?:i|we) (?:pay|owe)"
)
_GONE: Final = (
    "goes away|go away|goes? to|deduct\\w*|deductions|taken (?:off|out|away)|takes?|los[et]s?|withheld"
    "|comes? (?:off|out)|keeps?|taxes"
    "|spen[dt]|in tax"
)
_OF_THAT: Final = re.compile(r" of (?:the |my |our |that |an? |about )*")
_OTHERS: Final = "not|n't|isn't|aren't|don't|rest|left|remain\\w*|others?|without"


def in_percent(told: Told) -> Sum | None:
    """As in "18 out of 24, what percent is that?"."""
    if told.percents or len(told.items) != 2 or not told.says("percent|percentage|per cent"):
        return None
    first, second = told.items
    low, high = sorted((first, second), key=lambda item: item.size)
    if told.says("wrong|missed|mistakes?|incorrect|absent|not|n't|didn't|failed|without"):
        wrong = f"100 * {low.value} / {high.value}"
        if not re.search(r"\b(?:wrong|missed|mistakes?|incorrect)\b", low.after + low.before):
            return None
        asked = told.says("(?:percent|percentage|much|many)(?: [a-z']+){0,3} (?:wrong|missed|incorrect)")
        return Sum(wrong if asked else f"100 - {wrong}", percent=True)
    if re.match(r" (?:off|discount|less|cheaper|saved)\b", low.after) or told.says("saved|save"):
        return Sum(f"100 * {low.value} / {high.value}", percent=True)
    if told.says("off|discount|saved|saving|cheaper|dropped|decreased?|fell|reduced|down from|lower"):
        return Sum(f"100 * ({high.value} - {low.value}) / {high.value}", percent=True)
    if told.says("increased?|raise|grew|growth|rose|went up|risen|higher|more|change|markup|profit|gain"):
        if not told.says("from") or not second.before.strip().endswith("to"):
            return None
        return Sum(f"100 * ({second.value} - {first.value}) / {first.value}", percent=True)
    if second.before.strip() in ("out of", "of") or re.search(r"\bout of(?: the| a)? $", second.before):
        return Sum(f"100 * {first.value} / {second.value}", percent=True)
    if told.says("what (?:percent|percentage|per cent) (?:of|is|are|did|do|got|have|was|were)"):
        return Sum(f"100 * {low.value} / {high.value}", percent=True)
    return None


def percent(told: Told) -> Sum | None:
    """A discount, a tip, tax; shared by some, where these are told."""
    if len(told.percents) != 1 or not told.amounts:
        return None
    sharers = [item for item in told.amounts[1:] if shares(item)] if told.says(SHARED) else []
    base = cost_of([item for item in told.amounts if item not in sharers])
    sign = _sign(told, is_shared=bool(sharers))
    if base is None or sign is None or len(sharers) > 1:
        return None
    result = f"({base}) {sign} {told.percents[0].value}%"
    return Sum(f"({result}) / {sharers[0].value}" if sharers else result, told.money)


def _sign(told: Told, is_shared: bool) -> str | None:
    """Whether the part is what is asked for (*), or the amount with it (+) or without it (-)."""
    if told.says("net|without|excluding|before (?:the )?(?:tax|vat|tip|discount)|originally?"):
        return None
    if told.says(_OFF):
        return "*" if told.says(_SAVED) else "-"
    if told.says(_ADDED):
        return "+" if is_shared or told.says(_WITH) else "*"
    if is_shared:
        return None
    if told.says(_RISEN):
        return "*" if told.says(_BY_HOW_MUCH) else "+" if told.says(_THEN) else None
    if told.says(_GONE) and told.says(LEFT):
        return "-"
    is_part = _OF_THAT.fullmatch(told.percents[0].after) is not None and not told.says(_OTHERS)
    return "*" if is_part else None
