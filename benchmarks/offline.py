"""Proves that the server works offline, and that it tries nothing else where there is a network.

A client talks to the real server under strace twice: in a network of the loopback alone, where the voice goes
over the WebSocket, and in this machine's own, over WebRTC. Exit code 1: something was found, or the
conversation failed. 2: this machine can't show it.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.client import Client, socket_client, voice_client
from benchmarks.clips import QUESTIONS, spoken
from benchmarks.programs import ROOT, ProgramFailed, running, serve
from benchmarks.report import Profile
from benchmarks.system_calls import TRACED, Calls, read_calls
from localvoice.audio.frames import AudioFrame
from localvoice.transports.webrtc.addresses import has_network, host_addresses
from tests.support.loopback import NotPossible, loopback_only

NOT_POSSIBLE: Final = 2
SET_BY_OURSELVES: Final = (
    "ORT_DISABLE_TELEMETRY",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "GOMP_SPINCOUNT",
)
"""What `configure_process` sets: it must not reach the server from outside."""
FOREIGN: Final = "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"
HIDDEN: Final = "a=candidate:2 1 udp 2113937151 3f6c1d5e-0000-4000-8000-000000000000.local 50001 typ host"
"""A client's offers to send to another machine, and to look a name up by multicast."""
TURN_SECONDS: Final = 120


class NotProven(RuntimeError):
    """The server or the conversation failed, so nothing is shown; the text says how."""


class Turn(BaseModel):
    asked: str
    """What the server understood, or what was typed."""
    answered: str


class Sighting(BaseModel):
    """What the server did from its start to its end."""

    voice: str
    """How speech came and went: WebRTC or WebSocket."""
    turns: list[Turn]
    calls: Calls
    kept: list[str]
    """Files that it left in the user's home."""

    @property
    def silent(self) -> bool:
        """Whether it sent, looked up and kept nothing."""
        return not self.calls.findings and not self.kept


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


def sight(prefix: list[str], profile: str, spoken_turns: int) -> Sighting:
    """Watch in a process behind `prefix`, and read what it saw. Raises `NotPossible` or `NotProven`."""
    if shutil.which("strace") is None:
        raise NotPossible("Seeing a server's system calls needs strace (Debian: apt install strace).")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "sighting.json"
        command = [*prefix, sys.executable, "-m", "benchmarks.offline", profile, str(spoken_turns), str(out)]
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


async def watch(profile: str, spoken_turns: int) -> Sighting:
    """Start the server, type one question and speak the others, and judge what it did.

    Raises `ProgramFailed` if it doesn't start, `NotProven` if it doesn't answer.
    """
    clips = await spoken(profile, QUESTIONS[:spoken_turns])
    by_webrtc = has_network()
    with tempfile.TemporaryDirectory() as scratch:
        trace, home = Path(scratch) / "trace.txt", Path(scratch) / "home"
        home.mkdir()
        strace = (
            "strace",
            "-f",
            "--seccomp-bpf",
            "-v",
            "-s",
            "64",
            "-e",
            f"trace={TRACED}",
            "-o",
            str(trace),
        )
        log = trace.with_name("server.log")
        async with running(*strace, *serve(profile), environment=_environment(home), log=log) as server:
            # A foreign candidate can only be offered where there is something to connect to.
            site = server.address
            calling = voice_client(site, (FOREIGN, HIDDEN)) if by_webrtc else socket_client(site)
            try:
                async with calling as client:
                    turns = await _talk(client, clips)
            except TimeoutError as late:
                raise server.failure("No answer in time.") from late
        calls = read_calls(trace.read_text(errors="replace").splitlines(), host_addresses())
        kept = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    if not calls.addresses:
        raise NotProven("strace did not even see the server listen: what it saw proves nothing.")
    return Sighting(voice="WebRTC" if by_webrtc else "WebSocket", turns=turns, calls=calls, kept=kept)


def _environment(home: Path) -> dict[str, str]:
    """As a user's, but with a home of its own."""
    # Without CI: onnxruntime hides its telemetry where it thinks that it is being tested.
    left_out = ("CI", "PYTHONASYNCIODEBUG", *SET_BY_OURSELVES)
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    own = {"LOCALVOICE_AGENT_MAX_TOKENS": "20", "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    return inherited | own


async def _talk(client: Client, clips: list[AudioFrame]) -> list[Turn]:
    """One typed question, then the spoken ones; each answered to its end, and heard."""
    typed = "Hello."
    await client.send({"type": "text", "text": typed})
    turns = [Turn(asked=typed, answered=await _answer(client))]
    for clip in clips:
        client.say(clip)
        async with asyncio.timeout(TURN_SECONDS):
            while not (words := await client.wait_for("transcript"))["isFinal"]:
                pass
        turns.append(Turn(asked=words["text"], answered=await _answer(client)))
    return turns


async def _answer(client: Client) -> str:
    """The words of the next reply, once they were heard."""
    before = client.ears.last
    async with asyncio.timeout(TURN_SECONDS):
        words: str = (await client.wait_for("llm"))["text"]
        await client.wait_for("tts-complete")
    if client.ears.last <= before:
        raise NotProven(f"The reply {words!r} was not heard.")
    return words


if __name__ == "__main__":
    try:
        seen = asyncio.run(watch(sys.argv[1], int(sys.argv[2])))
    except (ProgramFailed, NotProven) as failure:
        sys.exit(str(failure))
    Path(sys.argv[3]).write_text(seen.model_dump_json(), "utf-8")
