"""What a prompt leaves out of what was read, by its tokens alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.engines.llama.gaps import gaps, without
from localvoice.engines.llama.kept import WORTH_A_CHANGE, shared

BEGIN, OLD, KEPT, NEWER = (list(range(start, start + 40)) for start in (0, 100, 200, 300))


def tokens(*parts: list[int]) -> Any:
    return np.array([token for part in parts for token in part], np.intc)


@pytest.mark.parametrize(
    ("prompt", "read", "left_out"),
    [
        ([*BEGIN, *KEPT, 7], tokens(BEGIN, OLD, KEPT), [(40, 80)]),
        ([*BEGIN, *KEPT, *NEWER], tokens(BEGIN, OLD, KEPT, OLD, NEWER), [(40, 80), (80, 120)]),
        ([*BEGIN, *OLD, 7], tokens(BEGIN, OLD, KEPT), []),
        ([*BEGIN, *KEPT], tokens(BEGIN, OLD), []),
        ([*BEGIN, *KEPT[: WORTH_A_CHANGE - 1]], tokens(BEGIN, OLD, KEPT), []),
        ([*BEGIN, 7, *KEPT], tokens(BEGIN, OLD, KEPT), []),
        ([*BEGIN, *KEPT], tokens(BEGIN, [-1], KEPT), []),
        ([], tokens(), []),
    ],
)
def test_what_is_left_out_is_found(prompt: list[int], read: Any, left_out: list[tuple[int, int]]) -> None:
    assert gaps(prompt, read) == left_out


def test_of_several_places_that_one_is_taken_where_most_goes_on() -> None:
    thanks = list(range(500, 520))
    read = tokens(BEGIN, OLD, thanks, [8], KEPT, thanks, NEWER)
    assert gaps([*BEGIN, *thanks, *NEWER], read) == [(40, 141)]


@given(st.lists(st.integers(0, 3), max_size=200), st.lists(st.integers(0, 3), max_size=200))
def test_what_stays_is_never_less_of_the_prompt(prompt: list[int], read: list[int]) -> None:
    before = np.array(read, np.intc)
    after = without(before, gaps(prompt, before))
    assert shared(prompt, after) >= shared(prompt, before)
    assert len(after) <= len(before)
