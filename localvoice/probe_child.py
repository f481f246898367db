"""Tries the engines one by one in a process of its own: `python -m localvoice.probe_child`. See `probe.py`.

The first line on its standard input is a `Job`; for each part, in order, it writes an `Outcome` as a line
to its standard output. It ends with its parent, whatever it hangs in.
"""

import asyncio
import os
import signal
import sys
import threading
from dataclasses import dataclass

from pydantic import TypeAdapter

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.loading import EngineFiles, EngineOptions, Part, try_part

if sys.platform != "win32":
    import resource


@dataclass(frozen=True)
class Job:
    """What is to be tried."""

    parts: tuple[Part, ...]
    """In this order."""
    files: EngineFiles
    """All files of the start."""
    options: EngineOptions
    """As they will be loaded."""


@dataclass(frozen=True)
class Outcome:
    """What an exception said of a part; all None if it works."""

    code: ErrorCode | None = None
    component: Component | None = None
    message: str | None = None


JOB = TypeAdapter(Job)
OUTCOME = TypeAdapter(Outcome)


def main() -> None:
    """Try what the job says, and end without a look back: what was loaded may be broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _confine()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what native code prints is no answer
    job = JOB.validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for part in job.parts:
        outcome = asyncio.run(_outcome(part, job))
        print(OUTCOME.dump_json(outcome).decode(), file=answers)
    os._exit(0)


async def _outcome(part: Part, job: Job) -> Outcome:
    try:
        await try_part(part, job.files, job.options)
    except VoiceError as error:
        return Outcome(error.code, error.component, error.message)
    except Exception as error:  # a file of any content may lead anywhere
        return Outcome(ErrorCode.INTERNAL_ERROR, Component.SERVER, f"{type(error).__name__}: {error}")
    return Outcome()


def _confine() -> None:
    """No core dump of gigabytes, and no more memory than the machine has: it would swap for minutes."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY or most > memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, most))


def _end_with_parent() -> None:
    """The parent never writes a second line, so anything that comes is its end."""
    sys.stdin.buffer.read(1)
    os._exit(1)


if __name__ == "__main__":
    main()
