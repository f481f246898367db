"""Which profile is taken: the one that is named, or the best for this machine; and which of its models."""

from collections.abc import Callable, Collection
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from localvoice.catalog.catalogue import AUTO, Catalog
from localvoice.catalog.errors import CatalogError
from localvoice.catalog.exams import may_be_chosen, past_exam
from localvoice.catalog.schema import Model, Profile, Role
from localvoice.catalog.verify import pinned_files, quick_fault
from localvoice.machine import Machine, this_machine

if TYPE_CHECKING:
    from localvoice.config import Settings

_KINDS: Final[dict[Role, str]] = {"llm": "language model", "stt": "speech to text model", "tts": "voice"}
OPTIONS: Final[dict[Role, str]] = {"llm": "llm", "stt": "stt", "tts": "voice"}
"""The settings, and the options of the command line, that name a model in place of the profile's."""


class Choice(NamedTuple):
    """Profiles that the settings come to."""

    profiles: tuple[Profile, ...]
    """In order of preference; at least one."""
    too_large: tuple[Profile, ...] = ()
    """What this machine can hardly run, the smallest first: better than nothing where they are here."""
    machine: Machine | None = None
    """What was looked at; None where the profile was named."""

    def reason(self) -> str:
        """Why the first one is taken, and how to take another; empty where it was named."""
        if self.machine is None:
            return ""
        first = f"Profile {self.profiles[0].name}, the best for this machine ({self.machine})."
        others = ", ".join(sorted({each.name for each in (*self.profiles[1:], *self.too_large)}))
        return f"{first}\nAnother one: --profile NAME, or for make PROFILE=NAME ({others})."

    def instead(self, taken: Profile) -> str:
        """Why another one is taken: the best isn't here."""
        best = f"The best for this machine ({self.machine}) is {self.profiles[0].name}"
        return f"Profile {taken.name}, as it is here.\n{best}: `localvoice models download` fetches it."


def choose(catalog: Catalog, settings: "Settings", look: Callable[[], Machine] = this_machine) -> Choice:
    """What the settings come to on this machine, which is looked at where they name no profile.

    Raises CatalogError, with the names that there are, for an unknown one.
    """
    named = {role: name for role, option in OPTIONS.items() if (name := getattr(settings, option))}
    for role, name in named.items():
        known = [each.name for each in catalog.models.values() if each.role == role]
        if name not in known:
            raise CatalogError(f"There is no {_KINDS[role]} {name!r}. There are: {', '.join(known)}.")

    def with_named(profile: Profile) -> Profile:
        for role, name in named.items():
            profile = profile.with_model(role, name)
        return profile

    if settings.profile != AUTO:
        return Choice((with_named(catalog.profile(settings.profile)),))
    machine = look()
    if settings.device == "cpu":
        machine = machine._replace(gpu_mb=0)
    offered = [(each, each.needs) for each in catalog.profiles.values() if each.needs is not None]
    fitting = [each for each, needs in reversed(offered) if needs.met_by(machine)]
    if not fitting:
        raise CatalogError(
            f"No profile of the catalogue is for a machine like this one ({machine}). Name one with "
            f"--profile: {', '.join(catalog.profiles)}."
        )
    too_large = [each for each, _ in offered if each not in fitting]
    return Choice(tuple(map(with_named, fitting)), tuple(map(with_named, too_large)), machine)


def here(catalog: Catalog, choice: Choice, folder: Path, without: Collection[Role] = ()) -> Profile:
    """The first of the choice whose files are here, as far as can be told without reading them.

    Where none is here it is the first. `without`: the roles whose models aren't needed.
    """
    for profile in (*choice.profiles, *choice.too_large):
        if is_here(catalog, profile, folder, without):
            return profile
    return choice.profiles[0]


def is_here(catalog: Catalog, profile: Profile, folder: Path, without: Collection[Role] = ()) -> bool:
    """Whether all files of the profile are here, and of one of its language models, which may be taken or has
    yet to be examined.
    """
    needed = [each for each in catalog.models_of(profile) if each.role not in without]
    llms = [each for each in needed if each.role == "llm"]
    if not all(files_are_here(each, folder) for each in needed if each not in llms):
        return False
    if len(llms) > 1:
        llms = [each for each in llms if may_be_chosen(each, folder) or past_exam(each, folder) is None]
        return any(files_are_here(each, folder) for each in llms)
    return all(files_are_here(each, folder) for each in llms)


def with_llm_here(catalog: Catalog, profile: Profile, folder: Path) -> Profile:
    """The profile with the first of its language models that is here; with its last where none is.

    Of several, only those that were verified or have passed their exam come into question.
    """
    for name in profile.llms:
        model = catalog.models[name]
        if files_are_here(model, folder) and (len(profile.llms) == 1 or may_be_chosen(model, folder)):
            return profile.with_model("llm", name)
    return profile.with_model("llm", profile.llms[-1])


def unexamined(catalog: Catalog, profile: Profile, folder: Path) -> list[Model]:
    """The profile's language models that are here, and are preferred to the one that may be taken, but lack
    an exam: a new version of localvoice or of its library asks for another one.
    """
    present = [each for name in profile.llms if files_are_here(each := catalog.models[name], folder)]
    before = takewhile(lambda each: not may_be_chosen(each, folder), present)
    return [each for each in before if past_exam(each, folder) is None]


def files_are_here(model: Model, folder: Path) -> bool:
    """As far as can be told without reading them."""
    files = pinned_files([model], folder)
    return not any(quick_fault(folder, name, file) for name, file in files.items())
