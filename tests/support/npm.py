"""npm packages that tests use: installed by their lock file, into a folder that git ignores."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

NPM_SECONDS: Final = 120
UNREACHABLE: Final = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "ETIMEDOUT",
    "ERR_SOCKET_TIMEOUT",
)
"""npm's codes for a registry that doesn't answer."""


def npm(folder: Path, *words: str) -> None:
    """Run npm in a folder. Skips the test where npm is missing or its registry can't be reached."""
    program = shutil.which("npm")
    if program is None:
        pytest.skip("needs npm: install it (Debian: apt install npm)")
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
    if done.returncode and (codes := [code for code in UNREACHABLE if code in done.stderr]):
        pytest.skip(f"needs npm's registry, which can't be reached: {codes[0]}")
    assert done.returncode == 0, done.stderr
