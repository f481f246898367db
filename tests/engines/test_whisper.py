"""Whisper: what it is kept from inventing (pure), and the real tiny model on speech and on noise."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.audio.wav import read_wav
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines import jobs as job_module
from localvoice.engines import whisper as whisper_module
from localvoice.engines.whisper import WhisperStt
from localvoice.engines.whisper_text import (
    Decoded,
    is_doubtful,
    is_invented,
    is_silence,
    loudest_dbfs,
    split_at_pauses,
)
from tests.support.folders import MODELS, SPEECH

MODEL = MODELS / "whisper-tiny.en"


def heard(text: str, logprob: float = -0.2, no_speech: float = 0.05, cut: bool = False) -> Decoded:
    return Decoded(text, "en", logprob, no_speech, cut)


def sound(seconds: float, amplitude: float = 3000) -> AudioFrame:
    noise = np.random.default_rng(0).normal(0, amplitude, int(seconds * SPEECH_RATE))
    return AudioFrame(noise.clip(-32768, 32767).astype(np.int16), SPEECH_RATE)


@pytest.mark.parametrize(
    ("said", "silence"),
    [
        (heard(" What is the weather?"), False),
        (heard(" Improbable but speech", logprob=-1.2, no_speech=0.1), False),
        (heard(" Sure in spite of noise", logprob=-0.3, no_speech=0.8), False),
        (heard(" I'm", logprob=-1.6, no_speech=0.8), True),
        (heard(" . . . .", logprob=-0.03), True),
        (heard(""), True),
    ],
)
def test_silence_is_told_from_speech(said: Decoded, silence: bool) -> None:
    assert is_silence(said) is silence


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (heard(" ten of clubs" * 4), 8.0),
        (heard(" no" * 4), 3.0),
        (heard(" one two three four five six seven eight nine ten eleven"), 1.0),
        (heard(" clubs", logprob=-1.1), 1.0),
        (heard(" an ordinary sentence", cut=True), 3.0),
        (heard(" I'm gonna be right here, and" * 6), 12.0),
    ],
)
def test_doubtful_words_get_a_second_look(said: Decoded, seconds: float) -> None:
    assert is_doubtful(said, seconds)


def test_ordinary_words_get_none() -> None:
    said = heard(" Ask not what your country can do for you, ask what you can do for your country.")
    assert not is_doubtful(said, 8.0)
    assert not is_doubtful(heard(" No, no, no."), 1.0)


@pytest.mark.parametrize(
    ("said", "speech"),
    [
        (heard(" So, we're going to the hospital.", logprob=-1.6), sound(12)),
        (heard(" ten of clubs ten of clubs ten of clubs ten of clubs"), sound(1)),
        (heard(" oh oh oh oh oh", no_speech=0.6), sound(6)),
        (heard(" Thank you."), sound(0.3)),
        (heard(" Thanks for watching!", no_speech=0.4), sound(2)),
        (heard(" You"), sound(2, amplitude=100)),
    ],
)
def test_invented_words_are_dropped(said: Decoded, speech: AudioFrame) -> None:
    assert is_invented(said, speech)


@pytest.mark.parametrize(
    ("said", "speech"),
    [
        (heard(" Thank you."), sound(0.8)),
        (heard(" no no no no", no_speech=0.1), sound(2)),
        (heard(" Yes.", no_speech=0.4), sound(0.3)),
        (heard(" Thank you for the weather report.", no_speech=0.4), sound(2)),
    ],
)
def test_spoken_words_are_kept(said: Decoded, speech: AudioFrame) -> None:
    assert not is_invented(said, speech)


def test_level_is_that_of_the_loudest_tenth_of_a_second() -> None:
    quiet, loud = np.zeros(SPEECH_RATE, np.int16), np.full(SPEECH_RATE // 10, 32767, np.int16)
    assert loudest_dbfs(AudioFrame(quiet, SPEECH_RATE)) == pytest.approx(-96, abs=1)
    assert loudest_dbfs(AudioFrame(np.concatenate([quiet, loud]), SPEECH_RATE)) == pytest.approx(0, abs=0.1)


def test_long_speech_is_cut_at_its_pauses() -> None:
    talk = sound(70).samples.copy()
    pauses = [(22, 22.5), (44, 44.5)]
    for start, end in pauses:
        talk[int(start * SPEECH_RATE) : int(end * SPEECH_RATE)] = 0
    pieces = split_at_pauses(AudioFrame(talk, SPEECH_RATE), 28.0)
    np.testing.assert_array_equal(concatenate(pieces).samples, talk)
    assert max(piece.seconds for piece in pieces) <= 28
    assert len(pieces) == 3
    cuts = np.cumsum([piece.seconds for piece in pieces])[:-1]
    assert all(start <= cut <= end for cut, (start, end) in zip(cuts, pauses, strict=True))


def test_short_speech_is_not_cut() -> None:
    speech = sound(3)
    (piece,) = split_at_pauses(speech, 28.0)
    assert piece.samples is speech.samples


@pytest.mark.parametrize("damage", ["missing", "empty", "wrong", "no tokenizer"])
async def test_a_folder_without_a_model_is_named_and_never_downloaded(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny.en"
    if damage != "missing":
        folder.mkdir()
    if damage in ("wrong", "no tokenizer"):
        (folder / "model.bin").write_bytes(b"no model")
    if damage == "wrong":
        (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(VoiceError, match=r"tiny\.en.*Download it again") as caught:
        await WhisperStt.load("tiny.en", folder, threads=1)
    assert (caught.value.code, caught.value.component) == (ErrorCode.STT_ERROR, Component.STT)


@pytest.fixture(scope="module")
def whisper() -> Iterator[WhisperStt]:
    """One for all: an engine belongs to no event loop."""
    if not MODEL.is_dir():
        pytest.skip("whisper-tiny.en isn't downloaded: make download-models PROFILE=tiny")
    engine = asyncio.run(WhisperStt.load("whisper-tiny.en", MODEL, threads=2))
    yield engine
    asyncio.run(engine.close())


def recording(name: str) -> AudioFrame:
    clip = SPEECH / f"{name}.wav"
    if not clip.exists():
        pytest.skip(f"the recording {clip.name} isn't on this machine")
    return read_wav(clip)


def words(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter == " ").split()


JFK = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
).split()


@pytest.mark.integration
async def test_recordings_are_understood(whisper: WhisperStt) -> None:
    assert words((await whisper.transcribe(recording("jfk"))).text) == JFK
    said = await whisper.transcribe(recording("weather_question"))
    assert words(said.text) == ["what", "is", "the", "weather", "in", "paris"]
    assert said.language == "en"
    assert words((await whisper.transcribe(recording("hello_world"))).text) == ["hello", "world"]


@pytest.mark.integration
async def test_quiet_speech_is_understood(whisper: WhisperStt) -> None:
    loud = recording("weather_question")
    quiet = AudioFrame((loud.samples * 0.05).astype(np.int16), loud.rate)
    assert words((await whisper.transcribe(quiet)).text) == ["what", "is", "the", "weather", "in", "paris"]


@pytest.mark.integration
async def test_speech_beyond_one_window_is_heard_to_its_end(whisper: WhisperStt) -> None:
    clip = recording("jfk")
    pause = AudioFrame(np.zeros(clip.rate, np.int16), clip.rate)
    said = words((await whisper.transcribe(concatenate([clip, pause] * 3))).text)
    assert said.count("country") == 6
    assert len(said) == pytest.approx(3 * len(JFK), abs=2)


def hum(count: int) -> npt.NDArray[np.float64]:
    time = np.arange(count) / SPEECH_RATE
    return np.sin(2 * np.pi * 50 * time) + np.sin(2 * np.pi * 150 * time) / 3


def bumps(count: int) -> npt.NDArray[np.float64]:
    out = np.zeros(count)
    for start in range(1000, count - 400, 9000):
        out[start : start + 400] = np.random.default_rng(start).normal(0, 1, 400) * np.exp(
            -np.arange(400) / 60
        )
    return out


@pytest.mark.integration
@pytest.mark.parametrize("make", [np.zeros, np.random.default_rng(0).standard_normal, hum, bumps])
async def test_no_words_are_invented(
    whisper: WhisperStt, make: Callable[[int], npt.NDArray[np.float64]]
) -> None:
    for seconds in (0.05, 0.5, 3.0):
        samples = (make(int(seconds * SPEECH_RATE)) * 3000).clip(-32768, 32767).astype(np.int16)
        assert (await whisper.transcribe(AudioFrame(samples, SPEECH_RATE))).text == ""
    assert (await whisper.transcribe(AudioFrame(np.zeros(0, np.int16), SPEECH_RATE))).text == ""


@pytest.mark.integration
async def test_sound_at_another_rate_is_refused(whisper: WhisperStt) -> None:
    with pytest.raises(VoiceError, match="16000 Hz, not 48000 Hz"):
        await whisper.transcribe(AudioFrame(np.ones(48_000, np.int16), 48_000))


@pytest.mark.integration
async def test_a_cancelled_transcription_leaves_the_engine_usable(whisper: WhisperStt) -> None:
    await whisper.warm_up()
    task = asyncio.create_task(whisper.transcribe(sound(60)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # A minute of noise is three windows and more; only the one under way may still be finished.
    async with asyncio.timeout(3):
        assert (await whisper.transcribe(sound(0.5))).text == ""


@pytest.mark.integration
async def test_a_long_utterance_gives_way_between_its_pieces(
    whisper: WhisperStt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper_module, "PIECE_SECONDS", 4.0)
    monkeypatch.setattr(job_module, "TURN_SECONDS", 0.01)
    clip = recording("weather_question")
    long = asyncio.create_task(whisper.transcribe(concatenate([clip] * 6)))
    await asyncio.sleep(0)
    said = await whisper.transcribe(clip)
    assert "weather" in said.text.lower() and not long.done()
    assert (await long).text.lower().count("weather") >= 3


@pytest.mark.integration
async def test_a_closed_engine_says_so(whisper: WhisperStt) -> None:
    other = await WhisperStt.load("whisper-tiny.en", MODEL, threads=1)
    await other.close()
    with pytest.raises(VoiceError, match="shut down") as caught:
        await other.transcribe(sound(1))
    assert caught.value.code is ErrorCode.STT_ERROR


@pytest.mark.integration
async def test_the_multilingual_model_hears_the_language_and_refuses_an_unknown_one() -> None:
    folder = MODEL.parent / "whisper-base"
    if not folder.is_dir():
        pytest.skip("whisper-base isn't downloaded: make download-models PROFILE=base")
    clip = recording("weather_question")
    engine = await WhisperStt.load("whisper-base", folder, threads=2, language="auto")
    try:
        assert (await engine.transcribe(clip)).language == "en"
    finally:
        await engine.close()
    with pytest.raises(VoiceError, match='no language "klingon"'):
        await WhisperStt.load("whisper-base", folder, threads=2, language="klingon")
