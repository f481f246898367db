"""A choice between texts, read from logits where they part."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from localvoice.engines.llama.writing import choose

TALK = (1, 2, 9)
GET_TIME = (1, 3, 4, 9)
GET_DATE = (1, 3, 5, 9)
CALL = (1, 6, 9)


class Model:
    """Knows logits; those of tokens that it wasn't told are low."""

    def __init__(self, **logits: dict[int, float]) -> None:
        self.logits = {tuple(map(int, path.strip("_"))): each for path, each in logits.items()}
        self.looked: list[tuple[int, ...]] = []

    def __call__(self, path: Sequence[int]) -> npt.NDArray[np.float32]:
        self.looked.append(tuple(path))
        scores = np.full(10, -20.0, np.float32)
        for token, logit in self.logits[tuple(path)].items():
            scores[token] = logit
        return scores


def test_the_model_is_asked_only_where_the_texts_part() -> None:
    model = Model(_1={2: 0.0, 3: 5.0, 6: 1.0}, _13={4: 0.0, 5: 2.0})
    assert choose([TALK, GET_TIME, GET_DATE, CALL], model, reserved=0) == 2
    assert model.looked == [(1,), (1, 3)]


def test_one_text_is_no_choice() -> None:
    model = Model()
    assert choose([TALK], model, reserved=0) == 0
    assert not model.looked


@pytest.mark.parametrize(("bias", "chosen"), [(0.0, 1), (0.5, 1), (0.8, 0)])
def test_the_reserved_text_is_weighed_against_all_others_together(bias: float, chosen: int) -> None:
    # Two ways to call at 0 nats each are as likely as one at ln 2.
    model = Model(_1={2: 0.0, 3: 0.0, 6: -0.01}, _13={4: 1.0, 5: 0.0})
    assert choose([TALK, GET_TIME, GET_DATE, CALL], model, reserved=0, bias=bias) == chosen


def test_without_a_reserved_text_the_likeliest_wins() -> None:
    model = Model(_1={3: 1.0, 6: 2.0})
    assert choose([GET_TIME, CALL], model) == 1


def test_a_reserved_text_that_begins_like_another_is_still_found() -> None:
    model = Model(_1={2: 9.0, 6: 0.0}, _12={9: 0.0, 7: 3.0})
    assert choose([TALK, (1, 2, 7), CALL], model, reserved=0) == 1
    assert choose([TALK, (1, 2, 7), CALL], model, reserved=0, bias=4.0) == 0
