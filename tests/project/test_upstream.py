"""docs/upstream.md: each fault has what a report needs, and can still be seen with the versions in use."""

import json
import re
import subprocess
import sys
from typing import Final

import pytest

from tests.support.folders import ROOT

PAGE: Final = (ROOT / "docs" / "upstream.md").read_text()
FAULTS: Final = {
    title: body for title, body in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
_BLOCK: Final = re.compile(r"```python\n(.*?)```", re.DOTALL)
SHARED: Final = _BLOCK.findall(PAGE)[0]

RUN_ALL: Final = """
import json, sys, traceback
names, ended = dict(globals()), {}
for title, code in json.load(sys.stdin).items():
    try:
        exec(code, dict(names))
        ended[title] = ""
    except Exception:
        ended[title] = traceback.format_exc()
print(json.dumps(ended))
"""


def runs_alone(code: str) -> bool:
    """Whether it is a program; those for "a connected call" await outside of a function."""
    try:
        compile(code, "upstream.md", "exec")
    except SyntaxError:
        return False
    return True


PROGRAMS: Final = {
    title: code for title, body in FAULTS.items() for code in _BLOCK.findall(body) if runs_alone(code)
}


@pytest.mark.parametrize("title", FAULTS)
def test_each_fault_has_what_a_report_needs(title: str) -> None:
    for part in ("What happens", "Reproduction", "Workaround"):
        assert f"**{part}.**" in FAULTS[title], part


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What each program ended with, all run in one process without localvoice's workarounds."""
    program = SHARED + RUN_ALL
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(PROGRAMS),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    ended: dict[str, str] = json.loads(done.stdout)
    return ended


@pytest.mark.parametrize("title", PROGRAMS)
def test_each_fault_can_still_be_seen(title: str, outcomes: dict[str, str]) -> None:
    """Where this fails, the fault may be gone: then take its section and its workaround out."""
    assert outcomes[title] == ""


def test_most_reproductions_run() -> None:
    assert len(FAULTS) > 25 and len(PROGRAMS) > 10
