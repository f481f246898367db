"""Whisper's tokens: the prompt of each language, symbols that nobody speaks, and the text of what it writes.

All of it is taken from the model's tokenizer when the model is loaded. After that the tokenizer, which takes
12 MB, isn't needed any more: Whisper never reads text, and to write it takes a table of 256 bytes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from tokenizers import Tokenizer as TextTokenizer

_UNSPOKEN: Final = (-1,)
"""Stands for the symbols that nobody speaks, such as brackets and notes."""


def _bytes_of_letters() -> dict[str, int]:
    """Byte-level BPE, as GPT-2 has it: a byte is written as the letter of that number if it can be printed,
    and the others, in order, as the letters from 256 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)).difference(printed))
    return {chr(byte): byte for byte in printed} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES: Final = _bytes_of_letters()


class WhisperWords:
    """What one model's tokens mean."""

    def __init__(self, tokenizer: TextTokenizer, multilingual: bool) -> None:
        """The tokenizer of the model's folder; it is not kept."""
        of_language = partial(Tokenizer, tokenizer, multilingual, task="transcribe")
        prompts = {}
        for language in _LANGUAGE_CODES if multilingual else ("en",):
            one = of_language(language=language)
            # Some models know a language fewer than others.
            if not multilingual or one.language is not None:
                prompts[language] = (*one.sot_sequence, one.no_timestamps)
        self.prompts: Mapping[str, tuple[int, ...]] = MappingProxyType(prompts)
        """Tokens that come before the text, by ISO 639-1 code."""
        english = of_language(language="en")
        self.unspoken = list(get_suppressed_tokens(english, _UNSPOKEN) or ())
        """Tokens that are never to be written."""
        self._end = english.eot

    def text(self, tokens: Sequence[str], ids: Sequence[int]) -> str:
        """What was written: tokens as the vocabulary holds them, and their numbers.

        Tokens that stand for no text are passed over; bytes that make no letter become U+FFFD.
        """
        letters = "".join(token for token, number in zip(tokens, ids, strict=True) if number < self._end)
        return bytes(map(_BYTES.__getitem__, letters)).decode("utf-8", "replace")
