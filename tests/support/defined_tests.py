"""The tests that there are, by name."""

import re

from tests.support.folders import ROOT


def defined() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.M)
    }
