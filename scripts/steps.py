"""What the installer's steps share: a command run with progress, and one sentence for why it failed."""

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CXX_PACKAGES = (
    "  Debian, Ubuntu   sudo apt install build-essential\n"
    "  Fedora           sudo dnf install gcc gcc-c++\n"
    "  macOS            xcode-select --install"
)
DISK_FULL = (
    "The disk is full. Free about 2 GB (or point TMPDIR and LOCALVOICE_CACHE at a larger disk), "
    "then run the same command again."
)
# For pip, before the name of a lock file. A lock names every package, so pip has nothing to resolve. Where it
# resolves all the same, a release of today can make it refuse. `pip check` afterwards says what is lacking.
LOCKED = ("--no-deps", "--require-hashes", "-r")
# Long enough to hold the error itself, short enough that a warning from minutes ago isn't taken for it.
TAIL_LINES = 40
# In a log file a line per second would be noise; silence for minutes would look like a hang.
LOG_INTERVAL_S = 20.0


class Failed(Exception):
    """The installation can't go on; the text says to a person what is wrong and what to do."""


@dataclass(frozen=True)
class Cause:
    """A known reason for a failed command."""

    pattern: str
    """Regular expression that is found in the command's last lines."""
    advice: str
    """What to say then; `{0}` stands for the pattern's first group."""


CAUSES = (
    Cause(
        r"No space left on device|Errno 28\b|Disk quota exceeded",
        DISK_FULL,
    ),
    Cause(
        r"DO NOT MATCH THE HASHES",
        "A downloaded package is not the one that the lock file names, so nothing of it was installed. "
        "A proxy or a mirror may have altered it: try another network, then run the same command again.",
    ),
    Cause(
        r"NewConnectionError|NameResolutionError|Failed to establish a new connection|name resolution"
        r"|Network is unreachable|[Tt]imed out|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED"
        r"|Connection (?:refused|reset|aborted|broken)|Max retries exceeded",
        "The package index could not be reached. Check the network (behind a company proxy, set HTTPS_PROXY "
        "or pip's own configuration), then run the same command again: it goes on where it stopped.",
    ),
    Cause(
        r"fatal error: Killed|Killed signal|out of memory|virtual memory exhausted|Cannot allocate memory",
        "The machine ran out of memory. Close other programs, then run the same command again with "
        "CMAKE_BUILD_PARALLEL_LEVEL=1 before it.",
    ),
    Cause(
        r"([\w.-]+ \S+ (?:requires [^\n]+ which is not installed|has requirement [^\n]+))",
        "The lock files do not fit pyproject.toml ({0}). After a change of pyproject.toml run `make lock`; "
        "if you changed nothing, remove .venv. Then run the same command again.",
    ),
    Cause(
        r"No matching distribution found for ([^\s;]+)",
        "There is no build of {0} for this machine. localvoice runs on Linux (x86-64 or ARM64, glibc 2.28 "
        "or newer) and on macOS 14 or newer with Apple silicon, with Python 3.11 to 3.14.",
    ),
)


def explain(title: str, lines: Sequence[str], log: Path) -> str:
    """Say why the step `title` failed: a known cause in plain words, else its last lines."""
    text = "\n".join(lines)
    for cause in CAUSES:
        if match := re.search(cause.pattern, text):
            return f"{cause.advice.format(*match.groups())}\n(The whole output: {log})"
    tail = "\n".join(f"  {line}" for line in list(lines)[-12:])
    return f"{title} failed. Its last lines (the whole output: {log}):\n{tail}"


def duration(seconds: float) -> str:
    """Minutes and seconds, as 4:10."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """One step's progress: a line rewritten in place on a terminal, a line now and then in a log."""

    def __init__(self, title: str, out: IO[str] | None = None) -> None:
        self.title = title
        self._out = sys.stdout if out is None else out
        self._started = self._printed = time.monotonic()

    def show(self, status: str) -> None:
        """Show `status` with the time since the step began."""
        now = time.monotonic()
        line = f"      {self.title}: {status}  {duration(now - self._started)}"
        if self._out.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._out.write(f"\r\x1b[K{line[:width]}")
            self._out.flush()
        elif now - self._printed >= LOG_INTERVAL_S:
            self._printed = now
            print(line, file=self._out, flush=True)

    def done(self) -> None:
        """Take the line in place away and leave the time that the step took."""
        clear = "\r\x1b[K" if self._out.isatty() else ""
        took = duration(time.monotonic() - self._started)
        print(f"{clear}      {self.title}: done  {took}", file=self._out, flush=True)

    def failed(self) -> None:
        """Leave the line in place as it stands; what follows begins on a new one."""
        if self._out.isatty():
            print(file=self._out, flush=True)


def run(
    title: str,
    command: Sequence[str | Path],
    log: Path,
    env: Mapping[str, str] | None = None,
    status: Callable[[str], str | None] = lambda line: None,
) -> None:
    """Run `command`, showing progress; raise `Failed` with a plain reason if it fails.

    `status` turns an output line into the words to show, or None for no change. All output goes to `log`.
    """
    progress = Progress(title)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    words = "working"
    # A group of its own, so that stopping reaches the compilers that a command started, too.
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with log.open("a", encoding="utf-8") as log_file, process.stdout:
            for line in _lines_or_ticks(process.stdout):
                if line is not None:
                    log_file.write(f"{line}\n")
                    tail.append(line)
                    words = status(line) or words
                progress.show(words)
        code = process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        progress.failed()
        raise
    if code != 0:
        progress.failed()
        raise Failed(explain(title, tail, log))
    progress.done()


def _lines_or_ticks(stream: IO[bytes]) -> Iterator[str | None]:
    """Yield each line of `stream`; None when a second went by without any, so that time can be shown."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=1.0):
                yield None
                continue
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip()
    if pending:
        yield pending.decode(errors="replace").rstrip()
