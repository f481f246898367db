"""Which of the models that are here a start takes."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.text import Text

from localvoice.catalog import (
    Catalog,
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
    folder, best = models_folder(settings.models_dir), choice.profiles[0]
    taken = best
    if choice.machine is not None:
        taken = await asyncio.to_thread(here, catalog, choice, folder, without)
        said = choice.reason() if taken.name == best.name else choice.instead(taken)
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    if "llm" not in without and len(taken.llms) > 1:
        for model in await asyncio.to_thread(unexamined, catalog, taken, folder):
            if await _passes(model, taken, folder, settings, console):
                break
        taken = await asyncio.to_thread(with_llm_here, catalog, taken, folder)
        settings = settings.model_copy(update={"llm": taken.llm})
    return settings.model_copy(update={"profile": taken.name}), catalog


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
