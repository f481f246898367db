"""How soon the end of a turn is known, and how often a pause within a sentence is taken for it, on people.

The clips are a telephone system's prompts, read by a person: sentences, beginnings of sentences, and digits
(`benchmarks/people.py` fetches them). Each is heard as a session hears it. At each pause the turn detector
judges the sound, and Whisper writes the words; then it is reckoned when the turn would have ended, with the
words known after a time that is the same for all. Half of the prompts are for fitting
(`benchmarks/endings_fit.py`); the table shows the others. Prints it and writes JSON.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.endings_fit import fitted
from benchmarks.pauses import HESITATION_MS, Pause, Truth, heard
from benchmarks.people import HELD_OUT, NoRecordings
from benchmarks.report import RESULTS, Out, Profile, machine, mark, percentile, write_figures
from localvoice.audio.end_of_turn import silence_ms
from localvoice.audio.endpointing import WINDOW_MS
from localvoice.config import Eagerness, ListeningSettings

SOUND_MS: Final = 64
"""After which the turn detector has answered."""
MOST_MEDIAN: Final = 300
MOST_P95: Final = 750
MOST_CUT: Final = 5
"""Per cent of the pauses within a sentence."""

_WITHIN: Final[tuple[tuple[Truth, str], ...]] = (
    ("within", "within a sentence, as long as they were"),
    ("goes on", f"a sentence that has only begun, then {HESITATION_MS} ms"),
)
_BESIDES: Final[tuple[tuple[Truth, str], ...]] = (
    ("after a clause", "after a whole clause of a sentence, as long as they were"),
    ("between sentences", "between sentences, as long as they were"),
)


def main(
    profile: Profile = "base",
    words_ms: Annotated[int, typer.Option(help="After which the words of a pause are known.")] = 300,
    eagerness: Annotated[str, typer.Option(help="patient, balanced or quick.")] = "balanced",
    fit: Annotated[bool, typer.Option("--fit", help="Fit the evidence on the other half.")] = False,
    again: Annotated[Path | None, typer.Option(help="Figures of an earlier run, to reckon from.")] = None,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    preset = ListeningSettings.model_validate({"eagerness": eagerness}).eagerness
    try:
        pauses = _read(again) if again else asyncio.run(heard(profile, both=fit))
    except NoRecordings as error:
        sys.exit(str(error))
    console = Console()
    show([pause for pause in pauses if pause.half == HELD_OUT], words_ms, preset, console)
    if fit:
        fitted([pause for pause in pauses if pause.half != HELD_OUT], console)
    if again is None:
        figures = {"machine": machine(), "pauses": [asdict(pause) for pause in pauses]}
        write_figures(out, f"endings-{profile}", figures)


def ended_after(pause: Pause, words_ms: int, eagerness: Eagerness) -> int:
    """Milliseconds of silence after which the turn ends, if the speaker doesn't go on before."""
    sound, words = WINDOW_MS + SOUND_MS, WINDOW_MS + words_ms
    first = max(sound, _wait(pause, pause.dictated, eagerness))
    wait = first if first < words else max(words, _wait(pause, pause.text, eagerness))
    return WINDOW_MS * -(-wait // WINDOW_MS)


def _wait(pause: Pause, text: str, eagerness: Eagerness) -> int:
    return silence_ms(pause.probability, text or None, pause.language, eagerness)


def is_cut(pause: Pause, words_ms: int, eagerness: Eagerness) -> bool:
    """Whether the turn ends in a pause after which the speaker goes on."""
    lasts = HESITATION_MS if pause.natural_ms is None else pause.natural_ms
    return ended_after(pause, words_ms, eagerness) <= lasts


def show(pauses: Sequence[Pause], words_ms: int, eagerness: Eagerness, console: Console) -> None:
    """Print the table and the goals."""

    def of(truth: Truth) -> list[Pause]:
        return [pause for pause in pauses if pause.truth == truth]

    def cuts(some: Sequence[Pause]) -> int:
        return sum(is_cut(pause, words_ms, eagerness) for pause in some)

    waits = [ended_after(pause, words_ms, eagerness) for pause in of("finished")]
    within = [pause for truth, _ in _WITHIN for pause in of(truth)]
    clips = len({pause.clip for pause in pauses})
    title = f"{eagerness}, words after {words_ms} ms: {clips} clips by people, none of them fitted on"
    table = Table("", "n", "median ms", "p95 ms", "ended, %", title=title)
    median, p95 = percentile(waits, 50), percentile(waits, 95)
    table.add_row("finished", str(len(waits)), f"{median:.0f}", f"{p95:.0f}", "")
    for truth, label in (*_WITHIN, *_BESIDES):
        some = of(truth)
        table.add_row(label, str(len(some)), "", "", _percent(cuts(some), len(some)))
    numbers: dict[str, bool] = {}
    for pause in of("digits"):
        numbers[pause.clip] = numbers.get(pause.clip, False) or is_cut(pause, words_ms, eagerness)
    label = f"numbers in groups, {HESITATION_MS} ms between them"
    table.add_row(label, str(len(numbers)), "", "", _percent(sum(numbers.values()), len(numbers)))
    console.print(table)
    cut = 100 * cuts(within) / len(within)
    for met, text in (
        (median <= MOST_MEDIAN, f"median at most {MOST_MEDIAN} ms: {median:.0f}"),
        (p95 <= MOST_P95, f"p95 at most {MOST_P95} ms: {p95:.0f}"),
        (cut <= MOST_CUT, f"at most {MOST_CUT}% cut within a sentence: {cut:.1f}% of {len(within)}"),
        (not any(numbers.values()), f"numbers stay whole: {sum(numbers.values())} of {len(numbers)} cut"),
    ):
        console.print(mark(met), text)


def _percent(some: int, every: int) -> str:
    return f"{100 * some / every:.1f}" if every else "–"


def _read(path: Path) -> list[Pause]:
    return [Pause(**each) for each in json.loads(path.read_text("utf-8"))["pauses"]]
