"""The documentation: it builds, loads nothing from elsewhere, and names what is there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.folders import ROOT
from tests.support.public_names import PUBLIC

DOCS: Final = ROOT / "docs"
DECISIONS: Final = sorted((DOCS / "decisions").glob("[0-9]*.md"))
PAGES: Final = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "PRIVACY", "SECURITY")),
]
LOADED: Final = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=["']?([^"'\s>]+)""")
FETCHED_BY_STYLES: Final = re.compile(r"""(?:url\(|@import )["']?(https?:|//)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation; a link that leads nowhere fails the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_its_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        loaded = LOADED.findall(page.read_text())
        assert loaded and not [each for each in loaded if re.match("[a-z]+:|//", each)], page
        assert "mermaid" not in page.read_text(), "material fetches mermaid's script for it"
    for style in site.rglob("*.css"):
        assert not FETCHED_BY_STYLES.search(style.read_text()), style


def test_the_reference_has_every_public_name(site: Path) -> None:
    reference = (site / "reference.html").read_text()
    names = set(PUBLIC) - {"__version__"}
    # `tool` is also a module of its package, so it stands there under its full name.
    ids = {name: (name, f"tools.tool.{name}") for name in names}
    missing = [
        name
        for name, known in ids.items()
        if not any(f'id="localvoice.{each}"' in reference for each in known)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    folders = "localvoice|tests|scripts|benchmarks|docs|examples|models"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*\w/?)`", page.read_text()))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_files_of_the_package_that_the_architecture_names_are_there() -> None:
    named = set(re.findall(r"`(\w+(?:/\w+)*(?:/|\.py))`", (DOCS / "architecture.md").read_text()))
    assert len(named) > 20
    inside = ROOT / "localvoice"
    assert [
        path for path in sorted(named) if not (inside / path).exists() and not (ROOT / path).exists()
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_that_a_page_names_are_there(page: Path) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    commands = re.findall(r"(?:`|^    )make ((?:[a-z-]+ ?)*)", page.read_text(), re.MULTILINE)
    assert {word for command in commands for word in command.split()} <= set(targets[1].split())


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [path.name[:3] for path in DECISIONS]
    assert len(numbers) > 30 and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_says_why_and_what_was_rejected(decision: Path) -> None:
    text = decision.read_text()
    assert text.startswith("# ") and len(text.splitlines()) <= 40
    assert re.search(r"\bWhat\b", text) and re.search(r"\bWhy\b", text) and re.search(r"\bRejected\b", text)
