"""Many WebRTC clients that speak and are spoken to at the same time, without rest.

The engines are scripted, so that what is measured is the server's own: frames a second of each peer, both
ways, how late its event loop is, and what it takes of the machine. The clients run in processes of their own.
Prints a table and writes JSON.
"""

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

from bench_cli import mark, plain_parser, progress, write_figures
from bench_site import Server
from program import SCRIPTS, program
from rich.console import Console
from rich.table import Table

PROCESSES: Final = 2
"""Of clients."""
SETTLE_SECONDS: Final = 5
FRAMES: Final = 49.5
"""A second and peer, at least."""
LAG_MS: Final = 20.0
"""The 99th percentile, at most."""
_WINDOW_FRAMES: Final = 1.6
"""20 ms frames in one of the VAD's windows."""


def main() -> None:
    """Run it."""
    parser = plain_parser(__doc__)
    parser.add_argument("--peers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    found = asyncio.run(measure(options.peers, options.seconds))
    met = _show(found, Console())
    write_figures(options.out, "duplex", found)
    sys.exit(0 if met else 1)


async def measure(peers: int, seconds: float) -> dict[str, Any]:
    """Figures of so many peers for so long."""
    shares = [peers // PROCESSES + (number < peers % PROCESSES) for number in range(PROCESSES)]
    async with program(SCRIPTS / "duplex_server.py") as (server, address):
        clients = [program(SCRIPTS / "duplex_peers.py", address, str(share)) for share in shares if share]
        async with _all(clients) as running:
            await asyncio.sleep(SETTLE_SECONDS)
            before = [await _look(process) for process in (server, *running)]
            for second in range(round(seconds)):
                progress(f"{peers} peers: {second}/{round(seconds)} s")
                await asyncio.sleep(1)
            after = [await _look(process) for process in (server, *running)]
            progress("")
            memory = Server(address, server.pid).peak_memory_mb()
            server.kill()  # before its clients: aiortc complains of each that is cut off
    spans = [last["time"] - first["time"] for first, last in zip(before, after, strict=True)]
    cpu = [
        (last["cpu"] - first["cpu"]) / span for first, last, span in zip(before, after, spans, strict=True)
    ]
    return {
        "peers": peers,
        "seconds": spans[0],
        "frames in": [
            (last - first) * _WINDOW_FRAMES / spans[0]
            for first, last in zip(before[0]["windows"], after[0]["windows"], strict=True)
        ],
        "frames out": [
            (many - few) / span
            for first, last, span in zip(before[1:], after[1:], spans[1:], strict=True)
            for few, many in zip(first["packets"], last["packets"], strict=True)
        ],
        "lag": after[0]["lag"],
        "cpu": cpu[0],
        "client cpu": sum(cpu[1:]),
        "memory": memory,
    }


@asynccontextmanager
async def _all(
    programs: Sequence[AbstractAsyncContextManager[tuple[Process, str]]],
) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(program))[0] for program in programs]


async def _look(process: Process) -> dict[str, Any]:
    """What a program has seen until now."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"\n")
    found: dict[str, Any] = json.loads(await process.stdout.readline())
    return found


def _show(found: dict[str, Any], console: Console) -> bool:
    ins, outs, lag = min(found["frames in"]), min(found["frames out"]), found["lag"]
    rows = (
        ("frames a second in, the slowest peer", f"{ins:.2f}", f"≥ {FRAMES}", ins >= FRAMES),
        ("frames a second out, the slowest peer", f"{outs:.2f}", f"≥ {FRAMES}", outs >= FRAMES),
        ("event loop late, p99", f"{lag['p99']:.1f} ms", f"≤ {LAG_MS:.0f} ms", lag["p99"] <= LAG_MS),
    )
    table = Table(f"{found['peers']} peers, {found['seconds']:.0f} s", "", "goal")
    for name, value, goal, met in rows:
        table.add_row(name, value, f"{goal} {mark(met)}")
    table.add_row("event loop late, p50 and at most", f"{lag['p50']:.1f} and {lag['max']:.1f} ms", "")
    table.add_row("the server's share of a core", f"{found['cpu']:.0%}", "")
    table.add_row("all clients' share of a core", f"{found['client cpu']:.0%}", "")
    table.add_row("the server's peak memory", f"{found['memory']} MB", "")
    console.print(table)
    return all(met for *_, met in rows)


if __name__ == "__main__":
    main()
