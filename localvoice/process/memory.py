"""The memory of the process: kept small, and kept from other programs.

Small: glibc gives each thread that allocates an arena of its own, up to eight for each core, and returns next
to nothing of them. Linux keeps in memory what was ever read of a library, though most of it is read once, at
the start. Elsewhere (macOS, musl) these functions do nothing, and there is less need.
"""

import asyncio
import ctypes
import logging
import mmap
import re
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, repeat
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_M_ARENA_MAX: Final = -8
"""Of glibc's <malloc.h>."""
_ARENAS: Final = 1
"""The models compute one after the other, and what one has freed is there for the next; Python's own small
objects don't come from it."""

_SECONDS: Final = 0.5
"""Between two returns. During one, other threads wait to allocate. With longer pauses, what the turn detector
and notes had left was still there when Whisper took most."""
_LIBRARIES_EACH: Final = 20
"""One return in so many also takes what was read of libraries: some of them only a new connection needs."""

_PR_SET_DUMPABLE: Final = 4
"""Of Linux' <sys/prctl.h>."""

_glibc: Final = ctypes.CDLL(None)

_MAPS: Final = Path("/proc/self/smaps")
_UNCHANGED: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p .*\.so(?:\..*)?\n(?:[A-Z].*\n)*?Anonymous: +0 kB$", re.MULTILINE
)
"""What maps a library's code or constants, and is just what is in its file; other maps would lose what they
hold."""


def use_one_arena() -> None:
    """Have all threads allocate from one heap. A thread that has an arena already keeps it."""
    if hasattr(_glibc, "mallopt"):
        _glibc.mallopt(_M_ARENA_MAX, _ARENAS)


def guard_memory() -> None:
    """Keep what was said, which is in memory, from other programs and from the disk.

    A process that crashes may leave all of its memory as a file. The limit of 0 forbids that file, but the
    kernel doesn't apply it where a program takes the dump, as on many desktops (systemd-coredump, apport).
    There only the mark "not dumpable" helps; with it, no other program of the same user can read the memory
    by a debugger or /proc/PID/mem, either. Its price: py-spy and gdb need root. /proc/PID/stat and status
    stay readable.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and _glibc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        log.warning("this process can't be kept from other programs of yours, or out of core dumps")


@asynccontextmanager
async def kept_small() -> AsyncIterator[None]:
    """Inside, return free memory to the system: at once, because loading takes several times the size of some
    models, and repeatedly, because free memory grows from turn to turn and from client to client."""
    await asyncio.to_thread(give_all_back)
    keeper = asyncio.create_task(_keep_giving_back(), name="heap keeper")
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


async def _keep_giving_back() -> None:
    for give in cycle([*repeat(give_back, _LIBRARIES_EACH - 1), give_all_back]):
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(give)


def give_back() -> None:
    """Return to the system what is free."""
    if hasattr(_glibc, "malloc_trim"):
        _glibc.malloc_trim(0)


def give_all_back() -> None:
    """Return what is free, and what was read of libraries. Pages that are needed again come back from the
    system's cache; most of what a start reads is never needed again."""
    give_back()
    if _MAPS.exists():
        for begin, end in _unchanged(_MAPS.read_text()):
            _glibc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _unchanged(maps: str) -> Iterator[tuple[int, int]]:
    """Where libraries are mapped, of which nothing was written."""
    return ((int(found[1], 16), int(found[2], 16)) for found in _UNCHANGED.finditer(maps))
