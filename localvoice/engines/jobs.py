"""Jobs for a model's thread, in steps: what stops one, what it returns, and for whom the model worked."""

import contextvars
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from localvoice.engines.deadlines import current_deadline

T = TypeVar("T")
TURN_SECONDS: Final = 0.6
"""Work of a job that counts as one turn at the model: jobs that had fewer turns go first. An LLM of 20 tokens
a second needs this long for its first clause: with less, of two users who ask at once both hear it late."""


class Work:
    """Seconds that models worked for one asker, added up from the threads of all models."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """A model has worked for so long; from any thread."""
        with self._lock:
            self._seconds += seconds

    def take(self) -> float:
        """Seconds since the last call."""
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
            return seconds


_asker: Final[ContextVar[Work | None]] = ContextVar("asker", default=None)


@contextmanager
def counted() -> Iterator[Work]:
    """Count what models do for the code in this block, and for the tasks that it starts."""
    work = Work()
    token = _asker.set(work)
    try:
        yield work
    finally:
        _asker.reset(token)


class Stopped(Exception):
    """The job was told to stop before it had finished."""


class Lost(Exception):
    """The job was in a thread that does not come back."""


class Stop:
    """The stop flag of one job: set once, from any thread, and then for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.since: float | None = None
        """When it was set, `time.monotonic()`; None while it isn't."""

    def is_set(self) -> bool:
        """Whether the job is to stop."""
        return self.since is not None

    def set(self) -> None:
        """Tell the job to stop."""
        with self._lock:
            if self.since is None:
                self.since = time.monotonic()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_set(self, callback: Callable[[], None]) -> None:
        """Call back once when the flag is set, in the setter's thread; at once if it is set already."""
        with self._lock:
            if self.since is None:
                self._callbacks.append(callback)
                return
        callback()

    def check(self) -> None:
        """Raise `Stopped` if the flag is set."""
        if self.since is not None:
            raise Stopped("the job was stopped")


class After(Enum):
    """What follows a step of a job."""

    GOES_ON = auto()
    """There are more steps."""
    RESTS = auto()
    """It waits for its reader."""
    ENDS = auto()
    """That was the last step."""


class Job(Generic[T]):
    """One job, in steps; what it returns or raises is its result."""

    def __init__(
        self, steps: Generator[After, None, T], stop: Stop, urgent: bool = True, first: bool = False
    ) -> None:
        """One that isn't `urgent` goes behind all others, one that is `first` before them."""
        self.result: Future[T] = Future()
        self.stop: Final = stop
        self.begun = False
        """Whether the thread has had it."""
        self.step_since = 0.0
        """When its latest step began, `time.monotonic()`."""
        self._steps = steps
        self._urgent = urgent
        self._first = first
        self._seconds = 0.0
        # What the thread logs belongs to the session that asked for it.
        self._context = contextvars.copy_context()
        self._asker = _asker.get() if urgent else None  # what gives way to all takes nothing from anyone
        self._deadline = current_deadline()

    @property
    def rank(self) -> float:
        """The lower, the sooner it has the thread."""
        if self._first:
            return -2.0
        if self.stop.is_set():
            return -1.0  # leaving takes no time, and its asker waits for it
        return self._seconds // TURN_SECONDS if self._urgent else math.inf

    def wait(self) -> None:
        """Another job has the thread: the wait doesn't count against this one's deadline."""
        if self._deadline is not None:
            self._deadline.wait()

    def work(self) -> None:
        """This job has the thread."""
        if self._deadline is not None:
            self._deadline.work()

    def step(self) -> After:
        """Run up to the next item; in the worker's thread."""
        if not self.begun and not self.result.set_running_or_notify_cancel():
            return After.ENDS
        self.begun = True
        start = time.monotonic()
        try:
            if self.stop.is_set():
                self._context.run(self._steps.close)
                self.stop.check()
            return self._context.run(next, self._steps)
        except StopIteration as end:
            with suppress(InvalidStateError):  # it was given up before
                self.result.set_result(end.value)
        except BaseException as error:
            self.give_up(error)
        finally:
            seconds = time.monotonic() - start
            self._seconds += seconds
            if self._asker is not None:
                self._asker.add(seconds)
        return After.ENDS

    def give_up(self, error: BaseException) -> None:
        """Fail with this, unless there is a result; any thread."""
        with suppress(InvalidStateError):
            self.result.set_exception(error)


def in_one_step(fn: Callable[[], T]) -> Generator[After, None, T]:
    """The steps of a job that calls `fn` and gives nothing up to its end."""
    yield from ()
    return fn()
