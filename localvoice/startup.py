"""From settings to an agent that is loaded, warm and ready for the first word."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console
from rich.text import Text

from localvoice.application.calls import contained_tasks
from localvoice.application.hooks import Hooks
from localvoice.catalog import (
    ROLES,
    Catalog,
    Model,
    ModelFiles,
    Profile,
    Role,
    choose,
    load_catalog,
    models_folder,
    ready,
)
from localvoice.config import SIMPLE_SYSTEM_PROMPT, SYSTEM_PROMPT, ConfigError, Settings
from localvoice.contract.metrics import Metrics, NoMetrics
from localvoice.conversation.agent import Agent
from localvoice.engines.chat import Sampling
from localvoice.engines.loading import (
    EngineFiles,
    EngineOptions,
    close_all,
    load_engines,
    rehearse,
    warm_up_all,
)
from localvoice.engines.types import Engines, OwnEngines
from localvoice.languages import DEFAULT, language
from localvoice.observability.adapters import ConsoleMetrics, ContainedMetrics
from localvoice.observability.debug_audio import DebugAudio
from localvoice.observability.hook_sets import logging_hooks
from localvoice.observability.opentelemetry import OpenTelemetryMetrics
from localvoice.observability.prometheus import PrometheusMetrics
from localvoice.playbook.director import PlaybookDirector
from localvoice.playbook.loading import load_playbook
from localvoice.playbook.schema import Playbook, check_playbook
from localvoice.process.choosing import with_models
from localvoice.process.ending import guarded_loop
from localvoice.process.memory import kept_small
from localvoice.process.probing import probe
from localvoice.tools import Tool, ToolRegistry
from localvoice.tools.builtin import builtin_tools

MetricsKind = Literal["none", "console", "prometheus", "opentelemetry"]

_WARMING_UP: Final = "Warming up, so that the first answer is as quick as the others …"


@asynccontextmanager
async def ready_agent(
    settings: Settings,
    console: Console,
    hooks: Hooks | None = None,
    tools: Iterable[Tool] = (),
    playbook: Playbook | Path | None = None,
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    metrics: Metrics | None = None,
    engines: OwnEngines | None = None,
) -> AsyncIterator[Agent]:
    """An agent with the profile's models and the application's own, closed when the block is left.

    Raises `CatalogError`, `ModelFilesError`, `ConfigError` or `VoiceError` before the first turn rather than
    in it.
    """
    registry = await _all_tools(settings, tools)
    script = playbook if playbook is not None else settings.agent.playbook
    if isinstance(script, Path):
        # In a thread as well: the playbook may come from a pipe.
        script = await asyncio.to_thread(load_playbook, script, settings.agent.playbook_form)
    if script is not None:
        check_playbook(script, registry, handlers or {})
    monitor = settings.monitor
    if metrics is None:
        own = make_metrics(monitor.metrics, monitor.otlp_endpoint)
    else:  # ours never raise, and the server serves Prometheus' by its type
        own = metrics if isinstance(metrics, PrometheusMetrics) else ContainedMetrics(metrics)
    recording = None if monitor.audio_dir is None else DebugAudio(monitor.audio_dir)
    level: Literal["debug", "info"] = "info" if monitor.log_format == "json" else "debug"
    # Errors are logged where they are reported, hooks or not.
    hook_sets = [hooks or Hooks(), logging_hooks(level, monitor.transcripts, errors=False)]
    if recording is not None:
        hook_sets.append(recording.hooks())
    combined = Hooks.combine(*hook_sets)
    begun = time.monotonic()
    settings, catalog = await with_models(settings, console, _unneeded(engines or OwnEngines()))
    async with loaded_engines(settings, console, engines, catalog) as loaded:
        direct = None
        if script is not None:
            direct = partial(
                PlaybookDirector,
                script,
                registry,
                settings.agent,
                loaded.llm,
                combined,
                own,
                dict(handlers or {}),
            )
        own_persona = script is not None or settings.agent.system_prompt != SYSTEM_PROMPT
        llm = catalog.models.get(loaded.llm.name)
        settings, examples = _spoken_to(settings, llm, own_persona)
        agent = Agent(
            settings,
            loaded,
            combined,
            own,
            registry,
            direct,
            None if recording is None else recording.forget,
            examples,
            own_persona,
            engines not in (None, OwnEngines()),
            judges_danger=llm is None or llm.judges,
        )
        try:
            with console.status(_WARMING_UP):
                await agent.warm_up()
            console.print(f"Models are ready after {time.monotonic() - begun:.1f} s.")
            with contained_tasks(), guarded_loop():  # from here on a client may wait for an answer
                yield agent
        finally:
            if recording is not None:
                await recording.close()
            if metrics is None:
                await close_metrics(own)


async def _all_tools(settings: Settings, own: Iterable[Tool]) -> ToolRegistry:
    # In a thread: there are thousands of sentences to read, and an application's loop may be at work.
    ours = await asyncio.to_thread(builtin_tools) if settings.agent.tools else ()
    return ToolRegistry([*ours, *own])


def _spoken_to(
    settings: Settings, llm: Model | None, own_persona: bool
) -> tuple[Settings, tuple[tuple[str, str], ...]]:
    """The settings with the prompt for this model, and the examples that it is shown."""
    if own_persona or (known := language(DEFAULT)) is None:
        return settings, ()
    if llm is None or not llm.simple:
        return settings, known.examples
    agent = settings.agent.model_copy(update={"system_prompt": SIMPLE_SYSTEM_PROMPT})
    return settings.model_copy(update={"agent": agent}), known.simple_examples


@asynccontextmanager
async def loaded_engines(
    settings: Settings,
    console: Console,
    own: OwnEngines | None = None,
    catalog: Catalog | None = None,
) -> AsyncIterator[Engines]:
    """The engines of the named profile and the application's own, warm, and closed when the block is left."""
    with console.status(Text(f"Checking the model files of profile {settings.profile} …")):
        # In a thread: an application's loop may be at work.
        profile, files = await asyncio.to_thread(_checked_files, settings, own or OwnEngines(), catalog)
    options = _engine_options(settings, profile)
    with console.status("Trying the models that were never loaded here …"):
        await probe(files, options, models_folder(settings.models_dir))
    with console.status("Loading the models …") as status:
        engines = await load_engines(files, options, own)
        try:
            status.update(_WARMING_UP)
            await warm_up_all(engines)
            if settings.limits.conversations is None:
                engines = replace(engines, turn_seconds=await rehearse(engines))
            status.stop()
            async with kept_small():
                yield engines
        finally:
            await close_all(engines)


def _unneeded(own: OwnEngines) -> list[Role]:
    brought = {each.name for each in fields(own) if getattr(own, each.name) is not None}
    return [role for role in ROLES if role in brought]


def _checked_files(
    settings: Settings, own: OwnEngines, known: Catalog | None = None
) -> tuple[Profile, EngineFiles]:
    """The profile, the files it needs, and those of its fallback's LLM. Raises as `ready_agent` does."""
    catalog, folder = known or load_catalog(settings.catalog), models_folder(settings.models_dir)
    unneeded = _unneeded(own)
    found = ready(catalog, choose(catalog, settings).profiles[0], folder, unneeded)
    files = _engine_files(found, unneeded)
    fallback = settings.agent.fallback_profile
    if fallback is None:
        return found.profile, files
    other = ready(catalog, fallback, folder)
    if other.llm_file == files.llm:
        raise ConfigError(
            f"agent.fallback_profile {fallback} has the same language model as {settings.profile}: "
            "name a profile with another one, or leave it empty."
        )
    return found.profile, replace(files, fallback=other.llm_file, fallback_sampling=_sampling(other))


def _engine_files(files: ModelFiles, unneeded: Collection[Role]) -> EngineFiles:
    needs = {role: role not in unneeded for role in ROLES}
    return EngineFiles(
        vad=files.vad_file if needs["vad"] else None,
        turn=files.turn_file if needs["turn"] else None,
        tts=files.voice_file if needs["tts"] else None,
        tts_config=files.voice_config_file if needs["tts"] else None,
        stt=files.stt_dir if needs["stt"] else None,
        llm=files.llm_file if needs["llm"] else None,
        projector=files.projector_file if needs["llm"] else None,
        sampling=_sampling(files) if needs["llm"] else Sampling(),
    )


def _sampling(files: ModelFiles) -> Sampling:
    """How the profile's language model picks its tokens: as the catalogue says, and else as usual."""
    return replace(Sampling(), **files.models[files.profile.llm].sampling.model_dump(exclude_none=True))


def _engine_options(settings: Settings, profile: Profile) -> EngineOptions:
    return EngineOptions(
        device=profile.device if settings.device == "auto" else settings.device,
        compute=profile.compute,
        language=settings.language,
        context_tokens=settings.agent.context_tokens or profile.context_tokens,
        key_bits=profile.key_bits,
        kept_mb=profile.kept_mb,
        gpu_layers=settings.gpu_layers,
        deadlines=settings.deadlines,
        llm_retries=settings.agent.llm_retries,
    )


def make_metrics(kind: MetricsKind, otlp_endpoint: str | None = None) -> Metrics:
    """An adapter; end it with `close_metrics`.

    Raises `ConfigError` if its library isn't installed, or if OpenTelemetry is given no usable endpoint.
    """
    match kind:
        case "none":
            return NoMetrics()
        case "console":
            return ConsoleMetrics()
        case "prometheus":
            return PrometheusMetrics()
        case "opentelemetry":
            return OpenTelemetryMetrics.over_otlp(otlp_endpoint or "")


async def close_metrics(metrics: Metrics) -> None:
    """Export what is left, if this adapter exports; takes a few seconds at most and never raises."""
    if isinstance(metrics, OpenTelemetryMetrics):
        await metrics.close()
