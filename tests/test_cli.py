"""The command line as a user types it, in a process of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from tests.support.folders import SPEECH
from tests.support.metronome import queued_seconds

STARTS_WITHIN = 5.0
"""Seconds, promised: a missing or damaged file stops the start in less. What is spent on a machine that
stands still, or waiting for a core that others have, doesn't count."""

WIDE = {"COLUMNS": "200"}
"""No message is broken into lines."""


def localvoice(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localvoice.cli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | WIDE | environment,
    )


@pytest.fixture
def refusal(tmp_path: Path, stood_still: Callable[[float], float]) -> Callable[[Path], str]:
    """Starts with models that won't do, which must end as soon as is promised; gives what it says."""

    def started(models: Path) -> str:
        command = [sys.executable, "-m", "localvoice.cli", "serve", "--profile", "tiny"]
        begun, said = time.monotonic(), tmp_path / "said"
        with (
            said.open("w") as errors,
            subprocess.Popen(
                [*command, "--models-dir", str(models)], stderr=errors, env=os.environ | WIDE
            ) as process,
        ):
            queued = 0.0
            while process.poll() is None:
                queued = max(queued, queued_seconds(process.pid))  # not told any more when it has ended
                time.sleep(0.01)
            took = time.monotonic() - begun
        assert took - queued - stood_still(begun) < STARTS_WITHIN, (
            f"{took:.1f} s, {queued:.1f} without a core"
        )
        assert process.returncode == 1
        return said.read_text()

    return started


@pytest.fixture
def tiny_folder() -> Path:
    try:
        return ready(load_catalog(), "tiny", models_folder()).folder
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")


def test_help_lists_the_commands() -> None:
    told = localvoice("--help").stdout
    assert all(command in told for command in ("serve", "talk", "turn", "models", "settings"))


def test_every_setting_is_shown_with_its_meaning() -> None:
    told = localvoice("settings", LOCALVOICE_SERVER_PORT="9001", LOCALVOICE_AGENT_TEMPERATURE="0.5").stdout
    lines = [line.split("│") for line in told.splitlines() if line.startswith("│")]
    rows = {line[1].strip(): line for line in lines if line[1].strip()}  # a long value goes on without a name
    assert "9001" in rows["server.port"][2] and "0.5" in rows["agent.temperature"][2]
    assert len(rows) > 20 and all(len(row[3].strip()) > 10 for row in rows.values())


def test_a_missing_model_file_stops_the_start_with_its_name_and_the_command_that_mends_it(
    refusal: Callable[[Path], str], tmp_path: Path
) -> None:
    told = refusal(tmp_path)
    assert "whisper-tiny.en/model.bin: is missing" in told
    assert "localvoice models download --profile tiny" in told
    assert "Traceback" not in told


@pytest.mark.integration
def test_a_damaged_model_file_stops_the_start(
    refusal: Callable[[Path], str], tiny_folder: Path, tmp_path: Path
) -> None:
    for model in load_catalog().models_of("tiny"):
        shutil.copytree(tiny_folder / model.name, tmp_path / model.name)
    with (tmp_path / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf").open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"damage")
    assert "SmolLM2-135M-Instruct.Q4_1.gguf: is damaged" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("serve", "--profile", "nonsense"), "There is no profile 'nonsense'"),
        (("serve", "--profile", "tiny", "--llm", "gpt"), "There is no language model 'gpt'. There are: "),
        (("models", "verify", "--stt", "ears"), "There is no speech to text model 'ears'. There are: "),
        (("models", "download", "--voice", "mine"), "There is no voice 'mine'. There are: "),
        (("serve", "--port", "99999"), "server.port"),
        (("serve", "--config", "nowhere.toml"), "nowhere.toml"),
        (("turn", "nowhere.wav"), "INVALID_AUDIO_FORMAT"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words: tuple[str, ...], told: str) -> None:
    done = localvoice(*words)
    assert done.returncode == 1
    assert told in done.stderr and "Traceback" not in done.stderr


def test_a_host_that_others_could_reach_is_refused() -> None:
    done = localvoice("serve", "--profile", "tiny", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "ssh -L" in done.stderr and "--lan" in done.stderr


@pytest.mark.integration
def test_a_turn_on_a_file_prints_both_sides_and_writes_the_reply(tiny_folder: Path, tmp_path: Path) -> None:
    question, reply = tmp_path / "question.wav", tmp_path / "reply.wav"
    speech = SPEECH / "weather_question.wav"
    if not speech.exists():
        pytest.skip("needs the recorded speech")
    question.write_bytes(speech.read_bytes())
    done = localvoice("turn", str(question), "--out", str(reply), "--profile", "tiny")
    assert done.returncode == 0, done.stderr
    assert "What is the weather in Paris?" in done.stdout
    assert all(stage in done.stdout for stage in ("words known", "first word", "first sound"))
    assert read_wav(reply).seconds > 1 and read_wav(reply).rms_dbfs > -40


@pytest.mark.integration
def test_a_turn_on_silence_invents_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.wav"
    quiet.write_bytes(wav_bytes(AudioFrame(np.zeros(32_000, np.int16), 16_000)))
    done = localvoice("turn", str(quiet), "--profile", "tiny")
    assert done.returncode == 0
    assert "nothing that could be understood" in done.stdout
