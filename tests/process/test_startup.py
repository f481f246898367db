"""What is found out before the models are loaded, and what an agent has when it is started."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.console import Console

from localvoice import startup
from localvoice.application.calls import ApplicationError, run
from localvoice.application.hooks import TurnContext
from localvoice.catalog import (
    Catalog,
    CatalogError,
    Exam,
    Model,
    ModelFilesError,
    choose,
    load_catalog,
    models_folder,
    ready,
)
from localvoice.catalog.exams import RECORD_NAME, ExamPart, keep_exam
from localvoice.config import SIMPLE_SYSTEM_PROMPT, SYSTEM_PROMPT, ConfigError, Settings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines.types import Engines, OwnEngines
from localvoice.languages import language
from localvoice.machine import Machine
from localvoice.process import choosing
from localvoice.startup import _engine_options, _spoken_to, loaded_engines, ready_agent
from tests.support.fakes import fake_engines, loud
from tests.support.small_catalog import put_models, small_catalog


@pytest.mark.integration
async def test_a_fallback_that_is_the_same_model_is_refused() -> None:
    try:
        await asyncio.to_thread(ready, load_catalog(), "tiny", models_folder())  # it may read all of them
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    settings = Settings.model_validate({"profile": "tiny", "agent": {"fallback_profile": "tiny"}})
    with pytest.raises(ConfigError, match="same language model"):
        async with loaded_engines(settings, Console(quiet=True)):
            pass


def test_a_profile_says_where_and_how_it_computes_unless_the_settings_do() -> None:
    profiles = load_catalog().profiles
    options = _engine_options(Settings(), profiles["gpu"])
    assert (options.device, options.compute) == ("cuda", "float16")
    assert _engine_options(Settings(device="cpu"), profiles["gpu"]).device == "cpu"
    options = _engine_options(Settings(), profiles["tiny"])
    assert (options.device, options.compute) == ("auto", None)
    assert (options.context_tokens, options.key_bits, options.kept_mb) == (1536, 8, 12)
    settings = Settings.model_validate({"agent": {"context_tokens": 1024}})
    assert _engine_options(settings, profiles["tiny"]).context_tokens == 1024
    assert _engine_options(Settings(), profiles["base"]).context_tokens == 4096


async def test_a_playbook_without_its_tools_stops_the_start() -> None:
    settings = Settings.model_validate({"agent": {"playbook": "examples/support_desk.yaml"}})
    with pytest.raises(VoiceError, match="look_up_order") as caught:
        async with ready_agent(settings, Console(quiet=True)):
            pass
    assert caught.value.code is ErrorCode.PLAYBOOK_ERROR


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is loaded; fakes are there at once."""

    @asynccontextmanager
    async def fakes(*_: object) -> AsyncIterator[Engines]:
        yield fake_engines()

    monkeypatch.setattr(startup, "loaded_engines", fakes)


@pytest.mark.usefixtures("loaded")
async def test_a_task_of_the_application_cannot_end_the_process() -> None:
    async def exits() -> None:
        sys.exit(3)

    async with ready_agent(Settings(), Console(quiet=True)):
        with pytest.raises(ApplicationError, match="SystemExit"):
            await run(lambda: asyncio.gather(exits()))


@pytest.mark.usefixtures("loaded")
async def test_recordings_that_are_asked_for_can_be_deleted(tmp_path: Path) -> None:
    async with ready_agent(Settings(), Console(quiet=True)) as agent:
        assert agent.delete_recordings is None
    settings = Settings.model_validate({"monitor": {"audio_dir": tmp_path}})
    async with ready_agent(settings, Console(quiet=True)) as agent:
        assert agent.hooks.on_turn_start is not None and agent.delete_recordings is not None
        outcome = agent.hooks.on_turn_start(TurnContext("turn", "session", 0.0), loud(0.5))
        if outcome is not None:
            await outcome
        assert await agent.delete_recordings("another")
        assert [Path(name).suffix for name in os.listdir(tmp_path)] == [".wav"]
        assert await agent.delete_recordings("session")
        assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("loaded")
async def test_without_a_profile_the_best_is_taken_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, shown = small_catalog(), io.StringIO()
    monkeypatch.setattr(choosing, "load_catalog", lambda _: catalog)
    settings = Settings.model_validate({"models_dir": tmp_path, "device": "cpu"})
    console = Console(file=shown, width=200)
    async with ready_agent(settings, console) as agent:
        assert agent.settings.profile in ("small", "middle", "large"), "none is here: the best by the machine"
    assert "the best for this machine" in shown.getvalue() and "--profile NAME" in shown.getvalue()
    put_models(catalog, "huge", tmp_path)
    async with ready_agent(settings, console) as agent:
        assert agent.settings.profile == "huge", "as /health tells"
    assert "Profile huge, as it is here." in shown.getvalue()
    shown.truncate(0)
    async with ready_agent(settings.model_copy(update={"profile": "small"}), console) as agent:
        assert agent.settings.profile == "small" and "Profile" not in shown.getvalue()


@pytest.mark.usefixtures("loaded")
async def test_an_unknown_model_stops_the_start() -> None:
    for profile in ("auto", "tiny"):
        with pytest.raises(CatalogError, match="no language model 'gpt'"):
            async with ready_agent(Settings(profile=profile, llm="gpt"), Console(quiet=True)):
                pass


@pytest.mark.usefixtures("loaded")
async def test_a_model_that_lacks_its_exam_is_examined_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a new version; one that is damaged is no reason not to start with the next."""
    catalog, shown = small_catalog({"large": ["newest", "newer", "old"]}, verified=["old"]), io.StringIO()
    monkeypatch.setattr(choosing, "load_catalog", lambda _: catalog)
    put_models(catalog, "large", tmp_path)
    held: list[str] = []

    async def hold(model: Model, *_: object) -> Exam:
        held.append(model.name)
        if model.name == "newest":
            raise ModelFilesError("newest is damaged")
        failed = ExamPart(name="loads", passed=False, told="no")
        return keep_exam(model, tmp_path, [failed])

    monkeypatch.setattr(choosing, "hold_exam", hold)
    settings = Settings.model_validate({"profile": "large", "models_dir": tmp_path})
    async with ready_agent(settings, Console(file=shown, width=200)) as agent:
        assert agent.settings.llm == "old"
    assert held == ["newest", "newer"]
    assert (
        "newest is damaged" in shown.getvalue()
        and "newer has failed its exam (loads: no)" in shown.getvalue()
    )
    held.clear()
    async with ready_agent(settings, Console(quiet=True)):
        assert held == ["newest"], "an outcome is remembered"
    async with ready_agent(settings.model_copy(update={"llm": "newer"}), Console(quiet=True)) as agent:
        assert agent.settings.llm == "newer", "who names one takes it"


@pytest.mark.usefixtures("loaded")
async def test_what_has_failed_its_exam_is_not_taken_by_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no verified model ends the list, as in the profile gpu: another profile that is here is."""
    catalog, held = small_catalog({"large": ["newest", "newer"]}), list[str]()
    monkeypatch.setattr(choosing, "load_catalog", lambda _: catalog)
    monkeypatch.setattr(choosing, "choose", lambda *_: choose(catalog, Settings(), lambda: Machine(2, 8000)))
    for name in ("small", "large"):
        put_models(catalog, name, tmp_path)

    async def hold(model: Model, *_: object) -> Exam:
        held.append(model.name)
        return keep_exam(model, tmp_path, [ExamPart(name="loads", passed=model.name in passing, told="no")])

    monkeypatch.setattr(choosing, "hold_exam", hold)
    settings = Settings.model_validate({"models_dir": tmp_path})
    passing = {"newer"}
    async with ready_agent(settings, Console(quiet=True)) as agent:
        assert (agent.settings.profile, agent.settings.llm) == ("large", "newer"), "the last is examined, too"
    passing = set()
    (tmp_path / "newer" / RECORD_NAME).unlink()
    async with ready_agent(settings, Console(quiet=True)) as agent:
        assert (agent.settings.profile, held) == ("small", ["newest", "newer", "newer"])
    monkeypatch.setattr(choosing, "choose", choose)
    with pytest.raises(CatalogError, match=r"profile large .* has passed its exam.*--llm \(newest, newer\)"):
        async with ready_agent(settings.model_copy(update={"profile": "large"}), Console(quiet=True)):
            pass


async def test_where_no_model_is_here_the_whole_list_is_to_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = small_catalog({"large": ["newest", "newer", "old"]}, verified=["old"])
    monkeypatch.setattr(choosing, "load_catalog", lambda _: catalog)
    settings = Settings.model_validate({"profile": "large", "models_dir": tmp_path})
    with pytest.raises(ModelFilesError, match=r"models download --profile large$"):
        async with ready_agent(settings, Console(quiet=True)):
            pass


async def test_the_catalogue_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It may come from a pipe."""
    read: list[Path | None] = []

    def load(file: Path | None) -> Catalog:
        read.append(file)
        return load_catalog()

    for module in (choosing, startup):
        monkeypatch.setattr(module, "load_catalog", load)

    @asynccontextmanager
    async def engines(
        settings: Settings, _: Console, own: OwnEngines, known: Catalog
    ) -> AsyncIterator[Engines]:
        with pytest.raises(ModelFilesError):
            await asyncio.to_thread(startup._checked_files, settings, OwnEngines(), known)
        yield fake_engines()

    monkeypatch.setattr(startup, "loaded_engines", engines)
    settings = Settings.model_validate({"models_dir": tmp_path, "catalog": "mine.toml", "profile": "tiny"})
    async with ready_agent(settings, Console(quiet=True)):
        assert read == [Path("mine.toml")]


@pytest.mark.parametrize(
    ("name", "simple"), [("qwen2.5-0.5b-instruct", True), ("qwen2.5-1.5b-instruct", False)]
)
def test_the_smallest_models_are_spoken_to_in_a_simpler_way(name: str, simple: bool) -> None:
    known = language("en")
    assert known is not None and 0 < len(known.simple_examples) < len(known.examples)
    model = load_catalog().models[name]
    settings, examples = _spoken_to(Settings(), model, own_persona=False)
    assert settings.agent.system_prompt == (SIMPLE_SYSTEM_PROMPT if simple else SYSTEM_PROMPT)
    assert examples == (known.simple_examples if simple else known.examples)
    mine = Settings.model_validate({"agent": {"system_prompt": "You are Marvin."}})
    assert _spoken_to(mine, model, own_persona=True) == (mine, ())
    assert _spoken_to(Settings(), None, own_persona=False)[1] == known.examples, "of a model of one's own"
