"""How much each sign that a turn is over weighs: a logistic regression over the pauses of the fitting half.

It starts from what `localvoice/audio/end_of_turn.py` has, and leaves it as far as the pauses say so: a sign
that they hardly show keeps its weight. Ends and pauses count the same, however many there are of each.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.pauses import Pause
from localvoice.audio.end_of_turn import DETECTOR, EVIDENCE, STEEPEST, Hint, judge_words

Floats = npt.NDArray[np.float64]

HELD: Final = 1.0
"""How strongly the weights are held where they are: the inverse of their variance."""
STEPS: Final = 30
"""Of Newton's method, which needs ten."""


def fitted(pauses: Sequence[Pause], console: Console) -> None:
    """Print the weights that fit ends and pauses within sentences best."""
    pauses = [pause for pause in pauses if pause.truth in ("finished", "goes on", "within")]
    now = np.array([DETECTOR, *(EVIDENCE[hint] for hint in Hint)])
    signs = np.array([signs_of(pause) for pause in pauses])
    over = np.array([pause.truth == "finished" for pause in pauses])
    weights = regression(signs, over, now, HELD)
    table = Table(
        "sign", "n", "of them ends", "weight now", "fitted", title=f"fitted on {len(pauses)} pauses"
    )
    for number, name in enumerate(("the detector", *(hint.name for hint in Hint))):
        shown = signs[:, number] != 0
        ends = str(int((over & shown).sum()))
        table.add_row(name, str(int(shown.sum())), ends, f"{now[number]:.2f}", f"{weights[number]:.2f}")
    console.print(table)


def signs_of(pause: Pause) -> list[float]:
    """What the weights are for: the detector's log-odds, and 1 for the hint that the words give."""
    bounded = min(max(pause.probability, 1e-9), 1 - 1e-9)
    odds = math.log(bounded / (1 - bounded))
    hint = judge_words(pause.text, pause.language)
    return [max(-STEEPEST, min(STEEPEST, odds)), *(float(hint is each) for each in Hint)]


def regression(signs: Floats, over: npt.NDArray[np.bool_], prior: Floats, held: float) -> Floats:
    """Weights, shape (k,), of signs, shape (n, k), for a prior of normal distributions around `prior`."""
    share = np.where(over, 0.5 / over.mean(), 0.5 / (1 - over.mean()))
    weights = np.zeros(signs.shape[1])
    for _ in range(STEPS):
        probability = 1 / (1 + np.exp(-signs @ weights))
        slope = signs.T @ (share * (over - probability)) - held * (weights - prior)
        curve = (signs.T * (share * probability * (1 - probability))) @ signs + held * np.eye(len(prior))
        weights = weights + np.linalg.solve(curve, slope)
    return weights
