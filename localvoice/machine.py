"""The cores, the memory and the GPU that this process may use.

Containers and services are limited by control groups on Linux. A limit holds for a group and all below it, so
the groups above that of this process count too. Version 2 has one tree, version 1 one for each controller,
and both may be there. Inside a container the kernel may tell the path on the host: then only the root of the
tree is found here, which is the container's.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

_FILE_SYSTEM: Final = Path("/")
"""Where /proc and /sys are."""
_UNLIMITED: Final = 1 << 60
"""Version 1 has no word for a memory without limit, and writes a number above this."""
_GPU_SECONDS: Final = 5.0
"""For the driver's program; the first call after a boot takes some seconds."""


class Machine(NamedTuple):
    """What this process may use."""

    cores: int
    free_mb: int
    """Of memory, now; the whole of it where the system doesn't tell what is free."""
    gpu_mb: int = 0
    """Of free memory of the first NVIDIA GPU; 0 where there is none that both models can use."""

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        gpu = f"an NVIDIA GPU with {self.gpu_mb / 1000:.1f} GB free" if self.gpu_mb else "no NVIDIA GPU"
        return f"{cores}, {self.free_mb / 1000:.1f} GB of free memory, {gpu}"


def this_machine() -> Machine:
    """Looks, in some milliseconds; where there is an NVIDIA GPU its driver's program is asked."""
    return Machine(available_cores(), free_memory() // 10**6, gpu_memory() // 10**6)


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


def free_memory(root: Path = _FILE_SYSTEM) -> int:
    """Bytes of memory that this process can take now without swapping, within the limits of its groups.

    Without /proc/meminfo (macOS) all of the machine's memory counts.
    """
    free = [_available(root)]
    for group in _groups(root, "memory"):
        limits = _numbers(group, "memory.max") + _numbers(group, "memory.limit_in_bytes")
        used = _numbers(group, "memory.current") + _numbers(group, "memory.usage_in_bytes")
        if limits and used and limits[0] < _UNLIMITED:
            free.append(limits[0] - used[0] + _files_in_memory(group))
    return max(0, min(free))


def _available(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text("ascii", "replace").splitlines()
        found = next((line for line in lines if line.startswith("MemAvailable:")), "")
        return int(found.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _files_in_memory(group: Path) -> int:
    """Bytes that count as used by the group and are given back when memory is short."""
    try:
        lines = (group / "memory.stat").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    number = found.get("total_inactive_file") or found.get("inactive_file") or ""  # version 1, version 2
    return int(number) if number.isdecimal() else 0


def gpu_memory() -> int:
    """Bytes that are free on the first NVIDIA GPU; 0 without one, or where llama.cpp was built without CUDA.

    The driver's program is asked, because the libraries that also know it take a second to load.
    """
    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not _llama_has_cuda():
        return 0
    question = [program, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(question, capture_output=True, text=True, timeout=_GPU_SECONDS, check=True)
        return int(asked.stdout.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):  # a driver that doesn't work
        return 0


def _llama_has_cuda() -> bool:
    """By the files of llama-cpp-python, as loading it takes long."""
    found = find_spec("llama_cpp")
    folders = found.submodule_search_locations if found else None
    return any(any(Path(folder).glob("lib/*ggml-cuda*")) for folder in folders or ())


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
