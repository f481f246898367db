"""Loading: a model that is stuck is named, and where it fails or is cancelled nothing of it is left."""

import asyncio
import itertools
from functools import partial
from pathlib import Path

import pytest

from localvoice.contract.errors import VoiceError
from localvoice.engines import loading, whisper
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.loading import EngineFiles, EngineOptions, load_engines
from localvoice.engines.piper import PiperTts
from localvoice.engines.types import OwnEngines
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, FakeVad, until
from tests.support.stuck_models import Hole
from tests.support.stuck_models import hole as hole
from tests.support.stuck_models import soon_stuck as soon_stuck

SOME_FILES = EngineFiles(
    stt=Path("ears"),
    llm=Path("mind/llm.gguf"),
    tts=Path("voice/voice.onnx"),
    tts_config=Path("voice/voice.onnx.json"),
    vad=Path("vad/vad.onnx"),
)


def other_models_are_fakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All but Whisper; the list gets the names of those that are closed."""
    closed: list[str] = []

    async def loaded(engine: FakeLlm | FakeTts) -> FakeLlm | FakeTts:
        monkeypatch.setattr(engine, "close", partial(close, engine.name))
        return engine

    async def close(name: str) -> None:
        closed.append(name)

    monkeypatch.setattr(LlamaLlm, "load", lambda *_, **__: loaded(FakeLlm()))
    monkeypatch.setattr(PiperTts, "load", lambda *_: loaded(FakeTts()))
    monkeypatch.setattr(loading, "SileroVad", lambda _: FakeVad())
    return closed


async def test_a_model_that_is_stuck_while_it_is_loaded_is_named_and_the_others_are_closed(
    hole: Hole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LOADING_SECONDS", 0.3)
    closed = other_models_are_fakes(monkeypatch)
    monkeypatch.setattr(whisper, "_Model", lambda *_: hole.step("load"))
    hole.traps.append("load")
    with pytest.raises(VoiceError, match=r"The model ears was not loaded within 0\.3 s"):
        await load_engines(SOME_FILES, EngineOptions(device="cpu"))
    assert hole.inside == 1 and closed == ["fake-voice"]  # the LLM's turn to be loaded hadn't come
    hole.way_out.set()


@pytest.mark.parametrize(("after", "loaded"), [(1, ["fake-voice"]), (3, ["fake-mind", "fake-voice"])])
async def test_loading_that_is_cancelled_between_two_models_leaves_none(
    after: int, loaded: list[str], hole: Hole, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = other_models_are_fakes(monkeypatch)
    monkeypatch.setattr(whisper, "_Model", lambda *_: "ears")  # its real thread is to be gone, too
    count = itertools.count(1)
    monkeypatch.setattr(loading, "give_all_back", lambda: hole.step(f"after {next(count)}"))
    hole.traps.append(f"after {after}")
    task = asyncio.create_task(load_engines(SOME_FILES, EngineOptions(device="cpu")))
    await until(lambda: hole.inside == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == loaded
    hole.way_out.set()


async def test_an_engine_of_the_applications_own_without_a_name_leaves_none_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = other_models_are_fakes(monkeypatch)
    nameless = FakeStt()
    monkeypatch.delattr(FakeStt, "name")
    with pytest.raises(AttributeError, match="name"):
        await load_engines(SOME_FILES, EngineOptions(device="cpu"), OwnEngines(stt=nameless))
    assert closed == ["fake-mind", "fake-voice"]
