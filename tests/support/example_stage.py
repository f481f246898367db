"""A stage for the examples: all of the process but the models, and a note of each hook that is called."""

import importlib.util
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from localvoice import startup
from localvoice.api import LocalVoice
from localvoice.application.hooks import Hooks
from localvoice.engines.chat import ToolCall
from localvoice.engines.types import OwnEngines
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, fake_engines
from tests.support.folders import EXAMPLES_FOLDER
from tests.support.server_site import Site

EXAMPLES = {path.stem: path for path in EXAMPLES_FOLDER.glob("*.py")}


@dataclass
class Stage:
    """Stands in for the models, and remembers which of an example's own hooks were called."""

    stt: FakeStt = field(default_factory=FakeStt)
    llm: FakeLlm = field(default_factory=FakeLlm)
    tts: FakeTts = field(default_factory=FakeTts)
    own_hooks: set[str] = field(default_factory=set)
    called: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def hears(self, *script: str | Exception) -> None:
        self.stt.script = list(script)

    def thinks(self, *script: str | list[str | ToolCall | Exception]) -> None:
        self.llm.script = list(script)

    def names(self) -> list[str]:
        """In order, each run of one name as one."""
        names = [name for name, _ in self.called]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    def watched(self, hooks: Hooks) -> Hooks:
        """The same hooks, and a note of each call."""
        self.own_hooks = own_hooks(hooks)
        return replace(hooks, **{name: self._noted(name, getattr(hooks, name)) for name in self.own_hooks})

    def _noted(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.called.append((name, args))
            return hook(*args)

        return call


def own_hooks(hooks: Hooks) -> set[str]:
    """Names of those that aren't ready-made."""
    given = {each.name: getattr(hooks, each.name) for each in fields(Hooks)}
    return {name for name, hook in given.items() if hook and not hook.__module__.startswith("localvoice.")}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES[name])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("localvoice.setting_sources.DEFAULT_FILE", tmp_path / "none.toml")
    monkeypatch.setenv("LOCALVOICE_SERVER_PORT", "0")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """All of the process but the models; afterwards, that no hook of the example was for show."""
    stage, real = Stage(), startup.ready_agent

    @asynccontextmanager
    async def loaded_engines(*args: Any) -> AsyncIterator[Any]:
        own = args[2] or OwnEngines()
        fakes = fake_engines(stage.stt, stage.llm, stage.tts)
        brought = {each.name: getattr(own, each.name) for each in fields(own)}
        brought = {name: engine for name, engine in brought.items() if engine is not None}
        yield replace(fakes, **brought)
        for engine in brought.values():
            await engine.close()

    def ready_agent(settings: Any, console: Any, hooks: Hooks | None, *rest: Any) -> Any:
        return real(settings, console, stage.watched(hooks or Hooks()), *rest)

    for place in ("localvoice", "localvoice.api"):  # this process is pytest's
        monkeypatch.setattr(f"{place}.configure_process", lambda: None)
    monkeypatch.setattr(startup, "loaded_engines", loaded_engines)
    monkeypatch.setattr(startup, "ready_agent", ready_agent)
    yield stage
    if stage.called:
        assert set(stage.names()) == stage.own_hooks, "every hook that an example has is called"


@asynccontextmanager
async def served(voice: LocalVoice) -> AsyncIterator[Site]:
    async with voice.serving() as url, aiohttp.ClientSession() as http:
        yield Site(url, http)


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(f"call-{name}", name, arguments)
