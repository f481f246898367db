"""The figures of a run: how much was useful, which calls were wrong or missing, and how long it took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.mind.grading import Grade, Verdict, verdicts
from benchmarks.mind.suite import KINDS, Request
from benchmarks.mind.talk import Reply
from benchmarks.report import percentile


@dataclass(frozen=True)
class Outcome:
    """Of one entry."""

    request: Request
    replies: tuple[Reply, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def useful(self) -> bool:
        return all(each.useful for each in self.verdicts)

    @property
    def ungraded(self) -> bool:
        """Whether only a grade by hand is missing."""
        return not self.useful and all(each.useful or each.ungraded for each in self.verdicts)

    @property
    def judged(self) -> list[tuple[Reply, Verdict]]:
        turns = zip(self.request.turns, self.replies, strict=True)
        return list(zip((reply for turn, reply in turns if turn.judged), self.verdicts, strict=True))


def outcome(request: Request, replies: Sequence[Reply], grades: Mapping[tuple[str, str], Grade]) -> Outcome:
    return Outcome(request, tuple(replies), tuple(verdicts(request, replies, grades)))


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Per cent, words and milliseconds, of all and of each kind that was asked."""
    rows = {"all": outcomes}
    rows |= {kind: [each for each in outcomes if each.request.kind == kind] for kind in KINDS}
    return {name: _row(some) for name, some in rows.items() if some}


def _row(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    judged = [pair for each in outcomes for pair in each.judged]
    needed = [verdict for _, verdict in judged if verdict.needs_call]
    needless = [verdict for _, verdict in judged if not verdict.needs_call]
    spoken = [reply for reply, _ in judged if reply.text]
    return {
        "requests": len(outcomes),
        "useful %": _percent(each.useful for each in outcomes),
        "ungraded": sum(each.ungraded for each in outcomes),
        "wrong calls %": _percent(each.call_wrong for each in needless),
        "needed calls %": _percent(each.call_right for each in needed),
        "words p50": _rank([reply.words for reply in spoken], 50),
        "words p90": _rank([reply.words for reply in spoken], 90),
        "first ms p50": _rank([reply.first_ms for reply in spoken if reply.first_ms is not None], 50),
        "first ms p95": _rank([reply.first_ms for reply in spoken if reply.first_ms is not None], 95),
        "end ms p50": _rank([reply.end_ms for reply, _ in judged], 50),
        "end ms p95": _rank([reply.end_ms for reply, _ in judged], 95),
    }


def _percent(values: Iterable[bool]) -> float | None:
    counted = list(values)
    return round(100 * sum(counted) / len(counted), 1) if counted else None


def _rank(values: Sequence[float], percent: int) -> int | None:
    return round(percentile(values, percent)) if values else None


def show(title: str, rows: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    table = Table("", *next(iter(rows.values())), title=title)
    for name, row in rows.items():
        table.add_row(name, *("–" if value is None else str(value) for value in row.values()))
    console.print(table)


def show_failures(outcomes: Iterable[Outcome], console: Console) -> None:
    """What was said and answered where it wasn't useful, and why it wasn't."""
    for each in outcomes:
        if not each.useful:
            why = "; ".join(verdict.why for verdict in each.verdicts if not verdict.useful)
            console.print(f"\n{each.request.id} ({each.request.kind}): {why}", markup=False, style="bold")
            for reply in each.replies:
                calls = "".join(
                    f" [{call.name} {call.arguments} → {call.result}{call.error or ''}]"
                    for call in reply.calls
                )
                console.print(f"  {reply.said!r} →{calls} {reply.text!r}", markup=False)
