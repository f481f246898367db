"""Runs the tests: the quick ones in two processes, then one by one those that need the whole machine.

`run_tests.py [PYTEST ARGUMENT …]`; the arguments go to both runs.
"""

import os
import subprocess
import sys
from typing import Final

ALONE: Final = "integration or e2e or elsewhere or faults"
"""Real models, browsers and other processes: two at a time would slow each other down many times over."""
_NO_TESTS: Final = 5


def main() -> int:
    """Run both; return the exit status: that of the first run that failed, or 5 if no test was selected."""
    statuses = [
        _pytest("-n", "2", "--dist", "loadfile", "-m", f"not ({ALONE})"),
        _pytest("-m", ALONE),
    ]
    ran = [status for status in statuses if status != _NO_TESTS]
    return next((status for status in ran if status), 0) if ran else _NO_TESTS


def _pytest(*options: str) -> int:
    command = [sys.executable, "-m", "pytest", *options, *sys.argv[1:]]
    return subprocess.run(command, env=os.environ | {"PYTHONASYNCIODEBUG": "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
