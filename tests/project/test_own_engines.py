"""Engines of the application's own, and docs/add-an-engine.md."""

import asyncio
import re
from contextlib import aclosing
from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from localvoice import (
    ChatMessage,
    CutOff,
    ErrorCode,
    LocalVoice,
    ModelFilesError,
    OwnEngines,
    Sampling,
    Settings,
    VoiceError,
    read_wav,
)
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.engines.loading import close_all, load_engines
from localvoice.engines.types import Engines
from localvoice.startup import _checked_files, _engine_options
from tests.support.chat_server import ChatServer
from tests.support.example_stage import Stage, load
from tests.support.example_stage import plain_settings as plain_settings
from tests.support.example_stage import stage as stage
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, FakeTurn, FakeVad
from tests.support.folders import ROOT, SPEECH

ServedLlm = load("own_llm").ServedLlm
QUESTION = [ChatMessage("system", "Be brief."), ChatMessage("user", "Is it noon?")]


async def test_what_the_server_is_asked_and_how_its_answer_streams() -> None:
    server = ChatServer("It is noon.", "It goes on", pause=0.01)
    async with server.serving() as url:
        llm = ServedLlm(url, "small")
        items = [item async for item in llm.reply(QUESTION, Sampling(temperature=0.5, stop=("\n",)))]
        assert items == ["It", " is", " noon."]
        server.finish = "length"
        assert [item async for item in llm.reply(QUESTION, Sampling())][-1] == CutOff()
        await llm.close()
    asked = server.asked[0]
    assert asked["model"] == "small" and asked["stream"] is True and asked["stop"] == ["\n"]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it noon?"},
    ]
    assert asked["temperature"] == 0.5 and server.asked[1]["stop"] is None


async def test_a_reply_that_is_closed_early_stops_the_server() -> None:
    server = ChatServer("word " * 1000, pause=0.01)
    async with server.serving() as url:
        llm = ServedLlm(url, "small")
        async with aclosing(llm.reply(QUESTION, Sampling())) as items:
            assert await anext(items) == "word"
        async with asyncio.timeout(5):
            while not server.cut_off:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        await llm.close()


@pytest.mark.parametrize("trouble", ["busy", "away"])
async def test_what_fails_is_an_error_with_its_code(trouble: str) -> None:
    async with ChatServer().serving() as url:
        llm = ServedLlm(url if trouble == "busy" else "http://127.0.0.1:9/v1", "small")
        with pytest.raises(VoiceError, match="Start it") as caught:
            await llm.warm_up()
        await llm.close()
    assert caught.value.code is ErrorCode.LLM_ERROR and caught.value.retryable


async def test_a_server_that_fails_costs_one_turn(stage: Stage) -> None:
    server = ChatServer()
    async with server.serving() as url:
        engines = OwnEngines(llm=ServedLlm(url, "small"))
        async with LocalVoice(engines=engines).dialogue() as dialogue:
            (error,) = (await dialogue.say("Is tea a herb?")).errors
            assert error.code is ErrorCode.LLM_ERROR and "503" in error.message
            server.script = ["It is a leaf."]
            assert (await dialogue.say("Is tea a herb?")).reply == "It is a leaf."


async def test_another_exception_of_an_engine_costs_one_turn_as_well(stage: Stage) -> None:
    stage.thinks("Fine.")
    engines = OwnEngines(stt=FakeStt(ZeroDivisionError("oh"), "Hello."))
    async with LocalVoice(engines=engines).dialogue() as dialogue:
        recording = read_wav(SPEECH / "weather_question.wav") if SPEECH.exists() else None
        if recording is None:
            pytest.skip("needs the recorded speech")
        assert [each.code for each in (await dialogue.say(recording)).errors] == [ErrorCode.INTERNAL_ERROR]
        assert (await dialogue.say(recording)).reply == "Fine."


async def test_with_engines_of_ones_own_alone_no_file_is_needed(tmp_path: Path) -> None:
    own = OwnEngines(FakeVad(), FakeStt(), FakeLlm(), FakeTts(), FakeTurn())
    settings = Settings.model_validate({"profile": "base", "models_dir": tmp_path})
    profile, files = await asyncio.to_thread(_checked_files, settings, own)
    assert files.parts() == {}
    engines = await load_engines(files, _engine_options(settings, profile), own)
    assert engines.vad is own.vad and engines.turn is own.turn
    assert (engines.stt.name, engines.llm.name, engines.tts.name) == (
        FakeStt().name,
        FakeLlm().name,
        FakeTts().name,
    )
    await close_all(engines)


@pytest.mark.parametrize("name", [each.name for each in fields(OwnEngines)])
def test_of_the_profile_only_what_is_not_brought_is_demanded(name: str, tmp_path: Path) -> None:
    brought = {"vad": FakeVad, "stt": FakeStt, "llm": FakeLlm, "tts": FakeTts, "turn": FakeTurn}[name]
    settings = Settings.model_validate({"profile": "tiny", "models_dir": tmp_path})
    with pytest.raises(ModelFilesError) as caught:
        _checked_files(settings, OwnEngines(**{name: brought()}))
    profile = load_catalog().profile("tiny")
    missing = {
        role: profile.model_for(role) in str(caught.value) for role in ("vad", "stt", "llm", "tts", "turn")
    }
    assert missing == {role: role != name for role in missing}


@pytest.mark.integration
async def test_a_model_of_ones_own_with_the_others_of_the_profile(tmp_path: Path) -> None:
    """The folder has no language model: it isn't needed."""
    try:
        found = await asyncio.to_thread(ready, load_catalog(), "tiny", models_folder())
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    for model in found.models.values():
        if model.role != "llm":
            (tmp_path / model.name).mkdir()
            for file in model.files:
                (tmp_path / model.name / file.name).hardlink_to(found.path(model.name, file.name))
    speech = read_wav(SPEECH / "weather_question.wav")
    server = ChatServer(*["It is mild in Paris."] * 5)
    async with server.serving() as url:
        voice = LocalVoice(
            Settings.model_validate(
                {
                    "profile": "tiny",
                    "models_dir": tmp_path,
                    "listening": {"eager": False},
                    "limits": {"conversations": 2},
                    "phrases": {"limits": False},  # else a rule says that it can't look up the weather
                }
            ),
            engines=OwnEngines(llm=ServedLlm(url, "small")),
            console=Console(quiet=True),
        )
        async with voice.dialogue() as dialogue:
            answer = await dialogue.say(speech)
    assert answer.transcript == "What is the weather in Paris?" and answer.reply == "It is mild in Paris."
    assert answer.sound.seconds > 1 and not answer.errors


PAGE = (ROOT / "docs" / "add-an-engine.md").read_text()


def test_the_page_shows_the_example_as_it_is() -> None:
    example = (ROOT / "examples" / "own_llm.py").read_text()
    shown = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert shown
    for block in shown:
        for piece in block.split("...\n"):
            assert piece.strip() in example, piece


def test_the_page_tells_every_method_of_every_engine() -> None:
    for engine in fields(Engines):
        protocol = {"vad": "Vad", "stt": "Stt", "llm": "Llm", "tts": "Tts", "turn": "TurnDetector"}.get(
            engine.name
        )
        if protocol is None:
            continue
        kind = vars(__import__("localvoice"))[protocol]
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{engine.name}` |")]
        methods = {name for name in vars(kind) if not name.startswith("_")}
        assert methods <= set(re.findall(r"`(\w+)[`(]", row)), engine.name
