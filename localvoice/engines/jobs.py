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
        return self.since is not None

    def set(self) -> None:
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


class Job(Generic[T]):
    """The generator that `make` returns, run item by item; what it returns or raises is the job's result.

    `make` is called in the model's thread, with the stop flag. A job rests while it `is_ahead` of its reader,
    and goes behind all others if it isn't `urgent`.
    """

    def __init__(
        self,
        make: Callable[[Stop], Generator[object, None, T]],
        stop: Stop | None = None,
        is_ahead: Callable[[], bool] = lambda: False,
        urgent: bool = True,
    ) -> None:
        self.result: Future[T] = Future()
        self.stop: Final = stop or Stop()
        self.begun = False  # whether the thread has had it
        self.step_since = 0.0  # when its latest step began, `time.monotonic()`
        self.wake: Callable[[], None] = lambda: None
        """To be called when the job isn't ahead of its reader any more."""
        self._steps = self._all_steps(make)
        self._is_ahead = is_ahead
        self._urgent = urgent
        self._seconds = 0.0
        # What the thread logs belongs to the session that asked for it.
        self._context = contextvars.copy_context()
        self._asker = _asker.get() if urgent else None  # what gives way to all takes nothing from anyone
        self._deadline = current_deadline()

    @property
    def ready(self) -> bool:
        return self.stop.is_set() or not self._is_ahead()

    @property
    def rank(self) -> float:
        """The lower, the sooner it has the thread."""
        if self.stop.is_set():
            return -1.0  # leaving takes no time, and its asker waits for it
        return self._seconds // TURN_SECONDS if self._urgent else math.inf

    def tell(self, works: bool) -> None:
        """Whether it has the thread: the time in which another job has it doesn't count for the deadline."""
        if self._deadline is not None:
            self._deadline.tell(works)

    def begin_step(self) -> None:
        """The thread has it: from now on it can't be cancelled, nor done by another thread."""
        if not self.begun:
            self.begun = True
            self.result.set_running_or_notify_cancel()
        self.step_since = time.monotonic()

    def step(self) -> bool:
        """Run up to the next item, in the model's thread; whether there may be more."""
        if self.result.cancelled():  # before it began
            return False
        try:
            if self.stop.is_set():
                self._context.run(self._steps.close)
                self.stop.check()
            self._context.run(next, self._steps)
            return True
        except StopIteration as end:
            with suppress(InvalidStateError):  # it was given up before
                self.result.set_result(end.value)
        except BaseException as error:
            self.give_up(error)
        finally:
            seconds = time.monotonic() - self.step_since
            self._seconds += seconds
            if self._asker is not None:
                self._asker.add(seconds)
        return False

    def give_up(self, error: BaseException) -> None:
        """Fail with this, unless there is a result; any thread."""
        with suppress(InvalidStateError):
            self.result.set_exception(error)

    def _all_steps(self, make: Callable[[Stop], Generator[object, None, T]]) -> Generator[object, None, T]:
        return (yield from make(self.stop))


class ModelThread:
    """One thread and its jobs. It begins with the first, and works at the most urgent one that is ready."""

    def __init__(self, name: str) -> None:
        # A daemon: at its end Python waits for all other threads, also for one that never comes back.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._changed = threading.Condition()
        self.jobs: list[Job[Any]] = []
        """All that haven't ended; of those of equal rank that wait, the first is next."""
        self.over: Future[None] = Future()
        """Done at the thread's end."""
        self.over.set_running_or_notify_cancel()  # so that no caller who waits for it can cancel it
        self._present: Job[Any] | None = None  # what it is working at
        self._ended = False
        _threads.add(self)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def overrun(self) -> float:
        """Seconds for which it has gone on with a job that was told to stop; 0 if it has not."""
        job = self._present
        if job is None or job.stop.since is None:
            return 0.0
        return time.monotonic() - max(job.stop.since, job.step_since)

    def add(self, job: Job[Any]) -> None:
        """Do this job; any thread. Raises `Stopped` if the thread was ended."""
        with self._changed:
            if self._ended:
                raise Stopped("the worker is closed")
            job.wake = self._wake
            job.tell(works=False)
            self.jobs.append(job)
            if self._thread.ident is None:
                self._thread.start()
        job.stop.on_set(self._wake)  # one that rests is to come to its end
        self._wake()

    def end(self) -> None:
        """Take no more jobs, stop all that there are, and end when each has left."""
        with self._changed:
            self._ended = True
            jobs = list(self.jobs)
        for job in jobs:
            job.stop.set()
        self._wake()

    def join(self, seconds: float) -> bool:
        """Whether it ended, or never began, within so many seconds."""
        if self.alive:
            self._thread.join(max(0.0, seconds))
        return not self.alive

    def abandon(self, error: Exception) -> list[Job[Any]]:
        """The thread doesn't come back: fail its jobs, and return those that it has not begun.

        If it comes back after all, it ends the jobs that it has, with the model that it has, and ends.
        """
        with self._changed:
            fresh = [job for job in self.jobs if not job.begun]
            self.jobs = begun = [job for job in self.jobs if job.begun]
        for job in begun:
            job.give_up(error)
        self.end()
        return fresh

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        job = None
        while (job := self._next(job)) is not None:
            more = job.step()
            self._present = None
            if not more:
                with self._changed:
                    self.jobs.remove(job)
                job = None
        self.over.set_result(None)

    def _next(self, latest: Job[Any] | None) -> Job[Any] | None:
        """The most urgent job, of equals `latest`, then the one that waits longest; None at the end."""
        with self._changed:
            while not (ready := [job for job in self.jobs if job.ready]):
                if self._ended and not self.jobs:
                    return None
                self._changed.wait()
            first = min(ready, key=lambda job: (job.rank, job is not latest))
            if first is not latest:
                first.tell(works=True)
                if latest is not None:  # one that gives way to a job that only leaves goes on right after it
                    latest.tell(works=False)
                    self.jobs.remove(latest)
                    self.jobs.insert(0 if first.rank < 0 else len(self.jobs), latest)
            first.begin_step()  # under the lock, as `abandon` looks for jobs that have not begun
            self._present = first
        return first


_threads: "weakref.WeakSet[ModelThread]" = weakref.WeakSet()


def end_threads(seconds: float) -> bool:
    """At the end of the process: stop all threads; whether all have ended within so many seconds."""
    deadline = time.monotonic() + seconds
    threads = list(_threads)
    for thread in threads:
        thread.end()
    return all([thread.join(deadline - time.monotonic()) for thread in threads])
