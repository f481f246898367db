"""The process's one thread plan. Models that each take all cores slow one another down."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from localvoice.engines.cgroups import cpu_quota

Device = Literal["cpu", "cuda"]

STT_THREADS: Final = 8
"""Whisper's small models gain nothing from more."""

SMALL_MACHINE: Final = 4
"""Cores up to which a second TTS thread would be taken from the LLM."""


@dataclass(frozen=True)
class ThreadPlan:
    """How many threads each model computes with."""

    llm_decode: int
    """Writing a reply beyond its first words: a core fewer than there are. llama.cpp's threads meet at
    a barrier many hundred times a token and spin there, so a single other busy thread (speech being
    synthesised, the event loop) on its cores makes it several times slower."""
    llm_prompt: int
    """Reading the prompt, and writing the first words: every core. Little else runs then, and somebody
    waits."""
    stt: int
    """Whisper: every core, up to 8. The user has just stopped speaking, and nothing else has begun."""
    tts: int
    """Piper: 1 on small machines, else 2. It runs while the LLM writes, and one thread speaks over ten times
    faster than a listener hears."""


def plan_threads(cores: int | None = None, device: Device = "cpu") -> ThreadPlan:
    """The plan for a machine with that many cores; None counts those this process may use.

    `device` is where Whisper runs: on "cuda" the CPU has only its spectrogram to compute. The LLM's threads
    don't depend on it, since layers that don't fit the GPU stay on the CPU.
    """
    cores = available_cores() if cores is None else cores
    return ThreadPlan(
        llm_decode=max(1, cores - 1),
        llm_prompt=cores,
        stt=1 if device == "cuda" else min(cores, STT_THREADS),
        tts=1 if cores <= SMALL_MACHINE else 2,
    )


def available_cores(root: Path = Path("/")) -> int:
    """Cores this process may use: its CPU affinity, and the quota of its container or service, if any.

    `root` is where /proc and /sys are.
    """
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    # Rounded down: threads beyond the quota are halted for the rest of the period, and their peers wait.
    return cores if quota is None else max(1, min(cores, int(quota)))
