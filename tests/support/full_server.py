"""A server whose slots are all taken, and what a client is told that it refuses."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import WSCloseCode

from tests.support.server_site import Client, Site, serving


@asynccontextmanager
async def full(
    engines: Any = None, count: int = 1, idle: int = 0, **more: Any
) -> AsyncIterator[tuple[Site, list[Client]]]:
    """A server and the clients that have all its slots; behind them those that came before it was full."""
    groups = {"limits": {"conversations": count, "sessions_per_minute": 10_000}}
    async with serving(engines, groups, **more) as site, AsyncExitStack() as clients:
        came = [await clients.enter_async_context(site.client()) for _ in range(count + idle)]
        for client in came[:count]:
            await converse(client)
        yield site, came


async def converse(client: Client) -> None:
    await client.send("text", text="Hello?")
    await client.expect("tts-complete")
    await client.sync()


async def refusal(client: Client) -> int:
    """Until the server closes; the seconds that the client was told to wait."""
    assert await client.closed() == WSCloseCode.TRY_AGAIN_LATER
    assert client.errors() == ["RATE_LIMITED"]
    words = next(message["message"] for message in client.received if message["type"] == "error")
    assert "The server is full" in words
    return int(words.rpartition(" in ")[2].removesuffix(" s."))
