"""A Piper voice's network: from the ids of a sentence's phonemes to its sound, chunk by chunk.

The first half (VITS) decides how long each phoneme lasts and what each frame of some 12 ms is like; the
second (HiFi-GAN) makes the sound of these frames. It takes most of the time, and what it makes of a frame
depends on the few frames round it alone. So it is run on some frames at a time, and the first are heard
early.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from localvoice.engines.onnx import Inputs, open_session, run_stoppable
from localvoice.engines.onnx_graph import Graph, Part
from localvoice.engines.worker import Stop

FIRST_FRAMES: Final = 30
"""Of the first chunk: 0.35 s, in which the next is made several times over. A sentence of less than twice as
many is made whole."""
MOST_FRAMES: Final = 45
"""Of any other chunk. It is longer than the first, since the frames round it are computed twice. Each frame
takes half a MB while it is computed; with 60 the whole would take 7% less time."""
CONTEXT_FRAMES: Final = 12
"""On both sides of a chunk. With 10 its sound is the whole sentence's to the sixth digit, with 8 it isn't."""

_DECODER_WEIGHT: Final = "dec.conv_pre.weight"
"""Of the second half's first node."""
_SPEAKER: Final = "sid"
"""The model's input for who of several speaks."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of a sentence's sound."""

    sound: npt.NDArray[np.float32]
    """Shape (n,), as the model gives it."""
    begin: float
    """Where it begins, 0 to 1 of the sentence."""
    end: float
    """Where it ends; 1 in the last."""


@dataclass(frozen=True)
class Utterance:
    """A sentence that is being spoken."""

    lengths: npt.NDArray[np.float32] | None
    """Frames that each id lasts, shape (ids,); None where the model doesn't tell."""
    chunks: Generator[Chunk, None, None]
    """Its sound. Raises `Stopped`."""


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
        lengths = lengths if self._tells_lengths else []
        self._latent = ""
        latent = graph.read_with(_DECODER_WEIGHT)
        if len(latent) == 1:
            decoder = graph.part(made, latent)
            if decoder.inputs <= {*latent, _SPEAKER}:
                (self._latent,) = made = latent
                self._decoder = _Network(decoder, threads, stop)
            del decoder  # it is as large as the file
        encoder = graph.part(made + lengths)
        self._encoder = _Network(encoder, threads, stop)

    def speak(self, inputs: Inputs, stop: Stop) -> Utterance:
        """Begin a sentence; `inputs` are Piper's: input, input_lengths, scales, sid. Raises `Stopped`."""
        made, *lengths = self._encoder.run(inputs, stop)
        chunks = self._decoded(made, inputs, stop) if self._latent else _whole(made)
        return Utterance(lengths[0].ravel() if self._tells_lengths else None, chunks)

    def _decoded(self, latent: npt.NDArray[Any], inputs: Inputs, stop: Stop) -> Generator[Chunk, None, None]:
        frames = latent.shape[2]
        for begin, end in _spans(frames):
            first, last = max(0, begin - CONTEXT_FRAMES), min(frames, end + CONTEXT_FRAMES)
            given = {**inputs, self._latent: latent[:, :, first:last]}
            sound = self._decoder.run(given, stop)[0].ravel()
            a_frame = len(sound) // (last - first)
            own = sound[(begin - first) * a_frame : (end - first) * a_frame]
            yield Chunk(own, begin / frames, end / frames)


class _Network:
    """Part of the voice, loaded."""

    def __init__(self, part: Part, threads: int, stop: Stop | None) -> None:
        self._session = open_session(part.model, threads, keep_memory=False, stop=stop)
        self._inputs = part.inputs

    def run(self, inputs: Inputs, stop: Stop) -> list[npt.NDArray[Any]]:
        """Its outputs; of the inputs it takes those it has."""
        return run_stoppable(self._session, {name: inputs[name] for name in self._inputs}, stop)


def _whole(sound: npt.NDArray[Any]) -> Generator[Chunk, None, None]:
    yield Chunk(sound.ravel(), 0.0, 1.0)


def _spans(frames: int) -> Iterator[tuple[int, int]]:
    """Where the chunks of so many frames begin and end."""
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
