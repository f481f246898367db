"""The command line with the engines of `turn_stages`: `staged_process.py PREPARATION COMMAND …`.

PREPARATION is where it stays: "loading", "warming", "stuck" for a language model that never comes back from
its native code, "blocked" for an application that holds up the event loop, or "none". What the STT hears is
in STAGED_WORDS. The sound card is one without PortAudio.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, suppress
from typing import Any

from localvoice import cli, startup
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.jobs import Stop
from localvoice.engines.types import Engines
from localvoice.engines.worker import Worker
from tests.support.fake_portaudio import FakePortAudio, info
from tests.support.fakes import fake_engines
from tests.support.turn_stages import FOR_EVER, Cast, StagedLlm, Work


class StuckLlm(StagedLlm):
    """Its thread never ends: no flag reaches it."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._worker = Worker("stuck")

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        def write(stop: Stop) -> Generator[str, None, None]:
            yield "Well, "
            threading.Event().wait()

        async with aclosing(self._worker.stream(write)) as items:
            async for item in items:
                yield item

    async def close(self) -> None:
        await self._worker.close()


class BlockingLlm(StagedLlm):
    async def reply(self, *_: Any, **__: Any) -> AsyncGenerator[str | ToolCall, None]:
        yield "Well, "
        threading.Event().wait()


def say(word: str) -> None:
    with suppress(OSError):  # nothing that the product prints: there may be no reader
        os.write(1, f"{word}\n".encode())


def main() -> None:
    preparation, *arguments = sys.argv[1:]
    cast = Cast()
    cast.hears(os.environ.get("STAGED_WORDS", ""))
    llm = {"stuck": StuckLlm, "blocked": BlockingLlm}.get(preparation, StagedLlm)(cast.work)

    async def load_engines(*_: Any) -> Engines:
        if preparation == "loading":
            say("loading")
            await Worker("loader").run(time.sleep, FOR_EVER)
        return fake_engines(cast.stt, llm, cast.tts)

    async def warm_up_all(_: Engines) -> None:
        if preparation == "warming":
            say("warming")
            await asyncio.sleep(FOR_EVER)

    async def no_probe(*_: Any) -> None: ...

    async def no_rehearsal(_: Engines) -> float:
        return 0.0

    vars(startup).update(
        probe=no_probe,
        rehearse=no_rehearsal,
        load_engines=load_engines,
        warm_up_all=warm_up_all,
        _checked_files=lambda *_: (None, None),
        _engine_options=lambda *_: None,
        builtin_tools=lambda: cast.tools,
    )
    devices = [info("Webcam", inputs=1), info("Headphones", outputs=2)]
    sys.modules["sounddevice"] = FakePortAudio(devices).module()
    sys.argv = ["localvoice", *arguments]
    say("begun")
    cli.main()


if __name__ == "__main__":
    main()
