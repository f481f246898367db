"""A mkdocs hook: pages for the files outside of docs/ that the documentation links to.

README, PRIVACY and the others lie where people look for them in a checkout. Here they become pages, and
examples become pages with their code. Links between all of them are rewritten from places in the checkout to
pages.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "LICENSE": "LICENSE.md",
    "PRIVACY.md": "PRIVACY.md",
    "SECURITY.md": "SECURITY.md",
    "models/README.md": "models/README.md",
} | {f"examples/{each.name}": f"examples/{each.stem}.md" for each in sorted((ROOT / "examples").glob("*.py"))}
"""Path in the checkout to path in the documentation."""
_LINK: Final = re.compile(r"(?<=\]\()(?P<path>[^()\s:#]+)(?P<anchor>#[^()\s]*)?(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace the patterns in the navigation, such as `decisions/*.md`, by the pages that they match."""
    pages = [f"{each.relative_to(config.docs_dir)}" for each in sorted(Path(config.docs_dir).rglob("*.md"))]
    pages += PAGES.values()
    for section in config.nav or []:
        for title, entries in section.items():
            section[title] = [_expanded(entry, pages) for entry in entries]
    return config


def _expanded(entry: dict[str, str], pages: list[str]) -> dict[str, str | list[str]]:
    """A navigation entry with the pages that its pattern matches; one without a pattern stays as it is."""
    ((title, pattern),) = entry.items()
    if "*" not in pattern:
        return {title: pattern}
    return {title: [page for page in pages if Path(page).match(pattern)]}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        if source.endswith(".py"):
            text = f"# {Path(source).name}\n\n```python\n{text}```\n"
        elif source == "LICENSE":
            text = f"# Licence\n\n```text\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite links to files of the checkout into links to their pages; the examples are listed in api.md."""
    here = page.file.src_uri
    source = next((path for path, target in PAGES.items() if target == here), f"docs/{here}")

    def rewritten(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
        target = "api.md" if path == "examples" else PAGES.get(path, path.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(here) or ".") + (link["anchor"] or "")

    return _LINK.sub(rewritten, markdown)
