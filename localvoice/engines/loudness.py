"""Brings speech to one level while it is being made: a chunk's gain can't wait for the end of its sentence.

A chunk says little of how loud its sentence will be, which is louder at its beginning than at its end, and
nothing where it is all silence. So it is weighed against how loud the voice is as a rule.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
"""Shape (n,), float32, 1 is full scale."""

SPEECH_LEVEL: Final = 0.1
"""RMS of speech without its pauses, of full scale: -20 dBFS, with 10 dB and more left for peaks."""
PEAK: Final = 0.99
"""Of full scale; no sample goes beyond it."""
MOST_GAIN: Final = 4.0
"""So that a chunk of nearly nothing isn't blown up to a loud hiss."""

_KNEE: Final = 0.8
"""Of full scale; peaks beyond are rounded. In 135 pieces of a voice it was one sample of 100,000."""
_RULE_SECONDS: Final = 0.5
"""Of a sentence's speech that weigh as much as the rule. On 135 pieces of 0.5 to 4.5 s this left the least
difference between them: a standard deviation of 1.0 dB (1.2 with one gain for all), and no step over 1.8."""
_RULE_FROM_SECONDS: Final = 20.0
"""Of the latest speech that make the rule."""
_BLOCKS: Final = 100
"""A second, which are speech or not."""
_PAUSE: Final = 1 / 1000
"""Energy, of the loudest block's, below which a block is a pause."""


class Loudness:
    """How loud a voice is as a rule: its sentences teach it."""

    def __init__(self, rate: int) -> None:
        """`rate`: the voice's, samples a second."""
        self.block = rate // _BLOCKS
        self.energy = 0.0
        """Mean square of its speech; 0 as long as it has said nothing."""
        self._blocks = 0.0

    def learn(self, speech: npt.NDArray[np.float32]) -> None:
        """Take in the energies of more blocks of speech."""
        if len(speech):
            self.energy += (float(speech.mean()) - self.energy) * len(speech) / (self._blocks + len(speech))
            self._blocks = min(self._blocks + len(speech), _RULE_FROM_SECONDS * _BLOCKS)


class Levelling:
    """Levels one sentence, chunk by chunk."""

    def __init__(self, voice: Loudness) -> None:
        self._voice = voice
        self._rule = voice.energy
        self._loudest = 0.0
        self._energy = 0.0
        self._blocks = 0
        self._gain = 0.0

    def __call__(self, sound: Sound, whole: bool = False) -> Sound:
        """The next chunk, its speech at `SPEECH_LEVEL` as far as can be told; exactly so if it is `whole`."""
        speech = self._speech(sound)
        self._energy += float(speech.sum())
        self._blocks += len(speech)
        rule_blocks = _RULE_SECONDS * _BLOCKS if self._rule and not whole else 0.0
        blocks = self._blocks + rule_blocks
        if not blocks:
            return sound
        level = np.sqrt((self._energy + self._rule * rule_blocks) / blocks)
        peak = float(np.abs(sound).max(initial=1e-9))
        gain = min(SPEECH_LEVEL / float(level), PEAK / peak, MOST_GAIN)
        ramp = np.linspace(self._gain or gain, gain, len(sound), dtype=np.float32)
        self._gain = gain
        self._voice.learn(speech)
        return _rounded(sound * ramp)

    def _speech(self, sound: Sound) -> npt.NDArray[np.float32]:
        """The energies of its blocks that aren't pauses, shape (m,)."""
        block = self._voice.block
        energy = np.square(sound[: len(sound) // block * block].reshape(-1, block)).mean(axis=1)
        self._loudest = max(self._loudest, float(energy.max(initial=0.0)))
        # A sentence that begins with silence has no loud block yet; the rule is 5 dB below the loudest.
        least = max(self._loudest, 3 * self._rule) * _PAUSE
        speech: npt.NDArray[np.float32] = energy[energy > least]
        return speech


def _rounded(sound: Sound) -> Sound:
    """The same with nothing beyond `PEAK`; up to the knee it stays as it is."""
    room = np.float32(PEAK - _KNEE)
    beyond = np.maximum(np.abs(sound) - np.float32(_KNEE), 0)
    np.clip(sound, -_KNEE, _KNEE, out=sound)
    sound += np.sign(sound) * room * np.tanh(beyond / room)
    return sound
