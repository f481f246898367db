"""What `make bench WHAT=soak` makes of its figures, and a short run of it."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.soak import Soak, come_and_go, counts, show, slowdown, soak_server, trend
from benchmarks.soak_server import Counts


def talk(growth_mb: float, last_ms: float) -> list[tuple[float, float, float]]:
    """Half an hour, a turn each 30 s, that grows by so much an hour and ends so slowly."""
    return [
        (30.0 * turn, 800.0 if turn < 40 else last_ms, 500 + growth_mb * turn / 120 + (turn % 3))
        for turn in range(60)
    ]


def test_a_trend_is_seen_through_the_noise_and_without_the_warm_up() -> None:
    assert abs(trend(talk(0.0, 800))) < 0.5
    assert trend(talk(10.0, 800)) == pytest.approx(10, abs=1)
    jump_at_first = [
        (when, wait, memory - (80 if when < 200 else 0)) for when, wait, memory in talk(0.0, 800)
    ]
    assert abs(trend(jump_at_first)) < 0.5


def test_late_turns_are_compared_with_early_ones() -> None:
    assert slowdown(talk(0.0, 800)) == 1
    assert slowdown(talk(0.0, 1200)) == 1.5


@pytest.mark.parametrize(("more_mb", "tasks", "met"), [(1.0, 3, True), (9.0, 3, False), (1.0, 4, False)])
def test_what_connections_leave_behind_is_a_fault(more_mb: float, tasks: int, met: bool) -> None:
    out = StringIO()
    before = Counts(10, 3, 11, 400.0, 250.0, 460.0)
    after = replace(before, tasks=tasks, held_mb=before.held_mb + more_mb)
    found = Soak("tiny", {}, before, after, 1000)
    assert show(found, Console(file=out, width=120, color_system=None)) is met
    assert "memory after 1000 connections" in out.getvalue()


@pytest.mark.integration
async def test_connections_of_every_kind_leave_nothing_behind() -> None:
    """A dozen of them; `make bench WHAT=soak` has a thousand."""
    async with soak_server("tiny") as server:
        await come_and_go(server, 6, settle=6)
        before = await counts(server)
        await come_and_go(server, 6, settle=6)
        after = await counts(server)
    assert (after.descriptors, after.tasks) == (before.descriptors, before.tasks)
    assert after.threads <= before.threads
    assert after.held_mb < before.held_mb + 5
    assert after.held_mb < 600, "tiny is for small boards"
