"""What a download shows: a bar for each file on a terminal, plain lines elsewhere."""

import threading
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_LINE_EVERY = 0.25


class Display(Protocol):
    """Shows how far each file is. May be used from several threads."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave what is shown as it is."""
        ...

    def begin(self, file: str, size: int) -> None:
        """A file of so many bytes is about to be fetched."""
        ...

    def update(self, file: str, fraction: float) -> None:
        """How much of it is there, 0 to 1."""
        ...

    def note(self, text: str) -> None:
        """A line of its own."""
        ...

    def end(self, file: str, outcome: str) -> None:
        """The file is done with, well or not."""
        ...


def make_display(console: Console) -> Display:
    """Bars on a terminal, lines in a log."""
    return _Bars(console) if console.is_terminal else _Lines(console)


class _Bars:
    """One bar for each file."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[outcome]}", markup=False),
            console=console,
        )
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, file: str, size: int) -> None:
        """A bar of its own."""
        self._tasks[file] = self._progress.add_task(file, total=size, outcome=""), size

    def update(self, file: str, fraction: float) -> None:
        """Move the bar."""
        task, size = self._tasks[file]
        self._progress.update(task, completed=int(size * fraction))

    def note(self, text: str) -> None:
        """Above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def end(self, file: str, outcome: str) -> None:
        """Say so behind the bar."""
        self._progress.update(self._tasks[file][0], outcome=outcome)


class _Lines:
    """A line at each quarter of a file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, file: str, size: int) -> None:
        """Name and size."""
        self._next[file] = _LINE_EVERY
        self.note(f"{file}: {decimal(size)}")

    def update(self, file: str, fraction: float) -> None:
        """A line if another quarter is there."""
        if self._next[file] <= fraction < 1:
            self._next[file] = fraction // _LINE_EVERY * _LINE_EVERY + _LINE_EVERY
            self.note(f"{file}: {fraction:.0%}")

    def note(self, text: str) -> None:
        """One line, whole even when several threads write."""
        with self._lock:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self, file: str, outcome: str) -> None:
        """Name and outcome."""
        self.note(f"{file}: {outcome}")
