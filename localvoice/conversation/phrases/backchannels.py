"""Backchannels: "mm-hm", "right", a laugh, which don't ask for the floor."""

import re
from collections.abc import Mapping
from typing import Final

from localvoice.audio.playout import Playout
from localvoice.engines.types import Transcript

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
    return meant.fullmatch(spaced(text)) is not None


def spaced(text: str) -> str:
    """Its words in small letters, each followed by a space; what a transcript tells of sounds is left out."""
    words = _WORD.findall(_ASIDE.sub(" ", text).lower().replace("’", "'"))
    return "".join(f"{word} " for word in words)


def wants_floor(said: Transcript, playout: Playout) -> bool:
    """Whether what was said over this reply is meant to interrupt it."""
    heard, to_come = playout.words()
    near = heard[-_QUESTION_WITHIN:] + to_come[:_QUESTION_AHEAD]
    asked = bool(heard) and any(word.rstrip("\"'”’)*_").endswith(("?", "？")) for word in near)
    return not is_backchannel(said.text, said.language, asked)
