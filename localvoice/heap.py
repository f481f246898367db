"""Keeps the heap small: of what the process took, a third was memory that nobody used any more.

glibc gives each thread that allocates an arena of its own, up to eight for each core, and returns next to
nothing of them. Elsewhere (macOS, musl) neither function does anything, nor is there need.
"""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's <malloc.h>."""
_ARENAS: Final = 2
"""The event loop's and one for all models: they compute one after the other, and large blocks need none."""

_glibc: Final = ctypes.CDLL(None)


def limit_arenas() -> None:
    """For a program of its own, at its start: what has an arena by then keeps it."""
    if hasattr(_glibc, "mallopt"):
        _glibc.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return what is free to the system. Takes 1 to 12 ms, in which other threads wait to allocate."""
    if hasattr(_glibc, "malloc_trim"):
        _glibc.malloc_trim(0)
