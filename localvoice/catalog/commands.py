"""What `localvoice models list`, `verify` and `download` do and show."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.choice import Choice, is_here, with_llm_here
from localvoice.catalog.errors import DownloadError, ModelFilesError
from localvoice.catalog.ready import problem_text, repair_options
from localvoice.catalog.schema import HubSource, Model, ModelFile, Profile
from localvoice.catalog.verify import find_problems, pinned_files, quick_fault

ALL = "all"
"""In place of a profile: all models that are here."""


def list_models(catalog: Catalog, folder: Path, console: Console) -> None:
    """Print every model: profiles that use it, size, licence, whether it is here, where it comes from."""
    table = Table(title=f"Models in {folder}", title_justify="left")
    for heading in ("profiles", "role", "model", "size", "licence", "here", "from"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for model in catalog.models.values():
        files = pinned_files([model], folder)
        used = [name for name, each in catalog.profiles.items() if model.name in each.models_for(model.role)]
        known_bytes = decimal(sum(file.size or 0 for file in files.values()))
        table.add_row(
            ", ".join(used) or "-",
            model.role,
            model.name,
            known_bytes if all(file.size for file in files.values()) else f"> {known_bytes}",
            model.licence,
            _presence(folder, model, files),
            _sources(model),
        )
    console.print(table)


def _presence(folder: Path, model: Model, files: Mapping[str, ModelFile]) -> str:
    """As far as it can be told without reading the files."""
    if not any(quick_fault(folder, name, file) for name, file in files.items()):
        return "yes"
    return "not whole" if (folder / model.name).is_dir() else "no"


def _sources(model: Model) -> str:
    """The kinds of its sources, in the order in which they are tried."""
    sources = (source for file in model.files for source in file.sources)
    kinds = dict.fromkeys("hub" if isinstance(source, HubSource) else "packages" for source in sources)
    return (", ".join(kinds) or "by hand") + ("" if model.verified else " (not yet verified by a download)")


def verify_profile(catalog: Catalog, profile: str | Profile, folder: Path, console: Console) -> None:
    """Hash every file of the profile, or of ALL models that are there, whatever was verified before.

    Prints the models that are right. Raises ModelFilesError with each file that is not, and the command that
    repairs it.
    """
    if profile == ALL:
        options = "--profile PROFILE"
        models = [model for model in catalog.models.values() if (folder / model.name).is_dir()]
    else:
        asked = catalog.profile(profile) if isinstance(profile, str) else profile
        models = list(catalog.models_of(with_llm_here(catalog, asked, folder)))
        options = repair_options(catalog, asked)
    problems = find_problems(models, folder, full=True)
    bad = {name.partition("/")[0] for name in problems}
    for model in models:
        if model.name not in bad:
            console.print(f"{model.name}: {len(model.files)} file(s) right", markup=False, highlight=False)
    if problems:
        raise ModelFilesError(problem_text(f"Model files in {folder} cannot be used:", problems, options))


def download_choice(catalog: Catalog, choice: Choice, folder: Path, console: Console) -> Profile:
    """Download what the first profile of the choice lacks; if that can't be had, the next; which it was.

    Raises as `download_profile` does, for the first, if none can be had.
    """
    if choice.machine and not is_here(catalog, choice.profiles[0], folder):
        console.print(choice.reason(), markup=False, highlight=False, soft_wrap=True)
    refusal: DownloadError | None = None
    for profile in choice.profiles:
        try:
            download_profile(catalog, profile, folder, console)
        except DownloadError as error:
            if choice.machine is None:
                raise
            refusal = refusal or error
            console.print(f"Profile {profile.name} can't be had now. {_first_line(error)}", markup=False)
        else:
            return profile
    for profile in choice.too_large:
        if is_here(catalog, profile, folder):
            console.print(f"Profile {profile.name} is here, though it is large for this machine.")
            return profile
    assert refusal is not None
    raise refusal


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def download_profile(catalog: Catalog, profile: str | Profile, folder: Path, console: Console) -> int:
    """Download what the profile's models still lack; how many files that were.

    Raises CatalogError for an unknown profile, DownloadError with the reasons of every source that failed.
    An interrupt (Ctrl-C) leaves what has arrived for the next run.
    """
    from localvoice.catalog.display import Display
    from localvoice.catalog.download import download

    asked = catalog.profile(profile) if isinstance(profile, str) else profile
    models = catalog.models_of(with_llm_here(catalog, asked, folder))
    for model in models:
        if not model.verified:
            console.print(
                f"{model.name}: not yet verified by a download; its SHA-256 is checked all the same."
            )
    with Display(console) as display:
        count = download(models, folder, display)
    console.print(
        f"Profile {asked.name}: all model files are in {folder}.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return count
