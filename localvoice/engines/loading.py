"""All engines of a process: loaded together, warmed up one by one, closed together."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from localvoice.config import DeadlineSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.fallback import LlmSource, Patience, load_with_fallback
from localvoice.engines.llama import ALL_LAYERS, LlamaLlm
from localvoice.engines.llama_model import supports_gpu
from localvoice.engines.piper import PiperTts
from localvoice.engines.protocols import Engine, Engines, Llm, Stt, Tts
from localvoice.engines.resilience import DeadlineStt, DeadlineTts
from localvoice.engines.silero import SileroVad
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.threads import Device, plan_threads
from localvoice.engines.whisper import ComputeType, WhisperStt, gpu_count
from localvoice.engines.worker import Worker

logger = logging.getLogger(__name__)

WARM_UP_SECONDS: Final = 300.0
"""For the first, slow run of a model. One that takes longer is stuck, or of no use on this machine."""

E = TypeVar("E", bound=Engine)


@dataclass(frozen=True)
class EngineFiles:
    """Where the verified files of a profile are, and what the catalogue calls them."""

    whisper_dir: Path
    """Folder of the CTranslate2 Whisper model."""
    whisper_name: str
    """Its catalogue name."""
    llm: Path
    """GGUF of the language model."""
    llm_name: str
    """Its catalogue name."""
    voice: Path
    """ONNX of the Piper voice."""
    voice_config: Path
    """JSON beside it."""
    voice_name: str
    """Its catalogue name."""
    vad: Path
    """ONNX of the Silero VAD."""
    projector: Path | None = None
    """GGUF with which the language model sees images; None where it doesn't."""
    fallback_llm: Path | None = None
    """GGUF of the language model that takes over when the first fails."""
    fallback_llm_name: str = ""
    """Its catalogue name."""
    turn: Path | None = None
    """ONNX of Smart Turn; None where only the length of a silence ends a turn."""
    turn_name: str = ""
    """Its catalogue name."""


@dataclass(frozen=True)
class EngineOptions:
    """How the engines run."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where Whisper and the language model compute; "auto" takes a GPU where there is one."""
    compute: ComputeType | None = None
    """How Whisper computes; None is int8 on the CPU and float16 on a GPU."""
    language: str = "auto"
    """What the user speaks: "auto" or an ISO 639-1 code."""
    context_tokens: int = 4096
    """Size of the language model's context."""
    gpu_layers: int | None = None
    """Layers of the language model on the GPU, -1 for all; None is all on a GPU and none without."""
    deadlines: DeadlineSettings = DeadlineSettings()
    """How long each stage may take."""
    llm_retries: int = 3
    """How often a request to the language model is repeated that failed before it gave anything."""


async def load_engines(files: EngineFiles, options: EngineOptions) -> Engines:
    """Load every model, each in its own worker, all at once.

    Raises `VoiceError` naming the first file that can't be loaded, or saying that there is no GPU; nothing
    stays loaded then, nor when the loading task is cancelled.
    """
    device = _device(options.device)
    gpu_layers = _gpu_layers(options.gpu_layers, device)
    plan = plan_threads(device=device)
    logger.info("loading on %s with %s", device, plan)

    deadlines = options.deadlines

    async def stt() -> Stt:
        whisper = await WhisperStt.load(
            files.whisper_name,
            files.whisper_dir,
            plan.stt,
            device=device,
            compute_type=options.compute,
            language=options.language,
        )
        return DeadlineStt(whisper, deadlines.stt_seconds)

    async def llm() -> Llm:
        def source(name: str, gguf: Path, projector: Path | None = None) -> LlmSource:
            return LlmSource(
                name, lambda: LlamaLlm.load(name, gguf, plan, gpu_layers, options.context_tokens, projector)
            )

        patience = Patience(deadlines.llm_first_token_seconds, deadlines.llm_seconds, options.llm_retries)
        other = files.fallback_llm
        fallback = None if other is None else source(files.fallback_llm_name, other)
        return await load_with_fallback(
            source(files.llm_name, files.llm, files.projector), fallback, patience
        )

    async def tts() -> Tts:
        piper = await PiperTts.load(files.voice_name, files.voice, files.voice_config, plan.tts)
        return DeadlineTts(piper, deadlines.tts_seconds)

    async with AsyncExitStack() as loaded:
        try:
            async with asyncio.TaskGroup() as group:
                stt_task = group.create_task(_keep(stt, loaded))
                llm_task = group.create_task(_keep(llm, loaded))
                tts_task = group.create_task(_keep(tts, loaded))
                vad_task = group.create_task(_load_vad(files.vad))
                turn_task = group.create_task(_load_turn(files, loaded))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        loaded.pop_all()
        return Engines(
            vad_task.result(), stt_task.result(), llm_task.result(), tts_task.result(), turn_task.result()
        )


async def warm_up_all(engines: Engines) -> None:
    """Run each engine once. One by one: each has its threads planned for having the cores to itself.

    Raises the engine's `VoiceError`, or one that names it when it takes longer than `WARM_UP_SECONDS`.
    """
    for engine in _with_workers(engines):
        try:
            async with asyncio.timeout(WARM_UP_SECONDS):
                await engine.warm_up()
        except TimeoutError as error:
            raise VoiceError(
                ErrorCode.INTERNAL_ERROR,
                Component.SERVER,
                f"The model {engine.name} gave no answer within {WARM_UP_SECONDS:g} s. Close other programs, "
                "or choose a profile with smaller models.",
            ) from error


async def close_all(engines: Engines) -> None:
    """End every worker."""
    await asyncio.gather(*(engine.close() for engine in _with_workers(engines)))


def _with_workers(engines: Engines) -> list[Engine]:
    turn = () if engines.turn is None else (engines.turn,)
    return [engines.stt, engines.tts, engines.llm, *turn]


async def _keep(load: Callable[[], Coroutine[Any, Any, E]], loaded: AsyncExitStack) -> E:
    engine = await load()
    loaded.push_async_callback(engine.close)
    return engine


async def _load_turn(files: EngineFiles, loaded: AsyncExitStack) -> SmartTurn | None:
    path = files.turn
    return None if path is None else await _keep(lambda: SmartTurn.load(files.turn_name, path), loaded)


async def _load_vad(model_path: Path) -> SileroVad:
    # It needs no worker later on, since it runs inline.
    worker = Worker("vad")
    try:
        return await worker.run(SileroVad, model_path)
    finally:
        await worker.close()


def _device(wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    if wanted == "auto":
        return "cuda" if gpu_count() else "cpu"
    if wanted == "cuda" and not gpu_count():
        raise VoiceError(
            ErrorCode.INTERNAL_ERROR,
            Component.SERVER,
            'No CUDA GPU was found. Check `nvidia-smi`, or set the device to "cpu" or "auto".',
        )
    return wanted


def _gpu_layers(wanted: int | None, device: Device) -> int:
    if wanted is not None:
        return wanted
    if device == "cpu":
        return 0
    if supports_gpu():
        return ALL_LAYERS
    logger.warning(
        "The language model runs on the CPU: llama-cpp-python was built without GPU support. "
        'Install it again with CMAKE_ARGS="-DGGML_CUDA=on" to have it on the GPU.'
    )
    return 0
