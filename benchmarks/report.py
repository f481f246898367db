"""What the commands share: options, progress, percentiles, marks, and the file of figures."""

import json
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from localvoice.machine import available_cores

Profile = Annotated[str, typer.Option(help="Set of models: tiny, base, quality, gpu or your own.")]
Out = Annotated[Path, typer.Option(help="Folder in which the figures are written as JSON.")]
RESULTS: Final = Path("bench-results")
RECORDINGS: Final = Path(__file__).parents[2] / "shared" / "speech"
"""Recorded speech next to the checkout, where there is some."""


def write_figures(folder: Path, name: str, figures: Any) -> None:
    """Write the figures, of JSON's types, to a file of the folder with this name and the time."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False), "utf-8")
    print(f"All figures are in {path}.")


def progress(what: str) -> None:
    """Show at a terminal what is being done, in one line that the next call overwrites."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def mark(met: bool) -> str:
    """Whether a goal is met, for rich."""
    return "[green]✓[/]" if met else "[red]✗[/]"


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest rank: a value that was measured."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        model = found[1]
    python, system = platform.python_version(), platform.platform()
    return {"cpu": model, "cores": available_cores(), "system": system, "python": python}
