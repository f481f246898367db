"""The files of the tiny profile, and what is spoken and heard with them."""

from contextlib import aclosing

import pytest

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.engines.loading import EngineFiles, EngineOptions
from localvoice.engines.types import Tts
from tests.support.folders import MODELS

FILES = EngineFiles(
    stt=MODELS / "whisper-tiny.en",
    llm=MODELS / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf",
    tts=MODELS / "en_US-joe-medium" / "en_US-joe-medium.onnx",
    tts_config=MODELS / "en_US-joe-medium" / "en_US-joe-medium.onnx.json",
    vad=MODELS / "silero-vad-v6" / "silero_vad_16k_op15.onnx",
    turn=MODELS / "smart-turn-v3.2" / "smart-turn-v3.2-cpu.onnx",
)
ON_CPU = EngineOptions(device="cpu", context_tokens=2048)


def need_files() -> None:
    for path in FILES.parts().values():
        if not path.exists():
            pytest.skip(f"models/{path.parent.name} is missing: make download-models PROFILE=tiny")


async def speak(tts: Tts, text: str) -> AudioFrame:
    async with aclosing(tts.synthesize(text)) as frames:
        return concatenate([frame async for frame in frames]).resampled(SPEECH_RATE)


def words(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter == " ").split()
