"""docs/contract.md: every test that it names is there."""

import re

from tests.support.defined_tests import defined
from tests.support.folders import ROOT

TABLE = (ROOT / "docs" / "contract.md").read_text()


def test_every_test_that_the_table_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    assert len(named) > 100
    assert named <= defined(), "renamed or gone"


def test_every_line_of_the_table_names_a_test() -> None:
    rows = [
        line
        for line in TABLE.splitlines()
        if line.startswith("| ") and not line.startswith(("| the contract", "| code", "| ---"))
    ]
    assert len(rows) > 60
    assert [row for row in rows if "`test_" not in row.split(" | ")[1]] == []
