"""Tries the engines one by one: `python -m localvoice.process.probe_child`, which `probing.py` starts.

The first line on its standard input is a `ProbeRequest`. For each part, in order, it writes an `Outcome` as
a line to its standard output. It ends with its parent, whatever it hangs in.
"""

import asyncio
import os
import resource
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.loading import EngineFiles, EngineOptions, Part, try_part
from localvoice.engines.threads import available_cores, memory_limit
from localvoice.engines.whisper import gpu_count

_ANY_PART: Final = 1 << 30
"""Bytes that a part may take whatever its size: libraries, sound, what a run computes."""
_A_CORE: Final = 64 << 20
"""Bytes for the stacks of the threads that share a core: each library has its own."""
_TIMES_ITS_FILES: Final = 6
"""A model takes up to four times its files while it is loaded, converted and run for the first time."""
_A_TOKEN: Final = 128 << 10
"""Bytes of a language model's cache for each token of its context; an 8B model takes as many."""
_MOST_TEXT: Final = 2000
"""Characters of an error: some libraries put a whole model into theirs."""


@dataclass(frozen=True)
class ProbeRequest:
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


REQUEST = TypeAdapter(ProbeRequest)
OUTCOME = TypeAdapter(Outcome)


def main() -> None:
    """Try what the request says, and end without a look back: what was loaded may be broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core dump of gigabytes
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what native code prints is no answer
    request = REQUEST.validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for part in request.parts:
        _limit_memory(part, request)
        outcome = asyncio.run(_outcome(part, request))
        print(OUTCOME.dump_json(outcome).decode(), file=answers)
    os._exit(0)


async def _outcome(part: Part, request: ProbeRequest) -> Outcome:
    try:
        await try_part(part, request.files, request.options)
    except VoiceError as error:
        return Outcome(error.code, error.component, _short(error.message))
    except Exception as error:  # a file of any content may lead anywhere
        text = _short(f"{type(error).__name__}: {error}")
        return Outcome(ErrorCode.INTERNAL_ERROR, Component.SERVER, text)
    return Outcome()


def _short(text: str) -> str:
    """The text as it fits an answer: cut, and without what UTF-8 can't hold."""
    cut = text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} …"
    return cut.encode("utf-8", "replace").decode()


def _limit_memory(part: Part, request: ProbeRequest) -> None:
    """Let the part take what its files and its context explain, and never more than the machine has.

    The limit counts what is written to, not files that are mapped. What a GPU's driver reserves counts too,
    and is a multiple of what is used: there only the machine's memory limits.
    """
    most = min(_machine_memory(), memory_limit() or _machine_memory())
    if request.options.device == "cpu" or not gpu_count():
        most = min(most, _memory_now() + allowance(part, request))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def allowance(part: Part, request: ProbeRequest) -> int:
    """Bytes that the part may take on top of what the process has."""
    path = request.files.parts()[part]
    files = path.iterdir() if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    context = request.options.context_tokens if part in ("llm", "projector", "fallback") else 0
    return _ANY_PART + _A_CORE * available_cores() + _TIMES_ITS_FILES * size + _A_TOKEN * context


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _memory_now() -> int:
    """What this process has of what the limit counts; 0 where the system doesn't tell."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line[:7] == "VmData:"), 0)


def _end_with_parent() -> None:
    """The parent never writes a second line, so anything that comes is its end."""
    sys.stdin.buffer.read(1)
    os._exit(1)


if __name__ == "__main__":
    main()
