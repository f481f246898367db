"""One model, one thread: runs blocking jobs, streams their items to the event loop, stops them.

A model is not thread-safe, and an executor with a single thread is its lock: jobs queue, and whoever awaits
one waits on the loop without blocking it. A whole generation is one job: a hop between threads for each
token would cost more than many a token does.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import Enum, auto
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")

AHEAD: Final = 16
"""Items a job may be ahead of its reader. A stall of the loop (some ms) then never stalls a model (the
fastest makes an item in 10 ms), and 16 spoken sentences are about 2 MB."""

LEAVE_SECONDS: Final = 2.0
"""How long a closing stream or worker waits for the thread. Models check their flag every 0.1 s or so; one
that does not must not hold up a barge-in or the end of the process."""


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

    async def run(self, fn: Callable[[*Args], T], *args: *Args, stop: Stop | None = None) -> T:
        """Run `fn(*args)` in the worker's thread and return what it returns.

        Cancelling the awaiting task takes a queued job off the queue; a running one is told through `stop`,
        which `fn` may look at, and its result is dropped. Raises `Stopped` if the worker is closed first.
        """
        stop = stop or Stop()
        self._stops.add(stop)
        try:
            return await self._submit(stop, lambda: fn(*args))
        finally:
            self._stops.discard(stop)
            stop.set()

    async def stream(
        self, make: Callable[[Stop], Generator[T, None, None]], ahead: int = AHEAD
    ) -> AsyncGenerator[T, None]:
        """Run `make(stop)` in the worker's thread and yield its items here; hold it in `aclosing()`.

        The job starts with the first item asked for and pauses while it is `ahead` items before the reader.
        Closing this generator, or cancelling the task that reads it, sets `stop` and waits until the thread
        has left the job, for at most `LEAVE_SECONDS`. Raises what the job raises, or `Stopped` if the worker
        is closed first.
        """
        loop = asyncio.get_running_loop()
        # `slots` bounds it: a thread can wait for a semaphore, but not for room in an asyncio.Queue.
        items: asyncio.Queue[T | _End] = asyncio.Queue()
        slots = threading.Semaphore(ahead)
        stop = Stop()
        stop.on_set(slots.release)  # wakes a thread that waits for a reader who has gone

        def work() -> None:
            with closing(make(stop)) as source:
                for item in source:
                    slots.acquire()
                    stop.check()
                    loop.call_soon_threadsafe(items.put_nowait, item)
            stop.check()

        def end(job: asyncio.Future[None]) -> None:
            if not job.cancelled():
                job.exception()  # counts as seen, also when the reader has gone
            items.put_nowait(_End.END)

        self._stops.add(stop)
        try:
            job = self._submit(stop, work)
            job.add_done_callback(end)
            try:
                while not isinstance(item := await items.get(), _End):
                    slots.release()
                    yield item
                job.result()
            finally:
                stop.set()
                await asyncio.wait([job], timeout=LEAVE_SECONDS)
                job.cancel()  # without effect on the thread: what a stuck job still says is not wanted
        finally:
            self._stops.discard(stop)

    async def close(self) -> None:
        """Stop every job, queued or running, and end the thread; one that ignores its flag is left behind."""
        for stop in tuple(self._stops):
            stop.set()
        try:
            last = self._submit(Stop(), lambda: None)
        except Stopped:  # closed before
            return
        idle: set[asyncio.Future[None]] = set()
        try:
            idle, _ = await asyncio.wait([last], timeout=LEAVE_SECONDS)
        finally:
            # Also when the closing task is cancelled. Joining an idle thread takes microseconds. Queued jobs
            # aren't taken off: each raises its `Stopped`.
            self._executor.shutdown(wait=bool(idle))

    def _submit(self, stop: Stop, fn: Callable[[], T]) -> asyncio.Future[T]:
        def job() -> T:
            stop.check()
            try:
                return fn()
            except StopIteration as error:  # a future can't carry it: the caller would wait for ever
                raise RuntimeError("the job raised StopIteration") from error

        try:
            # What the thread logs belongs to the session that asked for it.
            return asyncio.wrap_future(self._executor.submit(contextvars.copy_context().run, job))
        except RuntimeError as error:
            raise Stopped("the worker is closed") from error


class _End(Enum):
    """What a stream posts after its last item."""

    END = auto()
