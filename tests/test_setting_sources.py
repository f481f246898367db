"""What counts as a given setting: empty values, paths from home, byte order marks, unknown names."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from localvoice import catalog, cli, config, setting_sources
from localvoice.config import ConfigError, Settings
from localvoice.files import local_path
from localvoice.setting_sources import load_settings, setting_names

NAMES = list(setting_names(Settings))
DEFAULTS = Settings.model_validate({})


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No settings of this machine, and another home folder."""
    monkeypatch.setattr(setting_sources, "DEFAULT_FILE", tmp_path / "none" / "localvoice.toml")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def value_of(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def variable(name: str) -> str:
    return "LOCALVOICE_" + name.replace(".", "_").upper()


def paths() -> list[str]:
    found = []
    for name in NAMES:
        group, _, setting = name.rpartition(".")
        fields = type(value_of(DEFAULTS, group) if group else DEFAULTS).model_fields
        if "Path" in str(fields[setting].annotation):
            found.append(name)
    assert "models_dir" in found and "server.sessions_dir" in found
    return found


def test_empty_variables_mean_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(variable(name), "")
    assert load_settings().model_dump() == DEFAULTS.model_dump()


def test_empty_values_of_a_group_in_one_variable_mean_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALVOICE_SERVER", '{"sessions_dir": "", "token": "", "host": "", "port": 9000}')
    server = DEFAULTS.server.model_copy(update={"port": 9000})
    assert load_settings().server.model_dump() == server.model_dump()


def test_empty_values_in_the_file_mean_the_defaults(file: Path) -> None:
    groups: dict[str, list[str]] = {"": []}
    for name in NAMES:
        if not isinstance(value_of(DEFAULTS, name), BaseModel):
            group, _, setting = name.rpartition(".")
            groups.setdefault(group, []).append(f'{setting} = ""')
    lines = groups.pop("")
    for group, settings in groups.items():
        lines += [f"[{group}]", *settings]
    file.write_text("\n".join(lines))
    assert load_settings(file).model_dump() == DEFAULTS.model_dump()


def test_an_empty_variable_leaves_the_files_value(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[server]\ntoken = "a token of the file"\n')
    monkeypatch.setenv("LOCALVOICE_SERVER_TOKEN", "")
    token = load_settings(file, server={"token": ""}).server.token
    assert token is not None and token.get_secret_value() == "a token of the file"


def test_paths_may_begin_at_home(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in paths():
        group, _, setting = name.rpartition(".")
        file.write_text(f'{f"[{group}]" if group else ""}\n{setting} = "~/in file"\n')
        assert value_of(load_settings(file), name) == home / "in file", name
        monkeypatch.setenv(variable(name), "~/in environment")
        assert value_of(load_settings(file), name) == home / "in environment", name


@pytest.mark.parametrize("written", [" ", "~no-such-user/x"])
def test_paths_that_lead_nowhere_are_named(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in paths():
        monkeypatch.setenv(variable(name), written)
        with pytest.raises(ConfigError, match=f"{name}: .*(can't be empty|in full)"):
            load_settings()


def test_no_setting_given_in_python_is_the_current_folder() -> None:
    with pytest.raises(ValueError, match="can't be empty"):
        config.ServerSettings.model_validate({"sessions_dir": ""})
    with pytest.raises(ValueError, match="can't be empty"):
        local_path("")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [('profile = "tiny"\r\n[server]\r\nport = 9001\r\n', "utf-8-sig"), ('profile = "tiny"\n', "utf-8")],
)
def test_a_byte_order_mark_is_no_part_of_the_file(content: str, encoding: str, file: Path) -> None:
    file.write_text(content, encoding)
    assert load_settings(file).profile == "tiny"


def test_a_settings_file_that_cant_even_be_looked_for(tmp_path: Path) -> None:
    """As in a folder that is closed to this user, which root is never kept out of."""
    file = tmp_path / ("x" * 300)
    with pytest.raises(ConfigError, match="can't be read: File name too long"):
        load_settings(file)


@pytest.mark.parametrize("name", paths())
def test_a_null_character_is_in_no_path(name: str, file: Path) -> None:
    group, _, setting = name.rpartition(".")
    file.write_text((f"[{group}]\n" if group else "") + f'{setting} = "a\\u0000b"\n')
    with pytest.raises(ConfigError, match=f"{name}: a path can't hold a null character"):
        load_settings(file)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("server.token", "\udcff and 16 more characters", "isn't written in UTF-8"),
        ("server.sessions_key", "\udcff", "isn't written in UTF-8"),
        ("server.token", "a token of 16 and more\r", "begin or end with a space"),
        ("server.token", " a token of 16 and more", "begin or end with a space"),
        ("server.token", "a token of 16\tand more", "control characters"),
        ("server.token", "of too few", "at least 16 characters"),
    ],
)
def test_a_secret_that_no_client_could_show_is_refused_and_not_quoted(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(ConfigError, match=told) as refused:
        load_settings()
    assert name in str(refused.value) and value.strip() not in str(refused.value)


def test_a_settings_file_of_gigabytes_is_refused(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(2 << 30)
    with pytest.raises(ConfigError, match=r"settings\.toml can't be read: .*larger than 1 MiB"):
        load_settings(file)


def test_a_catalogue_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[profiles.tiny]\n", "utf-8-sig")
    assert "tiny" in catalog.load_catalog(own).profiles


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("LOCALVOICE_PROFIL", "LOCALVOICE_PROFILE"),
        ("LOCALVOICE_SERVER_PROT", "LOCALVOICE_SERVER_PORT"),
        ("LOCALVOICE_SESSIONS_DIR", "LOCALVOICE_SERVER_SESSIONS_DIR"),
        ("LOCALVOICE_SERVR_PORT", "LOCALVOICE_SERVER_PORT"),
        ("localvoice_profil", "LOCALVOICE_PROFILE"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_one_that_was_meant(
    wrong: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(wrong, "tiny")
    with pytest.raises(ConfigError, match=rf"no setting {wrong} \(did you mean {right}\?\)"):
        load_settings()


def test_a_variable_like_none_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALVOICE_QQQQ", "1")
    with pytest.raises(ConfigError, match=r"no setting LOCALVOICE_QQQQ\. "):
        load_settings()


@pytest.mark.parametrize(
    "name",
    [
        "LOCALVOICE_CACHE",
        "LOCALVOICE_SERVICE_HOST",
        "LOCALVOICE_SERVICE_PORT_HTTP",
        "LOCALVOICE_PORT",
        "LOCALVOICE_PORT_8787_TCP_ADDR",
        "LOCALVOICE_BASE_PORT_8787_UDP",
    ],
)
def test_what_the_installer_and_containers_set_is_no_mistake(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.7:8787")
    load_settings()


def test_a_misspelt_setting_in_the_file_is_named_with_the_one_that_was_meant(file: Path) -> None:
    file.write_text("[server]\nprot = 1\n")
    with pytest.raises(
        ConfigError, match=r"server\.prot: there is no such setting \(did you mean server\.port\?\)"
    ):
        load_settings(file)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that `localvoice models list` was told to look into."""
    folders: list[Path] = []
    monkeypatch.setattr(catalog, "list_models", lambda _catalog, folder, _console: folders.append(folder))
    return folders


def test_empty_options_are_not_given(listed: list[Path]) -> None:
    done = CliRunner().invoke(cli.app, ["models", "list", "--models-dir", "", "--config", ""])
    assert (done.exit_code, listed) == (0, [catalog.models_folder()])


def test_options_may_begin_at_home(listed: list[Path], home: Path) -> None:
    (home / "own.toml").write_text('profile = "tiny"\n')
    done = CliRunner().invoke(cli.app, ["models", "list", "--models-dir=~/models", "--config=~/own.toml"])
    assert (done.exit_code, listed) == (0, [home / "models"])
    (home / "own.toml").unlink()
    done = CliRunner().invoke(cli.app, ["models", "list", "--config=~/own.toml"])
    assert isinstance(done.exception, ConfigError) and str(home / "own.toml") in str(done.exception)


@pytest.mark.parametrize("words", [["turn", ""], ["models", "list", "--models-dir", "~no-such-user/x"]])
def test_options_that_lead_nowhere_are_named(words: list[str]) -> None:
    done = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 2 and "write" in done.output
