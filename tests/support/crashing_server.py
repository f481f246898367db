"""A server for a test to crash: scripted engines, sessions in the folder it is given. Prints its address."""

import asyncio
import ctypes
import os
import sys
from collections.abc import AsyncGenerator

from localvoice.audio.frames import AudioFrame
from localvoice.engines import worker
from localvoice.engines.worker import Worker
from localvoice.process import ending
from localvoice.process.memory import guard_memory
from tests.support.fakes import FakeLlm, FakeTts, fake_engines
from tests.support.server_site import serving


class NativeVoice(FakeTts):
    """Speaks, and where it is to say "Crash" does what native code does."""

    def __init__(self) -> None:
        super().__init__()
        self._worker = Worker("tts")

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        if "Crash" in text:
            await self._worker.run(os.abort)
        if "Hang" in text:
            await self._worker.run(_hang)
        async for frame in super().synthesize(text):
            yield frame

    async def close(self) -> None:
        await self._worker.close()


def _hang() -> None:
    print("in a native call", file=sys.stderr, flush=True)
    ctypes.CDLL(None).sleep(600)


async def main() -> None:
    engines = fake_engines(llm=FakeLlm("I will keep that.", f"{sys.argv[2]} now."), tts=NativeVoice())
    async with serving(engines, sessions_dir=sys.argv[1]) as site:
        print(site.url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    await engines.tts.close()


guard_memory()
ending.stop_threads_at_exit()
worker.LEAVE_SECONDS, ending.EXIT_SECONDS = 0.2, 0.5  # type: ignore[misc]
asyncio.run(main())
