"""What a model that no one has verified has shown: the record of its exam, next to its files.

localvoice/process/exam.py holds the exam.
"""

import importlib.metadata
import json
import logging
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from localvoice.catalog.schema import Model, Sha256
from localvoice.catalog.verify import pinned_files, read_json, replace_text
from localvoice.machine import available_cores, free_memory
from localvoice.version import __version__

logger = logging.getLogger(__name__)

RECORD_NAME: Final = "exam.json"
_LIBRARY: Final = "llama-cpp-python"
_REASON_CHARS: Final = 160
_FAR_MORE: Final = 1.5
"""Times the memory that was free: other programs may have had it then."""


class ExamPart(BaseModel):
    """One thing that was asked of the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    """What, in a few words."""
    passed: bool
    told: str
    """How it went, in a sentence or a figure."""


class Exam(BaseModel):
    """An exam that was held, of just this file by just these versions, with so many cores."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sha256: Sha256
    localvoice: str
    library: str
    """Version of llama-cpp-python."""
    cores: int
    """Another machine may be too slow: a folder of models can be copied, and be shared."""
    free_mb: int
    """Of memory, when it ended."""
    parts: tuple[ExamPart, ...]

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts)

    @property
    def reason(self) -> str:
        """Why it failed, in a line: the first of all that went wrong; empty where it passed."""
        first = next((f"{part.name}: {part.told}" for part in self.parts if not part.passed), "")
        return textwrap.shorten(first, _REASON_CHARS, placeholder=" …")


def past_exam(model: Model, folder: Path) -> Exam | None:
    """The exam that the model has had; None if it has had none, or the file, a version or the number of cores
    is another now, or if it failed and far more memory is free now.
    """
    try:
        exam = Exam.model_validate(read_json(folder / model.name / RECORD_NAME))
    except ValidationError:
        return None
    then = exam.sha256, exam.localvoice, exam.library, exam.cores
    now = _sha256(model, folder), __version__, importlib.metadata.version(_LIBRARY), available_cores()
    if then != now or (not exam.passed and free_memory() > _FAR_MORE * exam.free_mb * 10**6):
        return None
    return exam


def keep_exam(model: Model, folder: Path, parts: Sequence[ExamPart]) -> Exam:
    """The exam with these parts, remembered. In a folder that can't be written it is held again next time."""
    exam = Exam(
        sha256=_sha256(model, folder) or "",
        localvoice=__version__,
        library=importlib.metadata.version(_LIBRARY),
        cores=available_cores(),
        free_mb=free_memory() // 10**6,
        parts=tuple(parts),
    )
    try:
        replace_text(folder / model.name / RECORD_NAME, json.dumps(exam.model_dump(), indent=1))
    except OSError as error:
        logger.info("the exam of %s isn't remembered: %s", model.name, error)
    return exam


def may_be_chosen(model: Model, folder: Path) -> bool:
    """Whether it may be taken from a list without anyone's asking for it: verified, or it passed its exam."""
    exam = None if model.verified else past_exam(model, folder)
    return model.verified or (exam is not None and exam.passed)


def _sha256(model: Model, folder: Path) -> str | None:
    """Of the language model's own file."""
    return pinned_files([model], folder)[f"{model.name}/{model.file_ending('.gguf')}"].sha256
