"""Ends a program whose event loop stands still: nobody is answered then, and nobody is told.

The VAD runs on the loop, and so do some short calls of other libraries; where native code never returns,
nothing else can be done. Whoever starts the process again, as a service manager does, brings all of it back.

A thread counts how often the loop hasn't turned: looks and not seconds, so that a process that was stopped or
a machine that slept isn't ended for it. It needs the interpreter. Where native code keeps that to itself, a
timer of the kernel's, which the thread winds up at each look, ends the process without any Python.
"""

import asyncio
import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

MOST_SECONDS: Final = 30.0
"""For which a loop may stand still, and twice that where nothing of Python runs. A machine that swaps, or a
slow disk, may hold it up for some seconds; after half a minute a client has given up."""
_LOOKS: Final = 10
"""In that time."""
_STDERR: Final = 2
_SAID: Final = (
    "The event loop has stood still for {:.0f} s: nobody is answered any more, and the process ends. Start "
    "it again; sessions that were saved are whole. Where its threads stand:\n"
)

_wanted = False


def guard_loop() -> None:
    """For a program of its own, at its start: an application that uses the library decides for itself."""
    global _wanted
    _wanted = True


@contextmanager
def guarded_loop() -> Iterator[None]:
    """Inside, the process ends if the loop stands still: with exit code 1, or 14 by the kernel's timer.

    Only where `guard_loop` was called, and then in the main thread; but under a debugger a loop may stand.
    """
    if not _wanted or sys.gettrace() is not None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(asyncio.get_running_loop(), over), name="loop guard", daemon=True
    )
    _catch_alarm()
    _wind_up()
    before = signal.signal(signal.SIGTSTP, _pause)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTSTP, before)
        faulthandler.unregister(signal.SIGALRM)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _watch(loop: asyncio.AbstractEventLoop, over: threading.Event) -> None:
    turned, missed = threading.Event(), 0
    turned.set()
    while not over.wait(MOST_SECONDS / _LOOKS):
        _wind_up()
        if turned.is_set():
            missed = 0
            turned.clear()
            loop.call_soon_threadsafe(turned.set)
        else:
            missed += 1
        if missed >= _LOOKS:
            os.write(
                _STDERR, _SAID.format(MOST_SECONDS).encode()
            )  # the log's lock may be held by what is stuck
            faulthandler.dump_traceback(_STDERR)  # names of functions, and nothing that was said
            os._exit(1)


def _wind_up() -> None:
    signal.setitimer(signal.ITIMER_REAL, 2 * MOST_SECONDS)


def _catch_alarm() -> None:
    """SIGALRM writes where all threads stand, and then ends the process, with nothing but the C library.

    Its default action would end it too, but not where the process is the first of a container.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    library.signal(signal.SIGALRM, ctypes.cast(library._exit, ctypes.c_void_p))
    faulthandler.register(signal.SIGALRM, _STDERR, chain=True)


def _pause(number: int, frame: FrameType | None) -> None:
    """Ctrl-Z: the timer would go on meanwhile. The thread winds it up when the process is continued."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
