"""Secrets in a settings file that other accounts can read are told, with what closes it."""

from pathlib import Path

import pytest

from localvoice.setting_sources import load_settings, warn_of_open_secrets

SECRETS = '[server]\ntoken = "only the invited know it"\nsessions_key = "a passphrase"\n'


def settings_file_of(folder: Path, text: str, mode: int) -> Path:
    file = folder / "localvoice.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_they_are_named_with_what_closes_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    file = settings_file_of(tmp_path, SECRETS, mode)
    warn_of_open_secrets(load_settings(file))
    (told,) = caplog.messages
    assert "server.token and server.sessions_key" in told and told.endswith(f"run `chmod 600 {file}`")
    assert "invited" not in told


@pytest.mark.parametrize(
    ("text", "mode"),
    [(SECRETS, 0o600), (SECRETS, 0o640), ('profile = "tiny"\n', 0o644), ("[server]\n", 0o644)],
)
def test_a_closed_file_and_one_without_secrets_are_as_they_should_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, text: str, mode: int
) -> None:
    monkeypatch.setenv("LOCALVOICE_SERVER_TOKEN", "from the environment alone")
    warn_of_open_secrets(load_settings(settings_file_of(tmp_path, text, mode)))
    assert not caplog.messages
