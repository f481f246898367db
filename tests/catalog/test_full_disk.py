"""Runs tests/support/full_disk_cases.py on a small file system of its own, which it can fill."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.folders import SUPPORT

CASES = SUPPORT / "full_disk_cases.py"
NAMESPACE = ["unshare", "--mount", "--user", "--map-root-user"]
MOUNT = 'mount -t tmpfs -o size=4m,mode=700 none "$SMALL_DISK"'


def test_on_a_disk_that_is_full_read_only_or_gone(tmp_path: Path) -> None:
    environment = os.environ | {"SMALL_DISK": str(tmp_path)}
    try:
        tried = subprocess.run(
            [*NAMESPACE, "sh", "-c", MOUNT], env=environment, capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed (Debian and Ubuntu: util-linux)")
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    script = f'{MOUNT} && exec "$@"'
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script, "sh", *command],
        env=environment,
        cwd=CASES.parents[1],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
