"""How many threads write a reply, token by token."""

import time
from collections.abc import Iterator
from typing import Final, TypeVar

import llama_cpp

from localvoice.engines.threads import ThreadPlan

FIRST_TOKENS: Final = 6
"""Of a reply: about as many as its first speakable piece has. Until it is complete, nothing else of the turn
computes, and the user waits."""
_SLOW: Final = 1.5
"""Times the usual time of a token on the plan's threads, at which all cores are no gain: another program has
one of them, and the threads wait for one another there."""
_WEIGHT: Final = 0.1
"""Of the latest token in what is usual."""

T = TypeVar("T")


class Pace:
    """Sets the threads of one model before each token. Blocking, for the model's one thread."""

    def __init__(self, llama: llama_cpp.Llama, plan: ThreadPlan) -> None:
        self._llama = llama
        self._plan = plan
        self._usual = 0.0
        """Seconds of a token on the plan's threads; 0 before there was one."""

    def keep(self, tokens: Iterator[T]) -> Iterator[T]:
        """The tokens of one reply, each written with as many threads as are quickest for the listener.

        Between two tokens others may have the model, with any number of threads.
        """
        hurry = True
        number = 0
        while True:
            hurry = hurry and number < FIRST_TOKENS
            self._set(self._plan.llm_prompt if hurry else self._plan.llm_decode)
            start = time.monotonic()
            try:
                token = next(tokens)
            except StopIteration:
                return
            finally:
                self._set(self._plan.llm_decode)
            if number:  # with the first one the rest of the prompt was read
                hurry = self._judge(time.monotonic() - start, hurry)
            number += 1
            yield token

    def _judge(self, seconds: float, hurry: bool) -> bool:
        if hurry:
            return not self._usual or seconds < _SLOW * self._usual
        self._usual += (_WEIGHT if self._usual else 1.0) * (seconds - self._usual)
        return False

    def _set(self, threads: int) -> None:
        llama_cpp.llama_set_n_threads(self._llama.ctx, threads, self._plan.llm_prompt)
