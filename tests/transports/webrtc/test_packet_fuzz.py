"""A coverage-guided fuzzer finds no packet of a peer that costs much, is kept, or breaks its call.

It runs for a moment here, and with `--fuzz` for as many inputs as that says, other ones with `--fuzz-seed`.
"""

import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import localvoice
from tests.support.folders import SUPPORT

PACKAGE = Path(localvoice.__file__).parents[1]
FUZZER = SUPPORT / "fuzz_packets.py"
MEMORY_MB = 1024
SOME = {"messages": 1_000, "sound": 3_000}


@pytest.mark.elsewhere
@pytest.mark.skipif(
    find_spec("atheris") is None,
    reason="atheris isn't installed: it has packages for Linux on x86-64 alone",
)
@pytest.mark.parametrize("target", SOME)
def test_no_packet_stalls_swells_or_breaks_the_server(
    target: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    runs, seed = pytestconfig.getoption("--fuzz") or SOME[target], pytestconfig.getoption("--fuzz-seed")
    path = os.pathsep.join(map(str, (PACKAGE, FUZZER.parent)))
    # Linux counts the most that this process has ever taken as the fuzzer's own.
    most_mb = MEMORY_MB + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    options = [target, str(tmp_path), f"-runs={runs}", f"-seed={seed}", f"-rss_limit_mb={most_mb}"]
    done = subprocess.run(
        [sys.executable, FUZZER, *options],
        env={**os.environ, "PYTHONPATH": path, "PYTHONASYNCIODEBUG": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6_000:]
    assert f"Done {runs} runs" in done.stderr
