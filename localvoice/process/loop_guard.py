"""Ends a program whose event loop stands still: nobody is answered then, and nobody is told.

The VAD runs on the loop, and so do some short calls of other libraries; where native code never returns,
nothing else can be done. Whoever starts the process again, as a service manager does, brings all of it back.

A thread counts how often the loop hasn't turned: looks and not seconds, so that a process that was stopped or
a machine that slept isn't ended for it. It needs the interpreter, which native code of ours gives free while
it computes. A timer of the kernel's would need no interpreter, but goes on while a process is paused.
"""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from localvoice.process.output import last_words

MOST_SECONDS: Final = 30.0
"""For which a loop may stand still. A machine that swaps may hold it up for some seconds; after half a minute
a client has given up."""
_LOOKS: Final = 10
"""In that time."""
_STDERR: Final = 2
_SAID: Final = (
    "The event loop has stood still for {:.0f} s: nobody is answered any more, and the process ends. Start "
    "it again; sessions that were saved are whole. Where its threads stand:\n"
)

_wanted = False


def guard_loop() -> None:
    """Have `guarded_loop` guard the loops of this process; otherwise it does nothing."""
    global _wanted
    _wanted = True


@contextmanager
def guarded_loop() -> Iterator[None]:
    """Inside, the process ends if the loop stands still, with exit code 1.

    Only where `guard_loop` was called; but under a debugger a loop may stand.
    """
    if not _wanted or sys.gettrace() is not None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(asyncio.get_running_loop(), over), name="loop guard", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(loop: asyncio.AbstractEventLoop, over: threading.Event) -> None:
    turned, missed = threading.Event(), 0
    turned.set()
    while not over.wait(MOST_SECONDS / _LOOKS):
        if turned.is_set():
            missed = 0
            turned.clear()
            loop.call_soon_threadsafe(turned.set)
        else:
            missed += 1
        if missed >= _LOOKS:
            if last_words(_SAID.format(MOST_SECONDS)):
                faulthandler.dump_traceback(_STDERR)  # names of functions, and nothing that was said
            os._exit(1)
