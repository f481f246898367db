"""Speech to text: Whisper through faster-whisper, on a window no longer than it needs.

The stock way pads every utterance to 30 s and so takes as long for "yes" as for a speech. The encoder takes
shorter windows, in less than half of the time, and hears as well down to 12 s. A single word in so much
silence is now and then repeated; below 8 s everything tends to loop.
"""

from collections.abc import Generator
from functools import cache, partial
from pathlib import Path
from typing import Final, Literal

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor

from localvoice.audio.frames import SPEECH_FLOOR_DBFS, SPEECH_RATE, AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.jobs import Stop
from localvoice.engines.threads import Device
from localvoice.engines.types import Transcript
from localvoice.engines.whisper_text import (
    Decoded,
    WhisperWords,
    is_doubtful,
    is_invented,
    is_silence,
    loudest_dbfs,
    split_at_pauses,
)
from localvoice.engines.worker import Worker, told

FULL_WINDOW: Final = 30.0
"""Seconds that Whisper was trained on, and the most it takes."""
SHORT_WINDOW: Final = 12.0
"""Seconds of the shortest window. At 10, "play Romeo" becomes "the play Romeo, Romeo"; at less than 8, short
clips repeat themselves: "ten of clubs ten of clubs ..."."""
WORD_WINDOW: Final = 15.0
"""Seconds of the shortest window for a word or two. At 12, "yes" was once heard as "yes, yes"."""
WORD_SECONDS: Final = 1.2
"""Up to here an utterance, with the silence before it, is a word or two."""
MARGIN: Final = 1.0
"""Seconds of padding after the speech, which tell Whisper that it is over."""
PIECE_SECONDS: Final = 28.0
"""The longest stretch heard in one go."""
SHORTEST_SECONDS: Final = 0.1
"""Less than this is no word in any language."""
PEAK: Final = 0.9
"""Of full scale: what the loudest sample is brought to. The spectrogram isn't free of level, and quiet speech
as it comes loses words, whole endings of them with short windows."""
FRAMES_PER_SECOND: Final = 100
"""Of the spectrogram."""
TOKENS_PER_SECOND: Final = 20
"""More than any language needs (scripts in which a token is a part of a letter need the most), so that a loop
in a short utterance ends soon."""
MOST_TOKENS: Final = 224
"""Half of the decoder's context: Whisper's own limit for one window."""

ComputeType = Literal["int8", "int8_float16", "float16", "float32"]
_failure: Final = partial(VoiceError, ErrorCode.STT_ERROR, Component.STT)


def gpu_count() -> int:
    return int(ctranslate2.get_cuda_device_count())  # type: ignore[attr-defined]


@cache
def mel_filters(bands: int, window: int) -> npt.NDArray[np.float32]:
    """The share of each frequency in each mel band, shape (bands, window // 2 + 1); a window of samples."""
    filters = FeatureExtractor.get_mel_filters(SPEECH_RATE, window, bands)  # type: ignore[no-untyped-call]
    return np.asarray(filters, np.float32)


class WhisperStt:
    """One Whisper model in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, model: "_Model") -> None:
        self.name: Final = name
        self._worker = worker
        self._model = model

    @classmethod
    async def load(
        cls,
        name: str,
        model_dir: Path,
        threads: int,
        device: Device = "cpu",
        compute_type: ComputeType | None = None,
        language: str = "auto",
    ) -> "WhisperStt":
        """Load a CTranslate2 Whisper model from its folder, in its worker.

        `compute_type` None is int8 on the CPU and float16 on a GPU. `language` is "auto" or an ISO 639-1
        code; English-only models ignore it. Raises `VoiceError` STT_ERROR naming the folder.
        """
        compute = compute_type or ("float16" if device == "cuda" else "int8")

        def load(_: Stop) -> _Model:
            return _Model(model_dir, threads, device, compute, language)

        with told(_failure, f"The speech model in {model_dir.name} can't be loaded", "Download it again."):
            return await Worker.loaded("stt", load, partial(cls, name))

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        if speech.rate != SPEECH_RATE:
            raise _failure(f"Speech recognition takes sound at {SPEECH_RATE} Hz, not {speech.rate} Hz.")
        advice = "Say it again; if it fails every time, restart localvoice."
        ended = _failure("Speech recognition was shut down while it was listening.")
        with told(_failure, "Speech recognition failed", advice, ended):
            return await self._worker.run_in_steps(lambda stop: self._model.transcribe(speech, stop))

    async def warm_up(self) -> None:
        """Decode a second of faint noise: the level floor keeps true silence from the model."""
        noise = np.random.default_rng(0).normal(0, 300, SPEECH_RATE).astype(np.int16)
        await self.transcribe(AudioFrame(noise, SPEECH_RATE))

    async def close(self) -> None:
        await self._worker.close()


class _Model:
    """The model itself; blocking, for one thread."""

    def __init__(self, model_dir: Path, threads: int, device: Device, compute: str, language: str) -> None:
        # WhisperModel would ask the hub for a folder or a tokenizer that isn't there.
        for file in ("model.bin", "tokenizer.json"):
            if not (model_dir / file).is_file():
                raise FileNotFoundError(f"{file} is missing")
        self._model = WhisperModel(str(model_dir), device=device, compute_type=compute, cpu_threads=threads)
        multilingual = self._model.model.is_multilingual
        self._words = WhisperWords(self._model.hf_tokenizer, self._model.supported_languages)
        del self._model.hf_tokenizer
        if not multilingual:
            language = "en"
        elif language != "auto" and language not in self._words.prompts:
            raise _failure(
                f'Whisper knows no language "{language}": set an ISO 639-1 code such as "de", or "auto".'
            )
        self._language = language
        # Large models read 128 mel bands, and their folder may lack the file that says so.
        self._features = FeatureExtractor(self._model.model.n_mels)  # type: ignore[no-untyped-call]

    def transcribe(self, speech: AudioFrame, stop: Stop) -> Generator[None, None, Transcript]:
        """In steps: between two pieces of a long utterance others have the model."""
        said: list[Decoded] = []
        for index, piece in enumerate(split_at_pauses(speech, PIECE_SECONDS)):
            if index:
                yield
            if (heard := self._hear(piece, stop)) is not None:
                said.append(heard)
        text = "".join(one.text for one in said).strip()
        return Transcript(text, said[0].language) if said else Transcript("")

    def _hear(self, piece: AudioFrame, stop: Stop) -> Decoded | None:
        """What was said in at most 28 s, or None."""
        if piece.seconds < SHORTEST_SECONDS or loudest_dbfs(piece) < SPEECH_FLOOR_DBFS:
            return None
        heard = self._decode(piece, _window(piece.seconds), stop)
        if not is_silence(heard) and is_doubtful(heard, piece.seconds):
            heard = self._decode(piece, FULL_WINDOW, stop)
        return None if is_invented(heard, piece) else heard

    def _decode(self, piece: AudioFrame, window: float, stop: Stop) -> Decoded:
        stop.check()
        encoded = self._model.encode(self._spectrogram(piece, int(window * FRAMES_PER_SECOND)))
        stop.check()
        language = self._language
        if language == "auto":
            language = self._model.model.detect_language(encoded)[0][0][0].strip("<|>")
        prompt = list(self._words.prompts[language])
        most = min(MOST_TOKENS, 20 + int(TOKENS_PER_SECOND * piece.seconds))
        result = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=len(prompt) + most,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._words.unspoken,
        )[0]
        tokens = result.sequences_ids[0]
        # CTranslate2's score is the mean over the tokens without the end token, whose probability it holds.
        logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
        text = self._words.text(result.sequences[0], tokens)
        return Decoded(text, language, logprob, result.no_speech_prob, cut=len(tokens) >= most)

    def _spectrogram(self, piece: AudioFrame, frames: int) -> npt.NDArray[np.float32]:
        """Log-mel features, shape (mel bands, frames), float32."""
        sound = piece.as_float()
        sound *= PEAK / np.abs(sound).max()
        features = self._features(sound)[:, :frames]
        # The padding is 0, the middle of the scale, as in faster-whisper, not silence as in the original: on
        # short windows it gives fewer wrong words and no loops.
        padded = np.pad(features, ((0, 0), (0, frames - features.shape[1])))
        return padded.astype(np.float32)


def _window(seconds: float) -> float:
    return max(WORD_WINDOW if seconds < WORD_SECONDS else SHORT_WINDOW, seconds + MARGIN)
