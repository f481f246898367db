"""From settings to engines that are loaded, warm and ready for the first word."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console

from localvoice.catalog import ModelFiles, load_catalog, models_folder, ready
from localvoice.config import Settings
from localvoice.engines.loading import EngineFiles, EngineOptions, close_all, load_engines, warm_up_all
from localvoice.engines.protocols import Engines


@asynccontextmanager
async def loaded_engines(settings: Settings, console: Console) -> AsyncIterator[Engines]:
    """The profile's engines, closed when the block is left.

    Raises `CatalogError`, `ModelFilesError` or `VoiceError` before the first turn rather than in it.
    """
    begun = time.monotonic()
    with console.status(f"Checking the model files of profile {settings.profile} …"):
        files = ready(load_catalog(settings.catalog), settings.profile, models_folder(settings.models_dir))
    with console.status("Loading the models …") as status:
        engines = await load_engines(_engine_files(files), _engine_options(settings))
        try:
            status.update("Warming up, so that the first answer is as quick as the others …")
            await warm_up_all(engines)
            status.stop()
            console.print(f"Models are ready after {time.monotonic() - begun:.1f} s.")
            yield engines
        finally:
            await close_all(engines)


def _engine_files(files: ModelFiles) -> EngineFiles:
    profile = files.profile
    return EngineFiles(
        whisper_dir=files.stt_dir,
        whisper_name=profile.stt,
        llm=files.llm_file,
        llm_name=profile.llm,
        voice=files.voice_file,
        voice_config=files.voice_config_file,
        voice_name=profile.tts,
        vad=files.vad_file,
    )


def _engine_options(settings: Settings) -> EngineOptions:
    return EngineOptions(
        device=settings.device,
        language=settings.language,
        context_tokens=settings.agent.context_tokens,
        gpu_layers=settings.gpu_layers,
    )
