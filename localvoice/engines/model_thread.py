"""The thread of one model, which does the most urgent job next, and the end of all such threads."""

import threading
import time
import weakref
from queue import SimpleQueue
from typing import Any

from localvoice.engines.jobs import After, Job, Stopped


class ModelThread:
    """One thread, and the jobs that wait for it in the order of their rank. It begins with the first job."""

    def __init__(self, name: str) -> None:
        # A daemon: at its end Python waits for all other threads, also for one that never comes back.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: list[Job[Any]] = []
        self._begun: set[Job[Any]] = set()
        self._present: Job[Any] | None = None
        self._ended = False
        _threads.add(self)

    @property
    def busy(self) -> bool:
        """Whether a job waits, rests or is worked on."""
        return bool(self._waiting or self._begun)

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

    def has(self, job: Job[Any]) -> bool:
        """Whether it has begun this job and not ended it."""
        return job in self._begun

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
        for job in list(self._begun):
            job.give_up(error)
            job.stop.set()
        self.end(wait=False)
        return fresh

    def leave(self, seconds: float) -> bool:
        """At the end of the process: stop the thread; whether it has ended within so many seconds."""
        for job in list(self._begun):
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
            self._begun.add(job)
            self._present = job
            after = job.step()
            self._present = None
            if after is After.ENDS:
                self._begun.discard(job)
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
