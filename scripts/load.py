"""What attackers cost somebody who behaves: the time to the first sound of an answer, alone and beside them.

The server runs scripted engines, so that the time is the server's own and not a model's: each answer takes
half a second to be spoken. Attackers run in a process of their own. Prints a table and writes JSON.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientWebSocketResponse
from bench_cli import mark, plain_parser, progress, write_figures
from bench_figures import percentile
from load_attackers import ATTACKS
from program import FAKE_SERVER, program
from rich.console import Console
from rich.table import Table

ALONE: Final = "nobody else"
MOST: Final = 1.1
"""Times the p95 alone."""
SETTLE_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.5
"""Between two turns: whoever behaves asks at most once a second."""


def main() -> None:
    """Run it."""
    parser = plain_parser(__doc__)
    parser.add_argument(
        "--turns", type=int, default=30, help="beside each attack, and alone before and after"
    )
    options = parser.parse_args()
    times = asyncio.run(_measure(options.turns))
    met = _show(times, Console())
    write_figures(options.out, "load", times)
    sys.exit(0 if met else 1)


async def _measure(turns: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {ALONE: []}
    async with (
        program(FAKE_SERVER, "--voice-delay", "0.5", quiet=True) as (_, address),
        ClientSession() as http,
        http.ws_connect(address + "/ws") as socket,
    ):
        await socket.receive_json()
        for kind in (None, *ATTACKS, None):
            name = kind or ALONE
            async with _attackers(kind, address):
                for number in range(turns):
                    progress(f"{name}: turn {number + 1}/{turns}")
                    times.setdefault(name, []).append(await _turn(socket))
        progress("")
    return times


@asynccontextmanager
async def _attackers(kind: str | None, address: str) -> AsyncIterator[None]:
    if kind is None:
        yield
        return
    parts = urlsplit(address)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("load_attackers.py")), kind),
        *(str(parts.hostname), str(parts.port)),
    )
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        if process.returncode is not None:
            sys.exit(f"The attack “{kind}” ended by itself. Run its script by hand to see why.")
        yield
    finally:
        process.kill()
        await process.wait()
        await asyncio.sleep(SETTLE_SECONDS)


async def _turn(socket: ClientWebSocketResponse) -> float:
    """Milliseconds from what was typed to the first sound."""
    await socket.send_str(json.dumps({"type": "ping", "timestamp": 0}))
    begun = time.perf_counter()
    await socket.send_str(json.dumps({"type": "text", "text": "Hello?"}))
    heard = None
    async with asyncio.timeout(30):
        while (kind := (await socket.receive_json())["type"]) != "tts-complete":
            if kind == "tts-chunk" and heard is None:
                heard = 1000 * (time.perf_counter() - begun)
    assert heard is not None
    await asyncio.sleep(PAUSE_SECONDS)
    return heard


def _show(times: dict[str, list[float]], console: Console) -> bool:
    alone = percentile(times[ALONE], 95)
    table = Table("beside", "p50, ms", "p95, ms", f"p95 × alone, at most {MOST}", "turns")
    for name, each in times.items():
        ratio = percentile(each, 95) / alone
        table.add_row(
            name,
            f"{statistics.median(each):.0f}",
            f"{percentile(each, 95):.0f}",
            f"{ratio:.2f} {mark(ratio <= MOST)}",
            str(len(each)),
        )
    console.print(table)
    return all(percentile(each, 95) <= MOST * alone for each in times.values())


if __name__ == "__main__":
    main()
