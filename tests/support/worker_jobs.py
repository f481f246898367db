"""A worker whose thread is to be gone after each test, and a job for it."""

import threading
from collections.abc import AsyncGenerator

import pytest

from localvoice.engines.jobs import Stop
from localvoice.engines.worker import Worker


@pytest.fixture
async def worker() -> AsyncGenerator[Worker, None]:
    worker = Worker("test-worker")
    yield worker
    await worker.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("test-worker")]


def blocks_until(stop: Stop, started: threading.Event) -> None:
    """A job that only its flag ends."""
    woken = threading.Event()
    stop.on_set(woken.set)
    started.set()
    assert woken.wait(5)
