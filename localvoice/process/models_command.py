"""`localvoice models`: the model files."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from localvoice import catalog
from localvoice.catalog import Catalog, Exam, Model
from localvoice.config import Settings
from localvoice.process.exam import hold_exam
from localvoice.process.options import (
    ConfigFile,
    Device,
    Llm,
    ModelsDir,
    Profile,
    Stt,
    Voice,
    console,
)
from localvoice.setting_sources import load_settings

app = typer.Typer(help="Model files: list, download, verify and examine them.", no_args_is_help=True)


@app.command("list")
def list_all(config: ConfigFile = None, models_dir: ModelsDir = None) -> None:
    """Show profiles and models, and which files are here."""
    _, known, folder = _found(config, models_dir=models_dir)
    catalog.list_models(known, folder, console)


@app.command()
def download(
    config: ConfigFile = None,
    profile: Profile = None,
    llm: Llm = None,
    stt: Stt = None,
    voice: Voice = None,
    models_dir: ModelsDir = None,
) -> None:
    """Download and verify the model files of a profile. Afterwards nothing needs the network."""
    names = {"profile": profile, "llm": llm, "stt": stt, "voice": voice}
    settings, known, folder = _found(config, models_dir=models_dir, **names)

    def examine(model: Model, profile: catalog.Profile) -> Exam:
        return asyncio.run(hold_exam(model, profile, folder, settings))

    catalog.download_choice(known, catalog.choose(known, settings), folder, console, examine)


@app.command()
def verify(
    config: ConfigFile = None,
    profile: Annotated[str | None, typer.Option(help="Set of models, or all that are here.")] = None,
    llm: Llm = None,
    stt: Stt = None,
    voice: Voice = None,
    models_dir: ModelsDir = None,
) -> None:
    """Read the model files of a profile in full, and compare them with the catalogue."""
    names = {"profile": profile, "llm": llm, "stt": stt, "voice": voice}
    settings, known, folder = _found(config, models_dir=models_dir, **names)
    if settings.profile == catalog.ALL:
        catalog.verify_profile(known, catalog.ALL, folder, console)
    else:
        chosen = catalog.here(known, catalog.choose(known, settings), folder)
        catalog.verify_profile(known, chosen, folder, console)


@app.command()
def exam(
    name: Annotated[str, typer.Argument(help="A language model whose files are here.", metavar="NAME")],
    config: ConfigFile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
) -> None:
    """Examine a language model: that it talks, calls a tool, and keeps to time and memory."""
    settings, known, folder = _found(config, llm=name, device=device, models_dir=models_dir)
    chosen = catalog.choose(known, settings).profiles[0]
    listing = (profile for profile in known.profiles.values() if name in profile.llms)
    with console.status(f"Examining {name} …"):
        held = asyncio.run(hold_exam(known.models[name], next(listing, chosen), folder, settings))
    table = Table("part", "", "how it went", title=f"Exam of {name}", title_justify="left")
    for part in held.parts:
        table.add_row(part.name, "passed" if part.passed else "failed", part.told)
    console.print(table)
    console.print(f"{name} has {'passed' if held.passed else 'failed'}.", highlight=False)
    if not held.passed:
        raise typer.Exit(1)


def _found(config: Path | None, **given: str | Path | None) -> tuple[Settings, Catalog, Path]:
    """The settings with what was given on the command line, the catalogue and the models folder."""
    settings = load_settings(config, **given)
    return settings, catalog.load_catalog(settings.catalog), catalog.models_folder(settings.models_dir)
