"""Runs the tests in parts, by what they need of the machine.

First the quick ones in two processes. Then two parts at once: one by one those with real models, and next to
them those that mostly wait, for a browser or another process; what these print is shown when they have ended.
At last, one by one, those that measure a time across processes. `run_tests.py [PYTEST ARGUMENT …]`; the
arguments go to all parts.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Final

ALONE: Final = "alone"
MODELS: Final = "integration and not alone"
"""Two at a time would slow each other down many times over: llama.cpp's threads spin while they wait."""
WAITING: Final = "(e2e or elsewhere or faults) and not integration and not alone"
QUICK: Final = "not (integration or e2e or elsewhere or faults or alone)"

_NO_TESTS: Final = 5
_ENDED: Final = (0, 1, _NO_TESTS)
"""Exit statuses of a pytest that came to its end; any other one may not have told of all that failed."""
_LAST_FAILED: Final = Path("v", "cache", "lastfailed")
_FAILURES: Final = Path(".pytest_cache", _LAST_FAILED)


def main() -> int:
    """Run all parts; return the exit status: that of the first one that failed, or 5 if no test was selected.

    What failed in any of them is in pytest's cache afterwards, for `--lf` and .ci/repeat.py. Where a part
    didn't come to its end there is no such list.
    """
    statuses = [
        _pytest("-n", "2", "--dist", "loadfile", "-m", QUICK).wait(),
        *_models_and_waiting(),
        _pytest("-m", ALONE).wait(),
    ]
    if any(status not in _ENDED for status in statuses):
        _FAILURES.unlink(missing_ok=True)
    ran = [status for status in statuses if status != _NO_TESTS]
    return next((status for status in ran if status), 0) if ran else _NO_TESTS


def _models_and_waiting() -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryFile("w+", errors="replace") as told:
        # Each has a cache of its own: a pytest that ends writes down what failed as if it ran alone.
        waiting = _pytest("-m", WAITING, "-o", f"cache_dir={cache}", told=told)
        statuses = _pytest("-m", MODELS).wait(), waiting.wait()
        told.seek(0)
        print("\nWhat ran next to these:\n", told.read(), sep="", flush=True)
        if failed := _failures(Path(cache, _LAST_FAILED)):
            _FAILURES.parent.mkdir(parents=True, exist_ok=True)
            _FAILURES.write_text(json.dumps(_failures(_FAILURES) | failed, indent=2))
    return statuses


def _pytest(*options: str, told: IO[str] | None = None) -> subprocess.Popen[str]:
    # Without bytecode each of the many processes would compile everything again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *sys.argv[1:]],
        env=environment | {"PYTHONASYNCIODEBUG": "1"},
        stdout=told,
        stderr=told and subprocess.STDOUT,
        text=True,
    )


def _failures(file: Path) -> dict[str, bool]:
    return dict(json.loads(file.read_text())) if file.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
