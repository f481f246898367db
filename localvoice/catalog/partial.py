"""Files that are arriving: FILE.part, and FILE.part.json, which tells what its bytes are the start of."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localvoice.catalog.schema import PARTIAL_SUFFIX
from localvoice.files import read_regular

_MOST_MARKER = 1 << 20


@dataclass(frozen=True)
class PartialFile:
    """One file that is arriving. It is never opened as a model: that is only what it becomes by a rename."""

    target: Path
    """The file that it will be."""

    @property
    def path(self) -> Path:
        """FILE.part"""
        return self.target.with_name(self.target.name + PARTIAL_SUFFIX)

    @property
    def marker(self) -> Path:
        """FILE.part.json"""
        return self.path.with_name(self.path.name + ".json")

    def held(self, origin: str) -> int:
        """Bytes of this origin that are there already; bytes of another one don't count."""
        if self._read_marker().get("origin") != origin or not self.path.is_file():
            return 0
        return self.path.stat().st_size

    def parts_held(self, origin: str) -> int:
        """How many whole parts of this origin are joined already."""
        parts, size = self._read_marker().get("joined", (0, 0))
        return int(parts) if 0 < size <= self.held(origin) else 0

    def begin(self, origin: str) -> None:
        """Make room for bytes of this origin: those of another are thrown away."""
        if self.held(origin) == 0:
            self.discard()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write_marker({"origin": origin})
            self.path.touch()

    def begin_part(self, origin: str) -> None:
        """As `begin`, and throw away bytes of a part that was cut short."""
        whole = self._read_marker()["joined"][1] if self.parts_held(origin) else 0
        self.begin(origin)
        os.truncate(self.path, whole)

    def end_part(self, origin: str, parts: int) -> None:
        """Record that the file now holds so many whole parts."""
        self._write_marker({"origin": origin, "joined": (parts, self.path.stat().st_size)})

    def discard(self) -> None:
        """Remove both files."""
        self.path.unlink(missing_ok=True)
        self.marker.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the file its real name, after its bytes are on the disk: a power cut leaves no empty model."""
        with self.path.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(self.path, self.target)
        self.marker.unlink(missing_ok=True)

    def _read_marker(self) -> dict[str, Any]:
        """The marker; empty if there is none or it was cut short: then nothing tells what the bytes are."""
        try:
            marker = json.loads(read_regular(self.marker, _MOST_MARKER))
        except (OSError, ValueError, RecursionError):
            return {}
        return marker if isinstance(marker, dict) else {}

    def _write_marker(self, marker: dict[str, Any]) -> None:
        """Replace the marker as one step, so that a kill leaves the old or the new one."""
        temporary = self.marker.with_name(self.marker.name + ".new")
        temporary.unlink(missing_ok=True)  # a pipe in its place would never be written
        temporary.write_text(json.dumps(marker), encoding="utf-8")
        os.replace(temporary, self.marker)
