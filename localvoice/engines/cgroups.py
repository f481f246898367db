"""What control groups leave to this process on Linux: containers and services are limited by them.

A limit holds for a group and all below it, so the groups above that of this process count too. Version 2 has
one tree, version 1 one for each controller, and both may be there. Inside a container the kernel may tell the
path on the host: then only the root of the tree is found here, and that is the container's group.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_FILE_SYSTEM: Final = Path("/")
_UNLIMITED: Final = 1 << 60
"""Version 1 has no word for a memory without limit, and writes a number above this."""


def cpu_quota(root: Path = _FILE_SYSTEM) -> float | None:
    """Processor time a second that this process may use, in cores; None without a limit.

    `root` is where /proc and /sys are.
    """
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
