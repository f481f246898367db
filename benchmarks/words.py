"""Wrong words and time of our way with Whisper, against faster-whisper's own on the same model and clips.

Ours is greedy, on a window hardly longer than the speech; the stock one is `WhisperModel.transcribe` on its
30 s window, with one beam and with its default of five. The clips are requests in the profile's own voice,
and a folder of recordings whose README.md says in a table what is said in each: `| file | words | … |`. Clip
by clip, in turn. Prints tables and writes JSON.
"""

import asyncio
import re
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer
from faster_whisper import WhisperModel
from rich.console import Console
from rich.table import Table

from benchmarks.clips import QUESTIONS, spoken
from benchmarks.report import (
    RECORDINGS,
    RESULTS,
    Out,
    Profile,
    machine,
    mark,
    percentile,
    progress,
    write_figures,
)
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.wav import read_wav
from localvoice.catalog import ModelFiles, load_catalog, models_folder, ready
from localvoice.engines.threads import plan_threads
from localvoice.engines.whisper import WhisperStt

REQUESTS: Final = Path(__file__).parents[1] / "tests" / "support" / "data" / "tool_requests.toml"
BEAMS: Final = (1, 5)
MOST_WORSE: Final = 0.5
"""Points of word error rate by which we may be above the stock way."""
MOST_TIME: Final = 0.4
"""Of the stock way's time."""

_SMALL: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SPELLINGS: Final = {
    "mr": "mister",
    "ok": "okay",
    "%": "percent",
    "&": "and",
    "favourite": "favorite",
    "litres": "liters",
    "kilometres": "kilometers",
    "centimetres": "centimeters",
}
"""Other ways to write what sounds the same."""


@dataclass(frozen=True)
class Clip:
    """Speech whose words are known."""

    name: str
    """A file's, or "made"."""
    words: list[str]
    """Normalised."""
    sound: AudioFrame
    """At 16 kHz."""


@dataclass
class Way:
    """One way to transcribe, and what came of it, clip by clip."""

    name: str
    wrong: list[int] = field(default_factory=list)
    """Words too many, too few or others."""
    milliseconds: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def main(
    profile: Profile = "base",
    speech: Annotated[Path | None, typer.Option(help="Recordings, with their words in README.md.")] = None,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    folder = speech or (RECORDINGS if RECORDINGS.is_dir() else None)
    clips = [*(recordings(folder) if folder else ()), *asyncio.run(_made(profile))]
    ways = asyncio.run(_measure(profile, clips))
    _show(profile, clips, ways, Console())
    said = [{"clip": clip.name, "words": " ".join(clip.words)} for clip in clips]
    figures = {"machine": machine(), "clips": said, "ways": [asdict(way) for way in ways]}
    write_figures(out, f"words-{profile}", figures)


def recordings(folder: Path) -> list[Clip]:
    """The clips that the folder's README.md lists; the program ends if it lists none, or one isn't there."""
    readme = folder / "README.md"
    text = readme.read_text("utf-8") if readme.exists() else ""
    rows = re.findall(r"^\| *(\S+\.wav) *\| *([^|]+?) *\|", text, re.MULTILINE)
    if not rows:
        sys.exit(f"{readme} has no table of clips and their words: | file | words | … |")
    missing = [name for name, _ in rows if not (folder / name).exists()]
    if missing:
        sys.exit(f"{readme} lists {', '.join(missing)}, which the folder doesn't hold.")
    return [
        Clip(name, normalised(words), read_wav(folder / name).resampled(SPEECH_RATE)) for name, words in rows
    ]


async def _made(profile: str) -> list[Clip]:
    requests = tomllib.loads(REQUESTS.read_text("utf-8"))["request"]
    sentences = (*QUESTIONS, *(each["said"] for each in requests))
    sounds = await spoken(profile, sentences)
    return [
        Clip("made", normalised(text), sound.resampled(SPEECH_RATE))
        for text, sound in zip(sentences, sounds, strict=True)
    ]


def normalised(text: str) -> list[str]:
    """The words of a text as one says them: in lower case, numbers in words, without punctuation."""
    said = re.findall(
        r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[%&]", text.lower().replace("\u2019", "'").replace(",", "")
    )
    words: list[str] = []
    for each in said:
        words += in_words(int(each)) if each.isdecimal() else [_SPELLINGS.get(each, each)]
    return words


def in_words(number: int) -> list[str]:
    """A number in English words, without "and"; digit by digit from a million on."""
    if number < 20:
        return [_SMALL[number]]
    if number < 100:
        return [_TENS[number // 10 - 2], *(in_words(number % 10) if number % 10 else ())]
    for size, name in ((1_000, "thousand"), (100, "hundred")):
        if size <= number < 1_000_000:
            rest = in_words(number % size) if number % size else []
            return [*in_words(number // size), name, *rest]
    return [_SMALL[int(digit)] for digit in str(number)]


def wrong_words(wanted: Sequence[str], heard: Sequence[str]) -> int:
    """Words to put in, leave out or change to come from one to the other (Levenshtein's distance)."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(wanted, 1):
        above, row = row, [number]
        for index, other in enumerate(heard):
            row.append(min(above[index + 1] + 1, row[index] + 1, above[index] + (word != other)))
    return row[-1]


async def _measure(profile: str, clips: list[Clip]) -> list[Way]:
    """Every clip by every way, in an order that changes from clip to clip."""
    files = ready(load_catalog(), profile, models_folder())
    threads = plan_threads(device="cpu").stt
    stt = await WhisperStt.load(files.profile.stt, files.stt_dir, threads, language="en")
    stock = _stock(files, threads)

    async def ours(sound: AudioFrame) -> str:
        return (await stt.transcribe(sound)).text

    listeners = {"ours": ours} | {f"faster-whisper, beam {beam}": stock(beam) for beam in BEAMS}
    ways = {name: Way(name) for name in listeners}
    try:
        for listen in listeners.values():
            await listen(clips[0].sound)
        for number, clip in enumerate(clips):
            progress(f"clip {number + 1}/{len(clips)}")
            order = list(listeners)
            shift = number % len(order)
            for name in order[shift:] + order[:shift]:
                begun = time.monotonic()
                text = await listeners[name](clip.sound)
                ways[name].milliseconds.append(round(1000 * (time.monotonic() - begun), 1))
                ways[name].wrong.append(wrong_words(clip.words, normalised(text)))
                ways[name].texts.append(text)
    finally:
        progress("")
        await stt.close()
    return list(ways.values())


def _stock(files: ModelFiles, threads: int) -> Callable[[int], Callable[[AudioFrame], Awaitable[str]]]:
    model = WhisperModel(str(files.stt_dir), device="cpu", compute_type="int8", cpu_threads=threads)

    def with_beam(beam: int) -> Callable[[AudioFrame], Awaitable[str]]:
        async def listen(sound: AudioFrame) -> str:
            segments, _ = model.transcribe(sound.as_float(), language="en", beam_size=beam)
            return "".join(segment.text for segment in segments)

        return listen

    return with_beam


def _show(profile: str, clips: list[Clip], ways: list[Way], console: Console) -> None:
    words = sum(len(clip.words) for clip in clips)
    people = [index for index, clip in enumerate(clips) if clip.name != "made"]
    by_people = sum(len(clips[index].words) for index in people)
    table = Table(
        "way", "wrong words", "of those by people", "word errors, %", "ms p50", "ms p95",
        title=f"profile {profile}: {len(clips)} clips, {words} words, {by_people} of them by people",
    )  # fmt: skip
    for way in ways:
        wrong, theirs = sum(way.wrong), sum(way.wrong[index] for index in people)
        middle, high = percentile(way.milliseconds, 50), percentile(way.milliseconds, 95)
        rate = f"{100 * wrong / words:.1f}"
        table.add_row(way.name, str(wrong), str(theirs), rate, f"{middle:.0f}", f"{high:.0f}")
    console.print(table)
    goals = Table("goal: ours against", "points above, at most 0.5", "met", "time, at most 0.4 ×", "met")
    mine, *others = ways
    for other in others:
        points = 100 * (sum(mine.wrong) - sum(other.wrong)) / words
        ratio = sum(mine.milliseconds) / sum(other.milliseconds)
        goals.add_row(
            other.name,
            f"{points:+.2f}",
            mark(points <= MOST_WORSE),
            f"{ratio:.2f}",
            mark(ratio <= MOST_TIME),
        )
    console.print(goals)
    for clip, text, wrong in zip(clips, mine.texts, mine.wrong, strict=True):
        if wrong:
            said = " ".join(clip.words)
            console.print(f"{wrong} wrong in {clip.name}: {said!r} heard as {text!r}", markup=False)
