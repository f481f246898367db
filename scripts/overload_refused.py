"""Clients without places, for `overload.py`: `overload_refused.py ADDRESS COUNT [--hammer]`.

They come again when they were told to, or at once if they are to hammer. Ends with its standard input, and
then prints what they met: milliseconds from coming to being told, and to the close with 1013.
"""

import asyncio
import json
import sys
import time

from aiohttp import ClientError, ClientSession, WSCloseCode

REFUSAL = "RATE_LIMITED"


async def come(address: str, heeds: bool, told: list[float], closed: list[float]) -> None:
    """Until cancelled. Who heeds what it is told waits so many seconds."""
    async with ClientSession() as http:
        while True:
            begun = time.perf_counter()
            try:
                async with http.ws_connect(f"{address}/ws") as socket:
                    while (message := await socket.receive_json())["type"] != "error":
                        pass
                    assert message["code"] == REFUSAL
                    seconds = int(message["message"].split("Try again in ")[1].removesuffix(" s."))
                    told.append(1000 * (time.perf_counter() - begun))
                    await socket.receive()
                    closed.append(1000 * (time.perf_counter() - begun))
                    assert socket.close_code == WSCloseCode.TRY_AGAIN_LATER
                await asyncio.sleep(seconds if heeds else 0)
            except (ClientError, ConnectionError) as error:
                sys.exit(f"A client was refused in another way than it should be: {error}")


async def main(address: str, count: int, heeds: bool) -> None:
    """Until the standard input ends."""
    told, closed = list[float](), list[float]()
    async with asyncio.TaskGroup() as group:
        comers = [group.create_task(come(address, heeds, told, closed)) for _ in range(count)]
        await asyncio.to_thread(sys.stdin.read)
        for comer in comers:
            comer.cancel()
    print(json.dumps({"told": told, "closed": closed}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), "--hammer" not in sys.argv))
