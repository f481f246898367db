"""How well a pause is told from the end of a turn, and how soon: false cuts, and the delay at real ends.

Plays sentences to the ears, with pauses put where people hesitate (tests/support/data/endpointing.toml).
Time is the sound's own; what a model answers arrives as much later as it really took to compute. A false
cut is a turn that ended within such a pause; the delay is from the end of speech to the end of the turn.
Where another person talks in the background, it also counts the turns that are still open 4 s after the
user's last word.
Prints all of it for each eagerness and for a plain silence timer, and writes JSON.
"""

import asyncio
import statistics
import sys
import time
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args

from bench_cli import RECORDINGS, parser_of, progress, write_figures
from bench_figures import percentile
from endpointing_trials import Trial, background_trials, recorded_trials, spoken_trials
from rich.console import Console
from rich.table import Table

from localvoice.audio.end_of_turn import silence_ms
from localvoice.audio.endpointing import WINDOW, Paused, SpeechEnded
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.config import Eagerness, ListeningSettings
from localvoice.conversation.speech_detector import SpeechDetector
from localvoice.engines.silero import SileroVad
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.threads import plan_threads
from localvoice.engines.types import Stt, Transcript, TurnDetector, Vad
from localvoice.engines.whisper import WhisperStt

LABELS: Final = Path(__file__).parents[1] / "tests" / "data" / "endpointing.toml"
TIMER: Final = "timer"
"""No turn detection: the silence that ends a turn is always the same."""
WAYS: Final[tuple[str, ...]] = (TIMER, *get_args(Eagerness))
GRACE: Final = 0.15
"""Seconds for which the ears don't know yet that a pause is over."""


@dataclass(frozen=True)
class Judged:
    """What the models say of one stretch of speech, and how long each took."""

    probability: float
    probability_ms: float
    transcript: Transcript
    transcript_ms: float


@dataclass
class Figures:
    """What came of one group of sentences in one way of listening."""

    pauses: Counter[int] = field(default_factory=Counter)
    """How many of each length, in ms."""
    cuts: Counter[int] = field(default_factory=Counter)
    """How many of them were taken for the end."""
    delays_ms: list[float] = field(default_factory=list)
    """At the real ends."""
    still_open: int = 0
    """Turns that had not ended when the sound ended."""
    mistakes: list[str] = field(default_factory=list)
    """The sentences that were cut, with what was thought of the pause."""


class Judges:
    """The models. What they have judged once, they don't judge again."""

    def __init__(self, turn: TurnDetector, stt: Stt) -> None:
        self._turn = turn
        self._stt = stt
        self._known: dict[bytes, Judged] = {}

    async def __call__(self, speech: AudioFrame) -> Judged:
        """Both at once, as in a session."""
        key = speech.samples.tobytes()
        if key not in self._known:
            begun = time.perf_counter()

            async def probability() -> tuple[float, float]:
                return await self._turn.complete(speech), 1000 * (time.perf_counter() - begun)

            async def transcript() -> tuple[Transcript, float]:
                return await self._stt.transcribe(speech), 1000 * (time.perf_counter() - begun)

            turn, stt = await asyncio.gather(probability(), transcript())
            self._known[key] = Judged(*turn, *stt)
        return self._known[key]


class Listener:
    """One pair of ears, which hears one sentence."""

    def __init__(self, way: str, vad: Vad, judges: Judges) -> None:
        settings = {} if way == TIMER else {"eagerness": way}
        self._settings = ListeningSettings.model_validate(settings)
        self._ears = SpeechDetector(vad, self._settings)
        self._judges = None if way == TIMER else judges
        self._judged: Judged | None = None
        self._paused_at = 0.0
        self.thoughts = ""
        """Of the latest pause."""

    async def turn_ends(self, trial: Trial) -> AsyncIterator[float]:
        """The seconds at which turns end."""
        last = len(trial.sound) / SPEECH_RATE
        if trial.pause_ms:
            last = trial.end + trial.pause_ms / 1000 + GRACE
        for at in range(0, int(last * SPEECH_RATE) - WINDOW, WINDOW):
            now = (at + WINDOW) / SPEECH_RATE
            self._decide(1000 * (now - self._paused_at))
            for event in self._ears.hear(AudioFrame(trial.sound[at : at + WINDOW], SPEECH_RATE)):
                self._judged, self._paused_at = None, now
                if isinstance(event, Paused) and self._judges is not None:
                    self._judged = await self._judges(event.speech)
                    self.thoughts = f"{self._judged.probability:.3f} “{self._judged.transcript.text}”"
                if isinstance(event, SpeechEnded):
                    yield now

    def _decide(self, milliseconds: float) -> None:
        """As `TurnTaking` does, with what is known that long after the pause was noticed."""
        known = self._judged
        if known is not None and milliseconds >= known.probability_ms:
            text = known.transcript.text if milliseconds >= known.transcript_ms else None
            language = known.transcript.language
            wait = silence_ms(known.probability, text, language, self._settings.eagerness)
            self._ears.end_after(wait)


def main() -> None:
    """Run the benchmark."""
    parser = parser_of(__doc__)
    parser.add_argument("--speech", type=Path, default=RECORDINGS, help="folder of the recorded people")
    options = parser.parse_args()
    if options.speech != RECORDINGS and not options.speech.is_dir():
        sys.exit(f"There is no folder {options.speech}. Check the path given with --speech.")
    figures = asyncio.run(_measure(options.profile, options.speech))
    _show(options.profile, figures, Console())
    plain = {group: {way: vars(of) for way, of in ways.items()} for group, ways in figures.items()}
    found = {"profile": options.profile, "figures": plain}
    write_figures(options.out, f"endpointing-{options.profile}", found)


async def _measure(profile: str, speech: Path) -> dict[str, dict[str, Figures]]:
    labels = tomllib.loads(LABELS.read_text())
    files = ready(load_catalog(), profile, models_folder())
    trials = [
        *recorded_trials(labels, speech),
        *background_trials(labels, speech),
        *await spoken_trials(labels, files),
    ]
    figures: dict[str, dict[str, Figures]] = {}
    async with AsyncExitStack() as loaded:
        turn = await SmartTurn.load(files.profile.turn, files.turn_file)
        loaded.push_async_callback(turn.close)
        stt = await WhisperStt.load(files.profile.stt, files.stt_dir, plan_threads().stt, language="en")
        loaded.push_async_callback(stt.close)
        await turn.warm_up()
        await stt.warm_up()
        vad, judges = SileroVad(files.vad_file), Judges(turn, stt)
        for number, trial in enumerate(trials):
            ways = figures.setdefault(trial.group, {way: Figures() for way in WAYS})
            for way in WAYS:
                await _hear(trial, Listener(way, vad, judges), ways[way])
            progress(f"sentence {number + 1}/{len(trials)}")
    progress("")
    return figures


async def _hear(trial: Trial, listener: Listener, figures: Figures) -> None:
    # A long sentence may have ended turns before, in the speaker's own pauses.
    ends = [end async for end in listener.turn_ends(trial) if end > trial.end]
    if not trial.pause_ms:
        figures.still_open += not ends
        figures.delays_ms += [1000 * (end - trial.end) for end in ends[:1]]
        return
    figures.pauses[trial.pause_ms] += 1
    if ends:
        figures.cuts[trial.pause_ms] += 1
        figures.mistakes.append(f"{trial.name}, {trial.pause_ms} ms: {listener.thoughts}")


def _show(profile: str, figures: dict[str, dict[str, Figures]], console: Console) -> None:
    lengths = " / ".join(str(ms) for ms in sorted(next(iter(figures.values()))[TIMER].pauses)) + " ms"
    table = Table(
        "sentences",
        "listening",
        "false cuts",
        lengths,
        "delay p50",
        "p95",
        "ends",
        "still open",
        title=f"profile {profile}",
    )
    for group, ways in figures.items():
        for way, of in ways.items():
            each = " / ".join(f"{100 * of.cuts[ms] / of.pauses[ms]:.0f}" for ms in sorted(of.pauses))
            table.add_row(
                group if way == TIMER else "",
                way,
                f"{100 * of.cuts.total() / of.pauses.total():.1f}% of {of.pauses.total()}" if each else "",
                f"{each} %" if each else "",
                f"{statistics.median(of.delays_ms):.0f} ms",
                f"{percentile(of.delays_ms, 95):.0f} ms",
                str(len(of.delays_ms)),
                str(of.still_open),
            )
    console.print(table)


if __name__ == "__main__":
    main()
