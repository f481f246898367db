"""What a prompt leaves out of the middle of what was read. Pure: it knows tokens, and no model."""

from collections.abc import Sequence

import numpy as np

from localvoice.engines.llama.kept import WORTH_A_CHANGE, Tokens, shared

Gap = tuple[int, int]
"""From and to an index."""


def gaps(prompt: Sequence[int], tokens: Tokens) -> list[Gap]:
    """What the prompt leaves out of the middle of these tokens; each as the tokens are without those before.

    None of it is about images: where one is among the tokens, their places can't change.
    """
    found: list[Gap] = []
    if tokens.size and tokens.min() < 0:
        return found
    while (gap := _first_gap(prompt, tokens)) is not None:
        found.append(gap)
        tokens = without(tokens, [gap])
    return found


def without(tokens: Tokens, left_out: Sequence[Gap]) -> Tokens:
    """What stays of the tokens without these parts."""
    for start, end in left_out:
        tokens = np.concatenate([tokens[:start], tokens[end:]])
    return tokens


def _first_gap(prompt: Sequence[int], tokens: Tokens) -> Gap | None:
    """Up to where most of the prompt goes on."""
    known = shared(prompt, tokens)
    ahead, behind = np.asarray(prompt[known:], np.intc), tokens[known + 1 :]
    if min(len(ahead), len(behind)) < WORTH_A_CHANGE:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(behind, WORTH_A_CHANGE)
    places = np.flatnonzero((windows == ahead[:WORTH_A_CHANGE]).all(axis=1))
    if not places.size:
        return None
    best = max(places.tolist(), key=lambda place: shared(ahead, behind[place:]))
    return known, known + 1 + best
