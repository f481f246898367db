"""The VAD on the real model: speech from noise, streams apart, and clear errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localvoice.audio.wav import read_wav
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.silero import WINDOW, SileroVad
from localvoice.engines.types import VadStream
from tests.support.folders import MODELS, SPEECH

MODEL = MODELS / "silero-vad-v6" / "silero_vad_16k_op15.onnx"


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    if not MODEL.exists():
        pytest.skip("the Silero model isn't downloaded: make download-models PROFILE=tiny")
    return SileroVad(MODEL)


def recording(name: str) -> np.ndarray:
    clip = SPEECH / f"{name}.wav"
    if not clip.exists():
        pytest.skip(f"the recording {clip.name} isn't on this machine")
    return read_wav(clip).as_float()


def probabilities(stream: VadStream, samples: np.ndarray) -> np.ndarray:
    whole = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    return np.array([stream(window) for window in whole])


@pytest.mark.integration
@pytest.mark.parametrize("name", ["hello_world", "weather_question", "jfk", "librivox_0880", "cards_001"])
def test_speech_is_heard(vad: SileroVad, name: str) -> None:
    heard = probabilities(vad.stream(), recording(name))
    assert heard.max() > 0.95
    assert (heard > 0.5).mean() > 0.5


@pytest.mark.integration
@pytest.mark.parametrize("level", [0.0, 0.003, 0.03, 0.1])
def test_silence_and_white_noise_are_not_speech(vad: SileroVad, level: float) -> None:
    noise = (np.random.default_rng(1).normal(0, 1, 48_000) * level).astype(np.float32)
    assert probabilities(vad.stream(), noise).max() < 0.3


@pytest.mark.integration
def test_streams_do_not_share_state_and_reset_forgets(vad: SileroVad) -> None:
    sound = np.random.default_rng(2).normal(0, 0.2, WINDOW * 20).astype(np.float32)
    alone = probabilities(vad.stream(), sound)
    first, second = vad.stream(), vad.stream()
    both = [(first(window), second(-window)) for window in sound.reshape(-1, WINDOW)]
    np.testing.assert_array_equal([one for one, _ in both], alone)
    first.reset()
    np.testing.assert_array_equal(probabilities(first, sound), alone)


@pytest.mark.integration
@pytest.mark.parametrize("peak", [0, 8])
def test_after_a_long_quiet_speech_is_heard_as_after_a_short_one(vad: SileroVad, peak: int) -> None:
    """The model isn't run in a quiet that lasts; it must not notice."""
    clip = SPEECH / "weather_question.wav"
    if not clip.exists():
        pytest.skip(f"the recording {clip.name} isn't on this machine")
    speech = read_wav(clip).as_float()
    noise = np.random.default_rng(5).integers(-peak, peak + 1, WINDOW * 900) / 32768
    quiet = noise.astype(np.float32)
    stream, unsparing = vad.stream(), vad.stream()
    waiting = probabilities(stream, quiet)
    assert waiting.max() < 0.05
    for window in quiet.reshape(-1, WINDOW):
        unsparing(window)
        unsparing._quiet_windows = 0
    heard, expected = probabilities(stream, speech), probabilities(unsparing, speech)
    assert ((heard > 0.5) == (expected > 0.5)).mean() > 0.97
    assert np.argmax(heard > 0.5) == np.argmax(expected > 0.5), "the onset is heard in the same window"


@pytest.mark.integration
def test_a_quiet_that_lasts_costs_nothing(vad: SileroVad) -> None:
    stream, runs = vad.stream(), 0

    class Counting:
        def run(self, *args: Any) -> Any:
            nonlocal runs
            runs += 1
            return session.run(*args)

    session, stream._session = stream._session, Counting()
    probabilities(stream, np.full(WINDOW * 200, 8 / 32768, np.float32))
    assert runs == 32
    probabilities(stream, np.full(WINDOW * 3, 9 / 32768, np.float32))
    assert runs == 35, "what may be speech is always judged"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["hello_world", "weather_question", "jfk", "librivox_0880", "cards_001"])
def test_what_counts_as_quiet_is_never_speech(vad: SileroVad, name: str) -> None:
    sound = recording(name)
    faint = np.rint(sound / np.abs(sound).max() * 8) / 32768
    stream = vad.stream()
    for window in faint.astype(np.float32)[: len(faint) // WINDOW * WINDOW].reshape(-1, WINDOW):
        assert stream(window) < 0.1
        stream._quiet_windows = 0


@pytest.mark.integration
def test_a_window_of_another_size_is_refused(vad: SileroVad) -> None:
    with pytest.raises(VoiceError, match=r"512.*not \(480,\)") as caught:
        vad.stream()(np.zeros(480, np.float32))
    assert (caught.value.code, caught.value.component) == (ErrorCode.VAD_ERROR, Component.VAD)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(VoiceError, match=r"broken\.onnx.*Download it again") as caught:
        SileroVad(broken)
    assert caught.value.code is ErrorCode.VAD_ERROR
    with pytest.raises(VoiceError, match=r"missing\.onnx"):
        SileroVad(tmp_path / "missing.onnx")
