"""What `localvoice models list`, `verify` and `download` do and show."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.errors import ModelFilesError
from localvoice.catalog.schema import HubSource, Model, ModelFile
from localvoice.catalog.verify import find_problems, pinned_files, problem_text, quick_fault


def list_models(catalog: Catalog, folder: Path, console: Console) -> None:
    """Print every model: profiles that use it, size, licence, whether it is here, where it comes from."""
    table = Table(title=f"Models in {folder}", title_justify="left")
    for heading in ("profiles", "role", "model", "size", "licence", "here", "from"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for model in catalog.models.values():
        files = pinned_files([model], folder)
        used = [name for name, each in catalog.profiles.items() if each.model_for(model.role) == model.name]
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


def verify_profile(catalog: Catalog, profile: str, folder: Path, console: Console) -> None:
    """Hash every file of the profile, or of `all` models that are there, whatever was verified before.

    Prints the models that are right. Raises ModelFilesError with each file that is not, and the command that
    repairs it.
    """
    if profile == "all":
        models, repair = [m for m in catalog.models.values() if (folder / m.name).is_dir()], "PROFILE"
    else:
        models, repair = list(catalog.models_of(profile)), profile
    problems = find_problems(models, folder, full=True)
    bad = {name.partition("/")[0] for name in problems}
    for model in models:
        if model.name not in bad:
            console.print(f"{model.name}: {len(model.files)} file(s) right", markup=False, highlight=False)
    if problems:
        raise ModelFilesError(problem_text(f"Model files in {folder} cannot be used:", problems, repair))


def download_profile(catalog: Catalog, profile: str, folder: Path, console: Console) -> int:
    """Download what the profile's models still lack; how many files that were.

    Raises CatalogError for an unknown profile, DownloadError with the reasons of every source that failed.
    An interrupt (Ctrl-C) leaves what has arrived for the next run.
    """
    from localvoice.catalog.display import Display
    from localvoice.catalog.download import download

    models = catalog.models_of(profile)
    for model in models:
        if not model.verified:
            console.print(
                f"{model.name}: not yet verified by a download; its SHA-256 is checked all the same."
            )
    with Display(console) as display:
        count = download(models, folder, display)
    console.print(
        f"Profile {profile}: all model files are in {folder}.", markup=False, highlight=False, soft_wrap=True
    )
    return count
