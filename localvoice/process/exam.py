"""The exam of a language model that no one has verified: it talks, calls a tool, keeps to time and memory.

It is held in a process of its own (`examining.py`), since such a model may do anything, and remembered next
to the model (`catalog/exams.py`).
"""

import asyncio
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from localvoice.catalog import Model, ModelFilesError, Profile
from localvoice.catalog.exams import Exam, ExamPart, keep_exam
from localvoice.catalog.verify import find_problems
from localvoice.config import SYSTEM_PROMPT, Settings
from localvoice.machine import free_memory
from localvoice.process.trial import how_it_ended, trial

PART_NAMES: Final = (
    "loads",
    "fills in its template",
    "answers in words",
    "calls a tool",
    "goes on after an interruption",
    "keeps to time",
    "keeps to memory",
)
"""The parts, in order."""
ESSENTIAL: Final = PART_NAMES[:2]
"""Without these there is nothing to ask."""
_ROOM: Final = "localvoice.process.examining"
"""The module that the process runs."""
_PART_SECONDS: Final = 120.0
"""For one part: five short answers at the slowest pace that would pass, and other work on the machine."""
_BYTES_A_SECOND: Final = 10e6
"""Of a slow disk. The file is given the time to be read on top of that."""
_MEMORY_SHARE: Final = 0.75
"""Of the free memory: the rest is for hearing, the voice, other conversations, and other programs."""


class ExamRequest(BaseModel):
    """Which model is examined, and how it would be run."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    file: Path
    projector: Path | None
    context_tokens: int
    key_bits: Literal[8, 16]
    device: Literal["auto", "cpu", "cuda"]
    gpu_layers: int | None
    most_bytes: int
    """Of memory, at its peak."""
    sampling: dict[str, Any] = {}
    """How it picks its tokens, where its entry says it."""
    system_prompt: str = SYSTEM_PROMPT


class _NoAnswerError(Exception):
    """The process gave no outcome; the message says why."""


async def hold_exam(model: Model, profile: Profile, folder: Path, settings: Settings) -> Exam:
    """Examine a language model whose files are here, run as the profile would run it; remembers the outcome.

    Raises ModelFilesError if a file is missing or damaged.
    """
    if problems := await asyncio.to_thread(find_problems, [model], folder):
        wrong = "; ".join(f"{name} {what}" for name, what in problems.items())
        raise ModelFilesError(
            f"{model.name} can't be examined: {wrong}. Run: localvoice models download --llm {model.name}"
        )
    request = _request(model, profile, folder, settings).model_dump_json().encode()
    size = sum((folder / model.name / file.name).stat().st_size for file in model.files)
    parts: list[ExamPart] = []
    async with trial(_ROOM, request) as child:
        for name in PART_NAMES:
            seconds = _PART_SECONDS + (0 if parts else size / _BYTES_A_SECOND)
            try:
                parts.append(await _answer(child, seconds))
            except _NoAnswerError as reason:
                parts.append(ExamPart(name=name, passed=False, told=str(reason)))
                break
            if name in ESSENTIAL and not parts[-1].passed:
                break
    return await asyncio.to_thread(keep_exam, model, folder, parts)


def _request(model: Model, profile: Profile, folder: Path, settings: Settings) -> ExamRequest:
    place = folder / model.name
    return ExamRequest(
        name=model.name,
        file=place / model.file_ending(".gguf"),
        projector=place / model.projector if model.projector else None,
        context_tokens=settings.agent.context_tokens or profile.context_tokens,
        key_bits=profile.key_bits,
        device=profile.device if settings.device == "auto" else settings.device,
        gpu_layers=settings.gpu_layers,
        most_bytes=int(free_memory() * _MEMORY_SHARE),
        sampling=model.sampling.model_dump(exclude_none=True),
    )


async def _answer(child: Process, seconds: float) -> ExamPart:
    """The next part's outcome; `_NoAnswerError` if there is none."""
    assert child.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            line = await child.stdout.readline()
        if line.endswith(b"\n"):
            return ExamPart.model_validate_json(line)
    except TimeoutError:
        raise _NoAnswerError(f"had not ended after {seconds:.0f} s") from None
    except ValueError:  # a line without an end, or what is no outcome
        raise _NoAnswerError("ended in an answer that can't be read") from None
    raise _NoAnswerError(f"ended the process that did it ({how_it_ended(await child.wait())})")
