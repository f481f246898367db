"""The one thread plan of this process: models that each take all cores slow one another down."""

from dataclasses import dataclass
from typing import Final, Literal

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.machine import available_cores

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
    """Reading the prompt, and writing the first words: every core. Little else runs then, and the
    user waits."""
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


def choose_device(wanted: Literal["auto", "cpu", "cuda"], gpus: int) -> Device:
    """Where models compute on a machine with so many CUDA GPUs. Raises `VoiceError` if it lacks one."""
    if wanted == "auto":
        return "cuda" if gpus else "cpu"
    if wanted == "cuda" and not gpus:
        raise VoiceError(
            ErrorCode.INTERNAL_ERROR,
            Component.SERVER,
            'No CUDA GPU was found. Check `nvidia-smi`, or set the device to "cpu" or "auto".',
        )
    return wanted
