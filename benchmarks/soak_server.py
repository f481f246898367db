"""The server that `soak` measures, with a profile as argument. Prints its address, and its counts at SIGUSR1.

It is what `localvoice serve` runs, but for limits on how often clients may come, and for the counting: how
many tasks there are, only the process itself knows.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Final

from localvoice.process.memory import give_back, use_one_arena
from localvoice.setting_sources import load_settings
from tests.support.memory import allocated_mb, anonymous_mb, peak_mb

OFTEN: Final = 1e6
"""No limit."""
REPLY_TOKENS: Final = 48
"""Small models ramble, and turns are what is counted, not words."""


@dataclass(frozen=True)
class Counts:
    """What the process holds."""

    descriptors: int
    """Open files, sockets among them."""
    tasks: int
    """Of the event loop."""
    threads: int
    """Those of native libraries among them."""
    held_mb: float
    """In 10^6 bytes, without free memory that wasn't returned to the system yet, and without pages of files,
    which come and go as they are read."""
    allocated_mb: float
    """Of that, what native code and large arrays have allocated and not freed."""
    peak_mb: float
    """The most that was ever resident."""


def counts() -> Counts:
    """Count now, without what is garbage."""
    gc.collect()
    give_back()
    return Counts(
        len(os.listdir("/proc/self/fd")) - 1,  # the folder itself is open
        len(asyncio.all_tasks()),
        len(os.listdir("/proc/self/task")),
        anonymous_mb(),
        allocated_mb(),
        peak_mb(),
    )


async def _serve(profile: str) -> None:
    from localvoice.api import LocalVoice

    limits = {"sessions_per_minute": OFTEN, "turns_per_minute": OFTEN}
    agent = {"max_tokens": REPLY_TOKENS}
    settings = load_settings(profile=profile, server={"port": 0}, limits=limits, agent=agent)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    async with LocalVoice(settings).serving() as address:
        loop.add_signal_handler(signal.SIGUSR1, lambda: _say(json.dumps(asdict(counts()))))
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        _say(address)
        await ended.wait()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    use_one_arena()
    asyncio.run(_serve(sys.argv[1]))
