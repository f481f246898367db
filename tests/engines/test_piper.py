"""The real voice: its sound, how it comes in chunks, stopping, and errors."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.jobs import Stop
from localvoice.engines.piper import PiperTts
from localvoice.engines.piper_voice import FIRST_FRAMES, MOST_FRAMES, Chunk, PiperModel
from tests.support.folders import MODELS

VOICE = MODELS / "en_US-joe-medium"
MODEL, CONFIG = VOICE / "en_US-joe-medium.onnx", VOICE / "en_US-joe-medium.onnx.json"
RATE = 22_050


@pytest.fixture(scope="module")
def piper() -> Iterator[PiperTts]:
    """One for all: an engine belongs to no event loop."""
    if not VOICE.is_dir():
        pytest.skip("en_US-joe-medium isn't downloaded: make download-models PROFILE=tiny")
    engine = asyncio.run(PiperTts.load("en_US-joe-medium", MODEL, CONFIG, threads=1))
    yield engine
    asyncio.run(engine.close())


async def frames(piper: PiperTts, text: str) -> list[AudioFrame]:
    async with aclosing(piper.synthesize(text)) as spoken:
        return [frame async for frame in spoken]


def speech_dbfs(frame: AudioFrame) -> float:
    """Level of the speech, without its pauses, measured in another way than the engine does."""
    blocks = frame.samples[: len(frame.samples) // 441 * 441].reshape(-1, 441).astype(np.float64)
    levels = np.sqrt(np.mean(np.square(blocks), axis=1))
    return float(20 * np.log10(np.sqrt(np.mean(np.square(levels[levels > levels.max() / 20]))) / 32768))


@pytest.mark.integration
async def test_sentences_are_about_equally_loud_from_the_first_after_the_warm_up(piper: PiperTts) -> None:
    await piper.warm_up()
    text = "Hello. The weather in **Paris** is mild in spring, with some rain. Really? 🎉"
    spoken = await frames(piper, text)
    assert all(frame.rate == RATE and frame.samples.dtype == np.int16 for frame in spoken)
    sentences = [concatenate(await frames(piper, sentence)) for sentence in text.split(". ")]
    assert sum(frame.seconds for frame in spoken) == pytest.approx(
        sum(frame.seconds for frame in sentences), rel=0.2
    )
    levels = [speech_dbfs(sentence) for sentence in sentences]
    assert max(levels) - min(levels) < 3.5
    assert -24 < min(levels) and max(levels) < -16


@pytest.mark.integration
async def test_the_first_sound_is_there_before_the_sentence_is_made(piper: PiperTts) -> None:
    text = "You could cook pasta with tomato sauce, or maybe a quick vegetable soup with some bread."
    spoken = await frames(piper, text)
    lengths = [len(frame.samples) for frame in spoken]
    first_length, *others = lengths
    assert first_length == FIRST_FRAMES * 256
    assert all(length == MOST_FRAMES * 256 for length in others[:-2])
    assert all(MOST_FRAMES / 2 <= length / 256 <= MOST_FRAMES for length in others[-2:])
    (short,) = await frames(piper, "No.")
    assert 0.3 < short.seconds < 0.7
    start = time.monotonic()
    async with aclosing(piper.synthesize(text)) as sounds:
        await anext(sounds)
        first = time.monotonic() - start
        async for _ in sounds:
            pass
    assert first < 0.6 * (time.monotonic() - start)


@pytest.fixture
def network() -> bytes:
    """The voice's file."""
    if not VOICE.is_dir():
        pytest.skip("en_US-joe-medium isn't downloaded: make download-models PROFILE=tiny")
    return MODEL.read_bytes()


def sound_of(model: bytes, count: int) -> tuple[list[Chunk], float]:
    """A sentence of so many ids without chance in it; also the frames it says that its phonemes last."""
    inputs = {
        "input": np.arange(count)[np.newaxis] % 40 + 14,
        "input_lengths": np.array([count]),
        "scales": np.array([0, 1, 0], np.float32),
    }
    lengths, chunks = PiperModel(model, threads=1).speak(inputs, Stop())
    assert lengths is not None
    return list(chunks), float(lengths.sum())


@pytest.mark.integration
def test_the_chunks_are_the_sound_of_the_whole_to_the_sixth_digit(network: bytes) -> None:
    """A voice whose weights have other names can't be divided, and speaks whole."""
    other = network.replace(b"dec.conv_pre.weight", b"dec.conv_pro.weight")
    chunks, lasts = sound_of(network, 60)
    (whole,), lasts_whole = sound_of(other, 60)
    assert len(chunks) > 2 and (whole.begin, whole.end) == (0, 1)
    assert [chunk.begin for chunk in chunks] == [0, *(chunk.end for chunk in chunks[:-1])]
    assert chunks[-1].end == 1
    assert lasts * 256 == lasts_whole * 256 == len(whole.sound)
    sound = np.concatenate([chunk.sound for chunk in chunks])
    np.testing.assert_allclose(sound, whole.sound, atol=2e-6)


@pytest.mark.integration
async def test_a_voice_that_can_not_be_divided_speaks(network: bytes, tmp_path: Path) -> None:
    model = tmp_path / "voice.onnx"
    model.write_bytes(network.replace(b"dec.conv_pre.weight", b"dec.conv_pro.weight"))
    engine = await PiperTts.load("other", model, CONFIG, threads=1)
    (sentence,) = await frames(engine, "The weather is mild in spring.")
    assert len(sentence.word_ends) == 6 and sentence.seconds > 1
    assert -24 < speech_dbfs(sentence) < -16
    await engine.close()


@pytest.mark.integration
async def test_nothing_to_say_gives_no_frame(piper: PiperTts) -> None:
    for text in ("", "  ", "...", "🎉", "**", "\x00", "\ud800"):
        assert await frames(piper, text) == []


@pytest.mark.integration
async def test_hostile_text_is_spoken_without_its_markup(piper: PiperTts) -> None:
    plain = concatenate(await frames(piper, "Hello there"))
    odd = concatenate(await frames(piper, "[[ Hello \x00\ud800 *there* 😀"))
    assert odd.seconds == pytest.approx(plain.seconds, rel=0.35)


@pytest.mark.integration
async def test_text_without_punctuation_stops_at_once(piper: PiperTts) -> None:
    async with aclosing(piper.synthesize("the quick brown fox jumps over the lazy dog " * 30)) as spoken:
        assert (await anext(spoken)).seconds < 1
        # The thread is now amid a chunk.
        await asyncio.sleep(0.1)
        start = time.monotonic()
    assert time.monotonic() - start < 0.2
    assert await frames(piper, "Still here.")


@pytest.mark.integration
async def test_a_closed_engine_says_so(piper: PiperTts) -> None:
    other = await PiperTts.load("other", MODEL, CONFIG, threads=1)
    await other.close()
    with pytest.raises(VoiceError, match="shut down") as caught:
        await frames(other, "Hello")
    assert caught.value.code is ErrorCode.TTS_ERROR


@pytest.mark.integration
async def test_spoken_text_is_not_logged_nor_printed(
    piper: PiperTts, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        task = asyncio.create_task(frames(piper, "A secret. " * 20))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert "secret" not in caplog.text
    assert capfd.readouterr() == ("", "")


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    model, config = tmp_path / "voice.onnx", tmp_path / "voice.onnx.json"
    with pytest.raises(VoiceError, match=r"voice\.onnx\.json.*Download it again") as caught:
        await PiperTts.load("voice", model, config, threads=1)
    assert (caught.value.code, caught.value.component) == (ErrorCode.TTS_ERROR, Component.TTS)
    for damaged in ("{", "[]", "{}", '{"num_symbols": 1}'):
        config.write_text(damaged)
        with pytest.raises(VoiceError, match=r"voice\.onnx\.json"):
            await PiperTts.load("voice", model, config, threads=1)
    config.write_text(json.dumps(minimal_config("espeak")))
    model.write_bytes(b"no model")
    with pytest.raises(VoiceError, match=r"voice\.onnx can't be loaded"):
        await PiperTts.load("voice", model, config, threads=1)


async def test_a_voice_that_would_download_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "voice.onnx.json"
    config.write_text(json.dumps(minimal_config("pinyin")))
    with pytest.raises(VoiceError, match="pinyin dictionary"):
        await PiperTts.load("voice", tmp_path / "voice.onnx", config, threads=1)


def minimal_config(phoneme_type: str) -> dict[str, object]:
    return {
        "num_symbols": 1,
        "num_speakers": 1,
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "phoneme_id_map": {},
        "phoneme_type": phoneme_type,
    }
