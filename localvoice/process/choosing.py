"""Which of the models that are here a start takes."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.text import Text

from localvoice.catalog import (
    Catalog,
    CatalogError,
    Model,
    ModelFilesError,
    Profile,
    Role,
    choose,
    here,
    load_catalog,
    models_folder,
    unexamined,
    with_llm_here,
)
from localvoice.catalog.choice import files_are_here
from localvoice.catalog.exams import may_be_chosen
from localvoice.config import Settings
from localvoice.process.exam import hold_exam


async def with_models(
    settings: Settings, console: Console, without: Collection[Role] = ()
) -> tuple[Settings, Catalog]:
    """The settings with a profile named, and a language model where the profile lists several; the catalogue.

    The profile is the best for this machine of those whose files are here; the language model the first that
    is here and, where no one has verified it, passes its exam. Says which and why. `without`: the roles whose
    models aren't needed. Raises `CatalogError`.
    """
    # In threads, as it looks at files and at the GPU: an application's loop may be at work.
    catalog = await asyncio.to_thread(load_catalog, settings.catalog)
    choice = await asyncio.to_thread(choose, catalog, settings)
    folder = models_folder(settings.models_dir)

    def find() -> Profile:
        return here(catalog, choice, folder, without)

    taken = await asyncio.to_thread(find)
    if "llm" not in without:
        await _examine(catalog, taken, folder, settings, console)
        # Where none has passed, the profile isn't here after all.
        while (other := await asyncio.to_thread(find)) != taken:
            taken = other
            await _examine(catalog, taken, folder, settings, console)
    if choice.machine is not None:
        said = choice.reason() if taken.name == choice.profiles[0].name else choice.instead(taken)
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    if "llm" not in without and len(taken.llms) > 1:
        llm = await asyncio.to_thread(_llm, catalog, taken, folder)
        settings = settings.model_copy(update={"llm": llm})
    return settings.model_copy(update={"profile": taken.name}), catalog


def _llm(catalog: Catalog, profile: Profile, folder: Path) -> str | None:
    """The one of several that is taken; None where none is here: what comes next tells what is missing.

    Raises `CatalogError` if none that is here has passed its exam.
    """
    taken = catalog.models[with_llm_here(catalog, profile, folder).llm]
    if not files_are_here(taken, folder):
        return None
    if not may_be_chosen(taken, folder):
        raise CatalogError(
            f"No language model of profile {profile.name} that is here has passed its exam. Take another "
            f"profile with --profile, or one of them nevertheless with --llm ({', '.join(profile.llms)})."
        )
    return taken.name


async def _examine(
    catalog: Catalog, profile: Profile, folder: Path, settings: Settings, console: Console
) -> None:
    """Hold the exams that are lacking, up to the first that is passed."""
    if len(profile.llms) > 1:
        for model in await asyncio.to_thread(unexamined, catalog, profile, folder):
            if await _passes(model, profile, folder, settings, console):
                return


async def _passes(model: Model, profile: Profile, folder: Path, settings: Settings, console: Console) -> bool:
    """Whether a language model passes its exam; says why not."""
    try:
        with console.status(Text(f"Examining {model.name}, which no one has verified yet …")):
            exam = await hold_exam(model, profile, folder, settings)
    except ModelFilesError as error:
        console.print(str(error), markup=False, highlight=False)
        return False
    if not exam.passed:
        console.print(f"{model.name} has failed its exam ({exam.reason}).", markup=False, highlight=False)
    return exam.passed
