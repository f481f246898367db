"""The sentences of the end-pointing benchmark, with pauses where people hesitate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples, concatenate
from localvoice.audio.wav import read_wav
from localvoice.catalog import ModelFiles
from localvoice.engines.piper import PiperTts

HALVES: Final = ("tune", "report")
NOISE: Final = 10.0
"""Level of the pauses, of 32768: a quiet room, -70 dBFS."""
BEFORE: Final = 0.3
AFTER: Final = 1.6
"""Seconds of quiet before and after a sentence."""
FADE: Final = 80
"""Samples: 5 ms, so that a cut doesn't click."""
LAST_SOUND: Final = 0.1
"""Seconds after the labelled end that still belong to the last word."""
SHIFTS: Final = (0.0, 0.011, 0.021)
"""Seconds by which a whole sentence is heard later: it falls differently into the windows of 32 ms."""
STEP: Final = SPEECH_RATE // 100
QUIET_DB: Final = 35
"""Below its loudest 10 ms, a voice is silent."""
BACKGROUND_DB: Final = 5
"""How far below the user's voice another person's is, in the trials with background."""
BACKGROUND_AFTER: Final = 4.0
"""Seconds for which the other person goes on after the user's last word."""
BACKGROUND_STARTS: Final = (0.0, 1.5)
"""Seconds of the other person's recording that are skipped."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One sentence to listen to."""

    name: str
    group: str
    """Who speaks, and which half it belongs to."""
    sound: Samples
    """At 16 kHz."""
    end: float
    """Second at which the speech ends, or before the pause that was put in."""
    pause_ms: int = 0
    """The pause; 0 for a whole sentence."""


Cut = tuple[float, float]
"""The seconds that a pause takes the place of; from and to are the same where it goes between two words."""


def recorded_trials(labels: Mapping[str, Any], folder: Path) -> Iterator[Trial]:
    """The labelled recordings that are in the folder."""
    for entry, sound in _recordings(labels, folder):
        cuts = [tuple(cut) if isinstance(cut, list) else (cut, cut) for cut in entry["cuts"]]
        yield from _trials(
            _name(entry), f"people, {entry['half']}", sound, entry["end"], cuts, labels["pauses_ms"]
        )


def background_trials(labels: Mapping[str, Any], folder: Path) -> Iterator[Trial]:
    """Each recording while another person talks in the background, before it, during it and after it."""
    recordings = list(_recordings(labels, folder))
    for entry, sound in recordings:
        for other, voice in recordings:
            if other.get("background") and other["speaker"] != entry["speaker"]:
                for start in BACKGROUND_STARTS:
                    shifted = np.roll(voice, -int(start * SPEECH_RATE))
                    mixed = _with_background(sound, entry["end"], shifted)
                    name = f"{_name(entry)} before {_name(other)} from {start} s"
                    group = f"people, others at -{BACKGROUND_DB} dB"
                    yield Trial(name, group, mixed, BEFORE + entry["end"])


def _recordings(labels: Mapping[str, Any], folder: Path) -> Iterator[tuple[Mapping[str, Any], Samples]]:
    for entry in labels["recorded"]:
        paths = [folder / file for file in entry["files"]]
        if all(path.is_file() for path in paths):
            yield entry, concatenate([read_wav(path).resampled(SPEECH_RATE) for path in paths]).samples


def _name(entry: Mapping[str, Any]) -> str:
    return Path(entry["files"][0]).stem


def _with_background(sound: Samples, end: float, voice: Samples) -> Samples:
    """The other person's recording is repeated for as long as it takes."""
    spoken = sound[: int((end + LAST_SOUND) * SPEECH_RATE)]
    mixed = np.zeros(int((BEFORE + end + BACKGROUND_AFTER) * SPEECH_RATE))
    begin = int(BEFORE * SPEECH_RATE)
    mixed[begin : begin + len(spoken)] = spoken
    factor = 10 ** ((_speech_db(spoken) - BACKGROUND_DB - _speech_db(voice)) / 20)
    mixed += factor * np.resize(voice, len(mixed))
    return np.clip(mixed, -32768, 32767).astype(np.int16)


def _speech_db(sound: Samples) -> float:
    """Level of what isn't silence."""
    power = _power(sound)
    return float(10 * np.log10(power[power > power.max() * 10 ** (-QUIET_DB / 10)].mean()))


async def spoken_trials(labels: Mapping[str, Any], files: ModelFiles) -> list[Trial]:
    """The sentences of the suite, spoken by the profile's own voice."""
    voice = await PiperTts.load(files.profile.tts, files.voice_file, files.voice_config_file, 1)
    trials: list[Trial] = []
    try:
        for half in HALVES:
            for text in labels["spoken"][half]:
                # A comma makes the voice hesitate as a person would; the pause goes there.
                frames = [frame async for frame in voice.synthesize(text.replace(" |", ","))]
                sound, runs = _trimmed(concatenate(frames).resampled(SPEECH_RATE).samples)
                cuts = [max(runs, key=lambda run: run[1] - run[0])] if "|" in text else []
                end = len(sound) / SPEECH_RATE
                trials += _trials(text, f"made voice, {half}", sound, end, cuts, labels["pauses_ms"])
    finally:
        await voice.close()
    return trials


def _trials(
    name: str, group: str, sound: Samples, end: float, cuts: list[Cut], pauses_ms: list[int]
) -> Iterator[Trial]:
    """The whole sentence, and one for each cut and length of pause."""
    for shift in SHIFTS:
        before = BEFORE + shift
        yield Trial(name, group, np.concatenate([_quiet(before), _faded(sound), _quiet(AFTER)]), before + end)
    for start, stop in cuts:
        first = _faded(sound[: int(start * SPEECH_RATE)])
        rest = _faded(sound[int(stop * SPEECH_RATE) :])
        for milliseconds in pauses_ms:
            whole = np.concatenate([_quiet(BEFORE), first, _quiet(milliseconds / 1000), rest])
            yield Trial(f"{name} at {start:.2f} s", group, whole, BEFORE + start, milliseconds)


def _quiet(seconds: float) -> Samples:
    """Always the same noise: what was judged before a pause needn't be judged again for each length of it."""
    noise = np.random.default_rng(1).normal(0, NOISE, int(seconds * SPEECH_RATE))
    return noise.astype(np.int16)


def _trimmed(sound: Samples) -> tuple[Samples, list[Cut]]:
    """Without the silence around it, and the silences within it."""
    level = 10 * np.log10(_power(sound))
    loud: npt.NDArray[np.int64] = np.flatnonzero(level > level.max() - QUIET_DB)
    first, last = int(loud[0]), int(loud[-1]) + 1
    gaps = [
        ((before + 1 - first) / 100, (after - first) / 100)
        for before, after in zip(loud.tolist(), loud.tolist()[1:], strict=False)
        if after > before + 1
    ]
    return sound[first * STEP : last * STEP], gaps


def _power(sound: Samples) -> npt.NDArray[np.float64]:
    """Mean square of each 10 ms, 1 at least."""
    blocks = sound[: len(sound) // STEP * STEP].reshape(-1, STEP).astype(np.float64)
    power: npt.NDArray[np.float64] = np.mean(np.square(blocks), axis=1) + 1
    return power


def _faded(sound: Samples) -> Samples:
    """With soft edges."""
    slope = np.ones(len(sound))
    slope[:FADE] = np.linspace(0, 1, FADE)
    slope[-FADE:] *= np.linspace(1, 0, FADE)
    return AudioFrame((sound * slope).astype(np.int16), SPEECH_RATE).samples
