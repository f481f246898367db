"""The checked files of a profile: the only way in which the engines come by a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localvoice.catalog.catalog import Catalog
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.schema import Model, Profile, Role
from localvoice.catalog.verify import confined, find_problems, problem_text


@dataclass(frozen=True)
class ModelFiles:
    """Where the files of a profile lie. All of them were there, whole and right, when this was made."""

    folder: Path
    """The models folder."""
    profile: Profile
    """The profile, with the catalogue name of each model."""
    models: Mapping[str, Model]
    """The profile's models by name."""

    def path(self, model: str, file: str) -> Path:
        """Path of a file by its catalogue names; ModelFilesError for any other name."""
        if model not in self.models or file not in {entry.name for entry in self.models[model].files}:
            raise ModelFilesError(f"{model}/{file} is not a file of profile {self.profile.name}.")
        return confined(self.folder, model, file)

    def _ending(self, role: Role, suffix: str) -> Path:
        """The file of the role's model that ends so."""
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


def ready(catalog: Catalog, profile: str, folder: Path) -> ModelFiles:
    """The profile's files, after a check of every one of them.

    Raises ModelFilesError, with the files, what is wrong and the command that mends it, if one is missing or
    damaged; CatalogError if there is no such profile.
    """
    models = catalog.models_of(profile)
    problems = find_problems(models, folder, hurry=True)
    if problems:
        heading = f"Profile {profile} cannot start: model files in {folder} are missing or damaged:"
        command = f"localvoice models download --profile {profile}"
        raise ModelFilesError(problem_text(heading, problems, command))
    return ModelFiles(folder, catalog.profile(profile), {model.name: model for model in models})
