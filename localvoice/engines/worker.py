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
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

from localvoice.contract.errors import VoiceError
from localvoice.engines.jobs import Job, Lost, ModelThread, Stop, Stopped

log = logging.getLogger(__name__)

AHEAD: Final = 16
"""Items of a job that may wait for its reader before it rests: enough that a short stall of the loop never
stalls a model."""
LEAVE_SECONDS: Final = 2.0
"""How long a closing stream or worker waits for the thread. Models check their flag every 0.1 s or so; one
that does not must not hold up a barge-in or the end of the process."""
STUCK_SECONDS: Final = 20.0
"""How long a thread may go on with a job that was told to stop before it counts as stuck. Whisper can't be
stopped within an utterance, which takes a slow machine several seconds."""
MOST_LOST: Final = 2
"""Threads of one model that may be stuck while it is loaded once more. Each keeps the memory of its model."""
_LOOK_SECONDS: Final = 1.0


class _Adapter(Protocol):
    """An engine round a model that runs in a worker's thread."""

    _model: Any


T = TypeVar("T")
Args = TypeVarTuple("Args")
E = TypeVar("E", bound=_Adapter)


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
        self._left_behind = False  # the thread, which did not end when the worker was closed
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
    async def loaded(cls, name: str, load: Callable[[Stop], T], adapt: "Callable[[Worker, T], E]") -> E:
        """The engine that `adapt` makes of a worker and the model, which `load` returns in its thread.

        Where that gets stuck, `load` makes a new model for the engine. Raises what `load` raises.
        """
        worker, stop = cls(name), Stop()
        try:
            engine = adapt(worker, await worker.run(load, stop, stop=stop))
        except BaseException:
            await worker.close()
            raise

        def renew() -> None:
            engine._model = load(Stop())

        worker.renew = renew
        return engine

    async def run(self, fn: Callable[[*Args], T], *args: *Args, stop: Stop | None = None) -> T:
        """Run `fn(*args)` in the worker's thread and return what it returns.

        Cancelling the awaiting task takes a queued job off the queue; a running one is told through `stop`,
        which `fn` may look at, and its result is dropped. Raises `Stopped` if the worker is closed first, and
        `Lost` if the model can't be had.
        """
        return await self.run_in_steps(_in_one_step(lambda: fn(*args)), stop)

    async def run_in_steps(
        self, make: Callable[[Stop], Generator[None, None, T]], stop: Stop | None = None
    ) -> T:
        """The same for a generator, left at each of its items for jobs that had less of the thread."""
        with self._begun(Job(make, stop)) as result:
            return await result

    async def stream(
        self, make: Callable[[Stop], Generator[T, None, None]], ahead: int = AHEAD, urgent: bool = True
    ) -> AsyncGenerator[T, None]:
        """Run `make(stop)` in the worker's thread and yield its items here; hold it in `aclosing()`.

        The job starts with the first item asked for. Between two items others may have the thread: those that
        had less of it, all others if this one isn't `urgent`, and all others while more than `ahead` items
        wait for the reader. Closing this generator, or cancelling the task that reads it, sets `stop` and
        waits until the thread has left the job, for at most `LEAVE_SECONDS`. Raises what the job raises,
        `Stopped` if the worker is closed first, and `Lost` if the thread is stuck or the model can't be had.
        """
        loop = asyncio.get_running_loop()
        items: deque[T] = deque()
        news = asyncio.Event()

        def steps(stop: Stop) -> Generator[None, None, None]:
            with closing(make(stop)) as source:
                for item in source:
                    stop.check()
                    items.append(item)
                    loop.call_soon_threadsafe(news.set)
                    yield
            stop.check()

        def end(done: asyncio.Future[None]) -> None:
            if not done.cancelled():
                done.exception()  # counts as seen, also when the reader has gone
            news.set()

        job = Job(steps, is_ahead=lambda: len(items) > ahead, urgent=urgent)
        with self._begun(job) as done:
            done.add_done_callback(end)
            try:
                while items or not done.done():
                    if not items:
                        news.clear()
                        await news.wait()
                        continue
                    item = items.popleft()
                    if len(items) == ahead:
                        job.wake()
                    yield item
                done.result()
            finally:
                job.stop.set()
                await asyncio.wait([done], timeout=LEAVE_SECONDS)
                done.cancel()  # without effect on the thread: what a stuck job still says is not wanted

    async def close(self) -> None:
        """Stop every job, queued or running, and end the thread; one that ignores its flag is left behind."""
        _workers.discard(self)  # a model that is closed is no trouble any more
        self.renew = self._watching = None
        self._thread.end()  # queued jobs aren't taken off: each raises its `Stopped`
        if self._left_behind or not self._thread.alive:
            return
        over = asyncio.wrap_future(self._thread.over)
        try:
            ended, _ = await asyncio.wait([over], timeout=LEAVE_SECONDS)
            self._left_behind = not ended
            if ended:
                self._thread.join(LEAVE_SECONDS)  # it takes microseconds
        finally:
            over.cancel()

    @contextmanager
    def _begun(self, job: Job[T]) -> Iterator[asyncio.Future[T]]:
        """The job's result, to be awaited inside. Afterwards the job is told to stop."""
        if self._failure is not None:
            raise self._failure
        self._thread.add(job)
        loop = asyncio.get_running_loop()
        if self._watching is not loop:
            self._watching = loop
            loop.call_later(_LOOK_SECONDS, self._look, loop)
        try:
            yield asyncio.wrap_future(job.result)
        finally:
            job.stop.set()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Each second while there is work: is the thread stuck?"""
        if self._watching is not loop:
            return
        if not self._thread.jobs:
            self._watching = None
            return
        if self._thread.overrun > STUCK_SECONDS:
            self._replace()
        loop.call_later(_LOOK_SECONDS, self._look, loop)

    def _replace(self) -> None:
        """Leave the thread and its model, and have the jobs that it never had done by fresh ones."""
        stuck = f"the model in the thread {self.name} is stuck"
        old, self._thread = self._thread, ModelThread(self.name)
        self._lost = [thread for thread in (*self._lost, old) if thread.alive]
        if self.renew is None or len(self._lost) > MOST_LOST:
            self._fail(f"{stuck}, and was not loaded again", old)
            return
        log.error("%s: it doesn't stop when it is told to. It is being loaded again", stuck)
        self._renewing = True
        renewal = Job(_in_one_step(partial(self._renew, self.renew, self._thread)))
        for job in (renewal, *old.abandon(Lost(stuck))):
            self._thread.add(job)

    def _renew(self, renew: Callable[[], None], thread: ModelThread) -> None:
        """In the fresh thread, before it begins with the jobs that wait for it."""
        try:
            renew()
            log.warning("the model in the thread %s works again", self.name)
        except Exception as error:
            self._fail(
                f"the model in the thread {self.name} was stuck and can't be loaded again: {error}", thread
            )
        self._renewing = False

    def _fail(self, words: str, thread: ModelThread) -> None:
        log.error("%s. Restart localvoice", words)
        self._failure = Lost(words)
        for job in thread.abandon(self._failure):
            job.give_up(self._failure)


def _in_one_step(fn: Callable[[], T]) -> Callable[[Stop], Generator[None, None, T]]:
    def steps(_: Stop) -> Generator[None, None, T]:
        yield from ()
        return fn()

    return steps


_workers: "weakref.WeakSet[Worker]" = weakref.WeakSet()


def troubles() -> list[str]:
    """What keeps models of this process from working, in words; empty if all work."""
    return [worker.trouble for worker in list(_workers) if worker.trouble]


@contextmanager
def told(
    failure: Callable[[str], VoiceError], what: str, advice: str, when_stopped: VoiceError | None = None
) -> Iterator[None]:
    """An engine's work: what goes wrong in it comes out as a `failure` that says what, why and what to do.

    If the worker was closed, `when_stopped` is raised.
    """
    try:
        yield
    except VoiceError:
        raise
    except Exception as error:
        if when_stopped is not None and isinstance(error, Stopped):
            raise when_stopped from error
        raise failure(f"{what} ({error}). {advice}") from error
