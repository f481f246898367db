"""Conversations outside of the cache, and which of them a prompt begins like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.engines.llama.marks import Mark

Tokens = npt.NDArray[np.intc]
"""Shape (tokens,)."""

WORTH_A_CHANGE: Final = 16
"""Tokens whose reading must be saved by keeping a conversation, changing to one, or moving a part of it up.
Each takes as long as reading a few."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A conversation outside of the cache: what was read and written of it, and llama.cpp's state of it."""

    tokens: Tokens
    state: npt.NDArray[np.uint8]
    marks: tuple[Mark, ...] = ()
    talk: object = None
    """What it is a part of (`Prompt.talk`)."""

    @property
    def nbytes(self) -> int:
        return self.state.nbytes + sum(mark.state.nbytes for mark in self.marks)


def shared(one: Sequence[int] | Tokens, other: Sequence[int] | Tokens) -> int:
    """How many tokens both have in common at their beginning."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differ[0]) if differ.size else length


def best_start(
    prompt: Sequence[int],
    present: Tokens,
    kept: Sequence[Tokens],
    cuts: bool,
    marks: Sequence[Sequence[int]] = (),
) -> int | None:
    """Index of the kept conversation to read the prompt on from; None: the one in the cache, `present`.

    A model whose state can't be cut (`cuts` is false) only goes on where a conversation ended, or from one of
    its `marks`: those of each kept one in their order, and then of `present`.
    """

    def saved(tokens: Tokens, places: Sequence[int]) -> int:
        known = shared(prompt, tokens)
        if cuts or known == len(tokens):
            return known
        return max((place for place in places if place <= known), default=0)

    *of_kept, of_present = marks or [()] * (len(kept) + 1)
    # Among equals the shortest is loaded soonest.
    each = [(saved(tokens, places), -len(tokens)) for tokens, places in zip(kept, of_kept, strict=True)]
    best = max(range(len(kept)), key=each.__getitem__, default=None)
    worth = saved(present, of_present) + WORTH_A_CHANGE
    return best if best is not None and each[best][0] >= worth else None
