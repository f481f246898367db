"""Text to speech: a Piper voice, sentence by sentence."""

import json
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from piper import AudioChunk, PiperConfig, PiperVoice, SynthesisConfig
from piper.config import PhonemeType

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.alignment import WordEnds, with_durations
from localvoice.engines.onnx import Inputs, Session, open_session, run_stoppable
from localvoice.engines.speech_text import speakable, split_long
from localvoice.engines.worker import Stop, Stopped, Worker

# Its debug lines hold the text that is spoken, and logs are not to.
logging.getLogger("piper").setLevel(logging.INFO)

SPEECH_LEVEL: Final = 0.1
"""RMS of the speech in each frame, of full scale: -20 dBFS, with 10 dB and more left for peaks."""

PEAK: Final = 0.99
"""Of full scale; no sample goes beyond it."""

ALIGNED_CHARACTERS: Final = 1000
"""Longer texts get no word ends: to find them takes time that grows with the square of the length."""

MOST_GAIN: Final = 4.0
"""So that a chunk of nearly nothing isn't blown up to a loud hiss."""


class PiperTts:
    """One voice in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, voice: "_Voice") -> None:
        self._name = name
        self._worker = worker
        self._voice = voice

    @classmethod
    async def load(cls, name: str, model_path: Path, config_path: Path, threads: int) -> "PiperTts":
        """Load a voice from its two files, in its worker. Raises `VoiceError` TTS_ERROR naming the file."""
        worker = Worker("tts")
        try:
            voice = await worker.run(_Voice, model_path, config_path, threads)
        except BaseException:
            await worker.close()
            raise
        return cls(name, worker, voice)

    @property
    def name(self) -> str:
        """The voice's catalogue name."""
        return self._name

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        """The text as sound, a frame a sentence, at the voice's own rate. Markup and emoji are not read out.

        Text with nothing to say gives no frame. Hold it in `aclosing()`.
        """
        try:
            async with aclosing(self._worker.stream(lambda stop: self._voice.speak(text, stop))) as frames:
                async for frame in frames:
                    yield frame
        except Stopped as error:
            raise _failure("Speech synthesis was shut down while it was speaking.") from error
        except Exception as error:
            raise _failure(
                f"Speech synthesis failed ({error}). Ask again; if it fails every time, restart localvoice."
            ) from error

    async def warm_up(self) -> None:
        """Say a word to nobody."""
        async with aclosing(self.synthesize("Hello.")) as frames:
            async for _ in frames:
                pass

    async def close(self) -> None:
        """End the worker; what is being said ends too."""
        await self._worker.close()


class _Voice:
    """The voice itself; blocking, for one thread."""

    def __init__(self, model_path: Path, config_path: Path, threads: int) -> None:
        try:
            config = PiperConfig.from_dict(json.loads(config_path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unusable(config_path, error) from error
        if config.phoneme_type not in (PhonemeType.ESPEAK, PhonemeType.TEXT):
            raise _failure(
                f"The voice {model_path.name} needs a {config.phoneme_type.value} dictionary, which Piper "
                "would download while it speaks. Choose a voice that uses espeak."
            )
        try:
            model = with_durations(model_path.read_bytes())
            self._session = _StoppableSession(open_session(model, threads))
        except Exception as error:
            raise _unusable(model_path, error) from error
        self._voice = PiperVoice(session=self._session, config=config)
        # Piper would scale the highest peak of each chunk to full scale. How far that stands above the speech
        # differs from chunk to chunk, and "Hello." comes out 8 dB louder than the sentence after it.
        self._synthesis = SynthesisConfig(normalize_audio=False)

    def speak(self, text: str, stop: Stop) -> Generator[AudioFrame, None, None]:
        pieces = split_long(speakable(text))
        word_ends = self._word_ends(text, pieces)
        for piece in pieces:
            self._session.stop = stop
            for chunk in self._voice.synthesize(piece, self._synthesis, include_alignments=True):
                samples = (_level(chunk.audio_float_array, chunk.sample_rate) * 32767).astype(np.int16)
                yield AudioFrame(samples, chunk.sample_rate, word_ends.take(_durations(chunk)))
                self._session.stop = stop  # another may have spoken meanwhile

    def _word_ends(self, text: str, pieces: list[str]) -> WordEnds:
        """For the words of the text as it was given, with its markup: it is them that are heard or not."""
        words = text.split() if len(text) <= ALIGNED_CHARACTERS else []
        alone = [self._sounds(speakable(word)) for word in words]
        return WordEnds(alone, [sound for piece in pieces for sound in self._sounds(piece)])

    def _sounds(self, text: str) -> list[str]:
        return [phoneme for sentence in self._voice.phonemize(text) for phoneme in sentence]


class _StoppableSession:
    """The session as Piper calls it. A long sentence takes seconds, and a barge-in must not wait for it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.stop = Stop()

    def run(self, _outputs: None, inputs: Inputs) -> list[npt.NDArray[Any]]:
        return run_stoppable(self._session, inputs, self.stop)


def _level(sound: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """The sound with its speech at `SPEECH_LEVEL`: all sentences are equally loud. Shape (n,), float32."""
    block = rate // 100
    energy = np.square(sound[: len(sound) // block * block].reshape(-1, block)).mean(axis=1)
    if not energy.size or not energy.max():
        return sound
    # The pauses around and in a sentence don't count: blocks 30 dB below the loudest.
    speech = float(np.sqrt(energy[energy > energy.max() / 1000].mean()))
    gain = min(SPEECH_LEVEL / speech, PEAK / float(np.abs(sound).max()), MOST_GAIN)
    return sound * np.float32(gain)


def _durations(chunk: AudioChunk) -> list[tuple[str, float]]:
    """The phonemes of a sentence with their seconds; equally long ones where the voice doesn't tell."""
    if chunk.phoneme_alignments is not None:
        return [(each.phoneme, each.num_samples / chunk.sample_rate) for each in chunk.phoneme_alignments]
    seconds = len(chunk.audio_float_array) / chunk.sample_rate
    return [(phoneme, seconds / len(chunk.phonemes)) for phoneme in chunk.phonemes]


def _unusable(path: Path, error: Exception) -> VoiceError:
    return _failure(f"The voice file {path.name} can't be loaded ({error}). Download it again.")


def _failure(message: str) -> VoiceError:
    return VoiceError(ErrorCode.TTS_ERROR, Component.TTS, message)
