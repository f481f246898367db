"""Which code of the package one plain spoken turn runs through.

The user speaks, the words are transcribed, the reply of two sentences is spoken, and the turn ends. The
engines are scripted. Only what runs from the first frame of the user's sound to the end of the reply counts.

- files: the modules of the package of which a function runs.
- functions: the distinct functions that run, with methods, properties, coroutines and lambdas.
  Comprehensions, the bodies of modules and classes, and what dataclasses generate don't count.
- hops: the distinct pairs of functions in two different files of which the first calls or resumes the second.
  It resumes a coroutine that it awaits, and a generator that it iterates over. The first is the nearest
  function of the package on the stack, so a call through a library counts. The event loop is no function of
  the package, so a callback and a task's first step make no hop.
- passages: how often control takes a hop. They grow with the length of what is said.

The row "conversation" leaves out the folders that carry a conversation or watch it, which `CARRIERS` names.
"""

import asyncio
import inspect
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from types import CodeType, FrameType
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import localvoice
from localvoice.audio.frames import AudioFrame
from localvoice.config import Settings
from localvoice.contract.messages import ServerMessage, StateMessage
from localvoice.conversation.agent import Agent
from localvoice.transports.dialogue import Live, live
from tests.support.fakes import FakeLlm, fake_engines, loud

PACKAGE: Final = Path(localvoice.__file__).parent
CARRIERS: Final = ("contract", "engines", "observability", "process", "server", "transports")
"""Folders that aren't the conversation. All others are, whatever they are called."""
REPLY: Final = "It is ten past nine. You have plenty of time."
RATE: Final = 24_000
STEP_SECONDS: Final = 0.02
SPEECH_SECONDS: Final = 0.6
LIMIT_SECONDS: Final = 30

_FOLDED: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


@dataclass(frozen=True)
class Figures:
    files: int
    functions: int
    hops: int
    passages: int


@dataclass
class Trace:
    """What has run, in the order of its first time."""

    functions: dict[CodeType, None] = field(default_factory=dict)
    hops: Counter[tuple[CodeType, CodeType]] = field(default_factory=Counter)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Follow all threads that have been started under `threading.setprofile`, and this one."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def figures(self, left_out: tuple[str, ...] = ()) -> Figures:
        """Without what lies in these folders of the package."""
        functions = [code for code in self.functions if path_of(code).parts[0] not in left_out]
        hops = {hop: times for hop, times in self.hops.items() if all(code in functions for code in hop)}
        files = {code.co_filename for code in functions}
        return Figures(len(files), len(functions), len(hops), sum(hops.values()))

    def by_file(self) -> dict[str, list[str]]:
        """The functions of each file, both in the order in which they first ran."""
        found: dict[str, list[str]] = {}
        for code in self.functions:
            found.setdefault(path_of(code).as_posix(), []).append(code.co_qualname)
        return found

    def _on_event(self, frame: FrameType, event: str, _argument: Any) -> None:
        # A call, and likewise the resumption of a coroutine or generator.
        if event != "call" or not _counts(frame.f_code):
            return
        self.functions.setdefault(frame.f_code)
        caller = frame.f_back
        while caller is not None and not _counts(caller.f_code):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != frame.f_code.co_filename:
            self.hops[caller.f_code, frame.f_code] += 1


def path_of(code: CodeType) -> Path:
    """Within the package."""
    return Path(code.co_filename).relative_to(PACKAGE)


def _counts(code: CodeType) -> bool:
    """Whether it is a function of the package."""
    in_package = code.co_filename.startswith(f"{PACKAGE}/")
    return in_package and bool(code.co_flags & inspect.CO_OPTIMIZED) and code.co_name not in _FOLDED


async def trace_turn() -> Trace:
    """Run the turn. Raises `TimeoutError` if it doesn't end."""
    agent = Agent(Settings.model_validate({"agent": {"summarise": False}}), fake_engines(llm=FakeLlm(REPLY)))
    trace, messages = Trace(), list[ServerMessage]()
    async with live(agent, messages.append, RATE) as call, asyncio.timeout(LIMIT_SECONDS):
        await asyncio.sleep(0.1)  # the start of the conversation is over
        with trace.recording():
            await _talk(call, messages)
    return trace


async def _talk(call: Live, messages: list[ServerMessage]) -> None:
    """Speak, and read the reply at the pace of playing until the agent is silent again."""
    said = loud(SPEECH_SECONDS)
    step = int(STEP_SECONDS * said.rate)
    quiet = AudioFrame(np.zeros(step, np.int16), said.rate)
    frames = chain(
        (AudioFrame(said.samples[at : at + step], said.rate) for at in range(0, len(said.samples), step)),
        repeat(quiet),
    )
    states: list[str] = []
    while "speaking" not in states or states[-1] != "idle":
        call.hear(next(frames))
        call.read(int(STEP_SECONDS * RATE))
        await asyncio.sleep(STEP_SECONDS)
        states = [message.state for message in messages if isinstance(message, StateMessage)]


def show(trace: Trace, verbose: bool, console: Console) -> None:
    """Print the figures; `verbose` adds each file with its functions."""
    table = Table("one plain spoken turn", "files", "functions", "hops", "passages")
    for name, left_out in (("conversation", CARRIERS), ("with its carriers", ())):
        found = trace.figures(left_out)
        table.add_row(name, *map(str, (found.files, found.functions, found.hops, found.passages)))
    console.print(table)
    if verbose:
        for path, functions in trace.by_file().items():
            console.print(
                f"{path} ({len(functions)}): {', '.join(functions)}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def main(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="List each file with its functions, in order of first use.")
    ] = False,
) -> None:
    """Count the files, functions and hops between files of one plain spoken turn."""
    show(asyncio.run(trace_turn()), verbose, Console())
