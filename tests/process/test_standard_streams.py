"""A program that is started with a standard stream closed, as by a shell's `2>&-`."""

import os
import subprocess
import sys

import pytest

from tests.support.folders import ROOT

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]
CLOSES_THEM = """
import os
from localvoice.process.ending import run_until_signal
async def main(ending):
    print("lost")
    os.write(told, b"main ran")
told = os.dup(1)
for number in range(3):
    os.close(number)
run_until_signal(main, lambda: None)
"""
OPENED_NEXT = """
import os, socket, sys
from tests.support.folders import ROOT
from localvoice.process.output import open_standard_streams
open_standard_streams()
with socket.socket() as opened:
    own = [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)]
    inherited = all(map(os.get_inheritable, own))
    sys.exit(0 if own == [0, 1, 2] and inherited and opened.fileno() > 2 else 3)
"""


def ended(closed: str, *arguments: str) -> int:
    """The exit code of a Python whose streams are closed so."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False).returncode


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_commands_run(closed: str) -> None:
    assert ended(closed, "-m", "localvoice.cli", "version") == 0


def test_a_daemon_may_close_their_descriptors_itself() -> None:
    command = [sys.executable, "-c", CLOSES_THEM]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
    assert done.stdout == b"main ran"


@pytest.mark.parametrize("closed", CLOSED)
def test_no_other_file_takes_the_place_of_a_stream(closed: str) -> None:
    """What native code prints to descriptor 1 would go into it: a client's socket, or a saved session."""
    assert ended(closed, "-X", "dev", "-W", "error", "-c", OPENED_NEXT) == 0
