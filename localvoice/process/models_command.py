"""`localvoice models`: the model files."""

from pathlib import Path
from typing import Annotated

import typer

from localvoice import catalog
from localvoice.catalog import Catalog, Choice
from localvoice.process.options import ConfigFile, Llm, ModelsDir, Profile, Stt, Voice, console
from localvoice.setting_sources import load_settings

app = typer.Typer(help="Model files: list, download and verify them.", no_args_is_help=True)


@app.command("list")
def list_all(config: ConfigFile = None, models_dir: ModelsDir = None) -> None:
    """Show profiles and models, and which files are here."""
    found = load_settings(config, models_dir=models_dir)
    catalog.list_models(catalog.load_catalog(found.catalog), catalog.models_folder(found.models_dir), console)


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
    known, choice, folder = _chosen(config, models_dir, profile=profile, llm=llm, stt=stt, voice=voice)
    catalog.download_choice(known, choice, folder, console)


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
    if profile == catalog.ALL:
        found = load_settings(config, models_dir=models_dir)
        known, folder = catalog.load_catalog(found.catalog), catalog.models_folder(found.models_dir)
        catalog.verify_profile(known, profile, folder, console)
        return
    known, choice, folder = _chosen(config, models_dir, profile=profile, llm=llm, stt=stt, voice=voice)
    catalog.verify_profile(known, catalog.here(known, choice, folder), folder, console)


def _chosen(
    config: Path | None, models_dir: Path | None, **names: str | None
) -> tuple[Catalog, Choice, Path]:
    """The catalogue, what the settings and options choose from it, and the models folder."""
    found = load_settings(config, models_dir=models_dir, **names)
    known = catalog.load_catalog(found.catalog)
    return known, catalog.choose(known, found), catalog.models_folder(found.models_dir)
