"""Proves that the server works offline, and that it tries nothing else where there is a network.

Runs `benchmarks.offline_watch` twice: in a network of the loopback alone, where the voice goes over the
WebSocket, and in this machine's own, over WebRTC. Exit code 1: something was found, or the conversation
failed. 2: this machine can't show it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.offline_watch import Sighting
from benchmarks.report import Profile
from benchmarks.servers import ROOT
from tests.support.loopback import NotPossible, loopback_only

WATCHER: Final = "benchmarks.offline_watch"
NOT_POSSIBLE: Final = 2


class NotProven(RuntimeError):
    """The watched run itself failed."""


def sight(prefix: list[str], profile: str, spoken_turns: int) -> Sighting:
    """Run the watcher behind `prefix`, and read what it saw. Raises `NotPossible` or `NotProven`."""
    if shutil.which("strace") is None:
        raise NotPossible("Seeing a server's system calls needs strace (Debian: apt install strace).")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "sighting.json"
        options = ["--profile", profile, "--spoken-turns", str(spoken_turns), "--out", str(out)]
        command = [*prefix, sys.executable, "-m", WATCHER, *options]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
        if done.returncode != 0:
            raise NotProven(done.stderr.strip())
        return Sighting.model_validate_json(out.read_text("utf-8"))


def show(sightings: dict[str, Sighting], profile: str, console: Console) -> bool:
    """Print what was run, seen and found; whether all of it was silent."""
    table = Table(title=f"The server under strace, profile {profile}", title_justify="left")
    for heading in ("network", "conversation", "system calls", "addresses", "verdict"):
        table.add_column(heading, justify="right" if heading == "system calls" else "left")
    for network, seen in sightings.items():
        verdict = "[green]silent[/]" if seen.silent else f"[red]{len(_faults(seen))} found[/]"
        addresses = "\n".join(f"{name} ({count})" for name, count in sorted(seen.calls.addresses.items()))
        conversation = f"start, {len(seen.turns)} turns, end\nvoice by {seen.voice}"
        table.add_row(network, conversation, f"{seen.calls.count}", addresses, verdict)
    console.print(table)
    for network, seen in sightings.items():
        for fault in _faults(seen):
            console.print(f"{network}: {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
    return all(seen.silent for seen in sightings.values())


def _faults(seen: Sighting) -> list[str]:
    called = [f"{finding.what}: {finding.line}" for finding in seen.calls.findings]
    return called + [f"kept in the user's home: {name}" for name in seen.kept]


def main(
    profile: Profile = "tiny",
    spoken_turns: Annotated[int, typer.Option(min=1, max=10, help="Questions to speak.")] = 3,
) -> None:
    """Watch the server in both networks, and say what it tried."""
    console, sightings = Console(), dict[str, Sighting]()
    try:
        with console.status("Talking to it with the loopback interface alone …"):
            sightings["loopback alone"] = sight(loopback_only(), profile, spoken_turns)
        with console.status("Talking to it on this machine's own network …"):
            sightings["this machine's"] = sight([], profile, spoken_turns)
    except (NotPossible, NotProven) as reason:
        console.print(str(reason), style="red", markup=False, highlight=False)
        raise typer.Exit(NOT_POSSIBLE if isinstance(reason, NotPossible) else 1) from reason
    if not show(sightings, profile, console):
        raise typer.Exit(1)
