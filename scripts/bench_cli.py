"""The command line that the benchmarks have in common: options, progress, marks, and the file of figures."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

RECORDINGS: Final = Path(__file__).parents[2] / "shared" / "speech"
"""Recorded speech, where somebody has put some beside the checkout."""


def plain_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--out`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    return parser


def parser_of(description: str | None, profile: str = "base") -> argparse.ArgumentParser:
    """A parser with `--profile` and `--out`; `profile` is the default."""
    parser = plain_parser(description)
    parser.add_argument("--profile", default=profile)
    return parser


def write_figures(folder: Path, name: str, figures: Any) -> None:
    """Put the figures, of JSON's types, into a file of the folder with this name and the time, and say so."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False), "utf-8")
    print(f"All figures are in {path}.")


def progress(what: str) -> None:
    """Tell somebody at a terminal what goes on, in one line that the next one takes; empty clears it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def mark(met: bool) -> str:
    """Whether a goal is met, for rich."""
    return "[green]✓[/]" if met else "[red]✗[/]"
