"""Keeps the memory of this process from others and from the disk: what was said is in it.

A process that crashes may leave all of its memory as a file. The limit of 0 forbids that file, but the kernel
doesn't apply it where a program takes the dump, as on many desktops (systemd-coredump, apport). There only
the mark "not dumpable" helps; with it, no other program of the same user can read the memory by a debugger
or /proc/PID/mem, either. Its price: py-spy and gdb need root. /proc/PID/stat and status stay readable.
"""

import ctypes
import logging
import resource
import sys
from typing import Final

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE: Final = 4
"""Of Linux' <sys/prctl.h>."""


def guard_memory() -> None:
    """For a program of its own, at its start: an application that uses the library decides for itself."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        log.warning("this process can't be kept from other programs of yours, or out of core dumps")
