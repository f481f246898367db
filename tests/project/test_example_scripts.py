"""Every example runs as a script; those that need files also with the real models."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from tests.support.example_stage import EXAMPLES, Stage
from tests.support.example_stage import plain_settings as plain_settings
from tests.support.example_stage import stage as stage
from tests.support.fakes import WORD_SECONDS, loud
from tests.support.folders import SPEECH

NEED_FILES = {"from_frames", "live_frames"}
"""Read a WAV and write one."""


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_it_runs_as_a_script(
    name: str,
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its `main`; a server ends as at Ctrl-C as soon as it stands."""
    files = [tmp_path / "in.wav", tmp_path / "out.wav"] if name in NEED_FILES else []
    if files:
        files[0].write_bytes(wav_bytes(loud(0.5)))
    else:
        monkeypatch.setattr("localvoice.process.ending.Ending.asked", _interrupted)
    monkeypatch.setattr(sys, "argv", [name, *map(str, files)])
    runpy.run_path(str(EXAMPLES[name]), run_name="__main__")
    if files:
        assert read_wav(files[1]).seconds > WORD_SECONDS
    else:
        assert "Open http://127.0.0.1:" in capsys.readouterr().err


async def _interrupted(ending: object) -> None:
    """The signal comes as soon as it is waited for."""


@pytest.mark.integration
@pytest.mark.parametrize("name", sorted(NEED_FILES))
def test_speech_in_speech_out_with_the_real_models(name: str, tmp_path: Path) -> None:
    """As a user starts it, in a process of its own."""
    try:
        folder = ready(load_catalog(), "tiny", models_folder()).folder
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    speech = SPEECH / "weather_question.wav"
    if not speech.exists():
        pytest.skip("needs the recorded speech")
    reply = tmp_path / "reply.wav"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES[name]), str(speech), str(reply)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"LOCALVOICE_PROFILE": "tiny", "LOCALVOICE_MODELS_DIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    assert "What is the weather in Paris?" in done.stdout and "agent: " in done.stdout
    assert read_wav(reply).seconds > 1 and read_wav(reply).rms_dbfs > -40
