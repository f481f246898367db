"""Models are tried in a process of their own before they are loaded: a crash there is a message here.

A file may be just what the catalogue says and still end the process that reads it: the catalogue may be the
user's own, or the libraries built for another processor. What was tried and works is remembered beside what
was verified, so that a later start tries nothing.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import ValidationError

import localvoice
from localvoice.catalog import ModelFilesError, VerifiedCache
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.loading import EngineFiles, EngineOptions, Part
from localvoice.process.probe_child import OUTCOME, REQUEST, Outcome, ProbeRequest

_SECONDS: Final = 60.0
"""For a part of any size, on a machine with other work."""
_BYTES_A_SECOND: Final = 10e6
"""Of a slow disk. A file is given the time to be read on top of that."""
_LIBRARIES: Final = ("ctranslate2", "faster-whisper", "llama-cpp-python", "onnxruntime", "piper-tts")
"""Another version may fail where this one didn't."""

_WHAT: Final[dict[Part, str]] = {
    "stt": "speech recognition model",
    "llm": "language model",
    "projector": "projector of the language model",
    "fallback": "language model of the fallback profile",
    "tts": "voice",
    "vad": "voice activity model",
    "turn": "turn detection model",
}


async def probe(
    files: EngineFiles, options: EngineOptions, folder: Path, seconds: float = _SECONDS
) -> tuple[Part, ...]:
    """Try all parts that aren't known to work, and remember those that do; which were tried.

    `folder` is the models folder. A part may take `seconds` and the time to read its file. Raises
    `ModelFilesError`, naming the file, if a part crashes or hangs, and `VoiceError` if it fails by itself. Of
    an agent with a fallback, a language model that fails by itself is left to that.
    """
    cache = await asyncio.to_thread(VerifiedCache, folder)
    paths, mark = files.parts(), _mark(options)
    unknown = tuple(part for part in paths if not _is_known(cache, part, paths[part], mark))
    if not unknown:
        return ()
    request = ProbeRequest(unknown, files, options)
    try:
        async with _child(request) as child:
            for part in unknown:
                outcome = await _outcome(child, part, paths[part], seconds)
                if outcome.message is None:
                    for file in _files(paths[part]):
                        cache.add(_key(part, file), file.stat(), mark)
                elif part != "fallback" and (part != "llm" or files.fallback_llm is None):
                    raise VoiceError(
                        outcome.code or ErrorCode.INTERNAL_ERROR,
                        outcome.component or Component.SERVER,
                        outcome.message,
                    )
    finally:
        cache.save()
    return unknown


@asynccontextmanager
async def _child(request: ProbeRequest) -> AsyncIterator[Process]:
    """The process, with its request; it is gone when the block is left."""
    home = str(Path(localvoice.__file__).parents[1])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # nothing is imported from the folder that the user happens to be in
        "-m",
        "localvoice.process.probe_child",
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert child.stdin is not None
    try:
        child.stdin.write(REQUEST.dump_json(request) + b"\n")
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        child.stdin.close()


async def _outcome(child: Process, part: Part, path: Path, seconds: float) -> Outcome:
    """What came of a part. Raises `ModelFilesError` if nothing did."""
    assert child.stdout is not None
    limit = seconds + sum(file.stat().st_size for file in _files(path)) / _BYTES_A_SECOND
    try:
        async with asyncio.timeout(limit):
            line = await child.stdout.readline()
    except TimeoutError:
        raise _refusal(part, path, f"had not ended after {limit:.0f} s") from None
    except ValueError:  # a line without an end
        raise _refusal(part, path, "ended in an answer that can't be read") from None
    if not line.endswith(b"\n"):
        raise _refusal(part, path, f"ended the process that did it ({_end(await child.wait())})")
    try:
        return OUTCOME.validate_json(line)
    except ValidationError:
        raise _refusal(part, path, "ended in an answer that can't be read") from None


def _refusal(part: Part, path: Path, what: str) -> ModelFilesError:
    name = f"{path.parent.name}/{path.name}" if path.is_file() else f"{path.name}/model.bin"
    return ModelFilesError(
        f"The {_WHAT[part]} {name} can't be used: loading it {what}. It was tried in a process of its own; "
        "nothing else was started. If it is of your own catalogue, it is damaged or made for other versions "
        "of the libraries: take another file. If not, check it with `localvoice models verify`; if it is "
        "right, there is too little memory, or the libraries were built for another processor: install them "
        "again on this machine."
    )


def _end(status: int) -> str:
    """A process' end in words."""
    if status >= 0:
        return f"exit code {status:#x}" if status > 0xFF else f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-status}"


def _is_known(cache: VerifiedCache, part: Part, path: Path, mark: str) -> bool:
    return all(cache.has(_key(part, file), file.stat(), mark) for file in _files(path))


def _files(path: Path) -> list[Path]:
    """What is read of a part: the file, or all files of a folder, and the voice's settings beside it."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    beside = path.with_name(f"{path.name}.json")
    return [path, beside] if beside.is_file() else [path]


def _key(part: Part, file: Path) -> str:
    """Beside the keys of verified files, which have no space."""
    return f"loaded as {part}: {file.parent.name}/{file.name}"


def _mark(options: EngineOptions) -> str:
    """What has to be as it was when a file was tried."""
    libraries = (f"{name} {version(name)}" for name in _LIBRARIES)
    return ", ".join([*libraries, f"{options.device} {options.compute} {options.gpu_layers}"])
