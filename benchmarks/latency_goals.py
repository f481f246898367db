"""What a run of the benchmark found, and how that stands against its goals. No measuring here."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.report import mark, percentile

STAGES: Final = {
    "endpointMs": "end of the turn known",
    "transcriptMs": "words known",
    "firstTokenMs": "LLM: first token",
    "firstPieceMs": "LLM: first speakable piece",
    "voiceToVoiceMs": "first sound played",
}
"""Of a turn, as the server tells them: ms after the user's last voiced window. They overlap."""
STT: Final = "sttMs"
"""How long the transcription took, which may begin in a pause."""

EARLY_TURNS: Final = 10
"""The turns after the first that late ones are compared with."""
LATE_FROM: Final = 20
"""Turns from this one on are late."""


@dataclass
class Result:
    """All figures of one run, in ms where nothing else is said."""

    profile: str
    machine: dict[str, Any]
    clips: int = 0
    """How many there are; they are spoken in turn."""
    ready_seconds: float = 0.0
    memory_mb: float | None = None
    """The server's largest resident size; None where the system has no /proc."""
    voice_to_voice: list[float] = field(default_factory=list)
    """From the last voiced sample to the first audible one, at the client."""
    people: list[float] = field(default_factory=list)
    """The same of clips by people."""
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in (*STAGES, STT)})
    """As the server tells them."""
    barge_in: list[float] = field(default_factory=list)
    """From the first voiced sample of an interruption to the last audible one of the answer."""
    after_barge_in: list[float] = field(default_factory=list)
    """Voice to voice of the turns that interrupted."""
    two_at_once: list[float] = field(default_factory=list)
    """Voice to voice where two sessions speak at the same time."""
    idle_percent: float | None = None
    """Of a core, while a client is connected and silent; None if not measured."""
    failures: int = 0
    """Turns without an answer, which count as time-outs, and answers to half a question."""


@dataclass(frozen=True)
class Goal:
    """A figure and what it should be at most."""

    what: str
    most: float
    unit: str
    figure: Callable[[Result], float | None]
    """None if it wasn't measured."""
    profile: str | None = None
    """The goal is for this profile only; a ratio holds for all."""


def first_turn_ratio(result: Result) -> float | None:
    """The first turn against the median of the others."""
    first, *later = result.voice_to_voice or [0.0]
    return first / statistics.median(later) if len(later) >= EARLY_TURNS else None


def late_turn_ratio(result: Result) -> float | None:
    """Turns from the 20th on against the early ones (from the 2nd), each with the same clip: median."""
    turns = result.voice_to_voice
    early = range(1, min(1 + EARLY_TURNS, len(turns)))
    pairs = [
        turns[late] / turns[soon]
        for late in range(LATE_FROM - 1, len(turns))
        for soon in early
        if late % result.clips == soon % result.clips
    ]
    return statistics.median(pairs) if pairs else None


def against_alone(result: Result, values: Sequence[float]) -> float | None:
    """The median of some turns against that of the plain ones."""
    if not values or not result.voice_to_voice:
        return None
    return statistics.median(values) / statistics.median(result.voice_to_voice)


def _percentile_of(values: Sequence[float], percent: int) -> float | None:
    return percentile(values, percent) if values else None


GOALS: Final = (
    Goal("voice to voice, p50", 900, " ms", lambda r: _percentile_of(r.voice_to_voice, 50), "base"),
    Goal("voice to voice, p95", 1500, " ms", lambda r: _percentile_of(r.voice_to_voice, 95), "base"),
    Goal("onset of an interruption to silence, p95", 300, " ms", lambda r: _percentile_of(r.barge_in, 95)),
    Goal("first turn against the others", 1.2, " ×", first_turn_ratio),
    Goal("turns 20 and later against turns 2 to 11", 1.15, " ×", late_turn_ratio),
    Goal(
        "the turn that interrupts against the others",
        1.15,
        " ×",
        lambda r: against_alone(r, r.after_barge_in),
    ),
    Goal("two sessions at the same time against one", 2.0, " ×", lambda r: against_alone(r, r.two_at_once)),
    Goal("CPU while a client is silent, of a core", 3.0, " %", lambda r: r.idle_percent),
)


def show(result: Result, console: Console) -> None:
    """Print the times, then the goals."""
    machine = result.machine
    table = Table(
        "ms", "p50", "p95", "n",
        title=f"profile {result.profile} · {machine['cores']} cores, {machine['cpu']}",
    )  # fmt: skip
    rows = [("voice to voice, at the client", result.voice_to_voice)]
    rows += [(f"  {label}", result.stages[name]) for name, label in STAGES.items()]
    rows += [
        ("voice to voice, people's clips", result.people),
        ("transcription alone", result.stages[STT]),
        ("interruption: onset to silence", result.barge_in),
        ("voice to voice of what interrupts", result.after_barge_in),
        ("voice to voice, two at once", result.two_at_once),
    ]
    for label, values in rows:
        if values:
            middle, high = percentile(values, 50), percentile(values, 95)
            table.add_row(label, f"{middle:.0f}", f"{high:.0f}", str(len(values)))
    console.print(table)
    _show_goals(result, console)
    memory = "unknown" if result.memory_mb is None else f"{result.memory_mb:.0f} MB"
    console.print(
        f"Server ready after {result.ready_seconds} s. Memory: {memory}. Failed turns: {result.failures}."
    )


def _show_goals(result: Result, console: Console) -> None:
    table = Table("goal", "at most", "measured", "met")
    for goal in GOALS:
        value = goal.figure(result)
        if value is None or goal.profile not in (None, result.profile):
            continue
        digits = 0 if goal.unit == " ms" else 2
        limit, measured = f"{goal.most:g}{goal.unit}", f"{value:.{digits}f}{goal.unit}"
        table.add_row(goal.what, limit, measured, mark(value <= goal.most))
    console.print(table)
