"""A model's jobs, in steps, and its thread, which does the most urgent one next."""

import contextvars
import math
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import Enum, auto
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

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
        self.since: float | None = None  # when it was set, `time.monotonic()`

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

    GOES_ON = auto()  # there are more steps
    RESTS = auto()  # it waits for its reader
    ENDS = auto()  # that was the last step


class Job(Generic[T]):
    """One job, in steps; what it returns or raises is its result."""

    def __init__(
        self, steps: Generator[After, None, T], stop: Stop, urgent: bool = True, first: bool = False
    ) -> None:
        """One that isn't `urgent` goes behind all others, one that is `first` before them."""
        self.result: Future[T] = Future()
        self.stop: Final = stop
        self.begun = False  # whether the thread has had it
        self.step_since = 0.0  # when its latest step began, `time.monotonic()`
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


class ModelThread:
    """One thread, and the jobs that wait for it in the order of their rank. It begins with the first job."""

    def __init__(self, name: str) -> None:
        # A daemon: at its end Python waits for all other threads, also for one that never comes back.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: list[Job[Any]] = []
        self.begun: set[Job[Any]] = set()  # jobs that it has begun and not ended
        self._present: Job[Any] | None = None
        self._ended = False
        _threads.add(self)

    @property
    def busy(self) -> bool:
        """Whether a job waits, rests or is worked on."""
        return bool(self._waiting or self.begun)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    @property
    def overrun(self) -> float:
        """Seconds for which it has gone on with a job that was told to stop; 0 if it has not."""
        job = self._present
        if job is None or job.stop.since is None:
            return 0.0
        return time.monotonic() - max(job.stop.since, job.step_since)

    def submit(self, job: Job[Any]) -> None:
        """Do this job, or go on with it. Raises `Stopped` if the thread was ended."""
        with self._lock:
            if self._ended and not job.begun:
                raise Stopped("the worker is closed")
            job.wait()
            self._waiting.append(job)
            if self._thread.ident is None:
                self._thread.start()
        self._calls.put(True)

    def end(self, wait: bool) -> None:
        """End the thread when all that was submitted is done; `wait` until it has ended."""
        with self._lock:
            self._ended = True
        self._calls.put(False)
        if wait and self._thread.ident is not None:
            self._thread.join()

    def abandon(self, error: Exception) -> list[Job[Any]]:
        """The thread doesn't come back: fail its jobs, and return those that it has not begun.

        If it comes back after all, it ends the jobs that it has, with the model that it has, and ends.
        """
        fresh = self.take_fresh()
        for job in list(self.begun):
            job.give_up(error)
            job.stop.set()
        self.end(wait=False)
        return fresh

    def leave(self, seconds: float) -> bool:
        """At the end of the process: stop the thread; whether it has ended within so many seconds."""
        for job in list(self.begun):
            job.stop.set()
        self.end(wait=False)
        if self.alive:
            self._thread.join(max(0.0, seconds))
        return not self.alive

    def take_fresh(self) -> list[Job[Any]]:
        """Take back the queued jobs that the thread has not begun."""
        with self._lock:
            fresh = [job for job in self._waiting if not job.begun]
            self._waiting = [job for job in self._waiting if job.begun]
        return fresh

    def _run(self) -> None:
        while self._calls.get():
            self._serve()

    def _serve(self) -> None:
        """Once for each job that was submitted: work until any one ends, or rests."""
        job = self._next()
        while job is not None:
            job.step_since = time.monotonic()
            self.begun.add(job)
            self._present = job
            after = job.step()
            self._present = None
            if after is After.ENDS:
                self.begun.discard(job)
            if after is not After.GOES_ON:
                return
            job = self._next(job)

    def _next(self, job: Job[Any] | None = None) -> Job[Any] | None:
        """The most urgent of those that wait and `job`; of equals `job`, then the one that waits longest."""
        with self._lock:
            every = self._waiting if job is None else [job, *self._waiting]
            first = min(every, key=lambda each: each.rank, default=None)
            if first is not None and first is not job:
                self._waiting.remove(first)
                first.work()
                if job is not None:  # one that gives way to a job that only leaves goes on right after it
                    job.wait()
                    self._waiting.insert(0 if first.rank < 0 else len(self._waiting), job)
        return first


_threads: "weakref.WeakSet[ModelThread]" = weakref.WeakSet()


def end_threads(seconds: float) -> bool:
    """At the end of the process: stop all threads; whether all have ended within so many seconds."""
    deadline = time.monotonic() + seconds
    return all([thread.leave(deadline - time.monotonic()) for thread in list(_threads)])
