"""A client over the WebSocket alone: `cable_client.py LINK` asks for a story, and says that it hears it."""

import asyncio
import sys
from urllib.parse import urlsplit

import aiohttp

from tests.support.server_site import Client


async def main(link: str) -> None:
    parts = urlsplit(link)
    token = parts.query.partition("=")[2]
    address = f"{parts.scheme}://{parts.netloc}/ws"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        async with http.ws_connect(address, ssl=False) as socket:
            client = Client(socket)
            await client.send("text", text="Tell me a story.")
            await client.expect("tts-chunk")
            print("heard", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
