"""The packages that the lock files name for this machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SCRIPTS: Final = Path(__file__).resolve().parent
RUNTIME_LOCKS: Final = (SCRIPTS / "requirements.lock", SCRIPTS / "llama.lock")
"""What is installed to run."""


@dataclass(frozen=True)
class Locked:
    """A package as a lock file pins it, under its normalised name."""

    name: str
    version: str
    sha256: tuple[str, ...]
    """Of each of the release's files that may be installed."""


def locked(locks: Iterable[Path] = RUNTIME_LOCKS) -> tuple[Locked, ...]:
    """The pins of these files that this machine's Python and system need."""
    pins = []
    for lock in locks:
        for line in lock.read_text("utf-8").replace("\\\n", " ").splitlines():
            if not line[:1].isalnum():
                continue  # a comment
            text, *hashes = line.split("--hash=sha256:")
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate():
                (pin,) = requirement.specifier
                sums = tuple(map(str.strip, hashes))
                pins.append(Locked(canonicalize_name(requirement.name), pin.version, sums))
    return tuple(pins)
