"""Keeps the heap small: of what the process took, a third was memory that nobody used any more.

glibc gives each thread that allocates an arena of its own, up to eight for each core, and returns next to
nothing of them. Elsewhere (macOS, musl) neither function does anything, nor is there need.
"""

import asyncio
import ctypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's <malloc.h>."""
_ARENAS: Final = 2
"""The event loop's and one for all models: they compute one after the other, and large blocks need none."""

_SECONDS: Final = 2.0
"""Between two returns. One takes 1 to 12 ms on a thread of its own, in which others wait to allocate. The
models of a turn leave 60 to 100 MB, so that a longer wait shows in what the process takes."""

_glibc: Final = ctypes.CDLL(None)


def limit_arenas() -> None:
    """For a program of its own, at its start: what has an arena by then keeps it."""
    if hasattr(_glibc, "mallopt"):
        _glibc.mallopt(_M_ARENA_MAX, _ARENAS)


@asynccontextmanager
async def kept_small() -> AsyncIterator[None]:
    """Inside, what is free is returned to the system: at once, for loading takes twice the size of some
    models, and every few seconds, for it grows in pieces from turn to turn and from client to client."""
    give_back()
    keeper = asyncio.create_task(_keep_giving_back(), name="heap keeper")
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


async def _keep_giving_back() -> None:
    while True:
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(give_back)


def give_back() -> None:
    """Return to the system what is free."""
    if hasattr(_glibc, "malloc_trim"):
        _glibc.malloc_trim(0)
