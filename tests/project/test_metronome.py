"""What blocks is found, what is held up is not: processes are stopped, as if the machine stood still."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.blocked_cases import busy_neighbours
from tests.support.folders import ROOT, SUPPORT
from tests.support.metronome import Metronome, covered, queued_seconds

CASES = SUPPORT / "blocked_cases.py"
STOPPED_SECONDS = 0.8
KEEPS_A_METRONOME = """
import time
from tests.support.metronome import Metronome
print(Metronome().stood_still(0, 0) == 0, flush=True)
time.sleep(60)
"""


def outcomes() -> tuple[dict[str, str], str]:
    """How each of the cases ended, and all that was said."""
    pytest_run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-qsrA", "-p", "no:cacheprovider", str(CASES)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "1000"},  # or the reasons are cut short
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    told = []
    with pytest_run as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line)
            if line == "stop machine\n":  # everything in it: pytest and its metronome
                stop(-process.pid)
            if line == "stop process\n":
                stop(process.pid)
    ends = re.findall(r"^(PASSED|FAILED) \S+::test_(\w+)(?: - (.*))?", "".join(told), re.MULTILINE)
    return {name: reason or end for end, name, reason in ends}, "".join(told)


def stop(process: int) -> None:
    os.kill(process, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    os.kill(process, signal.SIGCONT)


def test_what_blocks_is_found_and_a_machine_that_stands_still_is_not_taken_for_it() -> None:
    ends, told = outcomes()
    assert len(ends) == (8 if sys.platform == "linux" else 7), told
    for name, end in ends.items():
        if name.startswith("blocks"):
            assert "the event loop was blocked: Executing <Task" in end, told
        else:
            assert end == "PASSED", told
    still = re.search(r"([0-9.]+) on a machine", ends["blocks_and_the_machine_stands_still_too"])
    assert still and float(still[1]) >= STOPPED_SECONDS - 0.2, told


@pytest.fixture
def metronome() -> Iterator[Metronome]:
    metronome = Metronome()
    metronome.stood_still(0, time.monotonic())  # it beats by now
    yield metronome
    metronome.close()


@pytest.mark.skipif(not queued_seconds(), reason="only Linux counts how long a thread waits for a core")
def test_busy_neighbours_are_no_machine_that_stands_still(metronome: Metronome) -> None:
    with busy_neighbours(2 * (os.cpu_count() or 1)):
        still, queued = [], queued_seconds()
        for _ in range(4):  # once the machine may really stand still
            begun = time.monotonic()
            sum(range(10_000_000))
            time.sleep(0.5)
            still.append(metronome.stood_still(begun, time.monotonic()))
    assert sorted(still)[1] == 0, still
    assert queued_seconds() - queued > 0.1, "this thread had half of a core"


def test_the_metronome_ends_with_the_process_that_made_it_however_that_ends() -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPS_A_METRONOME],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "True\n"
    keeper.kill()
    _, told = keeper.communicate(timeout=10)  # read to the end: nobody has the descriptor any more
    assert told == ""


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 2)], 0),
        ([(9, 11)], 1),
        ([(19, 25)], 1),
        ([(0, 30)], 10),
        ([(12, 14), (13, 15)], 3),
        ([(12, 18), (13, 14)], 6),
        ([(16, 17), (12, 13)], 2),
        ([(21, 22)], 0),
    ],
)
def test_what_stood_still_on_several_cores_counts_once(
    spans: list[tuple[float, float]], seconds: float
) -> None:
    assert covered(spans, 10, 20) == seconds
