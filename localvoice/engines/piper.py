"""Text to speech: a Piper voice, sentence by sentence, each of them chunk by chunk.

How long each phoneme lasts the voice tells. Which phonemes belong to which word is lost: in a sentence words
are run together ("of the") and reduced. So the phonemes of the sentence are laid over those of its words,
each spoken alone.
"""

import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines import keep_silent
from localvoice.engines.jobs import Stop
from localvoice.engines.onnx import Inputs
from localvoice.engines.patches import load_espeak_voices_once
from localvoice.engines.piper_voice import Levelling, Loudness, PiperModel, check_numbers
from localvoice.engines.speech_text import speakable, split_long
from localvoice.engines.worker import Worker, told

keep_silent()
from piper import PiperConfig, PiperVoice  # noqa: E402 - only now: it imports onnxruntime
from piper.config import PhonemeType  # noqa: E402
from piper.const import BOS, EOS, PAD  # noqa: E402

ALIGNED_CHARACTERS: Final = 1000
"""Longer texts get no word ends: to find them takes time that grows with the square of the length."""
_TO_WARM_UP: Final = "The weather is mild in spring, with some rain, and warm in summer."
"""A sentence of usual loudness: the voice's level is learnt from what it says."""
_STRESS: Final = "ˈˌː"
"""Letters to Unicode, but no sounds of their own."""
_failure: Final = partial(VoiceError, ErrorCode.TTS_ERROR, Component.TTS)


class PiperTts:
    """One voice in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, model: "_Voice") -> None:
        self.name: Final = name
        self._worker = worker
        self._model = model

    @classmethod
    async def load(cls, name: str, model_path: Path, config_path: Path, threads: int) -> "PiperTts":
        """Load a voice from its two files, in its worker. Raises `VoiceError` TTS_ERROR naming the file."""
        load = partial(_Voice, model_path, config_path, threads)
        return await Worker.loaded("tts", load, partial(cls, name))

    def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        """The first frame of a sentence holds a third of a second, the others more."""
        return self.synthesize_at(text, 1.0)

    async def synthesize_at(self, text: str, pace: float) -> AsyncGenerator[AudioFrame, None]:
        """The same, `pace` times as fast."""
        advice = "Ask again; if it fails every time, restart localvoice."
        ended = _failure("Speech synthesis was shut down while it was speaking.")
        with told(_failure, "Speech synthesis failed", advice, ended):
            async with aclosing(self._speech(text, pace)) as frames:
                async for frame in frames:
                    yield frame

    def _speech(self, text: str, pace: float) -> AsyncGenerator[AudioFrame, None]:
        return self._worker.stream(lambda stop: self._model.speak(text, pace, stop))

    async def warm_up(self) -> None:
        async with aclosing(self.synthesize(_TO_WARM_UP)) as frames:
            async for _ in frames:
                pass

    async def close(self) -> None:
        await self._worker.close()


class WordEnds:
    """Where the words of one text end in its sound, told sentence by sentence as that is made."""

    def __init__(self, words: Sequence[Sequence[str]], spoken: Sequence[str]) -> None:
        """`words`: the phonemes of each word alone; `spoken`: those of the whole text."""
        # How many of the sounds that were spoken have passed at the end of each word.
        self._ends = deque(_laid_over([_sounds(word) for word in words], _sounds(spoken)))
        self._passed = 0

    def take(self, phonemes: Sequence[tuple[str, float]]) -> tuple[float, ...]:
        """The next sentence's phonemes, each with its length: where in these the words end that end in it."""
        times, now = [0.0], 0.0
        for phoneme, length in phonemes:
            now += length
            if _is_sound(phoneme):
                times.append(now)
        counts = np.arange(self._passed, self._passed + len(times))
        self._passed = int(counts[-1])
        ends = []
        while self._ends and self._ends[0] <= self._passed:
            ends.append(self._ends.popleft())
        return tuple(float(end) for end in np.interp(ends, counts, times))


def _sounds(phonemes: Sequence[str]) -> list[str]:
    return [phoneme for phoneme in phonemes if _is_sound(phoneme)]


def _is_sound(phoneme: str) -> bool:
    return phoneme[0].isalnum() and phoneme not in _STRESS


def _laid_over(words: Sequence[Sequence[str]], spoken: Sequence[str]) -> list[float]:
    own = [sound for word in words for sound in word]
    counts, passed = [0], [0]
    for block in SequenceMatcher(None, own, spoken, autojunk=False).get_matching_blocks():
        counts += [block.a, block.a + block.size]
        passed += [block.b, block.b + block.size]
    ends = np.cumsum([len(word) for word in words])
    return [float(end) for end in np.interp(ends, counts, passed)]


class _Voice:
    """The voice itself; blocking, for one thread."""

    def __init__(self, model_path: Path, config_path: Path, threads: int, stop: Stop) -> None:
        load_espeak_voices_once()
        # Its debug lines hold the text that is spoken, which logs must not.
        logging.getLogger("piper").setLevel(logging.INFO)
        with told(_failure, f"The voice file {config_path.name} can't be loaded", "Download it again."):
            content = json.loads(config_path.read_text("utf-8-sig"))
            check_numbers(content)
            config = PiperConfig.from_dict(content)
        if config.phoneme_type not in (PhonemeType.ESPEAK, PhonemeType.TEXT):
            raise _failure(
                f"The voice {model_path.name} needs a {config.phoneme_type.value} dictionary, which Piper "
                "would download while it speaks. Choose a voice that uses espeak."
            )
        with told(_failure, f"The voice file {model_path.name} can't be loaded", "Download it again."):
            self._model = PiperModel(model_path.read_bytes(), threads, stop)
        # For phonemes and their ids alone; its `synthesize` gives sentences whole.
        self._phonemes = PiperVoice(session=None, config=config)
        self._config = config
        self._loudness = Loudness(config.sample_rate)
        self.scales = np.array([config.noise_scale, config.length_scale, config.noise_w_scale], np.float32)

    def speak(self, text: str, pace: float, stop: Stop) -> Generator[AudioFrame, None, None]:
        pieces = split_long(speakable(text))
        sentences = [sentence for piece in pieces for sentence in self._phonemes.phonemize(piece) if sentence]
        # The words of the text as it was given, with its markup: it is these that count as heard or not.
        words = text.split() if len(text) <= ALIGNED_CHARACTERS else []
        alone = [self._sounds(speakable(word)) for word in words]
        word_ends = WordEnds(alone, [phoneme for sentence in sentences for phoneme in sentence])
        for sentence in sentences:
            yield from self._say(sentence, pace, word_ends, stop)

    def _say(
        self, phonemes: list[str], pace: float, word_ends: WordEnds, stop: Stop
    ) -> Generator[AudioFrame, None, None]:
        ids = self._phonemes.phonemes_to_ids(phonemes)
        inputs: Inputs = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": self.scales * np.array([1, 1 / pace, 1], np.float32),
            "sid": np.array([self._config.default_speaker_id], np.int64),
        }
        lengths, chunks = self._model.speak(inputs, stop)
        ends = deque(word_ends.take(self._shares(phonemes, lengths)))
        level = Levelling(self._loudness)
        rate = self._config.sample_rate
        for chunk in chunks:
            if not np.isfinite(chunk.sound).all():
                raise ValueError("the model gave no sound")
            sound = level(chunk.sound, whole=chunk.end - chunk.begin == 1)
            seconds_a_share = len(sound) / rate / (chunk.end - chunk.begin)
            ended = []
            while ends and (ends[0] <= chunk.end or chunk.end == 1):
                ended.append((min(ends.popleft(), 1.0) - chunk.begin) * seconds_a_share)
            yield AudioFrame((sound * 32767).astype(np.int16), rate, tuple(ended))

    def _sounds(self, text: str) -> list[str]:
        return [phoneme for sentence in self._phonemes.phonemize(text) for phoneme in sentence]

    def _shares(
        self, phonemes: list[str], lengths: npt.NDArray[np.float32] | None
    ) -> list[tuple[str, float]]:
        """The phonemes with their shares of the sentence's time; equal ones where the voice doesn't tell."""
        ids = self._config.phoneme_id_map
        pad = len(ids.get(PAD, ()))
        counts = [len(ids[phoneme]) + pad if phoneme in ids else 0 for phoneme in (BOS, *phonemes)]
        counts.append(len(ids.get(EOS, ())))
        if lengths is None or len(lengths) != sum(counts) or not lengths.sum():
            return [(phoneme, 1 / len(phonemes)) for phoneme in phonemes]
        ends = np.concatenate([[0.0], np.cumsum(lengths) / lengths.sum()])[np.cumsum(counts)]
        return list(zip((BOS, *phonemes, EOS), np.diff(ends, prepend=0.0).tolist(), strict=True))
