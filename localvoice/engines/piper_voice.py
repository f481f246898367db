"""A Piper voice's network: from the ids of a sentence's phonemes to its sound, chunk by chunk, at one level.

The first half (VITS) decides how long each phoneme lasts and what each frame of some 12 ms is like; the
second (HiFi-GAN) makes the sound of these frames. It takes most of the time, and what it makes of a frame
depends only on the few frames around it. So it is run on some frames at a time, and the first are heard
early.

A chunk says little of how loud its sentence will be, which is louder at its beginning than at its end. So
its gain is weighed against how loud the voice usually is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from localvoice.audio.levels import PEAK, rounded
from localvoice.engines.jobs import Stop
from localvoice.engines.onnx import Graph, Inputs, open_session, run_stoppable

FIRST_FRAMES: Final = 30
"""Of the first chunk: 0.35 s, in which the next is made several times over. A sentence of less than twice as
many is made whole."""
MOST_FRAMES: Final = 45
"""Of any other chunk. It is longer than the first, since the frames around it are computed twice. Each frame
takes memory while it is computed; more frames would hardly be faster."""
CONTEXT_FRAMES: Final = 12
"""On both sides of a chunk: with fewer, its sound differs from the whole sentence's."""
_DECODER_WEIGHT: Final = "dec.conv_pre.weight"
"""Of the second half's first node."""
_SPEAKER: Final = "sid"
"""The model's input for who of several speaks."""
Sound = npt.NDArray[np.float32]
"""Shape (n,), float32, 1 is full scale."""
SPEECH_LEVEL: Final = 0.1
"""RMS of speech without its pauses, of full scale: -20 dBFS, with 10 dB and more left for peaks."""
MOST_GAIN: Final = 4.0
"""So that a chunk of nearly nothing isn't blown up to a loud hiss."""
_RULE_SECONDS: Final = 0.5
"""Of a sentence's speech that weigh as much as the rule: it leaves the least difference between them."""
_RULE_FROM_SECONDS: Final = 20.0
"""Of the latest speech that make the rule."""
_BLOCKS: Final = 100
"""A second, which are speech or not."""
_PAUSE: Final = 1 / 1000
"""Energy, of the loudest block's, below which a block is a pause."""
Id = Annotated[int, Field(ge=0, lt=1 << 20)]


@dataclass(frozen=True)
class Chunk:
    """A stretch of a sentence's sound."""

    sound: Sound  # as the model gives it
    begin: float  # 0 to 1 of the sentence
    end: float  # 1 in the last


class PiperModel:
    """One voice; blocking, for one thread. A model that can't be divided speaks its sentences whole."""

    def __init__(self, model: bytes, threads: int, stop: Stop | None = None) -> None:
        """`model`: as its file holds it; setting `stop` ends the loading.

        Raises what onnxruntime raises, ValueError, IndexError and `Stopped`.
        """
        graph = Graph(model)
        made = graph.outputs[:1]
        # Where it decides how long phonemes last it rounds up, and nowhere else.
        lengths = graph.made_by("Ceil")
        self._tells_lengths = len(lengths) == 1
        self._latent = ""
        latent = graph.read_with(_DECODER_WEIGHT)
        if len(latent) == 1:
            decoder = graph.part(made, latent)
            if decoder.inputs <= {*latent, _SPEAKER}:
                (self._latent,) = made = latent
                self._decoder = open_session(decoder.model, threads, keep_memory=False, stop=stop)
            del decoder  # it is as large as the file
        encoder = graph.part(made + lengths if self._tells_lengths else made)
        self._encoder = open_session(encoder.model, threads, keep_memory=False, stop=stop)

    def speak(self, inputs: Inputs, stop: Stop) -> tuple[npt.NDArray[np.float32] | None, Iterator[Chunk]]:
        """A sentence: frames that each id lasts, shape (ids,), where the model tells that, and its sound.

        `inputs` are Piper's: input, input_lengths, scales, sid. Raises `Stopped`, also while it makes sound.
        """
        made, *lengths = _run(self._encoder, inputs, stop)
        if self._latent:
            chunks = self._decoded(made, inputs, stop)
        else:
            chunks = iter([Chunk(made.ravel(), 0.0, 1.0)])
        return lengths[0].ravel() if self._tells_lengths else None, chunks

    def _decoded(self, latent: npt.NDArray[Any], inputs: Inputs, stop: Stop) -> Iterator[Chunk]:
        frames = latent.shape[2]
        for begin, end in _spans(frames):
            first, last = max(0, begin - CONTEXT_FRAMES), min(frames, end + CONTEXT_FRAMES)
            given = {**inputs, self._latent: latent[:, :, first:last]}
            sound = _run(self._decoder, given, stop)[0].ravel()
            a_frame = len(sound) // (last - first)
            own = sound[(begin - first) * a_frame : (end - first) * a_frame]
            yield Chunk(own, begin / frames, end / frames)


def _run(session: Any, inputs: Inputs, stop: Stop) -> list[npt.NDArray[Any]]:
    """Its outputs; of the inputs it takes those it has."""
    return run_stoppable(session, {each.name: inputs[each.name] for each in session.get_inputs()}, stop)


def _spans(frames: int) -> Iterator[tuple[int, int]]:
    begin, size = 0, FIRST_FRAMES
    while frames - begin >= size + FIRST_FRAMES:
        yield begin, begin + size
        begin, size = begin + size, MOST_FRAMES
    rest = frames - begin
    # Too long for one chunk, and too short for a whole one and another.
    if begin and rest > MOST_FRAMES:
        yield begin, begin + rest // 2
        begin += rest // 2
    yield begin, frames


class Loudness:
    """How loud a voice of this sample rate is as a rule: its sentences teach it."""

    def __init__(self, rate: int) -> None:
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
        return rounded(sound * ramp)

    def _speech(self, sound: Sound) -> npt.NDArray[np.float32]:
        """The energies of its blocks that aren't pauses, shape (m,)."""
        block = self._voice.block
        energy = np.square(sound[: len(sound) // block * block].reshape(-1, block)).mean(axis=1)
        self._loudest = max(self._loudest, float(energy.max(initial=0.0)))
        # A sentence that begins with silence has no loud block yet; the rule is 5 dB below the loudest.
        least = max(self._loudest, 3 * self._rule) * _PAUSE
        speech: npt.NDArray[np.float32] = energy[energy > least]
        return speech


class _Audio(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    sample_rate: int = Field(ge=8_000, le=192_000)


class _Inference(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    noise_scale: float = Field(default=0.667, ge=0, le=4)
    length_scale: float = Field(default=1.0, ge=0.1, le=10)
    noise_w: float = Field(default=0.8, ge=0, le=4)


class _Numbers(BaseModel):
    """The numbers in a voice's JSON; it holds more."""

    model_config = ConfigDict(allow_inf_nan=False)

    audio: _Audio
    inference: _Inference = _Inference()
    num_symbols: int = Field(ge=1, lt=1 << 20)
    num_speakers: int = Field(ge=1, lt=1 << 20)
    default_speaker_id: Id = 0
    hop_length: int = Field(256, ge=1, le=8192)
    # A phoneme has one id; a combined one has a few.
    phoneme_id_map: dict[str, Annotated[list[Id], Field(max_length=16)]] = Field(max_length=20_000)

    @model_validator(mode="after")
    def _speaker_is_there(self) -> Self:
        if self.default_speaker_id >= self.num_speakers:
            raise ValueError(f"there is no speaker {self.default_speaker_id} among {self.num_speakers}")
        return self


def check_numbers(settings: Any) -> None:
    """Raises `ValueError` naming the first number that is out of range, missing or none."""
    try:
        _Numbers.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        words = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}: {words}" if name else words) from None
