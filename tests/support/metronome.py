"""Tells for how long code did not run through no fault of its own, so that no test is failed for it.

There are two ways. A thread that could run waits in its core's queue while others have the core. Linux
counts that for each thread, to the nanosecond; beside busy neighbours 1.5 s at a stretch were seen.

And the machine itself, if it is a virtual one, stands still as a whole or on one core, which nothing that
stands still with it can notice. For that a process of its own beats all the time, with a thread on each
core: a beat that was late, and did not wait in the queue, was held up by the machine. It can't be a thread
of the tests' process: native code that keeps the interpreter's lock would hold up the beats as well, and so
excuse itself.
"""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic  # by itself, for a test may replace the module's
from typing import Final

_BEAT_SECONDS: Final = 0.1
_LATE_SECONDS: Final = 0.1
"""A beat is late from here on."""
_REMEMBERED: Final = 10_000
"""Late beats. A question is about the last minutes."""
_END_SECONDS: Final = 10.0

Span = tuple[float, float]


def queued_seconds(task: int | str = "thread-self") -> float:
    """How long a thread, or a process's first one, has waited for a core so far; 0 where nobody counts."""
    try:
        file = os.open(f"/proc/{task}/schedstat", os.O_RDONLY)
    except OSError:
        return 0.0  # macOS, or the process has ended
    try:
        return int(os.read(file, 100).split()[1]) / 1e9
    finally:
        os.close(file)


class Metronome:
    """The process that beats. It ends with `close`, or when the process that made it is gone."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stood_still(self, since: float, until: float) -> float:
        """Seconds between two times of the monotonic clock in which the machine, or one core, stood still."""
        assert self._child.stdin is not None and self._child.stdout is not None
        print(since, until, file=self._child.stdin, flush=True)
        return float(self._child.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._child.communicate(timeout=_END_SECONDS)


def covered(spans: Iterable[Span], since: float, until: float) -> float:
    """Seconds of an interval that lie in one of these, or in several at once."""
    seconds, counted = 0.0, since
    for begin, end in sorted(spans):
        begin, end = max(begin, counted), min(end, until)
        seconds += max(0.0, end - begin)
        counted = max(counted, end)
    return seconds


class _Beats:
    """What the threads of the child note down."""

    def __init__(self) -> None:
        # Without affinity (macOS) one thread beats on any core, and one core that stands still isn't noticed.
        moves: list[Callable[[], None]] = [lambda: None]
        if sys.platform == "linux":
            moves = [partial(os.sched_setaffinity, 0, {core}) for core in os.sched_getaffinity(0)]
        self._still: deque[Span] = deque(maxlen=_REMEMBERED)
        self._last = [0.0] * len(moves)
        for number, move in enumerate(moves):
            threading.Thread(target=self._beat, args=(number, move), daemon=True).start()

    def _beat(self, number: int, move_to_core: Callable[[], None]) -> None:
        move_to_core()
        now, queued = monotonic(), queued_seconds()
        while True:
            time.sleep(_BEAT_SECONDS)
            before, now, queued_before, queued = now, monotonic(), queued, queued_seconds()
            late = now - before - _BEAT_SECONDS - (queued - queued_before)
            if late >= _LATE_SECONDS:
                self._still.append((now - late, now))
            self._last[number] = now

    def stood_still(self, since: float, until: float) -> float:
        while min(self._last) <= until:  # the beat that a machine standing still held up may be yet to come
            time.sleep(_BEAT_SECONDS)
        return covered(tuple(self._still), since, until)


def _answer() -> None:
    beats = _Beats()
    for line in sys.stdin:  # ends when whoever asks closes it, or is gone
        since, until = map(float, line.split())
        print(beats.stood_still(since, until), flush=True)


if __name__ == "__main__":
    _answer()
