"""Tells a clear yes and a clear no from all else that a user says, by rule: no model reads it. English."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class Consent(StrEnum):
    """What a user has said to a question."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


_MOST_WORDS: Final = 8
_PLAIN: Final = re.compile(r"[a-z\s.,!;'’…-]*")
"""What a clear answer is written with: no question mark, no brackets, no foreign letters that look alike."""
_WORD: Final = re.compile(r"[a-z]+(?:['’][a-z]+)*")
_BEFORE: Final = r"(?:(?:oh|well|um|uh|er|erm|hm+|ah|so|and|hey|please) )*"
_AFTER: Final = r"(?:(?:please|thanks|thank you|now|then|sir|ma'am|madam) )*"
_YES: Final = (
    r"yes|yeah|yep|yup|yes you (?:may|can|should)|you may|sure|sure thing|of course|certainly|absolutely|"
    r"definitely|by all means|please do|go ahead|go for it|do it|do that|do so|(?:that's |that is )?correct|"
    r"(?:that's|that is) (?:right|fine|perfect)|(?:that )?sounds (?:good|great|fine|right|perfect)|"
    r"(?:that )?works for me|that works|i'm sure|i am sure|(?:i )?confirm(?:ed)?|i agree|agreed|"
    r"ok|okay|all right|alright|yes i do"
)
_LEAD: Final = r"(?:just |go ahead and |you (?:can|may|should) )?"
_NO: Final = (
    r"no|nope|nah|no way|(?:please )?(?:don't|do not)(?: do (?:it|that|so))?|no you (?:may not|shouldn't)|"
    r"stop(?: (?:it|that))?|cancel(?: (?:it|that))?|never mind|nevermind|leave it|not (?:now|yet|today)|"
    r"(?:i don't|i do not) want (?:it|that|to)|"
    r"(?:i'd |i would )?rather not|better not|(?:absolutely|certainly|definitely|of course) not"
)


def consent(text: str, own_words: Sequence[str] = ()) -> Consent:
    """What a whole utterance, spoken or typed, says to a question that waits for a yes.

    `own_words` are phrases of the question, in small letters, that either may repeat: "send it". Where the
    user says more ("yes, but tomorrow") it is unclear: what else they say would be lost. It is unclear, too,
    where their words fit both, as "cancel it" does when the question is whether to cancel.
    """
    lowered = text.lower()
    words = _WORD.findall(lowered)
    if _PLAIN.fullmatch(lowered) is None or not 0 < len(words) <= _MOST_WORDS:
        return Consent.UNCLEAR
    said = "".join(f"{word} " for word in words).replace("’", "'")
    own = "|".join(map(re.escape, own_words)) or "(?!)"
    agreed = _said(rf"{_YES}|{_LEAD}(?:{own})").fullmatch(said)
    no = rf"{_NO}|(?:please )?(?:don't|do not|never) (?:{own})"
    refused = _said(rf"(?:ok |okay )?{_LEAD}(?:{no})").fullmatch(said)
    if agreed and not refused:
        return Consent.YES
    return Consent.NO if refused and not agreed else Consent.UNCLEAR


def _said(what: str) -> re.Pattern[str]:
    """One or more of them, each word followed by a space."""
    return re.compile(rf"{_BEFORE}(?:(?:{what}) {_AFTER})+")
