"""A part of the last answer, asked for again: "what was the number again?". A short answer is said whole."""

import re
from functools import lru_cache
from typing import Final

from localvoice.languages import Language
from localvoice.languages.templates import LONGEST, Templates, Usage

_DIGIT: Final = re.compile(r"\d")
_NAME: Final = re.compile(r"[a-z,] [A-Z]")
"""A capital letter that doesn't begin a sentence."""


def asks_again_for_part(words: str, answer: str, known: Language) -> bool:
    """Whether the words ask again for something that this answer holds. A long one is for the LLM."""
    if not answer or len(answer.split()) > LONGEST:
        return False
    return any(
        sought.fit(words) and _holds(answer, what, known.usage) for what, sought in known.parts.items()
    )


def _holds(answer: str, what: str, usage: Usage) -> bool:
    match what:
        case "number":
            return _DIGIT.search(answer) is not None or _number_words(usage).fit(answer)
        case "name":
            return _NAME.search(answer) is not None
    return True


@lru_cache(maxsize=8)
def _number_words(usage: Usage) -> Templates:
    return Templates(["* <number> *"], usage)
