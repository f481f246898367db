"""Whisper's tokens as text, the pauses to cut speech at, and the marks of invented or looping words. Pure.

Whisper was trained on subtitles and on 30 s windows. On sound without speech it writes what subtitles end
with, and on a short window it now and then says the same words over and over, quite sure of itself.

The tokens' meaning is taken from the model's tokenizer when the model is loaded. After that the tokenizer
isn't needed: Whisper never reads text, and to write it takes a table of 256 bytes.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from tokenizers import Tokenizer as TextTokenizer

from localvoice.audio.frames import SPEECH_RATE, AudioFrame

_UNSPOKEN: Final = (-1,)
"""Stands for the symbols that are never spoken, such as brackets and notes."""
QUIET_DBFS: Final = -42.0
"""Below this, a stock phrase is more likely invented than said."""
BRIEF_SECONDS: Final = 0.4
"""Below this, likewise: the shortest of the phrases takes about as long to say."""
SURE_LOGPROB: Final = -0.9
"""Mean log-probability a token; spoken words have more, also in noise, invented ones mostly less."""
LOST_LOGPROB: Final = -1.3
"""Below this even the full window makes no sense of the sound."""
NO_SPEECH: Final = 0.5
"""Whisper's own probability of no speech: above 0.5 on noise, below 0.3 on clean speech."""
ELEVATED_NO_SPEECH: Final = 0.3
"""Enough, together with a stock phrase, to call it invented."""
MAX_COMPRESSION: Final = 2.4
"""How well text may be compressed (Whisper's own measure) before it counts as a loop."""
WORDS_PER_SECOND: Final = 6.0
"""Faster than people speak; sustained speech has 2 to 4."""
STOCK_PHRASES: Final = frozenset(
    (
        "you, bye, bye bye, thank you, thank you very much, thank you so much, thanks for watching, "
        "thank you for watching, thank you so much for watching, please subscribe, "
        "please subscribe to my channel, see you next time, see you in the next video, "
        "subtitles by the amara org community, i'm sorry, oh, so"
    ).split(", ")
)
"""What Whisper writes without speech. People say some of it too: a second sign is needed to drop it."""


def _bytes_of_letters() -> dict[str, int]:
    """Byte-level BPE, as GPT-2 has it: a byte is written as the letter of that number if it can be printed,
    and the others, in order, as the letters from 256 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)).difference(printed))
    return {chr(byte): byte for byte in printed} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES: Final = _bytes_of_letters()


class WhisperWords:
    """What one model's tokens mean. Its `tokenizer` is not kept."""

    def __init__(self, tokenizer: TextTokenizer, languages: Sequence[str]) -> None:
        multilingual = len(languages) > 1
        of_language = partial(Tokenizer, tokenizer, multilingual, task="transcribe")
        prompts = {}
        for language in languages:
            one = of_language(language=language)
            # Some models know a language fewer than others.
            if not multilingual or one.language is not None:
                prompts[language] = (*one.sot_sequence, one.no_timestamps)
        self.prompts: Mapping[str, tuple[int, ...]] = MappingProxyType(prompts)
        """Tokens that come before the text, by ISO 639-1 code."""
        english = of_language(language="en")
        self.unspoken = list(get_suppressed_tokens(english, _UNSPOKEN) or ())
        """Tokens that are never to be written."""
        self._end = english.eot

    def text(self, tokens: Sequence[str], ids: Sequence[int]) -> str:
        """What was written: tokens as the vocabulary holds them, and their numbers.

        Tokens that stand for no text are passed over; bytes that make no letter become U+FFFD.
        """
        letters = "".join(token for token, number in zip(tokens, ids, strict=True) if number < self._end)
        return bytes(map(_BYTES.__getitem__, letters)).decode("utf-8", "replace")


@dataclass(frozen=True)
class Decoded:
    """One decoding of one stretch of sound."""

    text: str  # with its leading space
    language: str  # ISO 639-1 code
    logprob: float  # mean of the tokens
    no_speech: float  # probability
    cut: bool  # whether it ended at the limit of tokens, not by itself


def loudest_dbfs(sound: AudioFrame) -> float:
    """Level of the loudest tenth of a second."""
    step = sound.rate // 10
    return max(
        AudioFrame(sound.samples[start : start + step], sound.rate).rms_dbfs
        for start in range(0, max(1, len(sound.samples)), step)
    )


def is_silence(decoding: Decoded) -> bool:
    """Whether there was no speech: no words, or improbable words where Whisper hears no speech."""
    wordless = not any(character.isalnum() for character in decoding.text)
    return wordless or (decoding.no_speech > NO_SPEECH and decoding.logprob < SURE_LOGPROB)


def is_doubtful(decoding: Decoded, seconds: float) -> bool:
    """Whether a second look through the full window is worth its time."""
    return decoding.logprob < SURE_LOGPROB or _is_too_fast(decoding, seconds) or _is_loop(decoding)


def is_invented(decoding: Decoded, sound: AudioFrame) -> bool:
    """Whether these are no words that were said, now that there is no second look to come."""
    return (
        is_silence(decoding)
        or decoding.logprob < LOST_LOGPROB
        or _is_too_fast(decoding, sound.seconds)
        or (decoding.no_speech > ELEVATED_NO_SPEECH and _is_loop(decoding))
        or _is_stock_phrase(decoding, sound)
    )


def split_at_pauses(sound: AudioFrame, limit: float) -> list[AudioFrame]:
    """Pieces of at most `limit` seconds, cut at the quietest points of their last thirds; 16 kHz."""
    pieces, rest = [], sound.samples
    most, step = int(limit * SPEECH_RATE), SPEECH_RATE // 10
    while len(rest) > most:
        search = rest[most * 2 // 3 : most]
        tenths = search[: len(search) // step * step].reshape(-1, step)
        energy = np.square(tenths, dtype=np.float64).sum(axis=1)
        cut = most * 2 // 3 + int(np.argmin(energy)) * step + step // 2
        pieces.append(AudioFrame(rest[:cut], SPEECH_RATE))
        rest = rest[cut:]
    return [*pieces, AudioFrame(rest, SPEECH_RATE)]


def _is_too_fast(decoding: Decoded, seconds: float) -> bool:
    return decoding.cut or len(decoding.text.split()) > 3 + WORDS_PER_SECOND * seconds


def _is_loop(decoding: Decoded) -> bool:
    """Whether it says the same over and over: up to 6 words 4 times in a row, or text of little content."""
    data, words = decoding.text.encode(), decoding.text.lower().split()
    return len(data) / len(zlib.compress(data)) > MAX_COMPRESSION or any(
        words[start : start + size] * 4 == words[start : start + 4 * size]
        for size in range(1, 7)
        for start in range(len(words) - 4 * size + 1)
    )


def _is_stock_phrase(decoding: Decoded, sound: AudioFrame) -> bool:
    """Whether it is a phrase that Whisper likes to invent, and the sound does nothing to support it."""
    plain = " ".join(re.findall(r"[\w']+", decoding.text.lower()))
    return plain in STOCK_PHRASES and (
        decoding.no_speech > ELEVATED_NO_SPEECH
        or sound.seconds < BRIEF_SECONDS
        or loudest_dbfs(sound) < QUIET_DBFS
    )
