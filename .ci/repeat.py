"""Runs each test that failed in the last run once more, alone, and says how both went: `repeat.py`.

A machine that stands still for a moment can fail a good test. It passes alone then, and this exits with 0.
A test that fails twice is broken: 1. So is a run that ended without a list of what failed.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
MOST = 10
"""More than so many failures are no chance."""


def main() -> int:
    """Repeat; return the exit status."""
    failed = json.loads(FAILED.read_text()) if FAILED.is_file() else {}
    if not 0 < len(failed) <= MOST:
        print(f"{len(failed)} tests failed; nothing is repeated, since only 1 to {MOST} can be chance.")
        return 1
    outcomes = {test: _passes_alone(test) for test in failed}
    print("\nTests that failed, and how each went when it ran once more, alone:")
    for test, passed in outcomes.items():
        print(f"  first failed, then {'passed' if passed else 'failed'}: {test}")
    return 0 if all(outcomes.values()) else 1


def _passes_alone(test: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
