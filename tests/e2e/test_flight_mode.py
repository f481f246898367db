"""With the network off, the page converses: server and Chromium with nothing but the loopback interface."""

import os
import subprocess
import sys

import pytest

from localvoice.catalog import ModelFiles
from tests.support.folders import ROOT
from tests.support.loopback import NotPossible, loopback_only

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

CONVERSATION = "tests/e2e/test_browser.py::test_a_spoken_question_is_shown_and_answered_by_voice"
"""Server, browser and microphone are its own; without a network it expects the voice on the WebSocket."""


def test_a_spoken_question_is_shown_and_answered_by_voice(chromium: str, tiny_models: ModelFiles) -> None:
    try:
        prefix = loopback_only()
    except NotPossible as reason:
        pytest.skip(str(reason))
    # Both processes have to be in the namespace, so a pytest of its own starts them there.
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", CONVERSATION],
        cwd=ROOT,
        env=os.environ | {"CHROMIUM": chromium},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "1 passed" in done.stdout, "not skipped"
