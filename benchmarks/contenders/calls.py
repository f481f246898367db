"""The call that speaks to every contender in the same way, and hears when it is answered.

It knows only what it hears: no contender tells it when a turn begins or ends.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import ClientSession

from benchmarks.call import GAP, Call
from benchmarks.client import voice_client
from benchmarks.contenders.figures import TIMEOUT
from localvoice.audio.frames import AudioFrame

QUIET: Final = 1.5
"""Seconds without sound after which an answer is over."""
LONGEST_ANSWER: Final = 120.0
INTO_ANSWER: Final = 1.0
"""Seconds into the answer at which the caller interrupts."""
_CONNECT_SECONDS: Final = 30.0


async def one_turn(call: Call, clip: AudioFrame) -> tuple[float | None, bool]:
    """Ask, and listen to the answer. Its ms from voice to voice, and whether it began too soon.

    An answer that began while the clip was still spoken is no answer to it: the first sound that begins
    after the clip counts. None where none came in time.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ended = call.mouth.say(clip)
    await asyncio.sleep(ended - loop.time())
    cut_in = call.ears.onset > begun
    answered: float | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout_at(ended + TIMEOUT):
            answered = await call.ears.answer_after(ended)
    async with asyncio.timeout(LONGEST_ANSWER):
        await call.ears.silence(QUIET)
    return None if answered is None else 1000 * (answered - ended), cut_in


async def one_interruption(call: Call, question: AudioFrame, clip: AudioFrame) -> tuple[bool, float | None]:
    """Speak over an answer. Whether there was one, and the ms until it was silent; None if it went on."""
    loop = asyncio.get_running_loop()
    ended = call.mouth.say(question)
    try:
        async with asyncio.timeout_at(ended + TIMEOUT):
            await call.ears.answer_after(ended)
    except TimeoutError:
        return False, None
    await asyncio.sleep(INTO_ANSWER)
    ended = call.mouth.say(clip)
    onset = call.mouth.onset
    await asyncio.sleep(max(0.0, onset - loop.time()))
    was_speaking = loop.time() - call.ears.last < GAP / 2
    silent: float | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout_at(onset + TIMEOUT):
            silent = await call.ears.silence(GAP)
    with suppress(TimeoutError):
        async with asyncio.timeout_at(ended + TIMEOUT):
            await call.ears.answer_after(ended)
    async with asyncio.timeout(LONGEST_ANSWER):
        await call.ears.silence(QUIET)
    return was_speaking, None if silent is None else max(0.0, 1000 * (silent - onset))


@asynccontextmanager
async def called(address: str, by_websocket: bool) -> AsyncIterator[Call]:
    """A call that is connected; hung up when the block is left.

    localvoice takes its offers on a WebSocket, which stays open; the others take a POST to /api/offer.
    """
    if by_websocket:
        async with voice_client(address) as client:
            yield client.call
        return
    call = Call()
    async with ClientSession() as http:

        async def post(offer: dict[str, str]) -> dict[str, str]:
            async with http.post(f"{address}/api/offer", json=offer, raise_for_status=True) as response:
                answer: dict[str, str] = await response.json()
                return answer

        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await call.connect(post)
            yield call
        finally:
            await call.close()
