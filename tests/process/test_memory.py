"""The heap is kept small, with glibc's own malloc."""

import asyncio
import ctypes
import os
import subprocess
import sys

import pytest

from localvoice.process import memory
from localvoice.process.memory import kept_small
from tests.support.fakes import until
from tests.support.memory import resident_mb

glibc = ctypes.CDLL(None)
pytestmark = pytest.mark.skipif(not hasattr(glibc, "malloc_trim"), reason="this is not glibc")

BLOCK = 64 * 1024  # below the size from which glibc maps each block by itself
BLOCKS = 1000
KEPT = 50
"""One of so many blocks."""

STEPS = """
import ctypes, resource
from localvoice.process.memory import use_one_arena
use_one_arena()
glibc = ctypes.CDLL(None)
glibc.malloc.restype = ctypes.c_void_p
glibc.free.argtypes = [ctypes.c_void_p]
def step(size, count):
    blocks = [glibc.malloc(size) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        glibc.free(block)
step(30 * 2**20, 1)  # as a model that is loaded
step(4 * 2**20, 7)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step(4 * 2**20, 7)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

THREADS = """
import ctypes, threading
from localvoice.process.memory import use_one_arena
use_one_arena()
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
    monkeypatch.setattr(memory, "_SECONDS", 0.05)
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


def test_what_a_model_frees_between_two_steps_is_there_for_the_next() -> None:
    """Each page that went to the system meanwhile would be taken, and cleared, anew."""
    out = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, text=True).stdout
    assert int(out) < 1000, "pages; one step takes 7168"


async def test_what_was_read_of_libraries_goes_at_once_and_each_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ten_seconds = round(10 / memory._SECONDS)
    gone: list[str] = []
    monkeypatch.setattr(memory, "_SECONDS", 0.001)
    monkeypatch.setattr(memory, "give_back", lambda: gone.append("free"))
    monkeypatch.setattr(memory, "give_all_back", lambda: gone.append("all"))
    async with kept_small():
        await until(lambda: gone.count("all") == 3)
    assert [index for index, what in enumerate(gone) if what == "all"] == [0, ten_seconds, 2 * ten_seconds]


def test_threads_share_one_arena() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.count("Arena ") == 1


LIBRARIES = """
import numpy, av, ssl
from tests.support.memory import resident_mb
from localvoice.process.memory import give_all_back
before = resident_mb()
give_all_back()
after = resident_mb()
numpy.linalg.inv(numpy.eye(300))
av.AudioFrame.from_ndarray(numpy.zeros((1, 960), numpy.int16), "s16", "mono")
ssl.create_default_context()
print(before - after)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="this is not Linux")
def test_what_was_read_of_libraries_is_given_back_and_they_work_on() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES], stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    assert float(done.stdout) > 10


def test_what_a_library_has_written_is_not_given_back() -> None:
    maps = """\
7f0000000000-7f0000001000 r-xp 00000000 fe:00 1234   /usr/lib/libgood.so.1
Rss:                   4 kB
Anonymous:             0 kB
7f0000001000-7f0000002000 r--p 00001000 fe:00 1234   /usr/lib/libgood.so.1
Anonymous:             4 kB
7f0000002000-7f0000003000 rw-p 00002000 fe:00 1234   /usr/lib/libgood.so.1
Anonymous:             0 kB
7f0000003000-7f0000004000 r--p 00000000 fe:00 1235   /models/weights.gguf
Anonymous:             0 kB
7f0000004000-7f0000006000 r--p 00000000 fe:00 1236   /usr/lib/other.cpython-311-x86_64-linux-gnu.so
Anonymous:             0 kB
7f0000006000-7f0000007000 rw-p 00000000 00:00 0
Anonymous:             0 kB
"""
    assert list(memory._unchanged(maps)) == [
        (0x7F0000000000, 0x7F0000001000),
        (0x7F0000004000, 0x7F0000006000),
    ]
