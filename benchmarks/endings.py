"""How soon the end of a turn is known, and how often a pause within a sentence is taken for it, on people.

The clips are a telephone system's prompts, read by a person: sentences, beginnings of sentences, and digits
(`benchmarks/people.py` fetches them). Each is heard as a session hears it. At each pause the turn detector
judges the sound, and Whisper writes the words; then it is reckoned when the turn would have ended, with the
words known after a time that is the same for all. Half of the prompts are for fitting
(`benchmarks/endings_fit.py`); the table shows the others. Prints it and writes JSON.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.endings_fit import fitted
from benchmarks.pauses import HESITATION_MS, Notes, Pause, Truth, heard
from benchmarks.people import HELD_OUT, NoRecordings, fetched
from benchmarks.report import RESULTS, Out, Profile, machine, mark, percentile, write_figures
from localvoice.audio.end_of_turn import silence_ms
from localvoice.audio.endpointing import WINDOW_MS
from localvoice.config import Eagerness, ListeningSettings

SOUND_MS: Final = 96
"""Of silence, after which the turn detector has answered: it is asked after the first window."""
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
    afresh: Annotated[bool, typer.Option("--afresh", help="Hear all again, not only what is new.")] = False,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    preset = ListeningSettings.model_validate({"eagerness": eagerness}).eagerness
    try:
        path = fetched() / f"pauses-{profile}.jsonl"
        if afresh:
            path.unlink(missing_ok=True)
        notes = Notes(path)
        if len(notes):
            print(f"What was heard of {len(notes)} clips before is in {path}; --afresh hears them again.")
        pauses = asyncio.run(heard(profile, notes, both=fit))
    except NoRecordings as error:
        sys.exit(str(error))
    console = Console()
    show([pause for pause in pauses if pause.half == HELD_OUT], words_ms, preset, console)
    if fit:
        fitted([pause for pause in pauses if pause.half != HELD_OUT], console)
    figures = {"machine": machine(), "pauses": [asdict(pause) for pause in pauses]}
    write_figures(out, f"endings-{profile}", figures)


def ended_after(pause: Pause, words_ms: int, eagerness: Eagerness) -> int:
    """Milliseconds of silence after which the turn ends, if the speaker doesn't go on before."""
    words = WINDOW_MS + words_ms
    first = max(SOUND_MS, _wait(pause, pause.dictated, eagerness))
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

    def cut(some: Sequence[Pause]) -> list[Pause]:
        return [pause for pause in some if is_cut(pause, words_ms, eagerness)]

    waits = [ended_after(pause, words_ms, eagerness) for pause in of("finished")]
    median, p95 = percentile(waits, 50), percentile(waits, 95)
    clips = len({pause.clip for pause in pauses})
    title = f"{eagerness}, words after {words_ms} ms: {clips} clips by people, none of them fitted on"
    table = Table("", "n", "median ms", "p95 ms", "ended, %", title=title)
    table.add_row("finished", str(len(waits)), f"{median:.0f}", f"{p95:.0f}", "")
    longer = [replace(pause, natural_ms=HESITATION_MS) for pause in of("within")]
    rows = [(label, of(truth)) for truth, label in (*_WITHIN, *_BESIDES)]
    for label, some in (*rows, (f"within a sentence, had they lasted {HESITATION_MS} ms", longer)):
        table.add_row(label, str(len(some)), "", "", _percent(len(cut(some)), len(some)))
    numbers = {pause.clip for pause in of("digits")}
    broken = {pause.clip for pause in cut(of("digits"))}
    label = f"numbers in groups, {HESITATION_MS} ms between them"
    table.add_row(label, str(len(numbers)), "", "", _percent(len(broken), len(numbers)))
    console.print(table)
    within = [pause for truth, _ in _WITHIN for pause in of(truth)]
    share = _percent(len(cut(within)), len(within))
    for met, text in (
        (median <= MOST_MEDIAN, f"median at most {MOST_MEDIAN} ms: {median:.0f}"),
        (p95 <= MOST_P95, f"p95 at most {MOST_P95} ms: {p95:.0f}"),
        (
            100 * len(cut(within)) <= MOST_CUT * len(within),
            f"at most {MOST_CUT}% cut within a sentence: {share}% of {len(within)}",
        ),
        (not broken, f"numbers stay whole: {len(broken)} of {len(numbers)} cut"),
    ):
        console.print(mark(met), text)


def _percent(some: int, every: int) -> str:
    return f"{100 * some / every:.1f}" if every else "–"
