"""How the process ends: in order at the first signal, at once at the second, always in time."""

import asyncio
import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from localvoice.engines.jobs import end_threads
from localvoice.process.output import last_words, outlive_output

log = logging.getLogger(__name__)

EXIT_SECONDS: Final = 5.0
"""For the models' threads to stop at the end of the process. Loading can't be stopped."""
MOST_SECONDS: Final = 9.5
"""From the first signal to the end of the process. Service managers kill after ten or more."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""The second of these ends the process at once."""
_HANGUP: Final = signal.SIGHUP
"""The terminal has gone. The kernel and the shell may each send one, so a second one changes nothing."""
_stops_threads = False
_TOO_LATE: Final = "Not everything has ended in time. What is left is cut off.\n"


class Ending:
    """What whoever runs until a signal is given, to hear of it."""

    def __init__(self) -> None:
        self._signalled = asyncio.Event()
        self._work = asyncio.current_task()
        self._awaited = False

    @property
    def begun(self) -> bool:
        """Whether the signal has come."""
        return self._signalled.is_set()

    async def asked(self) -> None:
        """Wait for the signal. One that comes before this is awaited cancels the task instead."""
        self._awaited = True
        await self._signalled.wait()

    def begin(self) -> None:
        """The signal has come."""
        self._signalled.set()
        if not self._awaited and self._work is not None:
            self._work.cancel()


def run_until_signal(main: Callable[[Ending], Coroutine[Any, Any, None]], say: Callable[[], None]) -> None:
    """Run `main` to its end; the first SIGINT, SIGTERM or SIGHUP asks it to come to that, and calls `say`.

    A second SIGINT or SIGTERM kills the process, which is what a shell then reports (130 or 143). So does a
    deadline of `MOST_SECONDS`, but with exit code 0: a model that is stuck in native code can't be stopped
    otherwise. A SIGHUP that is ignored, as by `nohup`, stays so. From here on, output that can't be written
    is lost (`outlive_output`). To be called in the main thread. Raises what `main` raises.
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


async def _attended(
    main: Callable[[Ending], Coroutine[Any, Any, None]], say: Callable[[], None], signalled: threading.Event
) -> None:
    loop = asyncio.get_running_loop()
    ending = Ending()

    def begin() -> None:
        ending.begin()  # first: `say` may fail, and that must not keep the process alive
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
    if not over.wait(MOST_SECONDS):
        last_words(_TOO_LATE)
        os._exit(0)
