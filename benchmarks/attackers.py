"""The clients that `load` measures against, in a process of their own: `KIND HOST PORT`, until killed."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiohttp import ClientError, ClientSession

SLOW_SOCKETS: Final = 500
REFUSED_CLIENTS: Final = 10
NICENESS: Final = 10
"""In life they are other machines, so their own work must not cost the served clients the processor."""
_MIB: Final = 2**20


async def trickle(host: str, port: int) -> None:
    """Each is opened again when the server closes it."""

    async def one(number: int) -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
                    while not writer.is_closing():
                        writer.write(b"x")
                        await writer.drain()
                        await asyncio.sleep(1 + number / SLOW_SOCKETS)
                finally:
                    writer.close()
            await asyncio.sleep(0.5)

    await asyncio.gather(*(one(number) for number in range(SLOW_SOCKETS)))


async def flood(host: str, port: int) -> None:
    await _flood(host, port, json.dumps({"type": "text", "text": "Hello?"}))


async def flood_large(host: str, port: int) -> None:
    await _flood(host, port, json.dumps({"type": "audio", "data": "A" * (4 * _MIB - 100)}))


async def come_and_go(host: str, port: int) -> None:
    """The next connection is opened as soon as the last one is refused or ready."""
    async with ClientSession() as http:
        while True:
            with suppress(ClientError, OSError):
                async with http.ws_connect(f"ws://{host}:{port}/ws") as socket:
                    await socket.receive()


async def wait_as_told(host: str, port: int) -> None:
    await _be_refused(host, port, patient=True)


async def hammer(host: str, port: int) -> None:
    await _be_refused(host, port, patient=False)


async def _be_refused(host: str, port: int, patient: bool) -> None:
    """Some clients that find no place, and come again at once or after the seconds that they are told."""

    async def one() -> None:
        while True:
            # With our protocol the refusal is a message, and not only a status.
            async with http.ws_connect(f"ws://{host}:{port}/ws", protocols=("localvoice",)) as socket:
                while (message := await socket.receive_json())["type"] != "error":
                    pass
            assert message["code"] == "RATE_LIMITED", message
            if patient:
                await asyncio.sleep(int(message["message"].split("Try again in ")[1].removesuffix(" s.")))

    async with ClientSession() as http:
        await asyncio.gather(*(one() for _ in range(REFUSED_CLIENTS)))


async def _flood(host: str, port: int, message: str) -> None:
    async with ClientSession() as http:
        while True:
            with suppress(ClientError, ConnectionError):
                async with http.ws_connect(f"ws://{host}:{port}/ws", max_msg_size=0) as socket:
                    reading = asyncio.ensure_future(_read_out(socket.receive))
                    try:
                        while not socket.closed:
                            await socket.send_str(message)
                    finally:
                        reading.cancel()


async def _read_out(receive: Callable[[], Awaitable[object]]) -> None:
    while True:
        await receive()


ATTACKS: Final[dict[str, tuple[str, Callable[[str, int], Awaitable[None]]]]] = {
    "trickle": (f"next to {SLOW_SOCKETS} requests that never end", trickle),
    "flood": ("next to a flood of messages", flood),
    "flood-large": ("next to a flood of the largest messages", flood_large),
    "come-and-go": ("next to connections that come and go", come_and_go),
    "wait-as-told": (f"next to {REFUSED_CLIENTS} refused who wait as told", wait_as_told),
    "hammer": (f"next to {REFUSED_CLIENTS} refused who come at once", hammer),
}
REFUSED: Final = ("wait-as-told", "hammer")
"""The kinds that find no place."""


async def _attack(kind: str, host: str, port: str) -> None:
    await ATTACKS[kind][1](host, int(port))


if __name__ == "__main__":
    os.nice(NICENESS)
    with suppress(KeyboardInterrupt):
        asyncio.run(_attack(*sys.argv[1:4]))
