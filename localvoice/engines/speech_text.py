"""Text as it is written turned into text as it is said: no markup, no emoji, no symbols read out. Pure.

Piper gives espeak what it gets, and espeak reads "**", "😀" and "https://" out loud. Piper itself takes what
stands in `[[…]]` for phonemes, and fails on NUL and on lone surrogates.
"""

import re
import unicodedata
from typing import Final

LONGEST: Final = 240
"""Characters in one go. Piper makes one huge sentence of text without punctuation, which takes much time and
memory at once."""
_SPOKEN_SYMBOLS: Final = frozenset("°№+=±×÷−≤≥≈≠√∞")
"""Symbols that espeak has a word for and people use in sentences; currency has a category of its own."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""They shape letters in Persian and in Indic scripts; between pictographs they go with these."""
_MARKUP: Final = frozenset("*#`~|\\^{}[]<>_¶\ufe0e\ufe0f\u20e3")
"""What is left of markup, and what made a character an emoji."""
_REPLACEMENTS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # The lines of code fences, with the language's name.
    (re.compile(r"^[ \t]*(?:```|~~~)[^\s`]*[ \t]*$", re.MULTILINE), ""),
    # Rules, under headings and between columns of tables.
    (re.compile(r"^[ \t|:*_=-]{3,}$", re.MULTILINE), ""),
    # Links and images: their text.
    (re.compile(r"!?\[([^\[\]]*)\](?:\([^()\n]*\)|\[[^\[\]\n]*\])"), r"\1"),
    # Footnote marks, and boxes to tick.
    (re.compile(r"\[(?:\^[^\[\]\s]*|[ xX])\]"), " "),
    # Tags.
    (re.compile(r"</?[A-Za-z][^<>]{0,200}>"), " "),
    # Marks at the beginning of a line: quotes, headings, list items.
    (re.compile(r"^[ \t]*(?:>|#+|[-+*•‣◦·–—](?=\s))[ \t]*", re.MULTILINE), ""),
    (re.compile(r"(?<=\d)(?:\*| \* )(?=\d)"), " × "),
    (re.compile(r"\b([A-G])#(?!\w)"), r"\1 sharp"),
    (re.compile(r"℃"), "°C"),
    (re.compile(r"℉"), "°F"),
)

_URL: Final = re.compile(
    r"(?:https?://|ftp://|www\.)(?:[^\s/?#@]*@)?([^\s/?#:()<>\[\]]+)(\S*)", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
_TRAILING: Final = re.compile(r"[.,!?;:'\")\]*_>]*$")
_NEWLINE: Final = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_LINE_END: Final = re.compile(r"(?<=[^\W_])([)\"'’”»]*) *\n")
_BARE: Final = re.compile(r"(?<!\S)(?<!\d )[/•·‣◦]+(?!\S)")
_GAP: Final = re.compile(r"(?<! ) +(?=[.,!?;:…]+(?:\s|$))")
_BREAKS: Final = (
    re.compile(r"[.!?…](?=\s)|[。！？]"),
    re.compile(r"[,;:–—](?=\s)|[、，；：]"),
    re.compile(r"\s"),
)
"""Where to breathe, best first: after a sentence, after a clause, after a word."""


def speakable(text: str) -> str:
    """The words of `text` on one line, without markup, pictographs, control characters and web addresses.

    Numbers, currency, percent, degrees, apostrophes, accents and every script stay. "" if nothing is left to
    say. Never raises; speakable text comes back as it is.
    """
    # What one pass uncovers (a list in a quote, a tag in a tag) the next one takes.
    while (said := _pass(text)) != text:
        text = said
    return text if any(character.isalnum() for character in text) else ""


def split_long(text: str, limit: int = LONGEST) -> list[str]:
    """The text in pieces of at most `limit` characters, cut after a sentence, a clause or a word."""
    pieces, rest = [], text.strip()
    while len(rest) > limit:
        cut = next(filter(None, (_last_end(pattern, rest, limit) for pattern in _BREAKS)), limit)
        pieces.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [piece for piece in (*pieces, rest) if piece]


def _pass(text: str) -> str:
    text = _NEWLINE.sub("\n", text)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    text = _SCHEME.sub("", _URL.sub(_host, text))
    text = "".join(_kept(text, at) for at in range(len(text)))
    text = _GAP.sub("", _BARE.sub("", text))
    # A line is a thought: without a stop, items of a list run into one another.
    return " ".join(_LINE_END.sub(r"\1.\n", text).split())


def _kept(text: str, at: int) -> str:
    """The character at that place, or what stands for it."""
    character = text[at]
    if character == "\n":
        return character
    if character in _JOINERS:
        return character if text[at - 1 : at].isalpha() or _is_mark(text[at - 1 : at]) else ""
    if character in _MARKUP:
        return "" if character in "*`\ufe0e\ufe0f\u20e3" else " "
    category = unicodedata.category(character)
    if category in ("So", "Sm", "Sk") and character not in _SPOKEN_SYMBOLS:
        return " "
    if category == "Cf":
        return ""
    return " " if category[0] in "CZ" else character


def _is_mark(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] == "M"


def _host(match: re.Match[str]) -> str:
    """ "example.com" for "https://www.example.com/x", with the punctuation that followed it."""
    ending = _TRAILING.search(match[0])
    kept = ending[0] if ending else ""
    host = match[1] if match[2] else match[1].removesuffix(kept)
    return re.sub(r"^www\.", "", host, flags=re.IGNORECASE) + kept


def _last_end(pattern: re.Pattern[str], text: str, limit: int) -> int:
    """Where the last match within the limit ends; 0 without one."""
    return max(
        (match.end() for match in pattern.finditer(text, 0, limit + 1) if match.end() <= limit), default=0
    )
