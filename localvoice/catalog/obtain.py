"""What `localvoice models download` does: from a choice to files, and to a language model that works."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.choice import Choice, files_are_here, is_here
from localvoice.catalog.display import Display
from localvoice.catalog.errors import DownloadError
from localvoice.catalog.exams import Exam, may_be_chosen, past_exam
from localvoice.catalog.schema import Model, Profile

if TYPE_CHECKING:
    from localvoice.catalog.download import Downloads

Examine = Callable[[Model, Profile], Exam]
"""Holds the exam of a language model that is here, as the profile would run it, and remembers it."""


def download_profile(
    catalog: Catalog,
    profile: str | Profile,
    folder: Path,
    console: Console,
    examine: Examine | None = None,
) -> int:
    """Download what the profile lacks; how many files that were.

    Of several language models it is the first that can be had and, if no one has verified it, passes its
    exam; without `examine` none is held. If one is here that may be taken, no other is looked for. Raises
    CatalogError for an unknown profile, DownloadError with the reasons of every source that failed. An
    interrupt (Ctrl-C) leaves what has arrived for the next run.
    """
    from localvoice.catalog.download import Downloads

    asked = catalog.profile(profile) if isinstance(profile, str) else profile
    with Display(console) as display, closing(Downloads(folder, display)) as downloads:
        return _Run(catalog, folder, display, downloads, examine).profile(asked)


def download_choice(
    catalog: Catalog, choice: Choice, folder: Path, console: Console, examine: Examine | None = None
) -> Profile:
    """Download what the first profile of the choice lacks; if that can't be had, the next; which it was.

    Raises as `download_profile` does, for the first, if none can be had.
    """
    from localvoice.catalog.download import Downloads

    if choice.machine and not is_here(catalog, choice.profiles[0], folder):
        console.print(choice.reason(), markup=False, highlight=False, soft_wrap=True)
    refusal: DownloadError | None = None
    with Display(console) as display, closing(Downloads(folder, display)) as downloads:
        run = _Run(catalog, folder, display, downloads, examine)
        for profile in choice.profiles:
            try:
                run.profile(profile)
            except DownloadError as error:
                refusal = refusal or error
                if choice.machine is not None:
                    display.note(f"Profile {profile.name} can't be had now. {_first_line(error)}")
            else:
                return profile
        for profile in choice.too_large:
            if is_here(catalog, profile, folder):
                display.note(f"Profile {profile.name} is here, though it is large for this machine.")
                return profile
    assert refusal is not None
    raise refusal


class _Run:
    """Downloads of one command: what is out of reach for one profile isn't asked again for the next."""

    def __init__(
        self,
        catalog: Catalog,
        folder: Path,
        display: Display,
        downloads: "Downloads",
        examine: Examine | None,
    ) -> None:
        self._catalog, self._folder = catalog, folder
        self._display, self._downloads = display, downloads
        self._examine: Final = examine

    def profile(self, profile: Profile) -> int:
        """Bring the profile; how many files lacked. Raises DownloadError."""
        others = [model for model in self._catalog.models_of(profile) if model.role != "llm"]
        for model in others:
            self._mark(model)
        count = self._downloads.bring(others) + self._llm(profile)
        self._display.note(f"Profile {profile.name}: all model files are in {self._folder}.")
        return count

    def _llm(self, profile: Profile) -> int:
        """Bring the first language model that can be had and may be taken; how many files lacked."""
        is_list, refusal = len(profile.llms) > 1, DownloadError("None of the language models may be taken.")
        for model in self._in_order(profile):
            known = past_exam(model, self._folder) if is_list and not model.verified else None
            if known is not None and not known.passed:
                self._refused(model, known)
                continue
            try:
                count = self._downloads.bring([model])
            except DownloadError as error:
                if not is_list:
                    raise
                refusal = error
                self._display.note(f"{model.name} can't be had now, the next language model is tried.")
                continue
            self._mark(model)
            if self._is_good(model, profile, known) or not is_list:
                return count
        raise refusal

    def _in_order(self, profile: Profile) -> list[Model]:
        """The profile's language models: the one that is here and may be taken, those that are here without
        an exam, the others.
        """
        models = [self._catalog.models[name] for name in profile.llms]
        present = [each for each in models if files_are_here(each, self._folder)]
        first = [each for each in present if may_be_chosen(each, self._folder)][:1]
        if first:
            self._name_better(profile, profile.llms[: models.index(first[0])], first[0].name)
        first += (each for each in present if each not in first and past_exam(each, self._folder) is None)
        return [*first, *(each for each in models if each not in first)]

    def _name_better(self, profile: Profile, preferred: Sequence[str], here: str) -> None:
        """Say how to have a language model that the list prefers and that hasn't failed its exam here."""
        for name in preferred:
            exam = past_exam(self._catalog.models[name], self._folder)
            if exam is None:
                self._display.note(
                    f"Language model {here} is here. The catalogue prefers {name}: "
                    f"`localvoice models download --profile {profile.name} --llm {name}` fetches it."
                )
                return

    def _is_good(self, model: Model, profile: Profile, known: Exam | None) -> bool:
        if model.verified or self._examine is None or (known is not None and known.passed):
            return True
        exam = past_exam(model, self._folder)
        if exam is None:
            self._display.note(f"{model.name}: no one has verified it yet, so it is examined …")
            exam = self._examine(model, profile)
        if exam.passed:
            self._display.note(f"{model.name} has passed its exam.")
        else:
            self._refused(model, exam)
        return exam.passed

    def _refused(self, model: Model, exam: Exam) -> None:
        self._display.note(
            f"{model.name} has failed its exam ({exam.reason}). `localvoice models exam {model.name}` shows "
            f"all of it; `--llm {model.name}` takes it nevertheless."
        )

    def _mark(self, model: Model) -> None:
        if not model.verified:
            self._display.note(
                f"{model.name}: not yet verified by a download; its SHA-256 is checked all the same."
            )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
