"""What was measured of each contender, and how it compares with localvoice. Pure."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.report import percentile

TIMEOUT: Final = 15.0
"""Seconds after which a turn without an answer, or an answer that goes on over the user, has failed."""
OURS: Final = "localvoice"
Summary = Callable[[Sequence[float]], float | None]
PIPECAT: Final = ("pipecat", "pipecat-tuned")


@dataclass
class Figures:
    """One contender's turns, in ms. A failure is among them as the time-out."""

    voice_to_voice: list[float] = field(default_factory=list)
    """From the last voiced sample of the clip to the first audible one of the answer."""
    barge_in: list[float] = field(default_factory=list)
    """From the first voiced sample spoken over the answer until the client hears nothing any more."""
    people: list[float] = field(default_factory=list)
    """Voice to voice of clips by people."""
    failures: int = 0
    """Turns without an answer, and interruptions without silence."""
    cut_ins: int = 0
    """Turns in which an answer began before the user had finished."""
    not_interrupted: int = 0
    """Interruptions that could not be measured, since there was no answer any more to speak over."""
    troubles: list[str] = field(default_factory=list)
    """Why processes died, with the end of their logs."""

    def turn(self, milliseconds: float | None, cut_in: bool = False, by_people: bool = False) -> None:
        """Add a turn; None where no answer came."""
        self.failures += milliseconds is None
        self.cut_ins += cut_in
        turns = self.people if by_people else self.voice_to_voice
        turns.append(1000 * TIMEOUT if milliseconds is None else milliseconds)

    def interruption(self, milliseconds: float | None) -> None:
        """Add an interruption; None where the answer went on."""
        self.failures += milliseconds is None
        self.barge_in.append(1000 * TIMEOUT if milliseconds is None else milliseconds)


@dataclass(frozen=True)
class Goal:
    text: str
    limit: float
    """The highest ratio that reaches the goal."""
    ratio: float | None
    """localvoice's figure as a part of the peer's; None where one of them wasn't measured."""

    @property
    def reached(self) -> bool:
        return self.ratio is not None and self.ratio <= self.limit


def blocks(names: Sequence[str], rounds: int) -> list[tuple[int, str]]:
    """The order, as (round, name): A B C D, D C B A, and so on, so that slow changes meet all alike."""
    return [(number, name) for number in range(rounds) for name in names[:: -1 if number % 2 else 1]]


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def p95(values: Sequence[float]) -> float | None:
    return percentile(values, 95) if values else None


def ratio(summary: Summary, some: Sequence[float], others: Sequence[float]) -> float | None:
    """The summary of some values as a multiple of that of others; None where one is missing."""
    dividend, divisor = summary(some), summary(others)
    return None if dividend is None or not divisor else dividend / divisor


def better(figures: dict[str, Figures], names: Sequence[str]) -> str | None:
    """The one of these with the lower median voice-to-voice; None where none was measured."""
    measured = [name for name in names if name in figures and figures[name].voice_to_voice]
    return min(measured, key=lambda name: statistics.median(figures[name].voice_to_voice), default=None)


def goals(figures: dict[str, Figures]) -> list[Goal]:
    """The goals for voice-to-voice and barge-in, with what was reached."""
    ours = figures.get(OURS, Figures())
    pipecat = better(figures, PIPECAT)
    found = []
    for peer, limit in (("naive", 0.42), (pipecat, 0.36)):
        theirs = figures.get(peer or "", Figures()).voice_to_voice
        for summary, label in ((median, "median"), (p95, "p95")):
            text = f"voice to voice, {label}, of {peer or 'pipecat'}'s"
            found.append(Goal(text, limit, ratio(summary, ours.voice_to_voice, theirs)))
    if ours.people:
        peers = [figures[name].people for name in PIPECAT if name in figures]
        theirs = min(filter(None, peers), key=statistics.median, default=[])
        text = "voice to voice, people's clips, median, of the better pipecat's"
        found.append(Goal(text, 0.36, ratio(median, ours.people, theirs)))
    stopped = figures.get(pipecat or "", Figures()).barge_in
    found.append(
        Goal(f"barge-in, median, of {pipecat or 'pipecat'}'s", 0.5, ratio(median, ours.barge_in, stopped))
    )
    return found
