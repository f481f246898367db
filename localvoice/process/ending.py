"""How the process ends: in order at the first signal, at once at the second, always in time.

It also ends by itself when its event loop stands still: no client is answered then, and none is told. The VAD
runs on the loop, and so do some short calls of other libraries; where native code never returns, nothing else
can be done. A service manager that starts the process again brings all of it back.
"""

import asyncio
import atexit
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from localvoice.engines.jobs import end_threads
from localvoice.process.output import last_words, outlive_output

log = logging.getLogger(__name__)

EXIT_SECONDS: Final = 5.0
"""For the models' threads to stop at the end of the process. Loading can't be stopped."""
_MOST_SECONDS: Final = 9.5
"""From the first signal to the end of the process. Service managers kill after ten or more."""
LOOP_SECONDS: Final = 30.0
"""For which the loop may stand still. A machine that swaps may hold it up for some seconds; after half a
minute a client has given up."""
_LOOKS: Final = 10
"""In that time."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""The second of these ends the process at once."""
_HANGUP: Final = signal.SIGHUP
"""The terminal has gone. The kernel and the shell may each send one, so a second one changes nothing."""
_STDERR: Final = 2
_TOO_LATE: Final = "Not everything has ended in time. What is left is cut off.\n"
_STANDS: Final = (
    "The event loop has stood still for {:.0f} s: no client is answered any more. The process ends. "
    "Start it again; sessions that were saved are whole. Where its threads stand:\n"
)

_stops_threads = _guards_loop = False


class Ending:
    """What a program that runs until a signal waits for."""

    begun = False

    async def asked(self) -> None:
        """Wait for the signal. One that comes before this is awaited cancels the task."""
        if self.begun:  # code at the start, such as an application's own, may have caught the cancellation
            return
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.begun or task is None:
                raise
            task.uncancel()


Main = Callable[[Ending], Coroutine[Any, Any, None]]


def run_until_signal(main: Main, say: Callable[[], None]) -> None:
    """Run `main` to its end; the first SIGINT, SIGTERM or SIGHUP asks it to come to that, and calls `say`.

    A second SIGINT or SIGTERM kills the process, which is what a shell then reports (130 or 143). So does a
    deadline, but with exit code 0: a model that is stuck in native code can't be stopped otherwise. A SIGHUP
    that is ignored, as by `nohup`, stays so. From here on, output that can't be written is lost
    (`outlive_output`). To be called in the main thread. Raises what `main` raises.
    """
    outlive_output()
    signalled, over = threading.Event(), threading.Event()
    # A thread of its own: it has to come to an end also where the event loop doesn't turn any more.
    guard = threading.Thread(target=_end_in_time, args=(signalled, over), name="ending", daemon=True)
    before = {number: signal.getsignal(number) for number in _heeded()}
    guard.start()
    try:
        asyncio.run(_attended(main, say, signalled))
    finally:
        over.set()
        signalled.set()
        guard.join()
        for number, handler in before.items():
            signal.signal(number, handler)


async def _attended(main: Main, say: Callable[[], None], signalled: threading.Event) -> None:
    loop, work, ending = asyncio.get_running_loop(), asyncio.current_task(), Ending()
    assert work is not None

    def begin() -> None:
        ending.begun = True
        work.cancel()  # first: `say` may fail, and that must not keep the process alive
        say()

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Not by the loop's own handlers: those wait until it turns.
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.signal(_HANGUP, signal.SIG_IGN)
        signalled.set()
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(begin)

    for number in _heeded():
        signal.signal(number, on_signal)
    try:
        await main(ending)
    except asyncio.CancelledError:
        if not ending.begun:
            raise


def _heeded() -> list[signal.Signals]:
    """The signals that end this process: a SIGHUP that is ignored stays so."""
    hangup = [] if signal.getsignal(_HANGUP) is signal.SIG_IGN else [_HANGUP]
    return [*_SIGNALS, *hangup]


def _end_in_time(signalled: threading.Event, over: threading.Event) -> None:
    signalled.wait()
    if not over.wait(_MOST_SECONDS):
        last_words(_TOO_LATE)
        os._exit(0)


def exit_at_signal() -> None:
    """From now on a signal ends the process, with exit code 0: it has not begun anything yet."""
    for number in _heeded():
        signal.signal(number, lambda *_: os._exit(0))


def exit_without_threads() -> None:
    """End the process, with exit code 0, if threads are left, such as a model's that is stuck.

    From now on a SIGHUP changes nothing: while the interpreter ends, it would kill the process otherwise.
    """
    signal.signal(_HANGUP, signal.SIG_IGN)
    others = (each for each in threading.enumerate() if each is not threading.main_thread())
    if not end_threads(0.0) or not all(each.daemon for each in others):
        _exit_at_once(0)


def stop_threads_at_exit() -> None:
    """At the end of the process, stop the models' threads, and don't wait for one that is stuck.

    Python would end under a thread that computes, and native code crashes then.
    """
    global _stops_threads
    if not _stops_threads:
        _stops_threads = True
        atexit.register(_stop_threads)


def _stop_threads() -> None:
    if not end_threads(EXIT_SECONDS):
        log.error("A model is stuck and doesn't end: the process ends without it.")
        _exit_at_once(1)


def _exit_at_once(status: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def guard_loop() -> None:
    """Have `guarded_loop` guard the loops of this process; otherwise it does nothing."""
    global _guards_loop
    _guards_loop = True


@contextmanager
def guarded_loop() -> Iterator[None]:
    """Inside, the process ends with exit code 1 if the loop stands still, but under a debugger it may."""
    if not _guards_loop or sys.gettrace() is not None:
        yield
        return
    over = threading.Event()
    arguments = asyncio.get_running_loop(), over
    thread = threading.Thread(target=_watch, args=arguments, name="loop guard", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(loop: asyncio.AbstractEventLoop, over: threading.Event) -> None:
    """Count how often the loop hasn't turned: looks and not seconds, so that a process that was stopped or a
    machine that slept goes on.

    It needs the interpreter, which native code of ours gives free while it computes. A timer of the kernel's
    would need no interpreter, but goes on while a process is paused.
    """
    turned, missed = threading.Event(), 0
    turned.set()
    while not over.wait(LOOP_SECONDS / _LOOKS):
        if turned.is_set():
            missed = 0
            turned.clear()
            loop.call_soon_threadsafe(turned.set)
        else:
            missed += 1
        if missed >= _LOOKS:
            if last_words(_STANDS.format(LOOP_SECONDS)):
                faulthandler.dump_traceback(_STDERR)  # names of functions, and nothing that was said
            os._exit(1)
