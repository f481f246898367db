"""What the process that tries models answers, however long or odd the error; and what memory it may take."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from localvoice.catalog import ModelFilesError
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.loading import EngineFiles, EngineOptions
from localvoice.process import probing
from localvoice.process.probing import OUTCOME, ProbeRequest

_LINE = 64 << 10
"""Bytes of a line that asyncio reads."""


@pytest.fixture
def asked(tmp_path: Path) -> ProbeRequest:
    (tmp_path / "whisper").mkdir()
    for name, size in (("whisper/model.bin", 700), ("whisper/config.json", 50), ("llm", 400), ("voice", 60)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size << 20)
    files = EngineFiles(
        stt=tmp_path / "whisper",
        llm=tmp_path / "llm",
        tts=tmp_path / "voice",
        tts_config=tmp_path / "voice.json",
        vad=tmp_path / "vad",
    )
    return ProbeRequest(("llm",), files, EngineOptions(device="cpu", context_tokens=8192))


@pytest.mark.parametrize(
    "error",
    [
        VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "\x00" * 1_000_000),
        VoiceError(ErrorCode.LLM_ERROR, Component.LLM, "a lone \ud800 half"),
        RuntimeError("é\n" * 100_000),
        MemoryError(),
    ],
)
async def test_any_error_fits_a_line(
    error: Exception, asked: ProbeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(probing, "try_part", fail)
    outcome = await probing._outcome("llm", asked)
    assert outcome is not None
    line = OUTCOME.dump_json(outcome)
    assert len(line) < _LINE and b"\n" not in line
    assert outcome.message and OUTCOME.validate_json(line) == outcome


@pytest.mark.parametrize("answer", [b"x" * 3 * _LINE, b"not JSON\n", b'{"code": 7}\n', b"\xff\n"])
async def test_an_answer_that_is_none_is_a_sentence(answer: bytes, asked: ProbeRequest) -> None:
    class Child:
        stdout = asyncio.StreamReader()

    child = Child()
    child.stdout.feed_data(answer)
    child.stdout.feed_eof()
    with pytest.raises(
        ModelFilesError, match="language model .*/llm can't be used: .* answer that can't be read"
    ):
        await probing._answer(cast(asyncio.subprocess.Process, child), "llm", asked.files.parts()["llm"], 5)


def test_memory_is_allowed_by_files_and_context(asked: ProbeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "available_cores", lambda: 4)
    base, mib = (1 << 30) + 4 * (64 << 20), 1 << 20
    assert probing.allowance("tts", asked) == base + 6 * 60 * mib
    assert probing.allowance("stt", asked) == base + 6 * 750 * mib
    assert probing.allowance("llm", asked) == base + 6 * 400 * mib + 1024 * mib
