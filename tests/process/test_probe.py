"""Models that crash native code or hang: the start ends with a sentence, and what works is tried once."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import localvoice
from localvoice import startup
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from localvoice.config import Settings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines.loading import EngineFiles, EngineOptions
from localvoice.process import probing
from localvoice.process.probing import REQUEST, ProbeRequest, probe
from localvoice.startup import _engine_files, loaded_engines
from tests.support.broken_models import bottomless_vad, endless_vad, hungry_vad, spoil_ctranslate2, spoil_gguf

pytestmark = pytest.mark.integration

OPTIONS = EngineOptions(context_tokens=512)
ALL = ("vad", "turn", "tts", "stt", "llm")


@pytest.fixture(scope="module")
def files() -> EngineFiles:
    try:
        return _engine_files(ready(load_catalog(), "tiny", models_folder()), ())
    except ModelFilesError:
        pytest.skip("the models aren't downloaded: make download-models PROFILE=tiny")


@pytest.fixture(scope="module")
def tried(files: EngineFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose stamps say that the tiny models work."""
    folder = tmp_path_factory.mktemp("models")
    assert asyncio.run(probe(files, OPTIONS, folder)) == ALL
    return folder


async def test_what_works_is_tried_once(
    files: EngineFiles, tried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    assert await probe(files, OPTIONS, tried) == ()
    with pytest.raises(pytest.fail.Exception, match="a process was started"):
        await probe(files, replace(OPTIONS, device="cuda"), tried)
    monkeypatch.setattr(probing, "version", lambda _: "0")
    with pytest.raises(pytest.fail.Exception, match="a process was started"):
        await probe(files, OPTIONS, tried)


def whisper(files: EngineFiles, folder: Path) -> EngineFiles:
    copy = Path(shutil.copytree(files.parts()["stt"], folder / "whisper"))
    spoil_ctranslate2(copy / "model.bin")
    return replace(files, stt=copy)


def llm(files: EngineFiles, folder: Path) -> EngineFiles:
    copy = Path(shutil.copy(files.parts()["llm"], folder / "llm.gguf"))
    spoil_gguf(copy)
    return replace(files, llm=copy)


def vad(files: EngineFiles, folder: Path) -> EngineFiles:
    copy = folder / "vad.onnx"
    copy.write_bytes(bottomless_vad())
    return replace(files, vad=copy)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the same files end by other signals")
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (whisper, r"speech recognition model whisper/model\.bin .* \(signal SIGFPE\)"),
        (llm, r"language model .*/llm\.gguf .* \(signal SIGABRT\)"),
        (vad, r"voice activity model .*/vad\.onnx .* \(signal SIGSEGV\)"),
    ],
)
async def test_a_crash_of_native_code_is_a_sentence(
    spoil: Callable[[EngineFiles, Path], EngineFiles],
    told: str,
    files: EngineFiles,
    tried: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spoilt = await asyncio.to_thread(spoil, files, tmp_path)
    with pytest.raises(ModelFilesError, match=f"(?s){told}.*take another file.*models verify"):
        await probe(spoilt, OPTIONS, tried)
    assert capfd.readouterr() == ("", ""), "nothing of what native code prints"


async def test_a_model_that_takes_more_memory_than_its_file_explains_is_refused(
    files: EngineFiles, tried: Path, tmp_path: Path
) -> None:
    hungry = tmp_path / "vad.onnx"
    hungry.write_bytes(hungry_vad())
    with pytest.raises((VoiceError, ModelFilesError), match="(?i)memory|alloc"):
        await probe(replace(files, vad=hungry), OPTIONS, tried)


async def test_a_hang_is_a_sentence(files: EngineFiles, tried: Path, tmp_path: Path) -> None:
    endless = tmp_path / "vad.onnx"
    endless.write_bytes(endless_vad())
    with pytest.raises(ModelFilesError, match=r"vad\.onnx .* had not ended after 5 s"):
        await probe(replace(files, vad=endless), OPTIONS, tried, seconds=5)


async def test_a_file_that_fails_by_itself_is_told_as_ever(
    files: EngineFiles, tried: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.gguf"
    with files.parts()["llm"].open("rb") as whole:
        cut.write_bytes(whole.read(1_000_000))
    with pytest.raises(VoiceError, match=r"cut\.gguf") as caught:
        await probe(replace(files, llm=cut), OPTIONS, tried)
    assert caught.value.code == ErrorCode.LLM_ERROR
    other = replace(files, llm=cut, fallback=files.llm)
    assert await probe(other, OPTIONS, tried) == ("llm", "fallback"), "a fallback stands in for it"


async def test_a_start_that_is_given_up_leaves_no_process(
    files: EngineFiles, tried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def watched(*command: str, **options: object) -> asyncio.subprocess.Process:
        started.append(await start(*command, **options))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    endless = tmp_path / "vad.onnx"
    endless.write_bytes(endless_vad())
    task = asyncio.create_task(probe(replace(files, vad=endless), OPTIONS, tried))
    while not started:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode is not None


def test_it_ends_with_its_parent(files: EngineFiles, tmp_path: Path) -> None:
    endless = tmp_path / "vad.onnx"
    endless.write_bytes(endless_vad())
    request = ProbeRequest(("turn", "vad"), replace(files, vad=endless), OPTIONS)
    with subprocess.Popen(
        [sys.executable, "-m", "localvoice.process.probing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(localvoice.__file__).parents[1])},
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(REQUEST.dump_json(request) + b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"null\n", "Smart Turn works, and now it hangs"
        child.stdin.close()
        assert child.wait(timeout=10) == 1


async def test_no_model_is_loaded_after_one_has_failed(
    files: EngineFiles, tried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start of `serve`, `talk` and `turn`; the command line ends by this exception with exit code 1."""
    spoilt = await asyncio.to_thread(llm, files, tmp_path)
    profile = load_catalog().profile("tiny")
    monkeypatch.setattr(startup, "_checked_files", lambda *_: (profile, spoilt))
    monkeypatch.setattr(startup, "load_engines", lambda *_: pytest.fail("models were loaded"))
    settings = Settings.model_validate({"profile": "tiny", "models_dir": tried})
    with pytest.raises(ModelFilesError, match="signal SIGABRT"):
        async with loaded_engines(settings, Console(quiet=True)):
            pytest.fail("it started")
