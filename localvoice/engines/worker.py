"""One model, one thread: runs blocking jobs, streams their items to the event loop, stops them.

A model is not thread-safe, and an executor with a single thread is its lock: jobs queue, and whoever awaits
one waits on the loop without blocking it. A job that streams makes many items in one go, since a hop between
threads for each token would cost more than many a token does. But between two items it gives way to jobs that
have had less of the thread: somebody's first word doesn't wait for the end of another's long answer.
"""

import asyncio
import contextvars
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar, TypeVarTuple

from localvoice.engines.work import asker

T = TypeVar("T")
Args = TypeVarTuple("Args")

AHEAD: Final = 16
"""Items a job may be ahead of its reader. A stall of the loop (some ms) then never stalls a model (the
fastest makes an item in 10 ms), and 16 stretches of speech are about 2 MB."""

LEAVE_SECONDS: Final = 2.0
"""How long a closing stream or worker waits for the thread. Models check their flag every 0.1 s or so; one
that does not must not hold up a barge-in or the end of the process."""

TURN_SECONDS: Final = 0.6
"""Work of a job that counts as one turn at the model: jobs that had fewer turns go first. It is what an LLM
of 20 tokens a second needs for its first clause: with less, of two who ask at once both hear it late."""


class Stopped(Exception):
    """The job was told to stop before it had finished."""


class Stop:
    """The stop flag of one job: set once, from any thread, and then for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._callbacks: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether the job is to stop."""
        return self._is_set

    def set(self) -> None:
        """Tell the job to stop."""
        with self._lock:
            self._is_set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_set(self, callback: Callable[[], None]) -> None:
        """Call back once when the flag is set, in the setter's thread; at once if it is set already."""
        with self._lock:
            if not self._is_set:
                self._callbacks.append(callback)
                return
        callback()

    def check(self) -> None:
        """Raise `Stopped` if the flag is set."""
        if self._is_set:
            raise Stopped("the job was stopped")


class Worker:
    """The thread of one model. Belongs to no event loop; each call uses the running one."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._stops: set[Stop] = set()
        self._lock = threading.Lock()
        self._waiting: list[_Job[Any]] = []

    async def run(self, fn: Callable[[*Args], T], *args: *Args, stop: Stop | None = None) -> T:
        """Run `fn(*args)` in the worker's thread and return what it returns.

        Cancelling the awaiting task takes a queued job off the queue; a running one is told through `stop`,
        which `fn` may look at, and its result is dropped. Raises `Stopped` if the worker is closed first.
        """
        stop = stop or Stop()
        self._stops.add(stop)
        try:
            job = _Job(_in_one_step(lambda: fn(*args)), stop)
            self._submit(job)
            return await asyncio.wrap_future(job.result)
        finally:
            self._stops.discard(stop)
            stop.set()

    async def stream(
        self, make: Callable[[Stop], Generator[T, None, None]], ahead: int = AHEAD, urgent: bool = True
    ) -> AsyncGenerator[T, None]:
        """Run `make(stop)` in the worker's thread and yield its items here; hold it in `aclosing()`.

        The job starts with the first item asked for. Between two items others may have the thread: those that
        had less of it, all others if this one isn't `urgent`, and everybody while it is `ahead` items before
        its reader. Closing this generator, or cancelling the task that reads it, sets `stop` and waits until
        the thread has left the job, for at most `LEAVE_SECONDS`. Raises what the job raises, or `Stopped` if
        the worker is closed first.
        """
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[T | _End] = asyncio.Queue()
        room = _Room(ahead)
        stop = Stop()

        def steps() -> Generator[_After, None, None]:
            with closing(make(stop)) as source:
                for item in source:
                    while not room.take():
                        yield _After.RESTS
                    stop.check()
                    loop.call_soon_threadsafe(items.put_nowait, item)
                    yield _After.GOES_ON
            stop.check()

        def make_room() -> None:
            if room.give():
                self._submit(job)

        def end(done: asyncio.Future[None]) -> None:
            if not done.cancelled():
                done.exception()  # counts as seen, also when the reader has gone
            items.put_nowait(_End.END)

        job = _Job(steps(), stop, urgent)
        stop.on_set(make_room)  # a job that rests is to come to its end
        self._stops.add(stop)
        try:
            self._submit(job)
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
        for stop in tuple(self._stops):
            stop.set()
        last = _Job(_in_one_step(lambda: None), Stop(), urgent=False)
        try:
            self._submit(last)
        except Stopped:  # closed before
            return
        idle: set[asyncio.Future[None]] = set()
        try:
            idle, _ = await asyncio.wait([asyncio.wrap_future(last.result)], timeout=LEAVE_SECONDS)
        finally:
            # Also when the closing task is cancelled. Joining an idle thread takes microseconds. Queued jobs
            # aren't taken off: each raises its `Stopped`.
            self._executor.shutdown(wait=bool(idle))

    def _submit(self, job: "_Job[Any]") -> None:
        with self._lock:
            try:
                self._executor.submit(self._serve)
            except RuntimeError as error:
                raise Stopped("the worker is closed") from error
            self._waiting.append(job)

    def _serve(self) -> None:
        """In the thread, once for each job that was submitted: work until any one ends, or rests."""
        job = self._next()
        while job.step() is _After.GOES_ON:
            job = self._next(job)

    def _next(self, job: "_Job[Any] | None" = None) -> "_Job[Any]":
        """The most urgent of those that wait and `job`; among equals `job`, then who waits longest."""
        with self._lock:
            every = self._waiting if job is None else [job, *self._waiting]
            first = min(every, key=lambda each: each.rank)
            if first is not job:
                self._waiting.remove(first)
                if job is not None:  # who gives way to one that only leaves goes on right after it
                    self._waiting.insert(0 if first.rank < 0 else len(self._waiting), job)
        return first


class _End(Enum):
    """What a stream posts after its last item."""

    END = auto()


class _After(Enum):
    """How it is after a step of a job."""

    GOES_ON = auto()
    """There are more steps."""
    RESTS = auto()
    """It waits for its reader."""
    ENDS = auto()
    """That was the last step."""


class _Job(Generic[T]):
    """One job, in steps; what it returns or raises is its result."""

    def __init__(self, steps: Generator[_After, None, T], stop: Stop, urgent: bool = True) -> None:
        self.result: Future[T] = Future()
        self._steps = steps
        self._stop = stop
        self._urgent = urgent
        self._seconds = 0.0
        self._begun = False
        # What the thread logs belongs to the session that asked for it.
        self._context = contextvars.copy_context()
        self._asker = asker() if urgent else None  # what gives way to everybody takes nothing from anybody

    @property
    def rank(self) -> float:
        """The lower, the sooner it has the thread."""
        if self._stop.is_set():
            return -1.0  # to leave takes no time, and somebody waits for it
        return self._seconds // TURN_SECONDS if self._urgent else math.inf

    def step(self) -> _After:
        """Run up to the next item; in the worker's thread."""
        if not self._begun and not self.result.set_running_or_notify_cancel():
            return _After.ENDS
        self._begun = True
        start = time.monotonic()
        try:
            if self._stop.is_set():
                self._context.run(self._steps.close)
                self._stop.check()
            return self._context.run(next, self._steps)
        except StopIteration as end:
            self.result.set_result(end.value)
        except BaseException as error:
            self.result.set_exception(error)
        finally:
            seconds = time.monotonic() - start
            self._seconds += seconds
            if self._asker is not None:
                self._asker.add(seconds)
        return _After.ENDS


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


def _in_one_step(fn: Callable[[], T]) -> Generator[_After, None, T]:
    yield from ()
    return fn()
