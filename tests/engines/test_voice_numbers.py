"""Numbers of a voice and of a voice activity model that would take all memory, or make no sound."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localvoice.contract.errors import VoiceError
from localvoice.engines.piper import PiperTts
from localvoice.engines.piper_voice import check_numbers
from localvoice.engines.silero import WINDOW, SileroStream

GOOD: Mapping[str, Any] = {
    "audio": {"sample_rate": 22_050, "quality": "medium"},
    "espeak": {"voice": "en-us"},
    "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [3, 4]},
    "num_symbols": 256,
    "num_speakers": 1,
}


def test_usual_numbers_pass() -> None:
    check_numbers(GOOD)
    check_numbers({name: value for name, value in GOOD.items() if name != "inference"})
    check_numbers({**GOOD, "num_speakers": 904, "default_speaker_id": 903})


@pytest.mark.parametrize(
    ("group", "name", "values"),
    [
        ("audio", "sample_rate", [10**12, 0, -1, 7_999, "fast", None]),
        ("inference", "length_scale", [0, -1, 1e9, math.nan, math.inf, []]),
        ("inference", "noise_scale", [-1, 1e30, math.nan]),
        ("inference", "noise_w", [-1, 1e30, -math.inf]),
        ("", "audio", [7, None, [22_050], "fast"]),
        ("", "inference", [7, None, [0.667], "calm"]),
        ("", "phoneme_id_map", [{"a": [1] * 20_000}, {"a": [-1]}, {"a": [2**70]}, {"a": ["x"]}, [], None]),
        ("", "num_symbols", [0, 2**40]),
        ("", "num_speakers", [0, 2**40]),
        ("", "default_speaker_id", [1, -1]),
        ("", "hop_length", [0, 10**9]),
    ],
)
def test_a_number_out_of_range_is_named(group: str, name: str, values: list[Any]) -> None:
    for value in values:
        changed = {**GOOD[group], name: value} if group else value
        with pytest.raises(ValueError, match=f"^{group or name}\\b.*: |^there is no speaker"):
            check_numbers({**GOOD, group or name: changed})


@pytest.mark.parametrize("content", ["[]", "7", "null", "{}", '{"audio": 7}'])
async def test_a_voice_is_refused_by_the_name_of_its_file(content: str, tmp_path: Path) -> None:
    config = tmp_path / "voice.onnx.json"
    for written in (content, json.dumps({**GOOD, "audio": {"sample_rate": 10**12}})):
        config.write_text(written)
        with pytest.raises(VoiceError, match=r"voice file voice\.onnx\.json can't be loaded"):
            await PiperTts.load("voice", tmp_path / "voice.onnx", config, threads=1)


class Doubling:
    """A voice activity model whose state is twice as large after each window."""

    def run(self, outputs: None, inputs: Mapping[str, Any], run_options: Any = None) -> list[Any]:
        state = inputs["state"]
        return [np.zeros((1, 1), np.float32), np.concatenate([state, state])]


class Talkative:
    """One that gives a number for each sample."""

    def run(self, outputs: None, inputs: Mapping[str, Any], run_options: Any = None) -> list[Any]:
        return [inputs["input"], inputs["state"]]


@pytest.mark.parametrize(
    ("model", "told"), [(Doubling(), r"shape \(4, 1, 128\)"), (Talkative(), "576 numbers")]
)
def test_a_state_that_grows_is_not_fed_back(model: Any, told: str) -> None:
    stream = SileroStream(model)
    for _ in range(3):
        with pytest.raises(VoiceError, match=told):
            stream(np.full(WINDOW, 0.1, np.float32))
