"""Native code that does not come back, and workers that soon take it for stuck."""

import threading
from collections.abc import Iterator

import pytest

from localvoice.engines import worker as worker_module
from localvoice.engines.worker import Worker


@pytest.fixture(autouse=True)
def soon_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr(worker_module, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(worker_module, "LEAVE_SECONDS", 0.05)


class Hole:
    """Native code that does not return: a job that falls in blocks its thread, whatever it is told."""

    def __init__(self) -> None:
        self.way_out = threading.Event()
        self.traps: list[str] = []
        """Where the next job falls in, once for each entry."""
        self.inside = 0
        self.loaded = 0
        """How often a model was loaded again."""
        self.cannot_load: Exception | None = None

    def step(self, place: str) -> None:
        if place in self.traps:
            self.traps.remove(place)
            self.inside += 1
            assert self.way_out.wait(60)

    def load(self) -> None:
        self.loaded += 1
        if self.cannot_load is not None:
            raise self.cannot_load


@pytest.fixture
def hole() -> Iterator[Hole]:
    hole = Hole()
    yield hole
    hole.way_out.set()


def worker(hole: Hole, name: str) -> Worker:
    made = Worker(name)
    made.renew = hole.load
    return made
