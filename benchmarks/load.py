"""What attackers and refused clients cost the clients that are served: alone and next to each kind of them.

The served clients converse in spoken questions, and the time from a question to the first sound of its answer
is measured. One more place is left for attackers, which is taken while clients are refused. The engines are
scripted unless a profile is named, so the time is the server's own. Attackers run in a process of their own.
Prints a table and writes JSON.
"""

import asyncio
import base64
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Final
from urllib.parse import urlsplit

import numpy as np
import typer
from aiohttp import ClientSession
from rich.console import Console
from rich.table import Table

from benchmarks.attackers import ATTACKS, REFUSED
from benchmarks.client import Client
from benchmarks.clips import spoken
from benchmarks.report import RESULTS, Out, mark, percentile, progress, write_figures
from benchmarks.servers import ROOT, SCRIPTED, program, server
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.wav import wav_bytes

ALONE: Final = "alone"
MOST: Final = 1.1
"""Times the p95 alone."""
ROUNDS: Final = 2
"""Of all kinds in turn, so that other work on the machine meets all of them."""
SETTLE_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.5
"""Between two turns."""
TURN_SECONDS: Final = 120


def main(
    profile: Annotated[str | None, typer.Option(help="Models in place of scripted engines.")] = None,
    served: Annotated[int, typer.Option(help="Clients that converse.")] = 2,
    turns: Annotated[int, typer.Option(help="Of each client, alone and next to each kind.")] = 30,
    only: Annotated[list[str] | None, typer.Option(help=f"Only this kind: {', '.join(ATTACKS)}.")] = None,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    kinds = [kind for kind in ATTACKS if not only or kind in only]
    if not kinds:
        sys.exit(f"--only takes {', '.join(ATTACKS)}.")
    times = asyncio.run(_measure(profile, served, turns, kinds))
    met = _show(times, Console())
    write_figures(out, "load", times)
    sys.exit(0 if met else 1)


async def _measure(profile: str | None, served: int, turns: int, kinds: list[str]) -> dict[str, list[float]]:
    clip = (await spoken(profile, ("What is the capital of France?",)))[0] if profile else _tone()
    speech = base64.b64encode(wav_bytes(clip)).decode()
    times: dict[str, list[float]] = {name: [] for name in (ALONE, *kinds)}
    async with (
        _server(profile, served + 1) as address,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(_client(address)) for _ in range(served)]
        for number in range(ROUNDS):
            for name, measured in times.items():
                progress(f"{name}: round {number + 1}/{ROUNDS}")
                async with _attackers(name, address):
                    measured += await _converse(clients, speech, -(-turns // ROUNDS))
    progress("")
    return times


@asynccontextmanager
async def _server(profile: str | None, places: int) -> AsyncIterator[str]:
    if profile is None:
        arguments = ("--conversations", str(places), "--voice-delay", "0.5")
        async with program(SCRIPTED, *arguments, quiet=True) as (_, address):
            yield address
        return
    limits = {"CONVERSATIONS": places, "SESSIONS_PER_MINUTE": 10_000, "TURNS_PER_MINUTE": 1_000}
    environment = {f"LOCALVOICE_LIMITS_{name}": str(value) for name, value in limits.items()}
    async with server(profile, **environment, LOCALVOICE_AGENT_MAX_TOKENS="16") as ready:
        yield ready.address


@asynccontextmanager
async def _client(address: str) -> AsyncIterator[Client]:
    async with ClientSession() as http, http.ws_connect(f"{address}/ws") as socket:
        client = Client(socket)
        await client.connect()
        try:
            await client.wait_for("ready")
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def _attackers(kind: str, address: str) -> AsyncIterator[None]:
    if kind == ALONE:
        yield
        return
    url = urlsplit(address)
    async with AsyncExitStack() as stack:
        if kind in REFUSED:
            await stack.enter_async_context(_client(address))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.attackers", kind, str(url.hostname), str(url.port)), cwd=ROOT
        )
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            yield
            if process.returncode is not None:
                sys.exit(f"The attack “{kind}” ended by itself; its message is above.")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    await asyncio.sleep(SETTLE_SECONDS)


async def _converse(clients: list[Client], speech: str, turns: int) -> list[float]:
    async def one(client: Client, number: int) -> list[float]:
        await asyncio.sleep(number * PAUSE_SECONDS)  # people don't begin in the same instant
        return [await _turn(client, speech) for _ in range(turns)]

    times = await asyncio.gather(*(one(client, number) for number, client in enumerate(clients)))
    return [each for those in times for each in those]


async def _turn(client: Client, speech: str) -> float:
    """Milliseconds from the question to the first sound of the answer."""
    begun = time.perf_counter()
    await client.send({"type": "audio", "data": speech})
    async with asyncio.timeout(TURN_SECONDS):
        await client.wait_for("tts-chunk")
        heard = time.perf_counter()
        await client.wait_for("tts-complete")
    await asyncio.sleep(PAUSE_SECONDS)
    return 1000 * (heard - begun)


def _tone() -> AudioFrame:
    times = np.arange(SPEECH_RATE) / SPEECH_RATE
    return AudioFrame((8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16), SPEECH_RATE)


def _show(times: dict[str, list[float]], console: Console) -> bool:
    alone = percentile(times[ALONE], 95)
    table = Table("served clients", "p50, ms", "p95, ms", f"p95 × alone, at most {MOST}", "turns")
    for name, each in times.items():
        middle, high = statistics.median(each), percentile(each, 95)
        ratio = f"{high / alone:.2f} {mark(high <= MOST * alone)}"
        table.add_row(ATTACKS.get(name, (name,))[0], f"{middle:.0f}", f"{high:.0f}", ratio, str(len(each)))
    console.print(table)
    return all(percentile(each, 95) <= MOST * alone for each in times.values())
