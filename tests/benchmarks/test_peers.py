"""The comparison with other voice agents: what is pure in it, and what becomes of a peer that dies."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from benchmarks.call import GAP, Ears
from benchmarks.contenders.figures import Figures, better, blocks, goals, median, p95, ratio
from benchmarks.contenders.programs import Contender, started
from benchmarks.programs import ProgramFailed
from tests.support.folders import ROOT


def figures(voice_to_voice: list[float], barge_in: list[float] | None = None) -> Figures:
    return Figures(voice_to_voice, barge_in or [])


def test_the_order_is_turned_round_in_every_second_round() -> None:
    order = [name for _, name in blocks("ABCD", 2)]
    assert "".join(order) == "ABCDDCBA"
    assert blocks("AB", 3) == [(0, "A"), (0, "B"), (1, "B"), (1, "A"), (2, "A"), (2, "B")]


def test_a_ratio_compares_the_same_summary() -> None:
    ours, theirs = [400.0, 500.0, 1200.0], [1000.0, 2000.0, 3000.0]
    assert ratio(median, ours, theirs) == 0.25
    assert ratio(p95, ours, theirs) == 0.4
    assert ratio(median, [], theirs) is None
    assert ratio(median, ours, []) is None


def test_failures_count_as_time_outs() -> None:
    measured = Figures()
    measured.turn(900.0)
    measured.turn(None, cut_in=True)
    measured.interruption(None)
    assert measured.voice_to_voice == [900.0, 15_000.0]
    assert measured.barge_in == [15_000.0]
    assert (measured.failures, measured.cut_ins) == (2, 1)


def test_goals_are_held_against_the_better_of_pipecats_variants() -> None:
    found = {
        "localvoice": figures([800.0], [250.0]),
        "naive": figures([2000.0]),
        "pipecat": figures([3000.0], [400.0]),
        "pipecat-tuned": figures([2000.0], [600.0]),
    }
    assert better(found, ("pipecat", "pipecat-tuned")) == "pipecat-tuned"
    ratios = [(goal.limit, goal.ratio, goal.reached) for goal in goals(found)]
    assert ratios == [
        (0.42, 0.4, True),
        (0.42, 0.4, True),
        (0.36, 0.4, False),
        (0.36, 0.4, False),
        (0.5, pytest.approx(250 / 600), True),
    ]


def test_clips_by_people_have_a_goal_of_their_own() -> None:
    found = {name: Figures() for name in ("localvoice", "pipecat", "pipecat-tuned")}
    for name, milliseconds in (("localvoice", 900.0), ("pipecat", 2500.0), ("pipecat-tuned", 3000.0)):
        found[name].turn(milliseconds, by_people=True)
    assert found["localvoice"].voice_to_voice == []
    (goal,) = [goal for goal in goals(found) if "people" in goal.text]
    assert (goal.limit, goal.ratio, goal.reached) == (0.36, 0.36, True)


def test_a_goal_without_its_peer_is_not_reached() -> None:
    assert [goal.reached for goal in goals({"localvoice": figures([800.0])})] == [False] * 5


def test_a_sound_after_a_gap_is_a_new_one() -> None:
    ears = Ears()
    for moment in (1.0, 1.02, 1.3):
        ears.hear(moment)
    assert (ears.onset, ears.last) == (1.0, 1.3)
    ears.hear(1.3 + GAP + 0.1)
    assert ears.onset == ears.last == 1.3 + GAP + 0.1


def contender(*commands: str) -> Contender:
    return Contender("peer", "", tuple((sys.executable, "-c", command) for command in commands))


async def test_a_process_is_told_the_address_of_the_one_before(tmp_path: Path) -> None:
    first = "import time; print('http://127.0.0.1:1', flush=True); time.sleep(60)"
    second = "import time; assert '{previous}'[-2:] == ':1'; print('http://127.0.0.1:2'); time.sleep(60)"
    async with started(contender(first, second), tmp_path) as programs:
        assert programs[-1].address == "http://127.0.0.1:2"
        for program in programs:
            program.check()


async def test_a_peer_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match=r"(?s)code 3.*no such model"):
        async with started(contender("print('no such model'); raise SystemExit(3)"), tmp_path):
            pass


async def test_a_peer_that_dies_later_is_noticed(tmp_path: Path) -> None:
    dying = "import sys; print('http://127.0.0.1:1', flush=True); sys.exit('out of memory')"
    async with started(contender(dying), tmp_path) as programs:
        with pytest.raises(ProgramFailed, match="out of memory"):
            async with asyncio.timeout(10):
                while True:
                    programs[0].check()
                    await asyncio.sleep(0.01)


def test_pipecats_lock_pins_what_it_names() -> None:
    folder = ROOT / "scripts" / "peers"
    wanted = re.search(r"^([\w-]+)\[.*?\](==[\d.]+)$", (folder / "requirements.in").read_text(), re.MULTILINE)
    assert wanted is not None
    lock = (folder / "requirements.lock").read_text()
    assert re.search(rf"^{wanted[1]}(\[.*\])?{re.escape(wanted[2])} ", lock, re.MULTILINE)
    assert "://" not in lock and "--index" not in lock and "--find-links" not in lock
