"""The figures of a run: how much was useful, which calls were wrong or missing, and how long it took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.mind.grading import Grade, Verdict, verdicts
from benchmarks.mind.suite import KINDS, Conversation, Request
from benchmarks.mind.talk import Reply
from benchmarks.report import percentile


@dataclass(frozen=True)
class Outcome:
    """Of one entry."""

    request: Request | Conversation
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


def outcome(
    request: Request | Conversation, replies: Sequence[Reply], grades: Mapping[tuple[str, str], Grade]
) -> Outcome:
    return Outcome(request, tuple(replies), tuple(verdicts(request, replies, grades)))


def by_kind(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Per cent, words and seconds, of all and of each kind that was asked."""
    rows = {"all": outcomes}
    for kind in KINDS:
        rows[kind] = [
            each for each in outcomes if isinstance(each.request, Request) and each.request.kind == kind
        ]
    return {name: _row(some) for name, some in rows.items() if some}


def by_conversation(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What was recalled and useful, and how long the answers took, of all and of each."""
    rows = {"all": outcomes} | {each.request.id: [each] for each in outcomes}
    return {
        name: _recalled(some) | _lengths([pair for each in some for pair in each.judged])
        for name, some in rows.items()
    }


def _recalled(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    judged = [
        (turn, verdict)
        for each in outcomes
        for turn, verdict in zip(
            (turn for turn in each.request.turns if turn.judged), each.verdicts, strict=True
        )
    ]
    recalls = [verdict.useful for turn, verdict in judged if turn.recall]
    return {
        "turns": sum(len(each.replies) for each in outcomes),
        "recalled": sum(recalls),
        "facts": len(recalls),
        "useful": sum(verdict.useful for _, verdict in judged),
        "judged": len(judged),
    }


def _row(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    judged = [pair for each in outcomes for pair in each.judged]
    needed = [verdict for _, verdict in judged if verdict.needs_call]
    needless = [verdict for _, verdict in judged if not verdict.needs_call]
    return {
        "n": len(outcomes),
        "useful %": _percent(each.useful for each in outcomes),
        "no grade": sum(each.ungraded for each in outcomes),
        "wrong calls %": _percent(each.call_wrong for each in needless),
        "needed calls %": _percent(each.call_right for each in needed),
    } | _lengths(judged)


def _lengths(judged: Sequence[tuple[Reply, Verdict]]) -> dict[str, Any]:
    spoken = [reply for reply, _ in judged if reply.text]
    first = [reply.first_ms / 1000 for reply in spoken if reply.first_ms is not None]
    ends = [reply.end_ms / 1000 for reply, _ in judged]
    return {
        "words p50": _rank([reply.words for reply in spoken], 50),
        "words p90": _rank([reply.words for reply in spoken], 90),
        "first s p50": _rank(first, 50),
        "first s p95": _rank(first, 95),
        "end s p50": _rank(ends, 50),
        "end s p95": _rank(ends, 95),
    }


def _percent(values: Iterable[bool]) -> float | None:
    counted = list(values)
    return round(100 * sum(counted) / len(counted), 1) if counted else None


def _rank(values: Sequence[float], percent: int) -> float | None:
    return round(percentile(values, percent), 2) if values else None


def show(title: str, rows: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """A column for each figure; two that belong together share one: `words p50` and `words p90`."""
    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column(no_wrap=True)
    for column in _joined(next(iter(rows.values()))):
        table.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *_joined(row).values())
    console.print(table)


def _joined(row: Mapping[str, Any]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in row.items():
        shown = "–" if value is None else str(value)
        what, _, rank = name.rpartition(" p")
        column = what if rank.isdigit() else name
        cells[column] = f"{cells[column]}/{shown}" if column in cells else shown
    return cells


def show_failures(outcomes: Iterable[Outcome], console: Console) -> None:
    """What was said and answered where it wasn't useful, and why it wasn't."""
    for each in outcomes:
        if not each.useful:
            why = "; ".join(verdict.why for verdict in each.verdicts if not verdict.useful)
            console.print(f"\n{each.request.id}: {why}", markup=False, style="bold", soft_wrap=True)
            for reply in each.replies:
                calls = "".join(
                    f" [{call.name} {call.arguments} → {call.result}{call.error or ''}]"
                    for call in reply.calls
                )
                console.print(f"  {reply.said!r} →{calls} {reply.text!r}", markup=False, soft_wrap=True)
