"""What is understood without a language model: "mm-hm", "forget that", questions about pictures.

By rule, so that it takes no time, and no model is told what the user wants forgotten.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from localvoice.audio.playout import Playout
from localvoice.engines.types import Image, Transcript, describes

_QUESTION_WITHIN: Final = 4
"""Words after which a question still waits for its answer, though the agent goes on."""
_QUESTION_AHEAD: Final = 2
"""Words before its end at which a question is understood, and answered."""
_ASIDE: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*|♪")
"""What a transcript tells of sounds: "(laughs)", "[cough]"."""
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LAUGH: Final = r"(?:[bmw]?u?a?(?:ha|he|hi|ho){2,}h?|(?:ha|heh?|hah|ho)|(?:ja){2,}|x+d+|lol)"
_HUM: Final = r"(?:m+|m+h+m*|h+m+|a+h+|o+h+|aha+|(?:a|u)h(?:a|u)h|ooh+|u+[hm]+|h+u+h+|e+r+m*|äh+m*|euh+)"


def _only(*parts: str) -> re.Pattern[str]:
    """A run of these alone, each followed by a space; of those that fit, the first is taken."""
    return re.compile(rf"(?:(?:{'|'.join(parts)}) )*+")


_LAUGHTER: Final = _only(_LAUGH)
_SOUNDS: Final = _only(_LAUGH, _HUM)
_BACKCHANNELS: Final[Mapping[str, re.Pattern[str]]] = {
    language: _only(*sorted(phrases.split("|"), key=len, reverse=True), _LAUGH, _HUM)
    for language, phrases in {
        "en": "yeah|yep|yup|yes|ok|okay|right|sure|of course|i see|got it|all right|alright|cool|nice|"
        "wow|great|good|very good|true|exactly|indeed|really|makes sense|that makes sense|interesting|"
        "fair enough|no way|that's right|that's true|that's good|that's great|absolutely|definitely|totally|"
        "perfect|excellent|awesome|amazing|i know|i understand|gotcha|good to know|thanks|cheers",
        "de": "ja|jaja|genau|okay|ok|aha|achso|ach so|ach ja|klar|stimmt|gut|sehr gut|alles klar|richtig|"
        "verstehe|ich verstehe|ach was|tatsächlich|natürlich|jo|jawohl|das stimmt|absolut|perfekt|"
        "ich weiß|danke",
        "fr": "oui|ouais|d'accord|ok|okay|ah bon|ah oui|bien sûr|voilà|exactement|je vois|c'est ça|très bien|"
        "d'ac|super|vraiment|hein|c'est vrai|absolument|parfait|je sais|merci",
        "es": "sí|si|ya|claro|vale|ajá|aja|bueno|de acuerdo|entiendo|exacto|ok|okay|muy bien|ya veo|así es|"
        "por supuesto|de verdad|es verdad|exactamente|perfecto|lo sé|gracias",
    }.items()
}


def is_backchannel(text: str, language: str, asked: bool = False) -> bool:
    """Whether a transcript holds no more than that. An empty one doesn't ask for the floor either.

    `language` is an ISO 639-1 code. After a question (`asked`) "yeah" is an answer; only a laugh is none.
    """
    meant = _LAUGHTER if asked else _BACKCHANNELS.get(language, _SOUNDS)
    return meant.fullmatch(_spaced(text)) is not None


def _spaced(text: str) -> str:
    """Its words in small letters, each followed by a space; what a transcript tells of sounds is left out."""
    words = _WORD.findall(_ASIDE.sub(" ", text).lower().replace("’", "'"))
    return "".join(f"{word} " for word in words)


def wants_floor(said: Transcript, playout: Playout) -> bool:
    """Whether what was said over this reply is meant to interrupt it."""
    heard, to_come = playout.words()
    near = heard[-_QUESTION_WITHIN:] + to_come[:_QUESTION_AHEAD]
    asked = bool(heard) and any(word.rstrip("\"'”’)*_").endswith(("?", "？")) for word in near)
    return not is_backchannel(said.text, said.language, asked)


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
    words = _spaced(text)
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


BLIND: Final = (
    "I can't look at pictures: the language model in use reads text only. Tell me in words what it shows."
)
"""The answer to a question about a picture. History keeps neither: a model says again and again what it has
said once."""

_THIS: Final = r"(?:this|that|these|those)"
_IT: Final = rf"(?:{_THIS}|it|here|there)"
_ABOUT: Final = re.compile(
    rf"""\b(?:
    pictures? | images? | photos? | photographs? | screenshots? | snapshots? | selfies? | drawings?
    | (?:web\s?)?cameras? | describe\s(?:{_IT}|what) | read\s{_IT} | what\sdo(?:es)?\s{_IT}\s(?:say|show)
    | what\s(?:can|do|did)\syou\ssee | (?:can|could|do|did)\syou\ssee(?!\s(?:what|why|how|if|when)\b)
    | (?:what|who)(?:'s|'re|\sis|\sare)\s{_IT}\s*[?.!]*$
    | (?:what|which|whose)\s\w+\s(?:is|are)\s{_THIS}\s*[?.!]*$
    | what(?:'s|\sis)\s(?:on|in)\s(?:my|the)\s(?:screen|hand) | (?:am|are)\s(?:i|we)\s(?:holding|wearing)
    | (?:look|looking|looks)\sat | how\sdo(?:es)?\s(?:i|we|it|{_THIS})\slook
    | colou?rs?\s(?:is|are)\s(?:{_IT}|my|the)
    )(?!\w)""",
    re.VERBOSE | re.IGNORECASE,
)
_TELLS: Final = re.compile(
    r"(?:and |but |so |well,? )?(?:i|i've|i'm|my|we|we've|he|she|they|let's)\b[^?]*", re.I
)
"""No question, whatever it names: "I want to take photos tomorrow."."""


def asks_about(words: str, images: Sequence[Image]) -> bool:
    """Whether the words, English, ask about one of these pictures, of which nothing is known."""
    said = words.replace("\u2019", "'").strip()
    unknown = not all(describes(image.alt) for image in images)
    return unknown and _TELLS.fullmatch(said) is None and _ABOUT.search(said) is not None
