"""Endurance: many connections that come and go, then turns; what the server holds afterwards.

The connections are of three kinds in turn: one that talks by WebRTC and hangs up, one whose process is
killed, and one that is refused. The turns are spoken and heard to the end, in one conversation; memory and
voice-to-voice time are taken after each. Prints tables and writes JSON.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from aiohttp import ClientSession, WSServerHandshakeError
from rich.console import Console
from rich.table import Table

from benchmarks.client import voice_client
from benchmarks.clips import spoken
from benchmarks.latency import one_turn
from benchmarks.programs import ROOT, Program, running
from benchmarks.report import RESULTS, Out, Profile, machine, mark, progress, write_figures
from benchmarks.soak_server import Counts
from localvoice.audio.frames import AudioFrame

MORE_MB: Final = 5.0
"""That all connections together may leave."""
TREND_MB_AN_HOUR: Final = 1.0
MOST_MB: Final = {"tiny": 500}
"""Resident at most, by profile; the others have no goal."""
SLOWER: Final = 1.15
"""Times the first third's median, for the last third's."""
WARM_UP: Final = 60
"""Connections that are not counted: what is made once is made by then."""
WARM_UP_SHARE: Final = 0.2
"""Of the time of turns: the history grows to its limit, and Whisper meets its longest clip."""
SETTLE_SECONDS: Final = 20.0
"""Longer than a vanished client's peer connection lives on, and than the server keeps free memory."""


@dataclass
class Soak:
    """What was found."""

    profile: str
    machine: dict[str, Any]
    before: Counts | None = None
    """After the warm-up, with no connection."""
    after: Counts | None = None
    """After all connections."""
    connections: int = 0
    turns: list[tuple[float, float, float]] = field(default_factory=list)
    """Of each: seconds since the first began, voice-to-voice ms, MB held after it."""
    allocated_mb: list[float] = field(default_factory=list)
    """By native code, after each turn."""
    largest_mb: float = 0.0
    """Resident at any time, the start included."""
    failed: int = 0
    """Turns without an answer."""


def soak_server(profile: str) -> AbstractAsyncContextManager[Program]:
    command = (sys.executable, "-m", "benchmarks.soak_server", profile)
    return running(*command, environment={**os.environ, "PYTHONPATH": str(ROOT)}, log=Path(os.devnull))


async def counts(server: Program) -> Counts:
    server.process.send_signal(signal.SIGUSR1)
    return Counts(**json.loads(await server.line()))


async def hang_up(address: str) -> None:
    """Connect by WebRTC, and close the connection."""
    async with voice_client(address):
        pass


async def vanish(address: str) -> None:
    """Connect by WebRTC, and be killed."""
    # A fork of a process that has imported all: 300 new interpreters would take longer than all other work.
    child = multiprocessing.get_context("forkserver").Process(target=_connect_and_die, args=(address,))
    child.start()
    await asyncio.to_thread(child.join)


async def be_refused(address: str) -> None:
    """Come from the page of another site."""
    async with ClientSession() as http:
        try:
            await http.ws_connect(f"{address}/ws", origin="https://evil.example")
        except WSServerHandshakeError as refusal:
            if refusal.status == 403:
                return
    raise RuntimeError("a stranger was let in")


def _connect_and_die(address: str) -> None:
    async def connect() -> None:
        async with voice_client(address):
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(connect())


KINDS: Final = (hang_up, vanish, be_refused)


async def come_and_go(server: Program, count: int, settle: float = SETTLE_SECONDS) -> None:
    """So many connections, one after the other, and the seconds that the server needs after them."""
    for number in range(count):
        progress(f"connection {number + 1}/{count}")
        await KINDS[number % len(KINDS)](server.address)
    await asyncio.sleep(settle)


async def converse(server: Program, clips: list[AudioFrame], seconds: float, result: Soak) -> None:
    """Turns, one after the other."""
    async with voice_client(server.address) as client:
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            progress(f"turn {len(result.turns) + 1}, {passed / 60:.1f} of {seconds / 60:.0f} min")
            turn = await one_turn(client, clips[len(result.turns) % len(clips)])
            result.failed += turn.failed
            now = await counts(server)
            result.turns.append((passed, turn.milliseconds, now.held_mb))
            result.allocated_mb.append(now.allocated_mb)
            result.largest_mb = now.peak_mb


def trend(turns: list[tuple[float, float, float]]) -> float:
    """MB an hour by which memory grows after the warm-up: the median of all slopes (Theil-Sen)."""
    points = [(seconds / 3600, memory) for seconds, _, memory in _warm(turns)]
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for index, sooner in enumerate(points)
        for later in points[index + 1 :]
    ]
    return statistics.median(slopes)


def slowdown(turns: list[tuple[float, float, float]]) -> float:
    """Median voice-to-voice time of the last third against the first, after the warm-up."""
    times = [milliseconds for _, milliseconds, _ in _warm(turns)]
    third = max(1, len(times) // 3)
    return statistics.median(times[-third:]) / statistics.median(times[:third])


def _warm(turns: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    return [turn for turn in turns if turn[0] >= WARM_UP_SHARE * turns[-1][0]]


Row = tuple[str, str, str, bool]
"""What, at most, measured, met."""


def show(result: Soak, console: Console) -> bool:
    """Print what was found; whether all of it is as it should be."""
    rows = [*_of_connections(result), *_of_turns(result)]
    table = Table("what", "at most", "measured", "met", title=f"profile {result.profile}")
    for what, most, measured, met in rows:
        table.add_row(what, most, measured, mark(met))
    console.print(table)
    return all(met for *_, met in rows)


def _of_connections(result: Soak) -> Iterator[Row]:
    if result.before is None or result.after is None:
        return
    before, after = asdict(result.before), asdict(result.after)
    for name in ("descriptors", "tasks", "threads"):
        yield name, f"{before[name]}, as before", str(after[name]), after[name] <= before[name]
    more = after["held_mb"] - before["held_mb"]
    what = f"memory after {result.connections} connections"
    yield what, f"{MORE_MB} MB more", f"{more:+.1f} MB", more <= MORE_MB


def _of_turns(result: Soak) -> Iterator[Row]:
    if len(_warm(result.turns)) < 3:
        return
    growth, slower = trend(result.turns), slowdown(result.turns)
    what = f"memory in {result.turns[-1][0] / 60:.0f} min, {len(result.turns)} turns"
    yield what, f"{TREND_MB_AN_HOUR} MB/h", f"{growth:+.2f} MB/h", growth <= TREND_MB_AN_HOUR
    yield "last third against the first", f"{SLOWER} ×", f"{slower:.2f} ×", slower <= SLOWER
    yield "turns without an answer", "0", str(result.failed), not result.failed
    largest = result.largest_mb
    if (most := MOST_MB.get(result.profile)) is not None:
        yield "the whole process, from its start on", f"{most} MB", f"{largest:.0f} MB", largest <= most


async def _measure(result: Soak, connections: int, minutes: float) -> None:
    clips = await spoken(result.profile) if minutes else []
    async with soak_server(result.profile) as server:
        if connections:
            await come_and_go(server, WARM_UP)
            result.before = await counts(server)
            await come_and_go(server, connections)
            result.after, result.connections = await counts(server), connections
        await converse(server, clips, 60 * minutes, result)
    progress("")


def main(
    profile: Profile = "tiny",
    connections: int = 1000,
    minutes: Annotated[float, typer.Option(help="Of turns.")] = 30,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    multiprocessing.set_forkserver_preload(["benchmarks.soak"])
    result = Soak(profile, machine())
    asyncio.run(_measure(result, connections, minutes))
    met = show(result, Console())
    write_figures(out, f"soak-{profile}", asdict(result))
    sys.exit(0 if met else 1)
