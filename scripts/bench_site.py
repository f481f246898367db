"""What the benchmarks share: a server as a user starts it, what it takes, and clips to speak."""

import asyncio
import os
import platform
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.wav import read_wav
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.engines.piper import PiperTts
from localvoice.engines.threads import available_cores

QUESTIONS: Final = (
    "What is the capital of France?",
    "How many days are there in a week?",
    "Can you tell me what a volcano is?",
    "What should I cook for dinner tonight?",
    "Why is the sky blue?",
    "Who wrote the play Romeo and Juliet?",
    "What is a good name for a small brown dog?",
    "How do I make a cup of tea?",
    "Tell me something about the moon.",
    "What do bees make?",
)

_TICKS: Final = os.sysconf("SC_CLK_TCK")
"""Of the CPU clock in a second."""


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    address: str
    """As it printed it: http://…"""
    pid: int
    """Of its process."""

    def cpu_seconds(self) -> float | None:
        """CPU time that the process has taken so far; None where the system has no /proc."""
        stat = Path(f"/proc/{self.pid}/stat")
        return cpu_seconds(stat.read_text()) if stat.exists() else None

    def peak_memory_mb(self) -> float | None:
        """The largest resident size so far; None where the system has no /proc."""
        status = Path(f"/proc/{self.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return round(int(found[1]) / 1000, 1) if found else None


def cpu_seconds(stat: str) -> float:
    """User and system time of a line of /proc/<pid>/stat, in seconds."""
    # The second field is the program's name in brackets, and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@asynccontextmanager
async def server(profile: str, **environment: str) -> AsyncIterator[Server]:
    """A server process of its own, ready to talk, and ended when the block is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "localvoice.cli", "serve", "--profile", profile, "--port", "0"),
        *("--log-level", "warning"),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if found := re.search(rb"http://\S+", line):
                yield Server(found[0].decode(), process.pid)
                break
        else:
            sys.exit("The server did not start; its message is above.")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def spoken(profile: str, sentences: tuple[str, ...] = QUESTIONS) -> list[AudioFrame]:
    """Sentences in the profile's own voice, a clip each, at the voice's rate."""
    files = ready(load_catalog(), profile, models_folder())
    voice = await PiperTts.load(files.profile.tts, files.voice_file, files.voice_config_file, 1)
    try:
        return [concatenate([frame async for frame in voice.synthesize(text)]) for text in sentences]
    finally:
        await voice.close()


def recorded(folder: Path) -> list[AudioFrame]:
    """The WAV files of a folder in the order of their names; the program ends where there is none."""
    return [read_wav(path) for path in sorted(folder.glob("*.wav"))] or sys.exit(
        f"There is no WAV file in {folder}: name a folder that holds some."
    )


def with_pause(clip: AudioFrame, seconds: float) -> AudioFrame:
    """The clip with silence put where it is quietest between a third and two thirds: someone who thinks."""
    block = clip.rate // 50
    energy = np.square(clip.samples[: len(clip.samples) // block * block].astype(np.float64))
    loudness = energy.reshape(-1, block).sum(axis=1)
    first = len(loudness) // 3
    middle = loudness[first : 2 * len(loudness) // 3 + 1]
    if not len(middle):
        return clip
    cut = (first + int(middle.argmin())) * block + block // 2
    pause = np.zeros(round(seconds * clip.rate), np.int16)
    return AudioFrame(np.concatenate([clip.samples[:cut], pause, clip.samples[cut:]]), clip.rate)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        model = found[1]
    return {
        "cpu": model,
        "cores": available_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
