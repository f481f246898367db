"""Settings: where they come from, which wins, and what a wrong one is answered with."""

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from localvoice import setting_sources
from localvoice.catalog import catalogue
from localvoice.catalog.errors import CatalogError
from localvoice.config import ConfigError, ListeningSettings, Settings
from localvoice.setting_sources import load_settings


@pytest.fixture(autouse=True)
def no_file_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(setting_sources, "DEFAULT_FILE", tmp_path / "none" / "localvoice.toml")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(
        'profile = "tiny"\n[server]\nport = 9000\nping_seconds = 20\n[agent]\nsystem_prompt = "Be brief."\n'
    )
    return file


def test_defaults_need_nothing() -> None:
    settings = load_settings()
    assert settings.model_dump() == defaults().model_dump()
    assert (settings.profile, settings.server.host, settings.server.port) == ("auto", "127.0.0.1", 8787)
    assert (settings.server.session_minutes, settings.server.ping_seconds) == (30, 45)
    assert settings.agent.history_messages is None


def test_the_file_then_the_environment_then_the_command_line(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(toml).server.port == 9000
    monkeypatch.setenv("LOCALVOICE_SERVER_PORT", "9001")
    monkeypatch.setenv("LOCALVOICE_PROFILE", "quality")
    by_environment = load_settings(toml)
    assert (by_environment.server.port, by_environment.profile) == (9001, "quality")
    settings = load_settings(toml, profile="gpu", server={"port": 9002})
    assert (settings.server.port, settings.profile) == (9002, "gpu")
    assert settings.server.ping_seconds == 20, "one setting of a group leaves the others"
    assert settings.agent.system_prompt == "Be brief."


def test_the_users_own_file_is_found(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_sources, "DEFAULT_FILE", toml)
    assert load_settings().profile == "tiny"


def test_overrides_that_are_none_were_not_given(toml: Path) -> None:
    assert load_settings(toml, profile=None).profile == "tiny"


def defaults() -> Settings:
    return Settings.model_validate({})


def every_setting() -> list[tuple[str, type[BaseModel]]]:
    names: list[tuple[str, type[BaseModel]]] = []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += [(f"{name}.{inner}", kind) for inner in kind.model_fields]
        else:
            names.append((name, Settings))
    return names


@pytest.mark.parametrize(("name", "group"), every_setting())
def test_every_setting_is_documented_and_can_be_set_from_the_environment(
    name: str, group: type[BaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert group.model_fields[name.split(".")[-1]].description
    default: Any = defaults()
    for part in name.split("."):
        default = getattr(default, part)
    others = {
        "server.allowed_origins": '["http://localhost:3000"]',
        "server.allowed_hosts": '["voice.example"]',
        "device": "cpu",
        "log_level": "debug",
        "server.token": "a token of 16 and more",
        "monitor.metrics": "prometheus",
        "monitor.log_format": "json",
        "max_utterance_seconds": "30",
        "listening.speech_probability": "0.6",
        "listening.eagerness": "quick",
        "agent.playbook_form": "llmrtc",
    }
    numbers = {
        "server.port": "99",
        "agent.context_tokens": "2048",
        "agent.temperature": "1.5",
        "agent.top_p": "0.5",
        "agent.repeat_penalty": "1.5",
        "listening.max_utterance_seconds": "30",
    }
    text = others.get(name) or numbers.get(name)
    if text is None:
        number = isinstance(default, int | float) and not isinstance(default, bool)
        switch = bool in get_args(group.model_fields[name.split(".")[-1]].annotation)  # on, off or unset
        text = str(not default) if isinstance(default, bool) else str(int(default) + 1) if number else "7"
        text = "false" if switch else text
    monkeypatch.setenv("LOCALVOICE_" + name.replace(".", "_").upper(), text)
    value: object = load_settings()
    for part in name.split("."):
        value = getattr(value, part)
    assert value != default


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOCALVOICE_SERVER_PORT", "99999"),
        ("LOCALVOICE_SERVER_PORT", "http"),
        ("LOCALVOICE_DEVICE", "tpu"),
        ("LOCALVOICE_LISTENING_ONSET_MS", "-5"),
        ("LOCALVOICE_SERVER_TOKEN", "15 of its kind."),
        ("LOCALVOICE_SERVER_ALLOWED_ORIGINS", "http://localhost:3000"),
    ],
)
def test_a_wrong_setting_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    name = variable.removeprefix("LOCALVOICE_").lower()
    assert name in str(caught.value).replace(".", "_").lower()
    assert "LOCALVOICE_…" in str(caught.value) and "settings file" not in str(caught.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no settings file .*absent\.toml.*--config"):
        load_settings(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("port = = 1")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_settings(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_settings(broken)
    unknown = tmp_path / "unknown.toml"
    unknown.write_text("[server]\nprot = 1\n")
    with pytest.raises(ConfigError, match=r"server\.prot.*unknown\.toml"):
        load_settings(unknown)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        defaults().server.port = 1
    with pytest.raises(ValueError, match="frozen"):
        ListeningSettings.model_validate({}).pause_ms = 1


@pytest.mark.parametrize("command", ["version", "settings"])
def test_a_user_without_a_home_folder(command: str) -> None:
    unknown = "import pwd; pwd.getpwuid = lambda uid: {}[uid]"
    run = f"{unknown}; import sys; sys.argv[1:] = [{command!r}]; from localvoice.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", run], env={"COLUMNS": "200"}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_the_models_of_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "checkout_root", lambda: None)
    monkeypatch.setattr(catalogue, "DATA_FOLDER", None)
    with pytest.raises(CatalogError, match="--models-dir"):
        catalogue.models_folder()
