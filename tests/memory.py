"""How much memory the test's own process takes."""

from pathlib import Path


def resident_mb() -> float:
    """Resident, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20
