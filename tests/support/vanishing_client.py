"""A client over WebRTC, as a program to be killed or stopped: `vanishing_client.py ADDRESS` asks for a story.

Prints its session's id when it hears the answer.
"""

import asyncio
import sys

import aiohttp

from tests.support.server_site import Client
from tests.support.webrtc_browser import calling


async def main(address: str) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
        client = Client(socket)
        ready = await client.expect("ready")
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            await client.send("text", text="playing 1.")
            await browser.until_heard()
            print(ready["id"], flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
