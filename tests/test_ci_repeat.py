"""CI repeats what failed, once and alone: what fails by chance passes then, what is broken doesn't."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPEAT = Path(__file__).parent.parent / ".ci" / "repeat.py"
RUN = Path(__file__).parent.parent / "scripts" / "run_tests.py"
CHANCE = """
from pathlib import Path

def test_chance():
    seen = Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
BROKEN = "def test_broken():\n    assert False\n"
GOOD = "def test_good():\n    pass\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take a second at each start
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPEAT, tmp_path / ".ci")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def outcome(checkout: Path, **tests: str) -> tuple[int, int, str]:
    """Exit status of the first run and of its repetition, and what the latter said."""
    for name, source in tests.items():
        (checkout / f"test_{name}.py").write_text(source)
    first = subprocess.run([sys.executable, "-m", "pytest"], cwd=checkout, capture_output=True)
    again = subprocess.run(
        [sys.executable, str(checkout / ".ci" / "repeat.py")], cwd=checkout, capture_output=True, text=True
    )
    return first.returncode, again.returncode, again.stdout


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


@pytest.mark.parametrize(
    ("quick", "alone", "status"),
    [("pass", "pass", 0), ("assert False", "pass", 1), ("pass", "assert False", 1), (None, None, 5)],
)
def test_both_halves_of_the_tests_run_whatever_becomes_of_the_first(
    checkout: Path, quick: str | None, alone: str | None, status: int
) -> None:
    (checkout / "pytest.ini").write_text("[pytest]\nmarkers =\n  integration\n  e2e\n  elsewhere\n  faults\n")
    if quick is not None:
        (checkout / "test_quick.py").write_text(f"def test_quick():\n    {quick}\n")
    if alone is not None:
        marked = f"import pytest\n\n@pytest.mark.e2e\ndef test_alone():\n    {alone}\n"
        (checkout / "test_alone.py").write_text(marked)
    ended = subprocess.run(
        [sys.executable, str(RUN), "-p", "xdist", "-v"], cwd=checkout, capture_output=True, text=True
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    if quick is not None:
        assert "test_quick" in ended.stdout and "test_alone" in ended.stdout
