"""End-pointing: from windows with their speech probability to the user's turns.

A pure state machine. It counts time in samples of its own stream and holds the sound of the utterance, so
that each event carries the speech that it is about.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

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
_HYSTERESIS: Final = 0.15
"""Speech goes on until the probability falls this far below the one that started it."""
_CERTAIN: Final = 0.97
"""What the VAD says within speech. It falls slowly behind the end of it, and says so for 32 to 64 ms more."""
_FALL_DB: Final = 30.0
"""How far below the utterance's own level a window is that holds none of its speech, unless the VAD is
certain. Before a louder background that doesn't happen."""
_FLOOR: Final = 32768.0**2 * 10 ** (SPEECH_FLOOR_DBFS / 10)
"""Mean square of a window at that level."""
_FAINT_DB: Final = 4.0
"""How far below the loud parts of the utterance other people's voices are, who speak farther from the
microphone. The user's own weak syllables are, too, but not for long."""
_LOUD_SHARE: Final = 0.9
"""Of the windows of voice that are below the level of the loud parts. Not all: a bang is no syllable."""
_FAINT_WINDOWS: Final = 62
"""2 s of voice that is as good as all faint are taken for a pause of the user's."""
_OWN_WINDOWS: Final = 31
"""1 s of voice that an utterance has at least before them: less does not tell how loud its user is."""
_LOUD_AMONG_FAINT: Final = 2
"""Windows of them that may be loud: others raise their voices, too."""
_GAP_DB: Final = 15.0
_GAP_SHARE: Final = 0.13
"""So far below the loud parts is at least this share of the speech of a user who is heard alone. Where other
people talk as well, their voices fill the gaps."""
_FAINT_KEPT_WINDOWS: Final = 24
"""768 ms of them go with the utterance: the end of a sentence is often weak."""
_UNFINISHED_WINDOWS: Final = 31
"""1 s: a pause that is judged to need so long is in the middle of a sentence."""
_SYLLABLE_WINDOWS: Final = 3
"""96 ms, over which a level is taken."""


@dataclass(frozen=True)
class SpeechStarted:
    """The user has begun to speak."""

    position: int
    """Where, in samples since the start of the stream."""


@dataclass(frozen=True, eq=False)
class Continued:
    """The user goes on speaking; told at intervals."""

    speech: AudioFrame
    """The utterance so far, at 16 kHz."""


@dataclass(frozen=True, eq=False)
class Paused:
    """The user has stopped, for now; it may be the end."""

    speech: AudioFrame
    """The utterance so far, at 16 kHz."""


@dataclass(frozen=True)
class Resumed:
    """The user went on after a pause."""


@dataclass(frozen=True, eq=False)
class SpeechEnded:
    """The user's turn has ended."""

    speech: AudioFrame
    """The whole utterance, at 16 kHz. What was said since the last `Paused` is silence."""
    voiced_until: int
    """The last sample that was speech, in samples since the start of the stream."""


EndpointEvent = SpeechStarted | Continued | Paused | Resumed | SpeechEnded


class Endpointing:
    """Finds the user's utterances in one stream by the length of the silences between them."""

    def __init__(self, settings: ListeningSettings) -> None:
        self._threshold = settings.speech_probability
        # Never below what silence gets, or speech would never end.
        self._lower_threshold = max(self._threshold - _HYSTERESIS, self._threshold / 2)
        self._onset = _windows(settings.onset_ms)
        self._pause = _windows(settings.pause_ms)
        self._usual_end = max(_windows(settings.end_ms), self._pause)
        self._end = self._usual_end
        self._partial = _windows(settings.partial_ms) if settings.partial_ms else None
        self._longest = int(settings.max_utterance_seconds * SPEECH_RATE) // WINDOW
        self.position = 0
        """Samples heard so far."""
        self.speaking = False
        """Whether the stream is inside an utterance."""
        self._voiced_run = 0
        self._silent_run = 0
        self._voiced = 0
        self._voiced_until = 0
        self._energy = 0.0
        self._levels: list[float] = []  # of its voice, sorted
        self._latest: deque[float] = deque(maxlen=_SYLLABLE_WINDOWS)
        # Where the latest windows of voice were, and whether they were loud.
        self._lately: deque[tuple[int, bool]] = deque(maxlen=_FAINT_WINDOWS)
        self._others = False  # the present pause is full of others' voices
        self._alone = True  # then, too: they were not heard between the user's words
        self._told = 0  # what of it was voice in the latest event that gave it
        # Holds the lead-in and the onset, which is known to be one only at its end.
        self._before: deque[Samples] = deque(maxlen=_LEAD_IN_WINDOWS + self._onset)
        self._utterance: list[Samples] = []

    @property
    def voiced_ms(self) -> float:
        """How much of the present utterance is voice that the STT can hear, without its pauses."""
        return self._voiced * WINDOW_MS

    def end_after(self, milliseconds: int) -> None:
        """The present pause ends the turn when it is this long, with the next window if it is already.

        It holds for this pause only, and without one nothing changes.
        """
        if self.speaking and self._silent_run >= self._pause:
            # Where others were heard all along, their words were judged with the user's.
            most = self._usual_end if self._others and not self._alone else self._longest
            self._end = min(_windows(milliseconds), most)

    def __call__(self, window: Samples, probability: float) -> EndpointEvent | None:
        """Take the next window, shape (512,), int16 at 16 kHz, and say what it changed, if anything."""
        self.position += len(window)
        if self.speaking:
            self._utterance.append(window)
            return self._during_speech(_energy(window), probability)
        self._before.append(window)
        return self._during_silence(_energy(window), probability)

    def _during_silence(self, energy: float, probability: float) -> SpeechStarted | None:
        is_speech = probability >= self._threshold and energy >= _FLOOR
        self._voiced_run = self._voiced_run + 1 if is_speech else 0
        if self._voiced_run < self._onset:
            return None
        self.speaking = True
        self._silent_run = 0
        self._end = self._usual_end
        self._voiced = self._onset
        self._energy = sum(_energy(each) for each in list(self._before)[-self._onset :])
        self._levels.clear()
        self._latest.clear()
        self._lately.clear()
        self._others = False
        self._told = 0
        self._voiced_until = self.position
        self._utterance = list(self._before)
        self._before.clear()
        return SpeechStarted(self.position - self._onset * WINDOW)

    def _during_speech(
        self, energy: float, probability: float
    ) -> Continued | Paused | Resumed | SpeechEnded | None:
        if probability >= self._lower_threshold and not self._has_faded(energy, probability):
            ordinary_pause = self._silent_run >= self._pause and not self._others
            if not self._is_others(energy) or ordinary_pause:
                return self._during_voice(energy)
            if not self._others:
                return self._pause_before_others()
        self._silent_run += 1
        unfinished = self._end >= max(_UNFINISHED_WINDOWS, self._usual_end + 1)
        if len(self._utterance) >= self._longest:
            return self._finish()
        if self._silent_run >= self._end:
            return self._go_on_softly() if self._others and unfinished else self._finish()
        return Paused(self._so_far()) if self._silent_run == self._pause else None

    def _during_voice(self, energy: float) -> Continued | Resumed | SpeechEnded | None:
        paused = self._silent_run >= self._pause
        self._silent_run = 0
        self._end = self._usual_end
        self._others = False
        if energy >= _FLOOR:
            self._voiced += 1
            self._energy += energy
        self._voiced_until = self.position
        if paused:
            return Resumed()  # even when it is too long: what the pause held is no longer the whole
        if len(self._utterance) >= self._longest:
            return self._finish()
        due = self._partial is not None and self._voiced - self._told >= self._partial
        return Continued(self._so_far()) if due else None

    def _has_faded(self, energy: float, probability: float) -> bool:
        """Whether the speech is over, though the VAD still takes this window for some of it."""
        usual = self._energy / self._voiced
        return probability < _CERTAIN and energy < usual * 10 ** (-_FALL_DB / 10)

    def _is_others(self, energy: float) -> bool:
        """Whether the voice, for some time already, seems that of people in the background."""
        self._latest.append(energy)
        level = sum(self._latest) / len(self._latest)
        insort(self._levels, level)
        loud = self._levels[int(_LOUD_SHARE * (len(self._levels) - 1))]
        self._lately.append((self.position, level >= loud * 10 ** (-_FAINT_DB / 10)))
        enough = len(self._levels) >= _OWN_WINDOWS + _FAINT_WINDOWS and len(self._lately) == _FAINT_WINDOWS
        return enough and sum(is_loud for _, is_loud in self._lately) <= _LOUD_AMONG_FAINT

    def _pause_before_others(self) -> Paused:
        """The pause began when the voice grew faint; what was said before tells whether it is the end."""
        self._others = True
        self._alone = self._was_alone()
        self._voiced_until = self._lately[0][0] + _FAINT_KEPT_WINDOWS * WINDOW
        self._silent_run = self._pause
        self._end = self._usual_end
        return Paused(self._so_far())

    def _was_alone(self) -> bool:
        """Whether no other voice was heard between the words, before the voice grew faint."""
        faint = (self.position - self._lately[0][0]) // WINDOW
        energies = sorted(map(_energy, self._utterance[: len(self._utterance) - faint]))
        gap = energies[int(_LOUD_SHARE * (len(energies) - 1))] * 10 ** (-_GAP_DB / 10)
        return sum(energy < gap for energy in energies) >= _GAP_SHARE * len(energies)

    def _go_on_softly(self) -> Resumed:
        """What was said is unfinished: the faint voice is the user's own, who began louder."""
        self._others = False
        self._silent_run = 0
        self._end = self._usual_end
        self._voiced_until = self.position
        self._lately.clear()
        return Resumed()

    def _finish(self) -> SpeechEnded:
        ended = SpeechEnded(self._speech(), self._voiced_until)
        self.speaking = False
        self._voiced_run = self._voiced = 0
        self._utterance = []
        return ended

    def _so_far(self) -> AudioFrame:
        self._told = self._voiced
        return self._speech()

    def _speech(self) -> AudioFrame:
        silent = (self.position - self._voiced_until) // WINDOW
        surplus = max(0, silent - _TAIL_WINDOWS)
        kept = self._utterance[: len(self._utterance) - surplus]
        return AudioFrame(np.concatenate(kept), SPEECH_RATE)


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


def as_model_input(window: Samples) -> npt.NDArray[np.float32]:
    """A window as the VAD reads it: float32 in [-1, 1)."""
    return AudioFrame(window, SPEECH_RATE).as_float()


def _energy(window: Samples) -> float:
    return float(np.square(window, dtype=np.float64).mean())


def _windows(milliseconds: int) -> int:
    return max(1, round(milliseconds / WINDOW_MS))
