"""With how many threads the language model writes."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import llama_cpp
import pytest

from localvoice.engines.llama import pace
from localvoice.engines.llama.pace import FIRST_TOKENS, Pace
from localvoice.engines.threads import ThreadPlan

ALL, FEWER = 2, 1


class Model:
    """Tells with how many threads each token was written; each takes the seconds that it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads = 0
        self.time = 0.0
        monkeypatch.setattr(llama_cpp, "llama_set_n_threads", self._set)
        monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: self.time))
        self.pace = Pace(SimpleNamespace(ctx=None), ThreadPlan(FEWER, ALL, 1, 1))  # type: ignore[arg-type]

    def _set(self, _ctx: Any, writing: int, reading: int) -> None:
        assert reading == ALL
        self.threads = writing

    def reply(self, alone: float, fewer: float, count: int = 12) -> list[int]:
        """Threads of each token of a reply whose tokens take so long on all cores and on fewer."""

        def tokens() -> Iterator[int]:
            for _ in range(count):
                self.time += alone if self.threads == ALL else fewer
                yield self.threads

        return list(self.pace.keep(tokens()))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    return Model(monkeypatch)


def test_the_first_words_have_all_cores_and_the_rest_leaves_one_to_speech(model: Model) -> None:
    for _ in range(2):
        assert model.reply(0.02, 0.03) == [ALL] * FIRST_TOKENS + [FEWER] * 6
        assert model.threads == FEWER


def test_where_another_program_has_a_core_the_first_words_leave_it(model: Model) -> None:
    model.reply(0.02, 0.03)
    assert model.reply(0.06, 0.03) == [ALL] * 2 + [FEWER] * 10
    assert model.reply(0.02, 0.03) == [ALL] * FIRST_TOKENS + [FEWER] * 6


def test_others_between_two_tokens_dont_change_the_threads(model: Model) -> None:
    def tokens() -> Iterator[int]:
        while True:
            yield model.threads

    reply = model.pace.keep(tokens())
    seen = []
    for _ in range(FIRST_TOKENS + 2):
        model.threads = 7
        seen.append(next(reply))
    assert seen == [ALL] * FIRST_TOKENS + [FEWER] * 2
