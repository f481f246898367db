"""How useful the agent's answers are: requests in 20 kinds to the real agent, graded by rules and by hand.

The agent of a profile is loaded once, with its built-in tools and its default prompt, and hears each entry
as typed words in a conversation of its own. README.md tells the format and the rules.
"""

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from benchmarks.mind.figures import by_conversation, by_kind, outcome, show, show_failures
from benchmarks.mind.grading import all_grades
from benchmarks.mind.records import recorded, replies_of, write_ungraded
from benchmarks.mind.suite import (
    FIRST,
    HALVES,
    KINDS,
    Conversation,
    Request,
    authors,
    conversations,
    requests,
)
from benchmarks.mind.talk import Reply, talker
from benchmarks.report import RESULTS, Out, Profile, machine, progress, write_figures

WORDS_PER_SECOND: Final = 2.7
"""Of a voice that reads an answer out."""

Entry = Request | Conversation


class Which(StrEnum):
    TUNING = "tuning"
    HELD_OUT = "held-out"
    BOTH = "both"


def main(
    profile: Profile = "base",
    half: Annotated[Which, typer.Option(help="Which requests.")] = Which.TUNING,
    by: Annotated[
        list[str] | None, typer.Option(help="Only the requests of this author; may be repeated.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only the entry of this id; may be repeated.")
    ] = None,
    pace: Annotated[
        float | None,
        typer.Option(
            min=0, help="Hold the conversations, with so many seconds between answer and next turn."
        ),
    ] = None,
    answers: Annotated[
        list[Path] | None, typer.Option(help="Grade what this file of an earlier run holds; may be repeated.")
    ] = None,
    ungraded: Annotated[Path | None, typer.Option(help="File for the answers to be graded by hand.")] = None,
    reveal: Annotated[
        bool, typer.Option("--show", help="Show and write held-out answers too. Not for those who tune.")
    ] = False,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    asked = _asked(half, by or [FIRST], kind or [], only or [], pace is not None)
    name = "-".join([half.value, *(by or [])]) if pace is None else f"pace-{pace:g}"
    console = Console()
    replies = replies_of(answers) if answers else asyncio.run(_ask(profile, asked, pace))
    outcomes = [outcome(each, replies[each.id], all_grades()) for each in asked if each.id in replies]
    if not outcomes:
        raise typer.BadParameter("none of these entries was asked: choose others, or give other files")
    result: dict[str, Any] = {"profile": profile, "half": name, "machine": machine()}
    result["figures"] = (by_kind if pace is None else by_conversation)(outcomes)
    show(f"{name} · profile {profile}", result["figures"], console)
    if pace is not None or half is Which.TUNING or reveal:
        show_failures(outcomes, console)
        result["answers"] = recorded(outcomes)
    if ungraded is not None:
        write_ungraded(ungraded, outcomes)
    write_figures(out, f"mind-{profile}-{name}", result)


def _asked(
    half: Which, by: Sequence[str], kinds: Sequence[str], ids: Sequence[str], paced: bool
) -> list[Entry]:
    if unknown := set(kinds) - set(KINDS):
        raise typer.BadParameter(
            f"there is no kind {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}"
        )
    entries: list[Entry] = [*conversations()] if paced else []
    if not paced:
        halves = [one for one in HALVES if half in (one, Which.BOTH)]
        known = {author for one in halves for author in authors(one)}
        if unknown := set(by) - known:
            raise typer.BadParameter(
                f"there is no author {', '.join(sorted(unknown))}: there are {', '.join(sorted(known))}"
            )
        written = [
            each
            for one in halves
            for author in authors(one)
            if author in by
            for each in requests(one, author)
        ]
        entries += [each for each in written if not kinds or each.kind in kinds]
    if unknown := set(ids) - {each.id for each in entries}:
        raise typer.BadParameter(f"there is no entry {', '.join(sorted(unknown))} among these")
    return [each for each in entries if not ids or each.id in ids]


async def _ask(profile: str, asked: Sequence[Entry], pace: float | None) -> dict[str, tuple[Reply, ...]]:
    replies: dict[str, tuple[Reply, ...]] = {}
    async with talker(profile) as agent:
        for number, entry in enumerate(asked):
            progress(f"{number + 1}/{len(asked)} {entry.id}")
            said = [turn.said for turn in entry.turns]
            replies[entry.id] = tuple([reply async for reply in agent.converse(said, _pause(pace))])
    progress("")
    return replies


def _pause(pace: float | None) -> Callable[[Reply], float]:
    """Until the answer has sounded, and the user speaks again."""
    return lambda reply: 0.0 if pace is None else reply.words / WORDS_PER_SECOND + pace
