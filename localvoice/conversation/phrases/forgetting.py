"""What the user wants forgotten: by rule, so that no model is told what it is."""

import re
from dataclasses import dataclass
from typing import Final

from localvoice.conversation.phrases.backchannels import spaced


@dataclass(frozen=True)
class ForgetRequest:
    everything: bool
    """All that was said; otherwise their last message and what came after it."""
    said: bool
    """Whether they said or typed it, rather than pressed a button."""


_HAVE: Final = r"(?:'ve| have| had)? (?:just |only |ever )?"
_I_SAID: Final = rf"i{_HAVE}(?:said|told you|asked|asked you|typed|wrote|sent you)(?: to you)?"
_WE_SAID: Final = rf"(?:that )?(?:{_I_SAID}|(?:we|you){_HAVE}(?:said|talked about|discussed|spoke about))"
_PART: Final = r"(?:message|question|sentence|bit|part|one|exchange|thing)(?: i (?:just )?said)?"
_LAST: Final = (
    rf"forget (?:about )?(?:that|this|it|what {_I_SAID}|everything i just (?:said|told you)|"
    rf"(?:my|the|that|this) last {_PART})|scratch that"
)
_ALL: Final = (
    rf"forget (?:about )?(?:(?:everything|all)(?: {_WE_SAID})?|all (?:of )?(?:it|that|this)|it all|"
    r"(?:this|the|our|that) (?:whole |entire )?(?:conversation|chat|talk))"
)
# What may stand before and after takes all that it can and gives nothing back: "please" fits both, and trying
# each way would take for ever where there are many.
_BEFORE: Final = (
    r"(?:(?:please|okay|ok|oh|no|wait|sorry|actually|well|um|uh|hey|now|and|so|just|yes|yeah|never mind) )*+"
    r"(?:(?:(?:can|could|would|will) you|you (?:can|may|should)|(?:i want|i would like|i'd like) you to) "
    r"(?:(?:please|just) )*+)?+"
)
_AFTER: Final = r"(?: (?:please|now|again|okay|ok|thanks|thank you|will you|would you|for me|right now))*+"


def _requests(what: str) -> re.Pattern[str]:
    """One or more of them, each word followed by a space."""
    return re.compile(rf"(?:{_BEFORE}(?:{what}){_AFTER} )+")


_FORGET_LAST: Final = _requests(_LAST)
_FORGET: Final = _requests(f"{_LAST}|{_ALL}")


def forget_request(text: str) -> ForgetRequest | None:
    """What a whole utterance, spoken or typed, wants forgotten; None if it is anything else.

    Where it says more ("forget that and tell me a joke") it is none: what else it says would be lost.
    """
    words = spaced(text)
    if _FORGET.fullmatch(words) is None:
        return None
    return ForgetRequest(everything=_FORGET_LAST.fullmatch(words) is None, said=True)


def outcome(wanted: ForgetRequest, exchanges: int, saved: bool, logged: bool = False) -> str:
    """What is said when so many exchanges have been forgotten.

    `saved`: on disk, too; `logged`: the log holds what was said, and keeps it.
    """
    if not saved:
        return "I have forgotten it, but the copy on the disk could not be changed. The log says why."
    if not (wanted.everything or exchanges):
        return "There is nothing to forget."
    words = "I have forgotten everything." if wanted.everything else "Forgotten."
    return f"{words} The log on the disk still has it." if logged else words
