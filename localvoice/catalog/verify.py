"""Are the files what the catalogue says? In full, or quickly at each start; nothing here uses the network."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.records import VerifiedCache, fingerprint, read_pins, with_pins
from localvoice.catalog.schema import Model, ModelFile, Profile, Role


@dataclass(frozen=True)
class ModelFiles:
    """Where the files of a profile lie. All of them were there, whole and right, when this was made."""

    folder: Path
    """The models folder."""
    profile: Profile
    models: Mapping[str, Model]
    """The profile's models by name."""

    def path(self, model: str, file: str) -> Path:
        """Path of a file by its catalogue names; ModelFilesError for any other name."""
        if model not in self.models or file not in {entry.name for entry in self.models[model].files}:
            raise ModelFilesError(f"{model}/{file} is not a file of profile {self.profile.name}.")
        return confined(self.folder, f"{model}/{file}")

    def _ending(self, role: Role, suffix: str) -> Path:
        model = self.models[self.profile.model_for(role)]
        return self.path(model.name, model.file_ending(suffix))

    @property
    def stt_dir(self) -> Path:
        """Folder of the CTranslate2 Whisper."""
        return self.path(self.profile.stt, "model.bin").parent

    @property
    def llm_file(self) -> Path:
        """The language model, GGUF."""
        return self._ending("llm", ".gguf")

    @property
    def projector_file(self) -> Path | None:
        """With which the language model sees images, GGUF; None where it doesn't."""
        model = self.models[self.profile.llm]
        return self.path(model.name, model.projector) if model.projector else None

    @property
    def voice_file(self) -> Path:
        """The Piper voice, ONNX."""
        return self._ending("tts", ".onnx")

    @property
    def voice_config_file(self) -> Path:
        """The Piper voice's configuration, JSON."""
        return self._ending("tts", ".onnx.json")

    @property
    def vad_file(self) -> Path:
        """Silero VAD, ONNX."""
        return self._ending("vad", ".onnx")

    @property
    def turn_file(self) -> Path:
        """Smart Turn, ONNX."""
        return self._ending("turn", ".onnx")


def ready(catalog: Catalog, profile: str, folder: Path, without: Collection[Role] = ()) -> ModelFiles:
    """The profile's files, after a check of every one of them, but for the models of the roles in `without`.

    Raises ModelFilesError, with the files, what is wrong and the command that repairs it, if one is missing
    or damaged; CatalogError if there is no such profile.
    """
    models = [model for model in catalog.models_of(profile) if model.role not in without]
    if problems := find_problems(models, folder, hurry=True):
        heading = f"Profile {profile} cannot start: model files in {folder} are missing or damaged:"
        raise ModelFilesError(problem_text(heading, problems, profile))
    return ModelFiles(folder, catalog.profile(profile), {model.name: model for model in models})


def problem_text(heading: str, problems: Mapping[str, str], profile: str) -> str:
    """The problems under a heading, and the command that repairs them."""
    command = f"localvoice models download --profile {profile}"
    lines = [f"  {file}: {what}" for file, what in problems.items()]
    return "\n".join([heading, *lines, f"To repair it, run: {command}"])


def confined(folder: Path, name: str) -> Path:
    """Path of the file `model/file`; ModelFilesError if links lead it out of the models folder."""
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError is Python's before 3.13, for a loop
        raise ModelFilesError(
            f"{path}: its symbolic links can't be followed ({error}). Remove the link, then download again."
        ) from error
    if not inside:
        raise ModelFilesError(
            f"{path}: leads out of the models folder to {path.resolve()}. Put the file itself there, or name "
            "the folder that holds the models with --models-dir."
        )
    return path


def find_problems(
    models: Iterable[Model], folder: Path, *, full: bool = False, hurry: bool = False
) -> dict[str, str]:
    """What is wrong with the models' files, by `model/file`: missing, damaged, not what the catalogue says.

    Files that were verified before and have not changed since are not hashed, unless `full`. In a `hurry`
    nothing is hashed once a missing or shortened file is found. Raises ModelFilesError for a file that leads
    out of the folder.
    """
    pins = read_pins(folder)
    files = {f"{model.name}/{file.name}": file for model in models for file in with_pins(model, pins).files}
    faults = {name: quick_fault(folder, name, file) for name, file in files.items()}
    # The largest first, so that no thread is left alone with it at the end.
    readable = sorted((name for name in files if not faults[name]), key=lambda name: -(files[name].size or 0))
    if len(readable) == len(files) or not hurry:
        cache = VerifiedCache(folder)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            found = pool.map(lambda name: _content_fault(folder, name, files[name], cache, full), readable)
            faults |= zip(readable, found, strict=True)
        cache.save()
    return {name: fault for name, fault in faults.items() if fault}


def quick_fault(folder: Path, name: str, file: ModelFile) -> str | None:
    """What can be told of the file `name`, `model/file`, without reading it."""
    try:
        status = confined(folder, name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not S_ISREG(status.st_mode):
        return "is not a regular file"
    if file.sha256 is None:
        return "was not downloaded by localvoice, so nothing tells what it must be"
    if status.st_size != file.size:
        return f"has {status.st_size} bytes, must have {file.size}"
    return None


def _content_fault(folder: Path, name: str, file: ModelFile, cache: VerifiedCache, full: bool) -> str | None:
    """What only the content tells; a good file goes into the cache."""
    path = confined(folder, name)
    try:
        before = path.stat()
        if not full and cache.has(name, before, file.sha256):
            return None
        sha256 = sha256_of(path)
        if sha256 != file.sha256:
            return f"is damaged: its SHA-256 is {sha256}, must be {file.sha256}"
        if fingerprint(path.stat(), sha256) == fingerprint(before, sha256):
            cache.add(name, before, sha256)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def sha256_of(path: Path) -> str:
    """Lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
