"""Which of several texts the model would write: read from its logits where they part, token by token."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Look = Callable[[Sequence[int]], npt.NDArray[np.floating[Any]]]
"""The model's logits, shape (vocabulary,), behind these tokens."""


def choose(paths: Sequence[Sequence[int]], look: Look, reserved: int | None = None, bias: float = 0.0) -> int:
    """Index of the path that the model prefers; none may be the beginning of another.

    `reserved` is the index of a path that is weighed against all others together, with `bias`, in nats, in
    its favour. So what can be done in many ways stands against what can be done in one.
    """
    alive = list(range(len(paths)))
    depth = 0
    while len(alive) > 1:
        ways: dict[int, list[int]] = {}
        for index in alive:
            ways.setdefault(paths[index][depth], []).append(index)
        if len(ways) > 1:
            alive = _preferred(ways, look(paths[alive[0]][:depth]), reserved, bias)
        depth += 1
    return alive[0]


def _preferred(
    ways: dict[int, list[int]], logits: npt.NDArray[np.floating[Any]], reserved: int | None, bias: float
) -> list[int]:
    own = next((token for token, indexes in ways.items() if indexes == [reserved]), None)
    others = [token for token in ways if token != own]
    if own is not None and logits[own] + bias >= np.logaddexp.reduce(logits[others].astype(np.float64)):
        return ways[own]
    return ways[max(others, key=lambda token: float(logits[token]))]
