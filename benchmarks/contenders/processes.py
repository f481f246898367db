"""Who is compared, and the processes each of them needs."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.servers import ROOT
from localvoice.catalog import ModelFiles
from localvoice.config import SYSTEM_PROMPT
from localvoice.engines.threads import available_cores

PEERS_PYTHON: Final = ROOT / ".venv-peers" / "bin" / "python"
READY_SECONDS: Final = 120.0
PREVIOUS: Final = "{previous}"
"""In a command: the address of the process started before."""
_QUIET: Final = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": str(ROOT),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+")
_TAIL: Final = 25
"""Lines of a log that are shown of a process that died."""


class PeerDied(Exception):
    """A process that ended by itself or never became ready; the message holds the end of its log."""


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
    profile = files.profile.name
    serve = ("serve", "--profile", profile, "--port", "0", "--log-level", "warning")
    stt, llm, voice = str(files.stt_dir), str(files.llm_file), str(files.voice_file)
    cores = available_cores()
    return [
        Contender(
            "localvoice",
            "as a user starts it, without its built-in tools",
            ((sys.executable, "-m", "localvoice.cli", *serve),),
            {"LOCALVOICE_AGENT_TOOLS": "false"},
            by_websocket=True,
        ),
        Contender(
            "naive",
            "700 ms of silence, the libraries' own calls one after the other",
            ((sys.executable, "-m", "benchmarks.contenders.naive", stt, llm, voice, str(files.vad_file)),),
            interruptible=False,
        ),
        # llama.cpp's own server decodes on every core unless told otherwise.
        Contender("pipecat", "1.14 at its defaults", _pipecat(stt, llm, voice, cores)),
        Contender(
            "pipecat-tuned",
            "1.14 with an int8 Whisper of beam 1, and the LLM decoding on a core fewer",
            _pipecat(stt, llm, voice, max(1, cores - 1), "--tuned"),
        ),
    ]


def _pipecat(stt: str, llm: str, voice: str, threads: int, *more: str) -> tuple[tuple[str, ...], ...]:
    bot = str(Path(__file__).with_name("pipecat_bot.py"))
    return (
        (sys.executable, "-m", "benchmarks.contenders.llm_server", llm, str(threads)),
        # -E: our folders are not for it; -u as it then can't read that either.
        (str(PEERS_PYTHON), "-Eu", bot, PREVIOUS, stt, voice, SYSTEM_PROMPT, *more),
    )


class Processes:
    """The running processes of one contender."""

    def __init__(self) -> None:
        self.address = ""
        self._running: list[tuple[asyncio.subprocess.Process, Path]] = []

    async def start(self, command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        """Start a process and wait for its address. Raises `PeerDied`."""
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(part.replace(PREVIOUS, self.address) for part in command),
                env={**os.environ, **_QUIET, **environment},
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
            )
        self._running.append((process, log))
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not (found := _ADDRESS.search(_text(log))):
                    self.check()
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise PeerDied(f"It wasn't ready after {READY_SECONDS:.0f} s. {_tail(log)}") from error
        self.address = found[0]

    def check(self) -> None:
        """Raise `PeerDied` if one of them has ended."""
        for process, log in self._running:
            if process.returncode is not None:
                raise PeerDied(f"A process ended with code {process.returncode}. {_tail(log)}")

    async def stop(self) -> None:
        for process, _ in reversed(self._running):
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()


@asynccontextmanager
async def running(contender: Contender, logs: Path) -> AsyncIterator[Processes]:
    """Its processes, fresh and ready, ended when the block is left. Raises `PeerDied`."""
    async with AsyncExitStack() as stack:
        processes = Processes()
        stack.push_async_callback(processes.stop)
        for number, command in enumerate(contender.commands):
            await processes.start(command, contender.environment, logs / f"{contender.name}-{number}.log")
        yield processes


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def _tail(log: Path) -> str:
    lines = _text(log).splitlines()[-_TAIL:]
    return "\n".join([f"The end of {log.name}:", *lines])
