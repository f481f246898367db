"""Questions about pictures, which a model that reads only text can't answer."""

import re
from collections.abc import Sequence
from typing import Final

from localvoice.engines.pictures import Image, describes

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
