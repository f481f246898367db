"""CI repeats what failed, once and alone: what fails by chance passes then, what is broken doesn't."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.folders import ROOT

REPEAT = ROOT / ".ci" / "repeat.py"
RUN = ROOT / "scripts" / "run_tests.py"
CHANCE = """
from pathlib import Path

def test_chance():
    seen = Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
PARTS = ("quick", "integration", "e2e", "alone")
"""A test of each part, by its mark."""
BROKEN = "def test_broken():\n    assert False\n"
GOOD = "def test_good():\n    pass\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take a second at each start
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPEAT, tmp_path / ".ci")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def repeated(checkout: Path) -> tuple[int, str]:
    command = [sys.executable, str(checkout / ".ci" / "repeat.py")]
    again = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    return again.returncode, again.stdout


def outcome(checkout: Path, **tests: str) -> tuple[int, int, str]:
    """Exit status of the first run and of its repetition, and what the latter said."""
    for name, source in tests.items():
        (checkout / f"test_{name}.py").write_text(source)
    first = subprocess.run([sys.executable, "-m", "pytest"], cwd=checkout, capture_output=True)
    return first.returncode, *repeated(checkout)


def test_what_failed_by_chance_passes_and_both_outcomes_are_told(checkout: Path) -> None:
    first, again, said = outcome(checkout, chance=CHANCE, good=GOOD)
    assert (first, again) == (1, 0)
    assert "first failed, then passed: test_chance.py::test_chance" in said
    assert "test_good" not in said


def test_what_fails_again_fails(checkout: Path) -> None:
    first, again, said = outcome(checkout, chance=CHANCE, broken=BROKEN)
    assert (first, again) == (1, 1)
    assert "first failed, then passed: test_chance.py::test_chance" in said
    assert "first failed, then failed: test_broken.py::test_broken" in said


def test_a_file_that_cannot_be_read_fails(checkout: Path) -> None:
    assert outcome(checkout, unreadable="import nothing_of_this_name\n")[:2] == (2, 1)


def test_many_failures_are_no_chance(checkout: Path) -> None:
    each = CHANCE.replace("chance", "chance_{0}").replace("seen", "seen_{0}")
    many = "\n".join(each.format(number) for number in range(11))
    first, again, said = outcome(checkout, many=many)
    assert (first, again) == (1, 1) and "11 tests failed" in said


def test_a_run_that_crashed_leaves_nothing_to_repeat(checkout: Path) -> None:
    first, again, _ = outcome(checkout, crash="import os\n\ndef test_crash():\n    os._exit(3)\n")
    assert (first, again) == (3, 1)


def run_parts(checkout: Path, **parts: str) -> tuple[int, str]:
    """Exit status and output of the run of all parts; each of them has one test, with this for its body."""
    (checkout / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  integration\n  e2e\n  elsewhere\n  faults\n  alone\n"
    )
    for part, body in parts.items():
        mark = "" if part == "quick" else f"import pytest\n\n@pytest.mark.{part}\n"
        (checkout / f"test_{part}.py").write_text(f"{mark}def test_{part}():\n    {body}\n")
    ended = subprocess.run(
        [sys.executable, str(RUN), "-p", "xdist", "-v"], cwd=checkout, capture_output=True, text=True
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("failing", [None, "integration", "e2e"])
def test_every_part_runs_whatever_becomes_of_the_others(checkout: Path, failing: str | None) -> None:
    parts = dict.fromkeys(PARTS, "pass")
    status, told = run_parts(checkout, **parts | ({failing: "assert False"} if failing else {}))
    assert status == (1 if failing else 0), told
    for part in parts:
        assert f"test_{part}.py::test_{part}" in told
    models, waiting = told.index("test_integration.py::"), told.index("test_e2e.py::")
    assert "What ran next to these" in told[models:waiting], "one after the other, though they ran at once"


def test_without_any_test_that_is_said(checkout: Path) -> None:
    assert run_parts(checkout)[0] == 5


def test_what_failed_in_any_part_is_repeated(checkout: Path) -> None:
    assert run_parts(checkout, **dict.fromkeys(PARTS, "assert False"))[0] == 1
    status, said = repeated(checkout)
    assert status == 1
    for part in PARTS:
        assert f"first failed, then failed: test_{part}.py::test_{part}" in said


@pytest.mark.parametrize("crashing", ["integration", "e2e"])
def test_a_part_that_crashed_is_not_excused_by_what_else_failed(checkout: Path, crashing: str) -> None:
    chance = "from pathlib import Path; seen = Path('seen').exists(); Path('seen').touch(); assert seen"
    status, told = run_parts(checkout, **{"quick": chance, crashing: "import os; os._exit(3)"})
    assert status == 1, told
    assert repeated(checkout) == (
        1,
        "0 tests failed; nothing is repeated, since only 1 to 10 can be chance.\n",
    )
