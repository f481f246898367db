"""When words end in a voice's sound: the model's own durations, and whose phonemes they are."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from difflib import SequenceMatcher

import numpy as np
import pytest

from localvoice.audio.frames import AUDIBLE, SPEECH_RATE, AudioFrame, PieceSound, concatenate
from localvoice.audio.playout import Playout
from localvoice.engines.piper import ALIGNED_CHARACTERS, PiperTts, WordEnds
from localvoice.engines.whisper import WhisperStt
from tests.support.folders import MODELS

VOICE = MODELS / "en_US-joe-medium"
WHISPER = MODELS / "whisper-tiny.en"


def test_words_that_are_run_together_are_told_apart() -> None:
    ends = WordEnds(["ˈʌv", "ðə", "hˈaʊs"], "ʌvðə hˈaʊs")
    timed = [("^", 0.1), *((sound, 0.1) for sound in "ʌvðə hˈaʊs"), ("$", 0.1)]
    assert ends.take(timed) == pytest.approx((0.3, 0.5, 1.1))


def test_sounds_that_are_reduced_or_added_belong_to_their_word() -> None:
    ends = WordEnds(["ænd", "fɔːɹ", "taɪm"], "ənfəɹ taɪmz")
    assert ends.take([(sound, 0.1) for sound in "ənfəɹ taɪmz"]) == pytest.approx((0.2, 0.5, 1.1))


def test_each_sentence_tells_of_its_own_words() -> None:
    ends = WordEnds(["jɛs", "aɪ", "wɪl"], "jɛsaɪ wɪl")
    assert ends.take([(sound, 0.1) for sound in "jɛs"]) == pytest.approx((0.3,))
    assert ends.take([(sound, 0.2) for sound in "aɪ wɪl"]) == pytest.approx((0.4, 1.2))


def test_a_word_without_sound_ends_with_the_one_before() -> None:
    ends = WordEnds(["jɛs", "", "noʊ", ""], "jɛs noʊ")
    assert ends.take([(sound, 0.1) for sound in "jɛs noʊ"]) == pytest.approx((0.3, 0.3, 0.7, 0.7))


# --- the real voice ---


@pytest.fixture(scope="module")
def piper() -> Iterator[PiperTts]:
    if not VOICE.is_dir():
        pytest.skip("en_US-joe-medium isn't downloaded: make download-models PROFILE=tiny")
    model = VOICE / "en_US-joe-medium.onnx"
    engine = asyncio.run(PiperTts.load("joe", model, model.with_suffix(".onnx.json"), threads=1))
    # Without chance in it, or the smallest Whisper would hear another word now and then.
    engine._model.scales[[0, 2]] = 0.0
    yield engine
    asyncio.run(engine.close())


@pytest.fixture(scope="module")
def whisper() -> Iterator[WhisperStt]:
    if not WHISPER.is_dir():
        pytest.skip("whisper-tiny.en isn't downloaded: make download-models PROFILE=tiny")
    engine = asyncio.run(WhisperStt.load("tiny", WHISPER, threads=2))
    yield engine
    asyncio.run(engine.close())


async def frames(piper: PiperTts, text: str) -> list[AudioFrame]:
    async with aclosing(piper.synthesize(text)) as spoken:
        return [frame async for frame in spoken]


@pytest.mark.integration
@pytest.mark.parametrize(
    "text",
    [
        "I know that. Do you?",
        "It was one of the 42 books, in the end.",
        "See **the** [page](https://example.com/x) at https://www.example.com/a/b today 🎉 - please.",
    ],
)
async def test_every_word_of_the_text_as_it_was_given_has_its_end(piper: PiperTts, text: str) -> None:
    spoken = await frames(piper, text)
    assert len(spoken) > 1
    for frame in spoken:
        assert all(0 <= end <= frame.seconds + 1e-6 for end in frame.word_ends), (
            "in the frame in which it ends"
        )
    whole = concatenate(spoken)
    assert len(whole.word_ends) == len(text.split())
    assert list(whole.word_ends) == sorted(whole.word_ends) and whole.word_ends[0] > 0.1
    last_sound = np.flatnonzero(np.abs(whole.samples.astype(int)) > AUDIBLE)[-1] / whole.rate
    assert whole.word_ends[-1] == pytest.approx(last_sound, abs=0.25)


@pytest.mark.integration
async def test_a_text_too_long_to_be_aligned_is_spoken_all_the_same(piper: PiperTts) -> None:
    text = "Hello, " * (ALIGNED_CHARACTERS // 7 + 1)
    async with aclosing(piper.synthesize(text)) as spoken:
        first = await anext(spoken)
        rest = [frame async for frame in spoken]
    assert first.seconds > 0.3 and not any(frame.word_ends for frame in (first, *rest))


REPLY = [
    "There are seven days in a week, from Monday to Sunday.",
    "You could cook pasta with tomato sauce, or maybe a quick vegetable soup.",
    "First boil the water, then put the tea bag into the cup and wait for three minutes.",
]


async def played(piper: PiperTts, text: str) -> list[AudioFrame]:
    """The piece as the playout is given it, in one frame: a reader doesn't wait for the next."""
    sound = PieceSound(SPEECH_RATE, cut_lead_in=False, cut_tail=False)
    return [concatenate([*(sound.feed(frame) for frame in await frames(piper, text)), sound.end()])]


async def stopped(sounds: list[list[AudioFrame]], seconds: float) -> tuple[list[str], AudioFrame]:
    """The words that were heard of the reply when it was stopped after so many seconds, and what was read."""
    playout = Playout(SPEECH_RATE)
    playout.begin()
    wanted, read = int(seconds * SPEECH_RATE), np.zeros(0, np.int16)
    for piece, sound in zip(REPLY, sounds, strict=True):
        for number, frame in enumerate(sound):
            if len(read) < wanted:  # the playout takes only so much without a reader
                await playout.write("" if number else piece, frame)
        while playout.playing and len(read) < wanted:
            read = np.concatenate([read, playout.read(min(320, wanted - len(read)))])
    playout.stop()
    heard = _plain(playout.heard())
    assert heard == _plain(" ".join(REPLY))[: len(heard)]
    return heard, AudioFrame(read, SPEECH_RATE)


@pytest.mark.integration
async def test_history_holds_the_words_that_were_played(piper: PiperTts, whisper: WhisperStt) -> None:
    """Stopped anywhere, what `heard` says is what another listener hears in what was read, to the word."""
    sounds = [await played(piper, piece) for piece in REPLY]
    seconds = sum(frame.seconds for sound in sounds for frame in sound)
    for stop_at in np.random.default_rng(5).uniform(1.0, seconds, 10):
        heard, read = await stopped(sounds, stop_at)
        recognised = _plain((await whisper.transcribe(read)).text)
        # The smallest model takes a word for another now and then, above all where the sound ends.
        assert SequenceMatcher(None, heard, recognised, autojunk=False).ratio() > 0.75, recognised
        assert 0 <= len(recognised) - len(heard) <= 1, f"{recognised}: half a word may be guessed, no more"


@pytest.mark.integration
async def test_a_word_counts_from_its_end_on(piper: PiperTts, whisper: WhisperStt) -> None:
    """Stopped just after a word, it was heard, and the next was not."""
    sounds = [await played(piper, piece) for piece in REPLY]
    begun, ends = 0.0, []
    for frame in (frame for sound in sounds for frame in sound):
        ends += [begun + end for end in frame.word_ends]
        begun += frame.seconds
    off = []
    for number in range(3, len(ends), 3):
        # Each join of two pieces may hold 20 ms of silence: a step of reading that the piece didn't fill.
        heard, read = await stopped(sounds, ends[number] + 0.04)
        assert len(heard) == number + 1
        off.append(len(_plain((await whisper.transcribe(read)).text)) - len(heard))
    # A word that has just begun is guessed now and then; at one stop the smallest Whisper loops, at one it
    # leaves out the two words after a full stop.
    assert off.count(0) >= 0.6 * len(off) and off.count(0) + off.count(1) >= len(off) - 2, off


def _plain(text: str) -> list[str]:
    kept = "".join(
        letter for letter in text.lower().replace("-", " ") if letter.isalnum() or letter.isspace()
    )
    return kept.replace("3 minutes", "three minutes").replace("7 days", "seven days").split()
