"""Runs one step of the installation: shows its progress, and says in plain words why it failed."""

import contextlib
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen

# For pip, before the name of a lock file. A lock names every package, so pip has nothing to resolve. Where it
# resolves all the same, a release of today can make it refuse. `pip check` afterwards says what is lacking.
LOCKED = ("--no-deps", "--require-hashes", "-r")
# Long enough to hold the error itself, short enough that a warning from minutes ago isn't taken for it.
TAIL_LINES = 40
# In a log file a line per second would be noise; silence for minutes would look like a hang.
LOG_INTERVAL_S = 20.0
DISK_FULL = (
    "The disk is full. Free about 2 GB (or point TMPDIR and LOCALVOICE_CACHE at a larger disk), "
    "then run the same command again."
)
# Known reasons for a failure, as found in a command's last lines, and what to say then.
CAUSES = {
    r"No space left on device|Errno 28\b|Disk quota exceeded": DISK_FULL,
    r"DO NOT MATCH THE HASHES": "A downloaded package is not the one that the lock file names, so nothing of "
    "it was installed. A proxy or a mirror may have altered it: try another network, then run the same "
    "command again.",
    r"NewConnectionError|NameResolutionError|Failed to establish a new connection|name resolution|SSLError"
    r"|Network is unreachable|[Tt]imed out|ProxyError|CERTIFICATE_VERIFY_FAILED|Max retries exceeded"
    r"|Connection (?:refused|reset|aborted|broken)": "The package index could not be reached. Check the "
    "network (behind a company proxy, set HTTPS_PROXY or pip's own configuration), then run the same command "
    "again: it goes on where it stopped.",
    r"fatal error: Killed|Killed signal|out of memory|virtual memory exhausted|Cannot allocate memory": "The "
    "machine ran out of memory. Close other programs, then run the same command again with "
    "CMAKE_BUILD_PARALLEL_LEVEL=1 before it.",
    r"([\w.-]+ \S+ (?:requires [^\n]+ which is not installed|has requirement [^\n]+))": "The lock files do "
    "not fit pyproject.toml ({0}). After a change of pyproject.toml run `make lock`; if you changed nothing, "
    "remove .venv. Then run the same command again.",
    r"No matching distribution found for ([^\s;]+)": "There is no build of {0} for this machine. localvoice "
    "runs on Linux (x86-64 or ARM64, glibc 2.28 or newer) and on macOS 14 or newer with Apple silicon, with "
    "Python 3.11 to 3.14.",
}


class Failed(Exception):
    """The installation can't go on; the text says to a person what is wrong and what to do."""


def check_space(folder: Path, needed: int, purpose: str, otherwise: str = "") -> None:
    """Raise `Failed` unless `folder`'s disk has `needed` bytes left."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise Failed(
            f"{purpose} about {needed / 1e9:.0f} GB in {folder}, and {free / 1e9:.1f} GB are free. "
            f"Free some{otherwise}; then run the same command again."
        )


def explain(title: str, lines: Sequence[str], log: Path) -> str:
    """Say why the step `title` failed: a known cause in plain words, else its last lines."""
    text = "\n".join(lines)
    for pattern, advice in CAUSES.items():
        if match := re.search(pattern, text):
            return f"{advice.format(*match.groups())}\n(The whole output: {log})"
    tail = "\n".join(f"  {line}" for line in list(lines)[-12:])
    return f"{title} failed. Its last lines (the whole output: {log}):\n{tail}"


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """Show what a step does and since when: a line rewritten on a terminal, elsewhere a line now and then."""
    began, over, words = time.monotonic(), threading.Event(), deque(["working"], maxlen=1)
    terminal = sys.stdout.isatty()

    def show(end: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        line = f"      {title}: {words[0]}  {minutes}:{seconds:02d}"
        if terminal:
            line = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
        print(line, end=end, flush=True)

    def tick() -> None:
        while not over.wait(1.0 if terminal else LOG_INTERVAL_S):
            show("" if terminal else "\n")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield words.append
        words.append("done")
    finally:
        over.set()
        ticker.join()
        if terminal or words[0] == "done":
            show("\n")


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
    tail = deque[str](maxlen=TAIL_LINES)
    with progress(title) as show, log.open("a", encoding="utf-8") as log_file:
        # A session of its own, so that stopping reaches the compilers that a command started, too.
        process = Popen(
            command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=env,
            errors="replace",
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                log_file.write(line)
                tail.append(line.rstrip())
                if words := status(line):
                    show(words)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            process.communicate()
        if process.returncode != 0:
            raise Failed(explain(title, tail, log))


def pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's environment with their proxy and mirror, less what would send packages elsewhere."""
    away = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    kept = {name: value for name, value in environ.items() if name not in away}
    return {**kept, "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def pip(python: Path, *words: str | Path) -> list[str | Path]:
    """The command that runs `python`'s pip."""
    return [python, "-m", "pip", *words]
