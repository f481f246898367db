"""What `localvoice models list` and `verify` show."""

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from localvoice.catalog.catalog import Catalog
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.pins import read_pins, with_pins
from localvoice.catalog.schema import HubSource, Model
from localvoice.catalog.verify import find_problems, problem_text, quick_problem

ALL = "all"
"""In place of a profile: every model of which there is a folder."""


def list_models(catalog: Catalog, folder: Path, console: Console) -> None:
    """Print every model: profiles that use it, size, licence, whether it is here, where it comes from."""
    table = Table(title=f"Models in {folder}", title_justify="left")
    for heading in ("profiles", "role", "model", "size", "licence", "here", "from"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    pins = read_pins(folder)
    for model in catalog.models.values():
        used = [
            name for name, profile in catalog.profiles.items() if profile.model_for(model.role) == model.name
        ]
        pinned = with_pins(model, pins)
        table.add_row(
            ", ".join(used) or "-",
            model.role,
            model.name,
            _size(pinned),
            model.licence,
            _presence(pinned, folder),
            _sources(model),
        )
    console.print(table)


def _size(model: Model) -> str:
    """Size of all its files together."""
    sizes = [file.size for file in model.files if file.size is not None]
    at_least = "" if len(sizes) == len(model.files) else "> "
    return f"{at_least}{decimal(sum(sizes))}"


def _presence(model: Model, folder: Path) -> str:
    """As far as it can be told without reading the files."""
    lacking = [problem for file in model.files if (problem := quick_problem(model, file, folder))]
    if not lacking:
        return "yes"
    return "no" if not (folder / model.name).is_dir() else "not whole"


def _sources(model: Model) -> str:
    """The kinds of its sources, in the order in which they are tried."""
    kinds = dict.fromkeys(
        "hub" if isinstance(source, HubSource) else "packages"
        for file in model.files
        for source in file.sources
    )
    note = "" if model.verified else " (not yet verified by a download)"
    return (", ".join(kinds) or "by hand") + note


def verify_profile(catalog: Catalog, profile: str, folder: Path, console: Console) -> None:
    """Hash every file of the profile, or of `all` models that are there, whatever was verified before.

    Prints the models that are right. Raises ModelFilesError with each file that is not, and the command that
    mends it.
    """
    if profile == ALL:
        models = tuple(model for model in catalog.models.values() if (folder / model.name).is_dir())
    else:
        models = catalog.models_of(profile)
    problems = find_problems(models, folder, full=True)
    bad = {problem.model for problem in problems}
    for model in models:
        if model.name not in bad:
            console.print(f"{model.name}: {len(model.files)} file(s) right", markup=False, highlight=False)
    if problems:
        command = f"localvoice models download --profile {'PROFILE' if profile == ALL else profile}"
        raise ModelFilesError(problem_text(f"Model files in {folder} cannot be used:", problems, command))
