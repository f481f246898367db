"""What the distribution is called: on the public index, `localvoice` is a stranger's package."""

import re
import tomllib
from pathlib import Path

from localvoice.version import DISTRIBUTION, __version__
from tests.support.folders import ROOT

STRANGERS = "|".join(
    (
        r"\b(?:pip3?|pipx|uv) [^\n]*\b(?:add|download|install|run)\b[^\n]*[ '\"`]localvoice(?![\w./:-])",
        r"\b(?:uvx|pipx run) +localvoice\b(?!-agent)",
        r"[ '\"`]localvoice ?(?:\[\w|[<>=~!]=)",
        r"pkg:pypi/localvoice\b(?!-agent)",
        r"pypi\.org/project/localvoice\b(?!-agent)",
    )
)


def texts() -> list[Path]:
    folders = (
        ROOT / name for name in ("localvoice", "docs", "examples", "scripts", "benchmarks", "tests", ".ci")
    )
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    wanted = (".md", ".py", ".toml", ".sh", ".html", ".js", ".in", ".lock", ".yaml", ".json", "")
    return [path for path in files if path.suffix in wanted and path != Path(__file__).resolve()]


def test_the_distribution_has_a_name_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == (DISTRIBUTION, __version__)
    assert DISTRIBUTION != "localvoice" and project["scripts"].keys() == {"localvoice"}


def test_nothing_tells_to_install_the_strangers_package() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {hit[0].strip()}"
        for path in texts()
        for hit in re.finditer(STRANGERS, path.read_text("utf-8", "replace"))
    ]
    assert found == []


def test_what_would_install_it_is_recognised() -> None:
    for text in (
        'pip install "localvoice[prometheus]"',
        "python -m pip install localvoice",
        "`pip install -U localvoice`",
        "uvx localvoice serve",
        ' "localvoice>=0.2"',
        "pkg:pypi/localvoice@0.2.0",
    ):
        assert re.search(STRANGERS, text), text
    for text in (
        "pip install -e .",
        "pip install localvoice-agent",
        "uvx localvoice-agent",
        "run localvoice serve",
    ):
        assert not re.search(STRANGERS, text), text
