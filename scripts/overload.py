"""More clients than the server has places for: what the others cost those who are served.

So many clients converse, each with a spoken question after another: alone, and beside others who are refused
and come again when they were told to, or at once. Measured are the time from a question to the first sound
of its answer, and that from coming to being told when to come again and let go. With scripted engines,
unless a profile is named. Prints a table and writes JSON.
"""

import asyncio
import base64
import json
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse
from bench_cli import mark, plain_parser, progress, write_figures
from bench_figures import percentile
from bench_site import server, spoken
from program import FAKE_SERVER, SCRIPTS, program
from rich.console import Console
from rich.table import Table

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.wav import wav_bytes

QUESTION: Final = "What is the capital of France?"
MOST: Final = 1.1
"""Times the p95 alone."""
REFUSED_MS: Final = 250.0
ROUNDS: Final = 8
"""Of turns alone and turns beside the others, in turns: other work on the machine then meets both."""
PAUSE_SECONDS: Final = 0.5


def main() -> None:
    """Run it."""
    parser = plain_parser(__doc__)
    parser.add_argument("--profile", help="models to run with; scripted engines otherwise")
    parser.add_argument("--served", type=int, default=2, help="clients who converse: as many as have places")
    parser.add_argument("--refused", type=int, default=10, help="clients who find no place")
    parser.add_argument("--hammer", action="store_true", help="they come again at once, and not when told to")
    parser.add_argument("--turns", type=int, default=20, help="of each, alone and beside the others")
    options = parser.parse_args()
    found = asyncio.run(
        measure(options.profile, options.served, options.refused, options.turns, options.hammer)
    )
    met = _show(found, Console())
    write_figures(options.out, "overload", found)
    sys.exit(0 if met else 1)


async def measure(profile: str | None, served: int, refused: int, turns: int, hammer: bool) -> dict[str, Any]:
    """Milliseconds of all turns and refusals."""
    alone, beside, told, closed = list[float](), list[float](), list[float](), list[float]()
    seconds = 0.0
    clip = (await spoken(profile, (QUESTION,)))[0] if profile else _tone()
    speech = base64.b64encode(wav_bytes(clip)).decode()
    async with (
        _server(profile, served) as address,
        ClientSession() as http,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(http.ws_connect(f"{address}/ws")) for _ in range(served)]
        await _converse(clients, speech, 1)  # who has the places
        for _ in range(ROUNDS):
            progress(f"{served} alone")
            alone += await _converse(clients, speech, -(-turns // ROUNDS))
            async with _others(address, refused, hammer) as comings:
                progress(f"{served} beside {refused} who are refused")
                beside += await _converse(clients, speech, -(-turns // ROUNDS))
            told += comings["told"]
            closed += comings["closed"]
            seconds += comings["seconds"]
        progress("")
    return {
        "served": served,
        "refused": refused,
        "hammer": hammer,
        "alone": alone,
        "beside": beside,
        "told": told,
        "closed": closed,
        "refused_seconds": seconds,
    }


@asynccontextmanager
async def _server(profile: str | None, places: int) -> AsyncIterator[str]:
    if profile is not None:
        settings = {"CONVERSATIONS": places, "SESSIONS_PER_MINUTE": 10_000, "TURNS_PER_MINUTE": 1_000}
        environment = {f"LOCALVOICE_LIMITS_{name}": str(value) for name, value in settings.items()}
        async with server(profile, **environment, LOCALVOICE_AGENT_MAX_TOKENS="16") as ready:
            yield ready.address
        return
    arguments = ("--conversations", str(places), "--voice-delay", "0.1")
    async with program(FAKE_SERVER, *arguments, quiet=True) as (_, address):
        yield address


@asynccontextmanager
async def _others(address: str, count: int, hammer: bool) -> AsyncIterator[dict[str, Any]]:
    """Clients without places, in a process of their own; what they met, once the block is left."""
    arguments = [str(SCRIPTS / "overload_refused.py"), address, str(count), *["--hammer"] * hammer]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)
    met: dict[str, Any] = {}
    try:
        await asyncio.sleep(2)
        yield met
    finally:
        output, _ = await process.communicate(b"")  # the end of its input is its own
        met |= json.loads(output)


async def _converse(clients: list[ClientWebSocketResponse], speech: str, turns: int) -> list[float]:
    async def one(client: ClientWebSocketResponse, number: int) -> list[float]:
        await asyncio.sleep(number * PAUSE_SECONDS)  # people don't begin in the same instant
        return [await _turn(client, speech) for _ in range(turns)]

    times = await asyncio.gather(*(one(client, number) for number, client in enumerate(clients)))
    return [each for those in times for each in those]


async def _turn(client: ClientWebSocketResponse, speech: str) -> float:
    """Milliseconds from what was said to the first sound of the answer."""
    await client.send_str(json.dumps({"type": "ping", "timestamp": 0}))
    begun, heard = time.perf_counter(), None
    await client.send_str(json.dumps({"type": "audio", "data": speech}))
    async with asyncio.timeout(120):
        while (message := await client.receive_json())["type"] != "tts-complete":
            if message["type"] == "error":
                sys.exit(f"The server reports {message['code']}: {message['message']}")
            if message["type"] == "tts-chunk" and heard is None:
                heard = 1000 * (time.perf_counter() - begun)
    assert heard is not None
    await asyncio.sleep(PAUSE_SECONDS)
    return heard


def _tone() -> AudioFrame:
    times = np.arange(SPEECH_RATE) / SPEECH_RATE
    return AudioFrame((8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16), SPEECH_RATE)


def _show(found: dict[str, Any], console: Console) -> bool:
    times = percentile(found["beside"], 95) / percentile(found["alone"], 95)
    usual = statistics.median(found["beside"]) / statistics.median(found["alone"])
    table = Table("", "p50, ms", "p95, ms", "at most, ms", "count", "goal")
    for key, name, goal in (
        ("alone", f"{found['served']} served alone", ""),
        (
            "beside",
            f"beside {found['refused']} refused",
            f"p50 × {usual:.2f}, p95 × {times:.2f}, at most {MOST} {mark(times <= MOST)}",
        ),
        ("told", "refused: told", f"{len(found['told']) / found['refused_seconds']:.0f} a second"),
        (
            "closed",
            "refused: closed",
            f"p95 {REFUSED_MS:.0f} ms {mark(percentile(found['closed'], 95) <= REFUSED_MS)}",
        ),
    ):
        each = found[key]
        table.add_row(
            name,
            f"{statistics.median(each):.0f}",
            f"{percentile(each, 95):.0f}",
            f"{max(each):.0f}",
            str(len(each)),
            goal,
        )
    console.print(table)
    return times <= MOST and percentile(found["closed"], 95) <= REFUSED_MS


if __name__ == "__main__":
    main()
