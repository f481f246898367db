"""Pictures that come with what the user said, and their words for a model that can't look at them."""

from dataclasses import dataclass
from typing import Final

_WHERE_FROM: Final = ("camera frame", "screen frame")
"""What LLMRTC's client says of all its pictures."""


def describes(alt: str) -> bool:
    """Whether this tells what a picture shows, and not only where it is from."""
    return alt.strip().lower() not in ("", *_WHERE_FROM)


def unseen(alt: str) -> str:
    """What a model that reads only text is told of a picture that its client describes so."""
    if describes(alt):
        return f"[The user sent a picture. You cannot see it. In words, it shows: {alt.strip()}]"
    return "[The user sent a picture. You cannot see it, and do not know what it shows.]"


@dataclass(frozen=True, eq=False)
class Image:
    """A picture that came with what the user said."""

    data: bytes
    """The file."""
    mime_type: str = "image/png"
    """Its type, such as image/jpeg."""
    alt: str = ""
    """What it shows, in words, where the client says so."""
