"""Which stretch of a Piper voice's sound says which word: how long each phoneme lasts, and whose it is.

How long each phoneme lasts the voice tells (`piper_model.py`). Which phonemes belong to which word is lost:
in a sentence words are run together ("of the") and reduced. So the phonemes of the sentence are laid over
those of its words, each spoken alone.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

import numpy as np

_STRESS: Final = "ˈˌː"
"""Letters to Unicode, but no sounds of their own."""


class WordEnds:
    """Where the words of one text end in its sound, told sentence by sentence as that is made."""

    def __init__(self, words: Sequence[Sequence[str]], spoken: Sequence[str]) -> None:
        """`words`: the phonemes of each word alone; `spoken`: those of the whole text."""
        self._ends = _laid_over([_sounds(word) for word in words], _sounds(spoken))
        self._passed = 0
        self._told = 0

    def take(self, phonemes: Sequence[tuple[str, float]]) -> tuple[float, ...]:
        """The next sentence's phonemes, each with its length: where in these the words end that end in it."""
        times, now = [0.0], 0.0
        for phoneme, length in phonemes:
            now += length
            if _is_sound(phoneme):
                times.append(now)
        counts = np.arange(self._passed, self._passed + len(times))
        self._passed = int(counts[-1])
        ends = [end for end in self._ends[self._told :] if end <= self._passed]
        self._told += len(ends)
        return tuple(float(end) for end in np.interp(ends, counts, times))


def _laid_over(words: Sequence[Sequence[str]], spoken: Sequence[str]) -> list[float]:
    """How many of the sounds that were spoken have passed at the end of each word."""
    own = [sound for word in words for sound in word]
    counts, passed = [0], [0]
    for block in SequenceMatcher(None, own, spoken, autojunk=False).get_matching_blocks():
        counts += [block.a, block.a + block.size]
        passed += [block.b, block.b + block.size]
    ends = np.cumsum([len(word) for word in words])
    return [float(end) for end in np.interp(ends, counts, passed)]


def _sounds(phonemes: Sequence[str]) -> list[str]:
    return [phoneme for phoneme in phonemes if _is_sound(phoneme)]


def _is_sound(phoneme: str) -> bool:
    return phoneme[0].isalnum() and phoneme not in _STRESS
