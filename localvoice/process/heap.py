"""Keeps the process small: of what it took, a third was memory that nobody used any more.

glibc gives each thread that allocates an arena of its own, up to eight for each core, and returns next to
nothing of them. Linux keeps in memory what was ever read of a library, though most of it is read once, at
the start. Elsewhere (macOS, musl) the functions do nothing, nor is there as much need.
"""

import asyncio
import ctypes
import mmap
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, repeat
from pathlib import Path
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's <malloc.h>."""
_ARENAS: Final = 1
"""The models compute one after the other, and what one has freed is there for the next; Python's own small
objects don't come from it."""

_SECONDS: Final = 0.5
"""Between two returns. One takes 0.4 ms on a thread of its own where nothing is free, and up to 12 amid a
turn, in which others wait to allocate. With 2 s what the turn detector and notes had left was still there
when Whisper took most."""
_LIBRARIES_EACH: Final = 20
"""Of so many returns one takes what was read of libraries, too: 12 MB of them only a connection's beginning
needs. It takes 17 ms, and 2 of whoever needs them again."""

_glibc: Final = ctypes.CDLL(None)

_MAPS: Final = Path("/proc/self/smaps")
_UNCHANGED: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p .*\.so(?:\..*)?\n(?:[A-Z].*\n)*?Anonymous: +0 kB$", re.MULTILINE
)
"""What maps a library's code or constants, and is just what is in its file; other maps would lose what they
hold."""


def set_up_heap() -> None:
    """For a program of its own, at its start: what has an arena by then keeps it."""
    if hasattr(_glibc, "mallopt"):
        _glibc.mallopt(_M_ARENA_MAX, _ARENAS)


@asynccontextmanager
async def kept_small() -> AsyncIterator[None]:
    """Inside, what is free is returned to the system: at once, for loading takes several times the size of
    some models, and again and again, for it grows in pieces from turn to turn and from client to client."""
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
    """What is free, and what was read of libraries: what of that is needed again is still in the system's
    cache, and comes back page by page, within some ms. Two thirds of what a start reads are not."""
    give_back()
    if _MAPS.exists():
        for begin, end in _unchanged(_MAPS.read_text()):
            _glibc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _unchanged(maps: str) -> Iterator[tuple[int, int]]:
    """Where libraries are mapped, of which nothing was written."""
    return ((int(found[1], 16), int(found[2], 16)) for found in _UNCHANGED.finditer(maps))
