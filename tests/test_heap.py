"""The heap is kept small, with glibc's own malloc."""

import asyncio
import ctypes
import subprocess
import sys

import pytest
from memory import resident_mb

from localvoice import heap
from localvoice.heap import kept_small

glibc = ctypes.CDLL(None)
pytestmark = pytest.mark.skipif(not hasattr(glibc, "malloc_trim"), reason="this is not glibc")

BLOCK = 64 * 1024  # below the size from which glibc maps each block by itself
BLOCKS = 1000
KEPT = 50
"""One of so many blocks."""

THREADS = """
import ctypes, threading
from localvoice.heap import limit_arenas
limit_arenas()
glibc = ctypes.CDLL(None)
glibc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    glibc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
glibc.malloc_stats()
"""


def free_in_pieces() -> list[int]:
    """Take 65 MB and free it again, but for some blocks, which keep the heap from shrinking; those."""
    glibc.malloc.restype = ctypes.c_void_p
    glibc.free.argtypes = (ctypes.c_void_p,)
    blocks = [glibc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for number, block in enumerate(blocks):
        if number % KEPT:
            glibc.free(block)
    return blocks[::KEPT]


async def test_what_is_free_is_returned_at_once_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_SECONDS", 0.05)
    kept = free_in_pieces()
    full = resident_mb()
    async with kept_small():
        assert resident_mb() < full - 40
        kept += free_in_pieces()
        async with asyncio.timeout(8):
            while resident_mb() >= full - 40:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    for block in kept:
        glibc.free(block)


def test_threads_share_two_arenas() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.count("Arena ") == 2
