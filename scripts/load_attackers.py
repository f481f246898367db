"""Clients that mean harm, in a process of their own: `load_attackers.py KIND HOST PORT`, until killed."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiohttp import ClientError, ClientSession

SLOW_SOCKETS: Final = 500
_MIB: Final = 2**20


async def trickle(host: str, port: int) -> None:
    """Many sockets whose requests never end, each opened anew when it is closed."""

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
    """Typed messages, as many as the socket takes."""
    await _flood(host, port, json.dumps({"type": "text", "text": "Hello?"}))


async def flood_large(host: str, port: int) -> None:
    """The largest messages, as many as the socket takes."""
    await _flood(host, port, json.dumps({"type": "audio", "data": "A" * (4 * _MIB - 100)}))


async def come_and_go(host: str, port: int) -> None:
    """A new connection as soon as the last one is refused or ready."""
    async with ClientSession() as http:
        while True:
            with suppress(ClientError, OSError):
                async with http.ws_connect(f"ws://{host}:{port}/ws") as socket:
                    await socket.receive()


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


ATTACKS: Final[dict[str, Callable[[str, int], Awaitable[None]]]] = {
    "500 requests that never end": trickle,
    "a flood of messages": flood,
    "a flood of the largest messages": flood_large,
    "connections that come and go": come_and_go,
}


async def _attack(kind: str, host: str, port: str) -> None:
    await ATTACKS[kind](host, int(port))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_attack(*sys.argv[1:4]))
