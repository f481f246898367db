"""A client as a program to be killed: `killed_client.py ADDRESS STAGE AFTERWARDS END [TOKEN]`.

It asks for a turn of that stage, and at a line on its standard input sends what comes afterwards: "picture",
"flood", or "wall" for as much as the socket takes. When it is killed, the kernel ends its connection by END:
"reset" or "fin".
"""

import asyncio
import json
import socket
import struct
import sys

import aiohttp

PING = json.dumps({"type": "ping", "timestamp": 1})
PICTURE = json.dumps({"type": "attachments", "attachments": [{"data": "AAAA"}]})
FLOOD = 100


async def read_out(connection: aiohttp.ClientWebSocketResponse) -> None:
    """What is unread when it is killed would turn any end into a reset."""
    async for _ in connection:
        pass


async def main(address: str, stage: str, afterwards: str, end: str, token: str = "") -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.ws_connect(address, ssl=False) as connection,
    ):
        if end == "reset":
            own: socket.socket = connection.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reading = asyncio.create_task(read_out(connection))
        await connection.send_json({"type": "text", "text": f"{stage} 1."})
        await asyncio.to_thread(sys.stdin.readline)
        if afterwards == "picture":
            await connection.send_str(PICTURE)
        else:
            while afterwards == "wall":
                await connection.send_str(PING.ljust(50_000))
            for _ in range(FLOOD):
                await connection.send_str(PING)
        await reading


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
