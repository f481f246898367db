"""Models are tried in a process of their own before they are loaded: a crash there is a message here.

A file may be just what the catalogue says and still end the process that reads it: the catalogue may be the
user's own, or the libraries built for another processor. What was tried and works is remembered with what
was verified, so that a later start tries nothing.

That process (`trial.py`) is given a `ProbeRequest`. For each part, in order, it answers with an outcome.
"""

import asyncio
import os
from asyncio.subprocess import Process
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from localvoice.catalog import ModelFilesError, VerifiedCache
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.loading import EngineFiles, EngineOptions, Part, try_part
from localvoice.engines.whisper import gpu_count
from localvoice.machine import available_cores
from localvoice.process.trial import begin_trial, how_it_ended, limit_memory, trial

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

_ANY_PART: Final = 1 << 30
"""Bytes that a part may take whatever its size: libraries, sound, what a run computes."""
_A_CORE: Final = 64 << 20
"""Bytes for the stacks of the threads that share a core: each library has its own."""
_TIMES_ITS_FILES: Final = 6
"""A model takes up to four times its files while it is loaded, converted and run for the first time."""
_A_TOKEN: Final = 128 << 10
"""Bytes of a language model's cache for each token of its context; an 8B model takes as many."""
_MOST_TEXT: Final = 2000
"""Characters of an error: some libraries put a whole model into theirs."""


@dataclass(frozen=True)
class ProbeRequest:
    """The parts that are to be tried, in this order, all files of the start, and how they will be loaded."""

    parts: tuple[Part, ...]
    files: EngineFiles
    options: EngineOptions


@dataclass(frozen=True)
class Fault:
    """What an exception said of a part."""

    code: ErrorCode
    component: Component
    message: str


REQUEST: Final = TypeAdapter(ProbeRequest)
OUTCOME: Final = TypeAdapter[Fault | None](Fault | None)
"""None if the part works."""


async def probe(
    files: EngineFiles, options: EngineOptions, folder: Path, seconds: float = _SECONDS
) -> tuple[Part, ...]:
    """Try all parts that aren't known to work, and remember those that do; gives which were tried.

    `folder` is the models folder. A part may take `seconds` and the time to read its file. Raises
    `ModelFilesError`, naming the file, if a part crashes or hangs, and `VoiceError` if it fails by itself. A
    language model that fails by itself is left to the agent's fallback, if it has one.
    """
    cache = await asyncio.to_thread(VerifiedCache, folder)
    paths, mark = files.parts(), _mark(options)
    unknown = tuple(part for part in paths if not _is_known(cache, part, paths[part], mark))
    if not unknown:
        return ()
    request = ProbeRequest(unknown, files, options)
    try:
        async with trial(__name__, REQUEST.dump_json(request)) as child:
            for part in unknown:
                fault = await _answer(child, part, paths[part], seconds)
                if fault is None:
                    for file in _files(paths[part]):
                        cache.add(_key(part, file), file.stat(), mark)
                elif part != "fallback" and (part != "llm" or files.fallback is None):
                    raise VoiceError(fault.code, fault.component, fault.message)
    finally:
        cache.save()
    return unknown


async def _answer(child: Process, part: Part, path: Path, seconds: float) -> Fault | None:
    """What is wrong with the part. Raises `ModelFilesError` if there is no answer."""
    assert child.stdout is not None
    limit = seconds + sum(file.stat().st_size for file in _files(path)) / _BYTES_A_SECOND
    try:
        async with asyncio.timeout(limit):
            line = await child.stdout.readline()
        if line.endswith(b"\n"):
            return OUTCOME.validate_json(line)
    except TimeoutError:
        raise _refusal(part, path, f"had not ended after {limit:.0f} s") from None
    except ValueError:  # a line without an end, or what is no outcome
        raise _refusal(part, path, "ended in an answer that can't be read") from None
    raise _refusal(part, path, f"ended the process that did it ({how_it_ended(await child.wait())})")


def _refusal(part: Part, path: Path, what: str) -> ModelFilesError:
    name = f"{path.parent.name}/{path.name}" if path.is_file() else f"{path.name}/model.bin"
    return ModelFilesError(
        f"The {_WHAT[part]} {name} can't be used: loading it {what}. It was tried in a process of its own; "
        "nothing else was started. If it is of your own catalogue, it is damaged or made for other versions "
        "of the libraries: take another file. If not, check it with `localvoice models verify`; if it is "
        "right, there is too little memory, or the libraries were built for another processor: install them "
        "again on this machine."
    )


def _is_known(cache: VerifiedCache, part: Part, path: Path, mark: str) -> bool:
    return all(cache.has(_key(part, file), file.stat(), mark) for file in _files(path))


def _files(path: Path) -> list[Path]:
    """What is read of a part: the file, or all files of a folder, and the settings next to a voice."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    settings = path.with_name(f"{path.name}.json")
    return [path, settings] if settings.is_file() else [path]


def _key(part: Part, file: Path) -> str:
    """The keys of verified files, which are in the same cache, have no space."""
    return f"loaded as {part}: {file.parent.name}/{file.name}"


def _mark(options: EngineOptions) -> str:
    """What has to be as it was when a file was tried."""
    libraries = (f"{name} {version(name)}" for name in _LIBRARIES)
    return ", ".join([*libraries, f"{options.device} {options.compute} {options.gpu_layers}"])


def main() -> None:
    """Try what the request says, and end at once: what was loaded may be broken."""
    answers, asked = begin_trial()
    request = REQUEST.validate_json(asked)
    for part in request.parts:
        on_cpu = request.options.device == "cpu" or not gpu_count()
        limit_memory(allowance(part, request) if on_cpu else None)
        outcome = asyncio.run(_outcome(part, request))
        print(OUTCOME.dump_json(outcome).decode(), file=answers)
    os._exit(0)


async def _outcome(part: Part, request: ProbeRequest) -> Fault | None:
    try:
        await try_part(part, request.files, request.options)
    except VoiceError as error:
        return Fault(error.code, error.component, _short(error.message))
    except Exception as error:  # a file of any content may lead anywhere
        text = _short(f"{type(error).__name__}: {error}")
        return Fault(ErrorCode.INTERNAL_ERROR, Component.SERVER, text)
    return None


def _short(text: str) -> str:
    cut = text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} …"
    return cut.encode("utf-8", "replace").decode()  # half of a surrogate pair is no UTF-8


def allowance(part: Part, request: ProbeRequest) -> int:
    """Bytes that the part may take on top of what the process has."""
    path = request.files.parts()[part]
    files = path.iterdir() if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    context = request.options.context_tokens if part in ("llm", "projector", "fallback") else 0
    return _ANY_PART + _A_CORE * available_cores() + _TIMES_ITS_FILES * size + _A_TOKEN * context


if __name__ == "__main__":
    main()
