"""The cores and memory that this process may use, and its one thread plan.

Models that each take all cores slow one another down. Containers and services are limited by control groups
on Linux. A limit holds for a group and all below it, so the groups above that of this process count too.
Version 2 has one tree, version 1 one for each controller, and both may be there. Inside a container the
kernel may tell the path on the host: then only the root of the tree is found here, which is the container's.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from localvoice.contract.errors import Component, ErrorCode, VoiceError

Device = Literal["cpu", "cuda"]

STT_THREADS: Final = 8
"""Whisper's small models gain nothing from more."""
SMALL_MACHINE: Final = 4
"""Cores up to which a second TTS thread would be taken from the LLM."""
_FILE_SYSTEM: Final = Path("/")
"""Where /proc and /sys are."""
_UNLIMITED: Final = 1 << 60
"""Version 1 has no word for a memory without limit, and writes a number above this."""


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


def available_cores(root: Path = _FILE_SYSTEM) -> int:
    """Cores this process may use: its CPU affinity, and the quota of its container or service, if any."""
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    # Rounded down: threads beyond the quota are halted for the rest of the period, and their peers wait.
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(root: Path = _FILE_SYSTEM) -> float | None:
    """Processor time a second that this process may use, in cores; None without a limit."""
    quotas = []
    for group in _groups(root, "cpu"):
        v1 = _numbers(group, "cpu.cfs_quota_us") + _numbers(group, "cpu.cfs_period_us")
        match _numbers(group, "cpu.max") or v1:
            case [quota, period] if quota > 0 and period > 0:
                quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit(root: Path = _FILE_SYSTEM) -> int | None:
    """Bytes of memory that this process may use, with what shares its group; None without a limit."""
    limits = []
    for group in _groups(root, "memory"):
        limits += _numbers(group, "memory.max") + _numbers(group, "memory.limit_in_bytes")
    return min((limit for limit in limits if limit < _UNLIMITED), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The group of this process and all above it, in every tree that may hold the controller."""
    paths = {PurePosixPath("/")}
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # not Linux, or no /proc
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            # A process that was moved out of its container's view gets a path with "..".
            inner = PurePosixPath("/", *(part for part in PurePosixPath(path).parts if part != ".."))
            paths |= {inner, *inner.parents}
    mount = root / "sys/fs/cgroup"
    trees = {mount, mount / "unified", *mount.glob(f"*{controller}*")}
    for tree in sorted(trees):
        yield from (tree / path.relative_to("/") for path in sorted(paths))


def _numbers(group: Path, name: str) -> list[int]:
    """The numbers in a group's file; none if there is no such file, or if it says `max`."""
    try:
        return [int(word) for word in (group / name).read_text("ascii").split()]
    except (OSError, ValueError):
        return []
