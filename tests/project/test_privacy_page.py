"""PRIVACY.md: every line names a test that shows it, and every test that it names is there."""

import re

from tests.support.defined_tests import defined
from tests.support.folders import ROOT

PAGE = (ROOT / "PRIVACY.md").read_text()


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 40
    assert named <= defined(), "renamed or gone"


def test_every_line_of_the_page_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    said = [row for row in rows if not row.endswith("| shown by |")]
    assert len(said) > 20
    assert [row for row in said if "`test_" not in row.split(" | ")[-1]] == []


def test_the_readme_leads_to_it() -> None:
    assert "(PRIVACY.md)" in (ROOT / "README.md").read_text()
