"""The voice: even levels (pure), and the real voice's sound, stopping and errors."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.piper import PEAK, SPEECH_LEVEL, PiperTts, _level

VOICE = Path(__file__).parents[1] / "models" / "en_US-joe-medium"
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


def test_levelling_brings_speech_to_one_level_whatever_its_pauses() -> None:
    tone = np.sin(np.arange(RATE) / 20).astype(np.float32)
    for amplitude, pause in ((0.1, 0), (0.3, RATE), (1.0, RATE // 3)):
        sound = np.concatenate([tone * amplitude, np.zeros(pause, np.float32)])
        levelled = _level(sound, RATE)
        assert np.sqrt(np.mean(np.square(levelled[:RATE]))) == pytest.approx(SPEECH_LEVEL, rel=0.02)
        assert levelled.dtype == np.float32


def test_levelling_never_clips_and_never_blows_up_nothing() -> None:
    clicks = np.full(RATE, 0.01, np.float32)
    clicks[::2000] = 0.9
    assert np.abs(_level(clicks, RATE)).max() <= PEAK + 1e-6
    hiss = np.full(RATE, 0.001, np.float32)
    assert np.abs(_level(hiss, RATE)).max() < 0.005
    for silence in (np.zeros(RATE, np.float32), np.zeros(10, np.float32), np.zeros(0, np.float32)):
        np.testing.assert_array_equal(_level(silence, RATE), silence)


@pytest.mark.integration
async def test_each_sentence_is_a_frame_of_even_level(piper: PiperTts) -> None:
    await piper.warm_up()
    spoken = await frames(
        piper, "Hello. The weather in **Paris** is mild in spring, with some rain. Really? 🎉"
    )
    assert len(spoken) == 3
    assert all(frame.rate == RATE and frame.samples.dtype == np.int16 for frame in spoken)
    assert 0.3 < spoken[0].seconds < 1.5 < spoken[1].seconds < 6
    levels = [speech_dbfs(frame) for frame in spoken]
    assert max(levels) - min(levels) < 3
    assert -24 < min(levels) and max(levels) < -16


@pytest.mark.integration
async def test_nothing_to_say_gives_no_frame(piper: PiperTts) -> None:
    for text in ("", "  ", "...", "🎉", "**", "\x00", "\ud800"):
        assert await frames(piper, text) == []


@pytest.mark.integration
async def test_hostile_text_is_spoken_without_its_markup(piper: PiperTts) -> None:
    (plain,) = await frames(piper, "Hello there")
    (odd,) = await frames(piper, "[[ Hello \x00\ud800 *there* 😀")
    assert odd.seconds == pytest.approx(plain.seconds, rel=0.35)


@pytest.mark.integration
async def test_text_without_punctuation_comes_in_pieces_and_stops_at_once(piper: PiperTts) -> None:
    async with aclosing(piper.synthesize("the quick brown fox jumps over the lazy dog " * 30)) as spoken:
        first = await anext(spoken)
        assert first.seconds < 40
        # The thread is now in the second piece, which takes a second and more.
        await asyncio.sleep(0.1)
        start = time.monotonic()
    assert time.monotonic() - start < 0.5
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
