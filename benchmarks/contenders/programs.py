"""Who is compared, and the programs each of them needs."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.programs import ROOT, Program, running, serve
from localvoice.catalog import ModelFiles
from localvoice.config import SYSTEM_PROMPT
from localvoice.machine import available_cores

PEERS_PYTHON: Final = ROOT / ".venv-peers" / "bin" / "python"
PREVIOUS: Final = "{previous}"
"""In a command: the address of the program started before."""
_QUIET: Final = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": str(ROOT),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class Contender:
    """One way to build a voice agent."""

    name: str
    about: str
    commands: tuple[tuple[str, ...], ...]
    """In the order of their start. Each prints its address when ready; the last is talked to."""
    environment: Mapping[str, str] = field(default_factory=dict)
    by_websocket: bool = False
    """Whether offers go to its WebSocket /ws rather than to POST /api/offer."""
    interruptible: bool = True


def contenders(files: ModelFiles) -> list[Contender]:
    stt, llm, voice = str(files.stt_dir), str(files.llm_file), str(files.voice_file)
    module = (sys.executable, "-m")

    def pipecat(threads: int, *more: str) -> tuple[tuple[str, ...], ...]:
        bot = str(Path(__file__).with_name("pipecat_bot.py"))
        return (
            (*module, "benchmarks.contenders.llm_server", llm, str(threads)),
            # -E: our folders are not for it; -u as it then can't read that either.
            (str(PEERS_PYTHON), "-Eu", bot, PREVIOUS, stt, voice, SYSTEM_PROMPT, *more),
        )

    return [
        Contender(
            "localvoice",
            "as a user starts it, without its built-in tools",
            ((*serve(files.profile.name), "--log-level", "warning"),),
            {"LOCALVOICE_AGENT_TOOLS": "false"},
            by_websocket=True,
        ),
        Contender(
            "naive",
            "700 ms of silence, the libraries' own calls one after the other",
            ((*module, "benchmarks.contenders.naive", stt, llm, voice, str(files.vad_file)),),
            interruptible=False,
        ),
        # llama.cpp's own server decodes on every core unless told otherwise.
        Contender("pipecat", "1.14 at its defaults", pipecat(available_cores())),
        Contender(
            "pipecat-tuned",
            "1.14 with an int8 Whisper of beam 1, and the LLM decoding on a core fewer",
            pipecat(max(1, available_cores() - 1), "--tuned"),
        ),
    ]


@asynccontextmanager
async def started(contender: Contender, logs: Path) -> AsyncIterator[list[Program]]:
    """Its programs, fresh and ready, ended when the block is left. Raises `ProgramFailed`."""
    programs: list[Program] = []
    async with AsyncExitStack() as stack:
        for number, command in enumerate(contender.commands):
            previous = programs[-1].address if programs else ""
            program = running(
                *(part.replace(PREVIOUS, previous) for part in command),
                environment={**os.environ, **_QUIET, **contender.environment},
                log=logs / f"{contender.name}-{number}.log",
            )
            programs.append(await stack.enter_async_context(program))
        yield programs
