"""The pauses that people make in recorded prompts, each with what is known of it when it has to be judged."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Literal

import numpy as np

from benchmarks.people import HELD_OUT, Prompt, digits, halves, prompts
from benchmarks.report import progress
from benchmarks.words import normalised
from localvoice.audio.end_of_turn import Hint, judge_words
from localvoice.audio.endpointing import WINDOW, Endpointing, Paused, Resumed
from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.config import ListeningSettings
from localvoice.engines.silero import SileroVad
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.threads import plan_threads
from localvoice.engines.whisper import WhisperStt

HESITATION_MS: Final = 700
"""For which a speaker thinks who has only begun a sentence or a number."""
LONGEST_SPEECH: Final = 12.0
"""Seconds of a prompt that are heard: some announcements go on for a minute."""
SHORTEST_MS: Final = 128
"""Of a pause that is looked at; no turn ends sooner."""
GROUPS: Final = ((3, 3, 4), (4, 4), (2, 2, 2, 2), (5, 3), (3, 4)) * 4
"""Digits in each group of the numbers that are put together."""
_BEFORE, _AFTER = 0.3, 1.0
"""Seconds of silence."""
_FAINT: Final = 8.0
"""A quiet microphone's noise: its standard deviation, of 32768."""
_LONGER_MS: Final = 60_000

Truth = Literal["finished", "goes on", "within", "after a clause", "between sentences", "digits"]


@dataclass
class Pause:
    """One pause."""

    clip: str
    half: int
    truth: Truth
    natural_ms: int | None
    """How long it lasted; None at the end of the recording."""
    probability: float
    """The turn detector's that the turn is over."""
    text: str
    language: str
    dictated: str = ""
    """What was dictated before the pause before this one."""


@dataclass(frozen=True)
class Models:
    vad: SileroVad
    turn: SmartTurn
    stt: WhisperStt


class Notes:
    """What was heard of each clip, kept in a file: a run that was stopped goes on, the next only reckons."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self._pauses = {clip: pauses for clip, pauses in map(json.loads, lines)}

    def __len__(self) -> int:
        return len(self._pauses)

    def of(self, clip: str) -> list[Pause] | None:
        """The pauses of a clip; None when it was not heard yet."""
        known = self._pauses.get(clip)
        return None if known is None else [Pause(**pause) for pause in known]

    def keep(self, clip: str, pauses: list[Pause]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([clip, [asdict(pause) for pause in pauses]], ensure_ascii=False) + "\n")


async def heard(profile: str, notes: Notes, both: bool = False) -> list[Pause]:
    """The pauses of the half that is held out, or of both halves, and those of numbers said in groups."""
    every = prompts()
    half_of = halves([prompt.text for prompt in every])
    chosen = [(prompt, half) for prompt, half in zip(every, half_of, strict=True) if both or half == HELD_OUT]
    clips = [(prompt.name, partial(_of_prompt, prompt=prompt, half=half)) for prompt, half in chosen]
    for number, groups in enumerate(GROUPS, 1):
        name = f"number {number}"
        clips.append((name, partial(_of_number, name=name, sound=_number(groups, Random(number)))))
    pauses: list[Pause] = []
    async with AsyncExitStack() as stack:
        models: Models | None = None
        for count, (name, hear) in enumerate(clips, 1):
            progress(f"clip {count}/{len(clips)}")
            found = notes.of(name)
            if found is None:
                if models is None:
                    models = await stack.enter_async_context(_loaded(profile))
                found = await hear(models)
                notes.keep(name, found)
            pauses += found
    progress("")
    return pauses


@asynccontextmanager
async def _loaded(profile: str) -> AsyncIterator[Models]:
    files = ready(load_catalog(), profile, models_folder())
    assert files.turn_file is not None
    threads = plan_threads(device="cpu").stt
    models = Models(
        SileroVad(files.vad_file),
        await SmartTurn.load("smart-turn", files.turn_file),
        await WhisperStt.load(files.profile.stt, files.stt_dir, threads),
    )
    try:
        yield models
    finally:
        await models.turn.close()
        await models.stt.close()


async def _of_prompt(models: Models, prompt: Prompt, half: int) -> list[Pause]:
    found = []
    for speech, natural in pauses_of(models.vad, prompt.sound):
        probability, text, language = await _judge(models, speech)
        truth = prompt.kind if natural is None else truth_at(prompt.text, text)
        if truth is not None:
            found.append(Pause(prompt.name, half, truth, natural, probability, text, language))
    return found


async def _of_number(models: Models, name: str, sound: AudioFrame) -> list[Pause]:
    found, dictated = [], ""
    for speech, natural in pauses_of(models.vad, sound):
        probability, text, language = await _judge(models, speech)
        if natural is not None and natural >= HESITATION_MS - 200:
            found.append(
                Pause(name, HELD_OUT, "digits", HESITATION_MS, probability, text, language, dictated)
            )
        dictated = text if judge_words(text, language) is Hint.DICTATED else ""
    return found


async def _judge(models: Models, speech: AudioFrame) -> tuple[float, str, str]:
    probability = await models.turn.complete(speech)
    transcript = await models.stt.transcribe(speech)
    return probability, transcript.text, transcript.language


def pauses_of(vad: SileroVad, sound: AudioFrame) -> Iterator[tuple[AudioFrame, int | None]]:
    """Each pause: the speech until then, as a session has it, and its milliseconds, None for the last."""
    noise = np.random.default_rng(0)
    quiet = (np.zeros(int(seconds * SPEECH_RATE), np.int16) for seconds in (_BEFORE, _AFTER))
    whole = np.concatenate([next(quiet), sound.samples, next(quiet)])
    noisy = np.clip(whole + noise.normal(0, _FAINT, len(whole)).round(), -32768, 32767).astype(np.int16)
    endpointing, probability_of = Endpointing(ListeningSettings()), vad.stream()
    speech: AudioFrame | None = None
    begun = 0
    for start in range(0, len(noisy) - WINDOW + 1, WINDOW):
        window = noisy[start : start + WINDOW]
        event = endpointing(window, probability_of(AudioFrame(window, SPEECH_RATE).as_float()))
        if isinstance(event, Paused):
            speech, begun = event.speech, endpointing.position
            endpointing.end_after(_LONGER_MS)
            if speech.seconds > LONGEST_SPEECH:
                return
        elif isinstance(event, Resumed) and speech is not None:
            lasted = 1000 * (endpointing.position - begun) // SPEECH_RATE
            if lasted >= SHORTEST_MS:
                yield speech, lasted
            speech = None
    if speech is not None:
        yield speech, None


def truth_at(text: str, said: str) -> Truth | None:
    """What a pause within a prompt is, by the mark that follows in its text; None at its end."""
    words, marks = marked_words(text)
    here = _length_of(words, normalised(said))
    if here in (0, len(words)):
        return None
    mark = marks[here - 1]
    if re.search(r"[.?!]", mark):
        return "between sentences"
    return "after a clause" if re.search(r"[,;:]", mark) else "within"


def marked_words(text: str) -> tuple[list[str], list[str]]:
    """The words of a text, and the marks after each."""
    words: list[str] = []
    marks: list[str] = []
    for part in text.split():
        new = normalised(part)
        words += new
        marks += [""] * len(new)
        if marks:
            marks[-1] += re.sub(r"[\w'\"*#&%-]", "", part)
    return words, marks


def _length_of(words: list[str], said: list[str]) -> int:
    """How many of the words were said, as far as what was heard of them tells."""
    row = list(range(len(words) + 1))
    for number, word in enumerate(said, 1):
        above, row = row, [number]
        for index, wanted in enumerate(words):
            row.append(min(above[index + 1] + 1, row[index] + 1, above[index] + (word != wanted)))
    return min(range(len(words) + 1), key=lambda length: (row[length], abs(length - len(said))))


def _number(groups: tuple[int, ...], random: Random) -> AudioFrame:
    """A number said digit by digit, in groups with pauses between them."""
    spoken = {digit: sound.without_lead_in().without_tail().samples for digit, sound in digits().items()}
    parts: list[Samples] = []
    for size in groups:
        for _ in range(size):
            parts += [spoken[random.randrange(10)], np.zeros(SPEECH_RATE // 25, np.int16)]
        parts.append(np.zeros(HESITATION_MS * SPEECH_RATE // 1000, np.int16))
    return AudioFrame(np.concatenate(parts), SPEECH_RATE)
