"""End-pointing: from windows with their speech probability to the user's utterances.

A pure state machine. It counts time in samples of its own stream and holds the sound of the utterance, so
that each event carries the speech that it is about.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from localvoice.audio.frames import SPEECH_FLOOR_DBFS, SPEECH_RATE, AudioFrame, Samples
from localvoice.config import ListeningSettings

WINDOW: Final = 512
"""Samples a window: 32 ms at 16 kHz, the only size that Silero takes."""
WINDOW_MS: Final = 1000 * WINDOW // SPEECH_RATE
_LEAD_IN_WINDOWS: Final = 10
"""320 ms before the onset go with the utterance: the VAD hears a soft first consonant late."""
_TAIL_WINDOWS: Final = 6
"""192 ms of the silence after the speech go with it, as far as they were heard: a last consonant falls below
the VAD's threshold."""
_HYSTERESIS: Final = 0.15  # speech goes on until the probability falls this far below the one that started it
_CERTAIN: Final = 0.97
"""What the VAD says within speech. It falls slowly behind the end of it, and says so for 32 to 64 ms more."""
_FALL_DB: Final = 30.0
"""How far below the utterance's own level a window is that holds none of its speech, unless the VAD is
certain. Before a louder background that doesn't happen."""
_FLOOR: Final = 32768.0**2 * 10 ** (SPEECH_FLOOR_DBFS / 10)  # mean square of a window at that level
_FAINT_DB: Final = 4.0
"""How far below the loud parts of the utterance other people's voices are, who speak farther from the
microphone. The user's own weak syllables are, too, but not for long."""
_LOUD_SHARE: Final = 0.9
"""Of the windows of voice that are below the level of the loud parts. Not all: a bang is no syllable."""
_FAINT_WINDOWS: Final = 62  # 2 s of voice that is as good as all faint are taken for a pause of the user's
_OWN_WINDOWS: Final = 31
"""1 s of voice that an utterance has at least before them: less does not tell how loud its user is."""
_LOUD_AMONG_FAINT: Final = 2  # windows of them that may be loud: others raise their voices, too
_GAP_DB: Final = 15.0
_GAP_SHARE: Final = 0.13
"""So far below the loud parts is at least this share of the speech of a user who is heard alone. Where other
people talk as well, their voices fill the gaps."""
_FAINT_KEPT_WINDOWS: Final = 24  # 768 ms of them go with the utterance: the end of a sentence is often weak
_UNFINISHED_WINDOWS: Final = 31  # 1 s: a pause that is judged to need so long is in the middle of a sentence
_SYLLABLE_WINDOWS: Final = 3  # 96 ms, over which a level is taken


@dataclass(frozen=True)
class UtteranceStarted:
    """The user has begun to speak."""

    position: int  # in samples since the start of the stream


@dataclass(frozen=True, eq=False)
class Continued:
    """The user goes on speaking; told at intervals."""

    speech: AudioFrame  # the utterance so far, at 16 kHz


@dataclass(frozen=True, eq=False)
class Paused:
    """The user has stopped, for now; it may be the end."""

    speech: AudioFrame  # the utterance so far, at 16 kHz


@dataclass(frozen=True)
class Resumed:
    """The user went on after a pause."""


@dataclass(frozen=True, eq=False)
class UtteranceEnded:
    """The user's turn has ended. What was said since the last `Paused` is silence."""

    speech: AudioFrame  # the whole utterance, at 16 kHz
    voiced_until: int  # the last sample that was speech, in samples since the start of the stream


EndpointEvent = UtteranceStarted | Continued | Paused | Resumed | UtteranceEnded


@dataclass
class _Utterance:
    windows: list[Samples]
    voiced: int  # windows of voice that the STT can hear
    energy: float  # the sum of theirs
    voiced_until: int
    end: int  # windows of silence that end it
    silent_run: int = 0
    told: int = 0  # what of it was voice in the latest event that gave it
    others: bool = False  # whether the present pause is full of others' voices
    alone: bool = True  # whether, in such a pause, they were not heard between the user's words
    levels: list[float] = field(default_factory=list)  # of its voice, sorted
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=_SYLLABLE_WINDOWS))
    # Where the latest windows of voice were, and whether they were loud.
    lately: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=_FAINT_WINDOWS))

    def is_others(self, energy: float, position: int) -> bool:
        """Whether the voice, for some time already, seems that of people in the background."""
        self.latest.append(energy)
        level = sum(self.latest) / len(self.latest)
        insort(self.levels, level)
        loud = self.levels[int(_LOUD_SHARE * (len(self.levels) - 1))]
        self.lately.append((position, level >= loud * 10 ** (-_FAINT_DB / 10)))
        enough = len(self.levels) >= _OWN_WINDOWS + _FAINT_WINDOWS and len(self.lately) == _FAINT_WINDOWS
        return enough and sum(is_loud for _, is_loud in self.lately) <= _LOUD_AMONG_FAINT


class Endpointing:
    """Finds the user's utterances in one stream by the length of the silences between them."""

    def __init__(self, settings: ListeningSettings) -> None:
        self._threshold = settings.speech_probability
        # Never below what silence gets, or speech would never end.
        self._lower_threshold = max(self._threshold - _HYSTERESIS, self._threshold / 2)
        self._onset = _windows(settings.onset_ms)
        self._pause = _windows(settings.pause_ms)
        self._usual_end = max(_windows(settings.end_ms), self._pause)
        self._partial = _windows(settings.partial_ms) if settings.partial_ms else None
        self._longest = int(settings.max_utterance_seconds * SPEECH_RATE) // WINDOW
        self.position = 0  # samples heard so far
        self._voiced_run = 0
        # Holds the lead-in and the onset, which is known to be one only at its end.
        self._before: deque[Samples] = deque(maxlen=_LEAD_IN_WINDOWS + self._onset)
        self._utterance: _Utterance | None = None

    @property
    def speaking(self) -> bool:
        return self._utterance is not None

    @property
    def voiced_ms(self) -> float:
        """How much of the present utterance is voice that the STT can hear, without its pauses."""
        return self._utterance.voiced * WINDOW_MS if self._utterance else 0

    def end_after(self, milliseconds: int) -> None:
        """The present pause ends the turn when it is this long, with the next window if it is already.

        It holds for this pause only, and without one nothing changes.
        """
        utterance = self._utterance
        if utterance is not None and utterance.silent_run >= self._pause:
            # Where others were heard all along, their words were judged with the user's.
            most = self._usual_end if utterance.others and not utterance.alone else self._longest
            utterance.end = min(_windows(milliseconds), most)

    def __call__(self, window: Samples, probability: float) -> EndpointEvent | None:
        """Take the next window, shape (512,), int16 at 16 kHz, and say what it changed, if anything."""
        self.position += len(window)
        energy = _energy(window)
        if self._utterance is not None:
            self._utterance.windows.append(window)
            return self._during_speech(self._utterance, energy, probability)
        self._before.append(window)
        is_speech = probability >= self._threshold and energy >= _FLOOR
        self._voiced_run = self._voiced_run + 1 if is_speech else 0
        return self._begin() if self._voiced_run >= self._onset else None

    def _begin(self) -> UtteranceStarted:
        windows = list(self._before)
        energy = sum(map(_energy, windows[-self._onset :]))
        self._utterance = _Utterance(windows, self._onset, energy, self.position, self._usual_end)
        self._before.clear()
        return UtteranceStarted(self.position - self._onset * WINDOW)

    def _during_speech(
        self, utterance: _Utterance, energy: float, probability: float
    ) -> EndpointEvent | None:
        # The speech is over, though the VAD still takes this window for some of it.
        faded = utterance.energy / utterance.voiced * 10 ** (-_FALL_DB / 10)
        has_faded = probability < _CERTAIN and energy < faded
        if probability >= self._lower_threshold and not has_faded:
            is_others = utterance.is_others(energy, self.position)
            if not is_others or (utterance.silent_run >= self._pause and not utterance.others):
                return self._during_voice(utterance, energy)
            if not utterance.others:
                return self._pause_before_others(utterance)
        utterance.silent_run += 1
        if len(utterance.windows) >= self._longest:
            return self._finish(utterance)
        if utterance.silent_run >= utterance.end:
            if utterance.others and utterance.end >= max(_UNFINISHED_WINDOWS, self._usual_end + 1):
                # What was said is unfinished: the faint voice is the user's own, who began louder.
                utterance.lately.clear()
                return self._resume(utterance)
            return self._finish(utterance)
        return Paused(self._speech(utterance)) if utterance.silent_run == self._pause else None

    def _during_voice(self, utterance: _Utterance, energy: float) -> EndpointEvent | None:
        paused = utterance.silent_run >= self._pause
        resumed = self._resume(utterance)
        if energy >= _FLOOR:
            utterance.voiced += 1
            utterance.energy += energy
        if paused:
            return resumed  # even when it is too long: what the pause held is no longer the whole
        if len(utterance.windows) >= self._longest:
            return self._finish(utterance)
        due = self._partial is not None and utterance.voiced - utterance.told >= self._partial
        return Continued(self._speech(utterance)) if due else None

    def _resume(self, utterance: _Utterance) -> Resumed:
        utterance.silent_run = 0
        utterance.end = self._usual_end
        utterance.others = False
        utterance.voiced_until = self.position
        return Resumed()

    def _pause_before_others(self, utterance: _Utterance) -> Paused:
        """The pause began when the voice grew faint; what was said before tells whether it is the end."""
        faint_since = utterance.lately[0][0]
        own = utterance.windows[: len(utterance.windows) - (self.position - faint_since) // WINDOW]
        energies = sorted(map(_energy, own))
        gap = energies[int(_LOUD_SHARE * (len(energies) - 1))] * 10 ** (-_GAP_DB / 10)
        utterance.alone = sum(energy < gap for energy in energies) >= _GAP_SHARE * len(energies)
        utterance.others = True
        utterance.voiced_until = faint_since + _FAINT_KEPT_WINDOWS * WINDOW
        utterance.silent_run = self._pause
        utterance.end = self._usual_end
        return Paused(self._speech(utterance))

    def _finish(self, utterance: _Utterance) -> UtteranceEnded:
        self._utterance = None
        self._voiced_run = 0
        return UtteranceEnded(self._speech(utterance), utterance.voiced_until)

    def _speech(self, utterance: _Utterance) -> AudioFrame:
        utterance.told = utterance.voiced
        silent = (self.position - utterance.voiced_until) // WINDOW
        surplus = max(0, silent - _TAIL_WINDOWS)
        return AudioFrame(np.concatenate(utterance.windows[: len(utterance.windows) - surplus]), SPEECH_RATE)


class Windows:
    """Cuts a stream of samples at 16 kHz into windows of 512."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.int16)

    def __call__(self, samples: Samples) -> list[Samples]:
        """The windows that are whole now; what is left over waits for more."""
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // WINDOW
        self._rest = joined[whole * WINDOW :]
        return list(joined[: whole * WINDOW].reshape(whole, WINDOW))


def _energy(window: Samples) -> float:
    return float(np.square(window, dtype=np.float64).mean())


def _windows(milliseconds: int) -> int:
    return max(1, round(milliseconds / WINDOW_MS))
