"""What a download shows: a bar for each file on a terminal, plain lines elsewhere."""

import threading
from typing import Self

from rich import progress
from rich.console import Console
from rich.filesize import decimal


class Display:
    """Shows how far each file is. May be used from several threads."""

    def __init__(self, console: Console) -> None:
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[outcome]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._files: dict[str, tuple[progress.TaskID, int]] = {}
        self._quarters: dict[str, int] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, file: str, size: int) -> None:
        """A file of so many bytes is about to be fetched."""
        self._files[file] = self._bars.add_task(file, total=size, outcome=""), size
        self._line(f"{file}: {decimal(size)}")

    def update(self, file: str, fraction: float) -> None:
        """How much of it is there, 0 to 1."""
        task, size = self._files[file]
        self._bars.update(task, completed=int(size * fraction))
        if self._quarters.get(file, 0) < (quarter := int(4 * fraction)) < 4:
            self._quarters[file] = quarter
            self._line(f"{file}: {fraction:.0%}")

    def end(self, file: str, outcome: str) -> None:
        """The file is done with, well or not."""
        self._bars.update(self._files[file][0], outcome=outcome)
        self._line(f"{file}: {outcome}")

    def note(self, text: str) -> None:
        """A line of its own, whole even when several threads write."""
        with self._lock:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self, text: str) -> None:
        if self._bars.disable:
            self.note(text)
