"""What `localvoice models list` and `verify` show."""

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.pins import read_pins, with_pins
from localvoice.catalog.schema import HubSource, Model
from localvoice.catalog.verify import find_problems, problem_text, quick_fault


def list_models(catalog: Catalog, folder: Path, console: Console) -> None:
    """Print every model: profiles that use it, size, licence, whether it is here, where it comes from."""
    table = Table(title=f"Models in {folder}", title_justify="left")
    for heading in ("profiles", "role", "model", "size", "licence", "here", "from"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    pins = read_pins(folder)
    for model in (with_pins(model, pins) for model in catalog.models.values()):
        used = [name for name, each in catalog.profiles.items() if each.model_for(model.role) == model.name]
        sizes = [file.size for file in model.files if file.size is not None]
        at_least = "" if len(sizes) == len(model.files) else "> "
        table.add_row(
            ", ".join(used) or "-",
            model.role,
            model.name,
            at_least + decimal(sum(sizes)),
            model.licence,
            _presence(model, folder),
            _sources(model),
        )
    console.print(table)


def _presence(model: Model, folder: Path) -> str:
    """As far as it can be told without reading the files."""
    if not any(quick_fault(folder, model.name, file) for file in model.files):
        return "yes"
    return "not whole" if (folder / model.name).is_dir() else "no"


def _sources(model: Model) -> str:
    """The kinds of its sources, in the order in which they are tried."""
    sources = (source for file in model.files for source in file.sources)
    kinds = dict.fromkeys("hub" if isinstance(source, HubSource) else "packages" for source in sources)
    return (", ".join(kinds) or "by hand") + ("" if model.verified else " (not yet verified by a download)")


def verify_profile(catalog: Catalog, profile: str, folder: Path, console: Console) -> None:
    """Hash every file of the profile, or of `all` models that are there, whatever was verified before.

    Prints the models that are right. Raises ModelFilesError with each file that is not, and the command that
    repairs it.
    """
    everything = profile == "all"
    models = catalog.models.values() if everything else catalog.models_of(profile)
    checked = [model for model in models if not everything or (folder / model.name).is_dir()]
    problems = find_problems(checked, folder, full=True)
    bad = {problem.model for problem in problems}
    for model in checked:
        if model.name not in bad:
            console.print(f"{model.name}: {len(model.files)} file(s) right", markup=False, highlight=False)
    if problems:
        heading = f"Model files in {folder} cannot be used:"
        raise ModelFilesError(problem_text(heading, problems, "PROFILE" if everything else profile))
