"""Callbacks that hold up their event loop, or only seem to: tests/project/test_metronome.py runs them.

Each name says what its test must be taken for. What blocks takes the limit and 0.9 s more, so that it is
found even if the machine really stands still for most of a second meanwhile.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

import pytest

from tests.support.blocked_loop import BLOCKED_SECONDS
from tests.support.metronome import queued_seconds

SECONDS = 1.4


def stopped(what: str) -> None:
    """Compute until it was stopped: who runs this reads the line, and stops a process for a moment."""
    begun = held_up()
    print(f"\nstop {what}", flush=True)
    while held_up() - begun < 0.5:
        pass


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """So many processes that compute without end."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def held_up() -> float:
    """The time, less what this thread has computed or waited for a core."""
    return time.monotonic() - time.thread_time() - queued_seconds()


async def test_blocks_by_sleeping() -> None:
    time.sleep(SECONDS)  # noqa: ASYNC251 - the fault that has to be found


async def test_blocks_by_computing() -> None:
    end = time.thread_time() + SECONDS  # its own time, however long it waits for a core
    while time.thread_time() < end:
        pass


async def test_blocks_in_native_code_that_keeps_the_interpreters_lock() -> None:
    count, begun = 1, time.process_time()
    while (took := time.process_time() - begun) < 0.1:
        count, begun = 2 * count, time.process_time()
        any(repeat(0, count))
    await asyncio.sleep(0)
    any(repeat(0, int(count * SECONDS / took)))


async def test_blocks_while_only_its_process_is_stopped() -> None:
    stopped("process")


async def test_blocks_and_the_machine_stands_still_too() -> None:
    stopped("machine")
    time.sleep(SECONDS)  # noqa: ASYNC251


async def test_is_quick_on_a_machine_that_stands_still() -> None:
    stopped("machine")


@pytest.mark.skipif(sys.platform != "linux", reason="nobody else counts how long a thread waits for a core")
async def test_is_quick_beside_busy_neighbours() -> None:
    cores, begun = os.sched_getaffinity(0), time.monotonic()
    os.sched_setaffinity(0, {min(cores)})
    with busy_neighbours(8):
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass
    os.sched_setaffinity(0, cores)
    assert time.monotonic() - begun > BLOCKED_SECONDS, "it wouldn't be found anyway"


async def test_is_quick() -> None:
    await asyncio.sleep(SECONDS)
