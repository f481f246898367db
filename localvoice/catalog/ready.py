"""The files of a profile, checked: what a start goes by."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.choice import OPTIONS, with_llm_here
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.schema import Model, Profile, Role
from localvoice.catalog.verify import confined, find_problems


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


def ready(
    catalog: Catalog, profile: str | Profile, folder: Path, without: Collection[Role] = ()
) -> ModelFiles:
    """The profile's files, after a check of every one of them, but for the models of the roles in `without`.

    Of several language models it has the first that is here. Raises ModelFilesError, with the files, what is
    wrong and the command that repairs it, if one is missing or damaged; CatalogError if there is no such
    profile.
    """
    asked = catalog.profile(profile) if isinstance(profile, str) else profile
    taken = with_llm_here(catalog, asked, folder)
    models = [model for model in catalog.models_of(taken) if model.role not in without]
    if problems := find_problems(models, folder, hurry=True):
        heading = f"Profile {asked.name} cannot start: model files in {folder} are missing or damaged:"
        raise ModelFilesError(problem_text(heading, problems, repair_options(catalog, asked)))
    return ModelFiles(folder, taken, {model.name: model for model in models})


def repair_options(catalog: Catalog, profile: Profile) -> str:
    """The profile as options of the command that downloads it."""
    plain = catalog.profiles.get(profile.name)
    words = [f"--profile {profile.name}"]
    for role, option in OPTIONS.items():
        names = profile.models_for(role)
        if plain is not None and len(names) == 1 and names != plain.models_for(role):
            words.append(f"--{option} {names[0]}")
    return " ".join(words)


def problem_text(heading: str, problems: Mapping[str, str], options: str) -> str:
    """The problems under a heading, and the command that repairs them."""
    lines = [f"  {name}: {what}" for name, what in problems.items()]
    command = f"To repair it, run: localvoice models download {options}"
    return "\n".join([heading, *lines, command])
