"""One model, one thread: runs blocking jobs, streams their items to the event loop, stops them.

A model is not thread-safe, and a single thread is its lock: jobs queue, and their callers wait on the event
loop without blocking it. A job that streams makes many items in one go, since a hop between threads would
cost more than many a token does. But between two items it gives way to jobs that have had less of the thread:
one user's first word doesn't wait for the end of another's long answer.

Native code that does not return can't be ended, but it can be left: its thread and its model are abandoned,
and the model is loaded once more in a thread of its own.
"""

import asyncio
import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from enum import Enum, auto
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

from localvoice.engines.jobs import After, Job, Lost, ModelThread, Stop, Stopped, in_one_step

log = logging.getLogger(__name__)

T = TypeVar("T")
Args = TypeVarTuple("Args")

AHEAD: Final = 16
"""Items a job may be ahead of its reader: enough that a short stall of the loop never stalls a model."""
LEAVE_SECONDS: Final = 2.0
"""How long a closing stream or worker waits for the thread. Models check their flag every 0.1 s or so; one
that does not must not hold up a barge-in or the end of the process."""
STUCK_SECONDS: Final = 20.0
"""How long a thread may go on with a job that was told to stop before it counts as stuck. Whisper can't be
stopped within an utterance, which takes a slow machine several seconds."""
MOST_LOST: Final = 2
"""Threads of one model that may be stuck while it is loaded once more. Each keeps the memory of its model."""
_LOOK_SECONDS: Final = 1.0


class Worker:
    """The thread of one model. Belongs to no event loop; each call uses the running one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.renew: Callable[[], None] | None = None
        """Loads the model again, called in a fresh thread when one is stuck; None if that can't be done."""
        self._thread = ModelThread(name)
        self._lost: list[ModelThread] = []
        self._renewing = False
        self._failure: Lost | None = None
        self._stops: set[Stop] = set()
        self._watching: asyncio.AbstractEventLoop | None = None
        _workers.add(self)

    @property
    def trouble(self) -> str:
        """What keeps the model from working, in words; empty if nothing does."""
        if self._failure is not None:
            return str(self._failure)
        if self._renewing or self._thread.overrun > STUCK_SECONDS:
            return f"the model in the thread {self.name} is stuck and is being loaded again"
        return ""

    @classmethod
    async def loaded(cls, name: str, load: Callable[[], T], stop: Stop | None = None) -> "tuple[Worker, T]":
        """A worker, and what `load` returns in its thread. Raises what that raises."""
        worker = cls(name)
        try:
            return worker, await worker.run(load, stop=stop)
        except BaseException:
            await worker.close()
            raise

    async def run(self, fn: Callable[[*Args], T], *args: *Args, stop: Stop | None = None) -> T:
        """Run `fn(*args)` in the worker's thread and return what it returns.

        Cancelling the awaiting task takes a queued job off the queue; a running one is told through `stop`,
        which `fn` may look at, and its result is dropped. Raises `Stopped` if the worker is closed first, and
        `Lost` if the model can't be had.
        """
        return await self._result(in_one_step(lambda: fn(*args)), stop or Stop())

    async def run_in_steps(self, make: Callable[[Stop], Generator[After, None, T]]) -> T:
        """The same for a job that is left, at each `After.GOES_ON`, for others that had less of the thread.

        `make` gets its stop flag.
        """
        stop = Stop()
        return await self._result(make(stop), stop)

    async def _result(self, steps: Generator[After, None, T], stop: Stop) -> T:
        self._stops.add(stop)
        try:
            job = Job(steps, stop)
            self._begin(job)
            return await asyncio.wrap_future(job.result)
        finally:
            self._stops.discard(stop)
            stop.set()

    async def stream(
        self, make: Callable[[Stop], Generator[T, None, None]], ahead: int = AHEAD, urgent: bool = True
    ) -> AsyncGenerator[T, None]:
        """Run `make(stop)` in the worker's thread and yield its items here; hold it in `aclosing()`.

        The job starts with the first item asked for. Between two items others may have the thread: those that
        had less of it, all others if this one isn't `urgent`, and all others while it is `ahead` items before
        its reader. Closing this generator, or cancelling the task that reads it, sets `stop` and waits until
        the thread has left the job, for at most `LEAVE_SECONDS`. Raises what the job raises, `Stopped` if the
        worker is closed first, and `Lost` if the thread is stuck or the model can't be had.
        """
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[T | _End] = asyncio.Queue()
        room = _Room(ahead)
        stop = Stop()

        def steps() -> Generator[After, None, None]:
            with closing(make(stop)) as source:
                for item in source:
                    while not room.take():
                        yield After.RESTS
                    stop.check()
                    loop.call_soon_threadsafe(items.put_nowait, item)
                    yield After.GOES_ON
            stop.check()

        def make_room() -> None:
            if room.give():
                self._wake(job)

        def end(done: asyncio.Future[None]) -> None:
            if not done.cancelled():
                done.exception()  # counts as seen, also when the reader has gone
            items.put_nowait(_End.END)

        job = Job(steps(), stop, urgent)
        self._stops.add(stop)
        try:
            self._begin(job)
            stop.on_set(make_room)  # a job that rests is to come to its end
            done = asyncio.wrap_future(job.result)
            done.add_done_callback(end)
            try:
                while not isinstance(item := await items.get(), _End):
                    make_room()
                    yield item
                done.result()
            finally:
                stop.set()
                await asyncio.wait([done], timeout=LEAVE_SECONDS)
                done.cancel()  # without effect on the thread: what a stuck job still says is not wanted
        finally:
            self._stops.discard(stop)

    async def close(self) -> None:
        """Stop every job, queued or running, and end the thread; one that ignores its flag is left behind."""
        _workers.discard(self)  # a model that is closed is no trouble any more
        for stop in tuple(self._stops):
            stop.set()
        self.renew = self._watching = None
        thread, last = self._thread, Job(in_one_step(lambda: None), Stop(), urgent=False)
        try:
            thread.submit(last)
        except Stopped:  # closed before
            return
        idle: set[asyncio.Future[None]] = set()
        try:
            idle, _ = await asyncio.wait([asyncio.wrap_future(last.result)], timeout=LEAVE_SECONDS)
        finally:
            # Also when the closing task is cancelled. Joining an idle thread takes microseconds. Queued jobs
            # aren't taken off: each raises its `Stopped`.
            thread.end(wait=bool(idle))

    def _begin(self, job: Job[Any]) -> None:
        if self._failure is not None:
            raise self._failure
        self._thread.submit(job)
        loop = asyncio.get_running_loop()
        if self._watching is not loop:
            self._watching = loop
            loop.call_later(_LOOK_SECONDS, self._look, loop)

    def _wake(self, job: Job[Any]) -> None:
        """Go on with a job that rested, in the thread that began it."""
        for thread in (self._thread, *self._lost):
            if job in thread.begun:
                thread.submit(job)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Each second while there is work: is the thread stuck?"""
        if self._watching is not loop:
            return
        if not self._thread.busy:
            self._watching = None
            return
        if self._thread.overrun > STUCK_SECONDS:
            self._replace()
        loop.call_later(_LOOK_SECONDS, self._look, loop)

    def _replace(self) -> None:
        """Leave the thread and its model, and have the jobs that it never had done by fresh ones."""
        told = f"the model in the thread {self.name} is stuck"
        old, self._thread = self._thread, ModelThread(self.name)
        self._lost = [thread for thread in (*self._lost, old) if thread.alive]
        jobs = old.abandon(Lost(told))
        if self.renew is None or len(self._lost) > MOST_LOST:
            self._fail(Lost(f"{told}, and was not loaded again"), jobs)
            return
        log.error("%s: it doesn't stop when it is told to. It is being loaded again", told)
        self._renewing = True
        renewal = Job(in_one_step(self.renew), Stop(), first=True)
        renewal.result.add_done_callback(partial(self._renewed, self._thread))
        for job in (renewal, *jobs):
            self._thread.submit(job)

    def _renewed(self, thread: ModelThread, renewal: Future[None]) -> None:
        """In the fresh thread, before it begins with the jobs that wait for it."""
        error = renewal.exception()
        if error is not None:
            words = f"the model in the thread {self.name} was stuck and can't be loaded again: {error}"
            self._fail(Lost(words), thread.take_fresh())
        else:
            log.warning("the model in the thread %s works again", self.name)
        self._renewing = False

    def _fail(self, failure: Lost, jobs: list[Job[Any]]) -> None:
        log.error("%s. Restart localvoice", failure)
        self._failure = failure
        for job in jobs:
            job.give_up(failure)


_workers: "weakref.WeakSet[Worker]" = weakref.WeakSet()


def troubles() -> list[str]:
    """What keeps models of this process from working, in words; empty if all work."""
    return [worker.trouble for worker in list(_workers) if worker.trouble]


class _End(Enum):
    END = auto()


class _Room:
    """Counts the items that a job may still make; knows whether the job rests because there is none."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._count = count
        self._rests = False

    def take(self) -> bool:
        """Take room for one item; if there is none, the job is to rest until it is given some."""
        with self._lock:
            self._rests = not self._count
            self._count -= not self._rests
            return not self._rests

    def give(self) -> bool:
        """Room for one more. Whether the job has to be woken for it."""
        with self._lock:
            self._count += 1
            rests, self._rests = self._rests, False
            return rests
