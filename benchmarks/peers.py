"""localvoice, the naive pipeline and pipecat side by side, on the same models and clips.

Blocks of turns in the order A B C D D C B A, each with processes of its own and nothing else running. The
first turn of a block isn't counted. From the last voiced sample of a clip to the first audible sample of the
answer at a loopback WebRTC client; a turn without an answer counts as the time-out.
"""

import asyncio
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from aiohttp import ClientError
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.call import Call
from benchmarks.client import ServerReported
from benchmarks.clips import QUESTIONS, by_people, recorded, spoken
from benchmarks.contenders.calls import called, one_interruption, one_turn
from benchmarks.contenders.figures import OURS, Figures, blocks, goals, median, p95, ratio
from benchmarks.contenders.programs import PEERS_PYTHON, Contender, contenders, started
from benchmarks.programs import Program, ProgramFailed
from benchmarks.report import RESULTS, Out, Profile, machine, write_figures
from localvoice.audio.frames import AudioFrame
from localvoice.catalog import CatalogError, ModelFilesError, load_catalog, models_folder, ready
from localvoice.contract.errors import VoiceError

LONG_QUESTIONS: Final = (
    "Explain in ten sentences how a bicycle works.",
    "Explain in ten sentences how bread is made.",
    "Explain in ten sentences how a ship sails.",
)
"""Their answers last long enough to be interrupted."""
TIMED_OUT: Final = "An answer did not end, or the call broke off. "


def main(
    profile: Profile = "base",
    turns: Annotated[int, typer.Option(help="Of each, in all rounds together.")] = 16,
    interruptions: Annotated[int, typer.Option(help="Of each, likewise.")] = 6,
    rounds: Annotated[int, typer.Option(help="Blocks of each; an even number is fair.")] = 2,
    only: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of WAV files to speak.")] = None,
    people: Annotated[bool, typer.Option(help="Speak clips by people as well.")] = True,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    if not PEERS_PYTHON.exists():
        sys.exit("pipecat's environment .venv-peers isn't there: `make bench-peers` makes it.")
    if turns < rounds:
        sys.exit("Each round needs a turn: give more --turns or fewer --rounds.")
    try:
        every = contenders(ready(load_catalog(), profile, models_folder()))
        chosen = [each for each in every if not only or each.name in only]
        if not chosen:
            sys.exit(f"--only takes {', '.join(each.name for each in every)}.")
        said = recorded(clips) if clips else asyncio.run(spoken(profile, QUESTIONS))
        if not all(len(clip.audible) for clip in said):
            sys.exit(f"A WAV file in {clips} holds only silence: take it away.")
        long_questions = asyncio.run(spoken(profile, LONG_QUESTIONS))
        speech = Speech(said, by_people(turns // rounds) if people else [], long_questions)
        figures = asyncio.run(_compare(chosen, speech, turns, interruptions, rounds))
    except (VoiceError, CatalogError, ModelFilesError) as error:
        sys.exit(str(error))
    _show(chosen, figures, profile, Console())
    found = {"machine": machine(), **{name: asdict(each) for name, each in figures.items()}}
    write_figures(out, f"peers-{profile}", found)


@dataclass(frozen=True)
class Speech:
    """What is spoken to each contender."""

    clips: list[AudioFrame]
    people: list[AudioFrame]
    """Sentences by people; none where there are none."""
    long_questions: list[AudioFrame]

    def of_round(self, number: int, turns: int) -> "Speech":
        """All contenders hear the same in a round."""
        clips = [self.clips[(number * turns + index) % len(self.clips)] for index in range(turns)]
        return Speech(clips, self.people, self.long_questions)


async def _compare(
    chosen: list[Contender], speech: Speech, turns: int, interruptions: int, rounds: int
) -> dict[str, Figures]:
    task = asyncio.current_task()
    assert task is not None
    # Otherwise the contenders' processes would outlive it; a second signal must not stop their ending.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task.cancelling() or task.cancel())
    by_name = {each.name: each for each in chosen}
    figures = {each.name: Figures() for each in chosen}
    each_round = turns // rounds
    with tempfile.TemporaryDirectory() as logs:
        for number, name in blocks(list(by_name), rounds):
            print(f"round {number + 1}: {name}", flush=True)
            block = Block(by_name[name], figures[name], speech.of_round(number, each_round))
            await block.run(Path(logs), interruptions // rounds)
    return figures


@dataclass
class Block:
    """Some turns and interruptions of one contender, in a row, in one call."""

    contender: Contender
    figures: Figures
    speech: Speech
    turns: int = 0
    """Done."""
    by_people: int = 0
    """Turns with clips by people that are done."""
    interruptions: int = 0
    """Done."""

    async def run(self, logs: Path, interruptions: int) -> None:
        """Measure. Turns that a contender doesn't complete count as failed."""
        trouble = ""
        try:
            async with started(self.contender, logs) as programs:
                try:
                    async with called(programs[-1].address, self.contender.by_websocket) as call:
                        await one_turn(call, self.speech.clips[-1])
                        await self._talk(call, programs, interruptions)
                except (TimeoutError, OSError, ClientError, ServerReported) as error:
                    _check(programs)
                    trouble = f"{TIMED_OUT}{error}"
        except ProgramFailed as error:
            trouble = str(error)
        if trouble:
            self.figures.troubles.append(trouble)
            print(f"{self.contender.name}: {trouble}", flush=True)
        for _ in range(len(self.speech.clips) - self.turns):
            self.figures.turn(None)
        for _ in range(len(self.speech.people) - self.by_people):
            self.figures.turn(None, by_people=True)
        if self.contender.interruptible:
            for _ in range(interruptions - self.interruptions):
                self.figures.interruption(None)

    async def _talk(self, call: Call, programs: list[Program], interruptions: int) -> None:
        for clip in self.speech.clips:
            await self._turn(call, programs, clip, by_people=False)
            self.turns += 1
        for clip in self.speech.people:
            await self._turn(call, programs, clip, by_people=True)
            self.by_people += 1
        for number in range(interruptions if self.contender.interruptible else 0):
            question = self.speech.long_questions[number % len(self.speech.long_questions)]
            clip = self.speech.clips[number % len(self.speech.clips)]
            speaking, milliseconds = await one_interruption(call, question, clip)
            _check(programs)
            self.interruptions += 1
            if speaking:
                self.figures.interruption(milliseconds)
            else:
                self.figures.not_interrupted += 1
            shown = "went on" if milliseconds is None else f"{milliseconds:.0f} ms"
            print("  interruption", shown if speaking else "without an answer", flush=True)

    async def _turn(self, call: Call, programs: list[Program], clip: AudioFrame, by_people: bool) -> None:
        milliseconds, cut_in = await one_turn(call, clip)
        _check(programs)
        self.figures.turn(milliseconds, cut_in, by_people)
        shown = "without an answer" if milliseconds is None else f"{milliseconds:.0f} ms"
        print("  turn of a person" if by_people else "  turn", shown, flush=True)


def _check(programs: list[Program]) -> None:
    for program in programs:
        program.check()


def _show(chosen: list[Contender], figures: dict[str, Figures], profile: str, console: Console) -> None:
    table = Table("", *figures, box=SIMPLE, title=f"profile {profile} · {machine()['cores']} cores · ms")
    ours = figures.get(OURS, Figures())
    every = list(figures.values())
    for label, ours_values, values in (
        ("voice to voice", ours.voice_to_voice, [each.voice_to_voice for each in every]),
        ("people's clips", ours.people, [each.people for each in every]),
        ("barge-in", ours.barge_in, [each.barge_in for each in every]),
    ):
        for name, summary in (("median", median), ("p95", p95)):
            table.add_row(f"{label}, {name}", *(_number(summary(each), 0) for each in values))
            table.add_row(
                "  × localvoice", *(_number(ratio(summary, each, ours_values), 2) for each in values)
            )
        table.add_row("  n", *(str(len(each)) for each in values))
    table.add_row("failed", *(str(each.failures) for each in every))
    table.add_row("cut in", *(str(each.cut_ins) for each in every))
    table.add_row("not interrupted", *(str(each.not_interrupted) for each in every))
    console.print(table)
    for contender in chosen:
        console.print(f"{contender.name}: {contender.about}.", highlight=False)
    for goal in goals(figures):
        verdict = "not measured" if goal.ratio is None else "reached" if goal.reached else "missed"
        console.print(f"Goal: {goal.limit} × {goal.text}; now {_number(goal.ratio, 2)}: {verdict}.")


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
