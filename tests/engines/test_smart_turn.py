"""Smart Turn: its features are Whisper's, and the real model tells a whole sentence from a part of one."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.audio.wav import read_wav
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.smart_turn import SECONDS, SmartTurn, features, log_mel
from tests.support.folders import MODELS, SPEECH

MODEL = MODELS / "smart-turn-v3.2" / "smart-turn-v3.2-cpu.onnx"


def noise(seconds: float, level: float = 0.1) -> AudioFrame:
    sound = np.random.default_rng(4).normal(0, 32768 * level, round(seconds * SPEECH_RATE))
    return AudioFrame(np.clip(sound, -32768, 32767).astype(np.int16), SPEECH_RATE)


async def judge(*sounds: AudioFrame) -> list[float]:
    if not MODEL.exists():
        pytest.skip("the Smart Turn model isn't downloaded: make download-models PROFILE=tiny")
    turn = await SmartTurn.load("smart-turn", MODEL)
    try:
        await turn.warm_up()
        return [await turn.complete(sound) for sound in sounds]
    finally:
        await turn.close()


@pytest.mark.parametrize("seconds", [0.5, 3.0, 8.0])
def test_the_spectrogram_is_whispers(seconds: float) -> None:
    sound = noise(seconds).as_float()
    sound[: len(sound) // 3] *= 0.001
    tone = np.sin(2 * np.pi * 440 * np.arange(len(sound)) / SPEECH_RATE).astype(np.float32)
    for each in (sound, tone):
        theirs = FeatureExtractor(80)(each, padding=0)[:, : len(each) // 160]  # type: ignore[no-untyped-call]
        ours = log_mel(each)
        assert ours.shape == theirs.shape == (80, round(100 * seconds)) and ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_spectrogram_of_all_that_the_model_reads_takes_little_memory() -> None:
    """It is made while Whisper takes most."""
    sound = noise(8).as_float()
    log_mel(sound)
    tracemalloc.start()
    try:
        log_mel(sound)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3e6


def test_the_model_reads_the_last_eight_seconds() -> None:
    sound = noise(11)
    last = AudioFrame(sound.samples[-SECONDS * SPEECH_RATE :], SPEECH_RATE)
    assert features(sound).shape == (1, 80, 800)
    np.testing.assert_array_equal(features(sound), features(last))


def test_shorter_sound_has_silence_before_it_and_loudness_makes_no_difference() -> None:
    short = features(noise(2))
    assert short.shape == (1, 80, 800)
    assert short[0, :, :590].max() < short[0, :, 610:].min() + 0.5
    assert np.ptp(short[0, :, :590], axis=1).max() < 1e-5, "silence: nothing happens in any band"
    np.testing.assert_allclose(features(noise(2, level=0.01)), short, atol=0.05)


async def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(VoiceError, match=r"broken\.onnx.*Download it again") as caught:
        await SmartTurn.load("smart-turn", broken)
    assert (caught.value.code, caught.value.component) == (ErrorCode.VAD_ERROR, Component.VAD)


@pytest.mark.integration
async def test_any_sound_gets_a_probability() -> None:
    sounds = [noise(0.1), noise(2, level=0.0), noise(8), noise(30), AudioFrame(noise(0).samples, SPEECH_RATE)]
    assert all(0 <= probability <= 1 for probability in await judge(*sounds))


@pytest.mark.integration
async def test_what_it_cannot_judge_is_a_voice_error() -> None:
    with pytest.raises(VoiceError, match=r"16000 Hz, not 8000 Hz"):
        await judge(noise(1).resampled(8000))
    turn = await SmartTurn.load("smart-turn", MODEL)
    await turn.close()
    with pytest.raises(VoiceError, match="shut down"):
        await turn.complete(noise(1))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "until", "whole"),
    [("weather_question", 1.365, True), ("librivox_0880", 1.275, False), ("jfk", 4.305, False)],
)
async def test_a_sentence_and_the_first_part_of_one(name: str, until: float, whole: bool) -> None:
    clip = SPEECH / f"{name}.wav"
    if not clip.exists():
        pytest.skip(f"the recording {clip.name} isn't on this machine")
    sound, quiet = read_wav(clip), noise(0.15, level=0.0003)
    part = AudioFrame(sound.samples[: round(until * SPEECH_RATE)], SPEECH_RATE)
    of_part, of_whole = await judge(concatenate([part, quiet]), concatenate([sound, quiet]))
    if whole:
        # Its numbers of 8 bits add up otherwise on each kind of processor: what matters is the distance.
        assert of_whole > 0.95 and of_part < of_whole - 0.4
    else:
        assert of_part < 0.2
