"""How useful the agent's answers are: requests in 20 kinds to the real agent, graded by rules and by hand.

The agent of a profile is loaded once, with its built-in tools and its default prompt, and hears each entry
as typed words in a conversation of its own. README.md tells the format and the rules.
"""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.mind.figures import figures, outcome, show, show_failures
from benchmarks.mind.grading import all_grades
from benchmarks.mind.records import recorded, replies_of, write_ungraded
from benchmarks.mind.suite import HALVES, KINDS, Request, requests
from benchmarks.mind.talk import Reply, talker
from benchmarks.report import RESULTS, Out, Profile, machine, progress, write_figures


class Which(StrEnum):
    TUNING = "tuning"
    HELD_OUT = "held-out"
    BOTH = "both"


def main(
    profile: Profile = "base",
    half: Annotated[Which, typer.Option(help="Which requests.")] = Which.TUNING,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only the entry of this id; may be repeated.")
    ] = None,
    answers: Annotated[
        list[Path] | None, typer.Option(help="Grade what these files of earlier runs hold; asks nothing.")
    ] = None,
    ungraded: Annotated[Path | None, typer.Option(help="File for the answers to be graded by hand.")] = None,
    reveal: Annotated[
        bool, typer.Option("--show", help="Show and write held-out answers too. Not for those who tune.")
    ] = False,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    asked = _asked(half, kind or [], only or [])
    console = Console()
    replies = replies_of(answers) if answers else asyncio.run(_ask(profile, asked))
    outcomes = [outcome(each, replies[each.id], all_grades()) for each in asked if each.id in replies]
    if not outcomes:
        raise typer.BadParameter("no answer is there: give files that hold some of these entries")
    result: dict[str, Any] = {"profile": profile, "half": half.value, "machine": machine()}
    result["figures"] = figures(outcomes)
    show(f"{half.value} · profile {profile}", result["figures"], console)
    if half is Which.TUNING or reveal:
        show_failures(outcomes, console)
        result["answers"] = recorded(outcomes)
    if ungraded is not None:
        write_ungraded(ungraded, outcomes)
    write_figures(out, f"mind-{profile}-{half.value}", result)


def _asked(half: Which, kinds: Sequence[str], ids: Sequence[str]) -> list[Request]:
    if unknown := set(kinds) - set(KINDS):
        raise typer.BadParameter(
            f"there is no kind {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}"
        )
    entries = [each for one in HALVES if half in (one, Which.BOTH) for each in requests(one)]
    if unknown := set(ids) - {each.id for each in entries}:
        raise typer.BadParameter(f"there is no entry {', '.join(sorted(unknown))} in this half")
    return [each for each in entries if (not kinds or each.kind in kinds) and (not ids or each.id in ids)]


async def _ask(profile: str, asked: Sequence[Request]) -> dict[str, tuple[Reply, ...]]:
    replies: dict[str, tuple[Reply, ...]] = {}
    async with talker(profile) as agent:
        for number, request in enumerate(asked):
            progress(f"{number + 1}/{len(asked)} {request.id}")
            said = [turn.said for turn in request.turns]
            replies[request.id] = tuple([reply async for reply in agent.converse(said)])
    progress("")
    return replies
