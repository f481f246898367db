"""What `localvoice models list` and `verify` do and show."""

from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.choice import files_are_here, with_llm_here
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.exams import past_exam
from localvoice.catalog.ready import problem_text, repair_options
from localvoice.catalog.schema import HubSource, Model, ModelFile, Profile
from localvoice.catalog.verify import find_problems, pinned_files

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
        table.add_row(
            ", ".join(used) or "-",
            model.role,
            model.name,
            _size(files.values()),
            model.licence,
            _presence(folder, model),
            _sources(model) + _standing(model, folder),
        )
    console.print(table)


def _size(files: Collection[ModelFile]) -> str:
    """Of all files; only the hub knows some before their first download."""
    known = sum(file.size or 0 for file in files)
    if all(file.size for file in files):
        return decimal(known)
    return f"> {decimal(known)}" if known else "not known"


def _presence(folder: Path, model: Model) -> str:
    if files_are_here(model, folder):
        return "yes"
    return "not whole" if (folder / model.name).is_dir() else "no"


def _sources(model: Model) -> str:
    """The kinds of its sources, in the order in which they are tried."""
    sources = (source for file in model.files for source in file.sources)
    kinds = dict.fromkeys("hub" if isinstance(source, HubSource) else "packages" for source in sources)
    return ", ".join(kinds) or "by hand"


def _standing(model: Model, folder: Path) -> str:
    if model.verified:
        return ""
    exam = past_exam(model, folder) if model.role == "llm" else None
    outcome = "" if exam is None else ", passed its exam" if exam.passed else ", failed its exam"
    return f" (not yet verified by a download{outcome})"


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
