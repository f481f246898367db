"""All engines of a process: loaded and warmed up one by one, closed together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np

from localvoice.config import DeadlineSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.deadlines import DeadlineStt, DeadlineTts
from localvoice.engines.fallback import LlmSource, RetryPolicy, load_with_fallback
from localvoice.engines.llama.cache import KEPT_MB
from localvoice.engines.llama.engine import ALL_LAYERS, KeyBits, LlamaLlm, supports_gpu
from localvoice.engines.piper import PiperTts
from localvoice.engines.silero import WINDOW, SileroVad
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.threads import Device, choose_device, plan_threads
from localvoice.engines.types import Engine, Engines, Llm, OwnEngines, Stt, Tts, TurnDetector, Vad
from localvoice.engines.whisper import ComputeType, WhisperStt, gpu_count
from localvoice.engines.worker import Worker
from localvoice.process.memory import give_all_back

logger = logging.getLogger(__name__)

LOADING_SECONDS: Final = 600.0
"""For one model, from however slow a disk."""
WARM_UP_SECONDS: Final = 300.0
"""For the first, slow run of a model. One that takes longer is stuck, or useless on this machine."""

E = TypeVar("E", bound=Engine | None)

Part = Literal["stt", "llm", "projector", "fallback", "tts", "vad", "turn"]
"""What has a file, or a folder, of its own that native code reads."""


@dataclass(frozen=True)
class EngineFiles:
    """Where the verified files of a profile are, and what the catalogue calls them.

    A path is None where the profile has no such model, or the application brings its own.
    """

    whisper_dir: Path | None
    """Folder of the CTranslate2 Whisper model."""
    whisper_name: str
    llm: Path | None
    """GGUF of the language model."""
    llm_name: str
    voice: Path | None
    """ONNX of the Piper voice."""
    voice_config: Path | None
    """Its JSON."""
    voice_name: str
    vad: Path | None
    """ONNX of the Silero VAD."""
    projector: Path | None = None
    """GGUF with which the language model sees images; None where it doesn't."""
    fallback_llm: Path | None = None
    """GGUF of the language model that takes over when the first fails."""
    fallback_llm_name: str = ""
    turn: Path | None = None
    """ONNX of Smart Turn; None where only the length of a silence ends a turn."""
    turn_name: str = ""

    def parts(self) -> dict[Part, Path]:
        """The file, or the folder, of each part that there is."""
        found: dict[Part, Path | None] = {
            "vad": self.vad,
            "turn": self.turn,
            "tts": self.voice,
            "stt": self.whisper_dir,
            "llm": self.llm,
            "projector": self.projector,
            "fallback": self.fallback_llm,
        }
        return {part: path for part, path in found.items() if path is not None}


@dataclass(frozen=True)
class EngineOptions:
    """How the engines run."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where Whisper and the language model compute; "auto" takes a GPU where there is one."""
    compute: ComputeType | None = None
    """Of Whisper; None is int8 on the CPU and float16 on a GPU."""
    language: str = "auto"
    """What the user speaks: "auto" or an ISO 639-1 code."""
    context_tokens: int = 4096
    """Size of the language model's context."""
    key_bits: KeyBits = 16
    """Of each number of a key in the language model's cache."""
    kept_mb: int = KEPT_MB
    """Memory for what the language model has read of conversations other than the one that it is at."""
    gpu_layers: int | None = None
    """Layers of the language model on the GPU, -1 for all; None is all on a GPU and none without."""
    deadlines: DeadlineSettings = DeadlineSettings()
    """How long each stage may take."""
    llm_retries: int = 3
    """How often a request to the language model is repeated that failed before it gave anything."""


class _Loading:
    def __init__(self, files: EngineFiles, options: EngineOptions, own: OwnEngines | None = None) -> None:
        """Raises `VoiceError` if there is no GPU where one is wanted."""
        self._own = own or OwnEngines()
        self._files = files
        self._options = options
        self._device = choose_device(options.device, gpu_count())
        self._gpu_layers = _gpu_layers(options.gpu_layers, self._device)
        self._plan = plan_threads(device=self._device)
        logger.info("loading on %s with %s", self._device, self._plan)

    async def stt(self) -> Stt:
        stt = await self._whisper() if self._own.stt is None else self._own.stt
        return DeadlineStt(stt, self._options.deadlines.stt_seconds)

    async def _whisper(self) -> WhisperStt:
        assert self._files.whisper_dir is not None
        return await WhisperStt.load(
            self._files.whisper_name,
            self._files.whisper_dir,
            self._plan.stt,
            device=self._device,
            compute_type=self._options.compute,
            language=self._options.language,
        )

    async def bare_llm(self, name: str, gguf: Path | None, projector: Path | None = None) -> LlamaLlm:
        """A language model without retries and without its fallback."""
        options = self._options
        assert gguf is not None
        return await LlamaLlm.load(
            name,
            gguf,
            self._plan,
            gpu_layers=self._gpu_layers,
            context_tokens=options.context_tokens,
            projector=projector,
            key_bits=options.key_bits,
            kept_mb=options.kept_mb,
        )

    async def llm(self) -> Llm:
        files, deadlines = self._files, self._options.deadlines
        tries = self._options.llm_retries
        policy = RetryPolicy(deadlines.llm_first_token_seconds, deadlines.llm_seconds, tries)
        fallback, other = None, files.fallback_llm
        if other is not None:
            name = files.fallback_llm_name
            fallback = LlmSource(name, lambda: self.bare_llm(name, other))
        primary = LlmSource(files.llm_name, self._primary)
        return await load_with_fallback(primary, fallback, policy)

    async def _primary(self) -> Llm:
        files, own = self._files, self._own.llm
        return own if own is not None else await self.bare_llm(files.llm_name, files.llm, files.projector)

    async def tts(self) -> Tts:
        tts = await self._piper() if self._own.tts is None else self._own.tts
        return DeadlineTts(tts, self._options.deadlines.tts_seconds)

    async def _piper(self) -> PiperTts:
        files = self._files
        assert files.voice is not None and files.voice_config is not None
        return await PiperTts.load(files.voice_name, files.voice, files.voice_config, self._plan.tts)

    async def turn(self) -> TurnDetector | None:
        path = self._files.turn
        if self._own.turn is not None or path is None:
            return self._own.turn
        return await SmartTurn.load(self._files.turn_name, path)

    async def part(self, part: Part) -> Engine | None:
        """The engine that one file is for; the language model without its fallback."""
        files = self._files
        match part:
            case "stt":
                return await self.stt()
            case "tts":
                return await self.tts()
            case "turn":
                return await self.turn()
            case "fallback":
                assert files.fallback_llm is not None
                return await self.bare_llm(files.fallback_llm_name, files.fallback_llm)
        return await self.bare_llm(files.llm_name, files.llm, files.projector if part != "llm" else None)

    async def vad(self) -> Vad:
        if self._own.vad is not None:
            return self._own.vad
        assert self._files.vad is not None
        # Later on it needs no worker, since it runs inline.
        worker = Worker("vad")
        try:
            return await worker.run(SileroVad, self._files.vad)
        finally:
            await worker.close()


async def load_engines(files: EngineFiles, options: EngineOptions, own: OwnEngines | None = None) -> Engines:
    """Load every model that the application doesn't bring, each in its own worker.

    One after another: loading a model takes up to four times the memory that it needs afterwards, and the
    largest come first. Raises `VoiceError` naming the first file that can't be loaded or the model that isn't
    loaded after `LOADING_SECONDS`, or saying that there is no GPU; nothing stays loaded then, nor when the
    loading task is cancelled. Loading Whisper or the language model can't be stopped: after two seconds the
    thread is left, and ends by itself when it has loaded the model.
    """
    loading = _Loading(files, options, own)
    async with AsyncExitStack() as loaded:
        tts = await _keep(files.voice_name, loading.tts, loaded)
        stt = await _keep(files.whisper_name, loading.stt, loaded)
        llm = await _keep(files.llm_name, loading.llm, loaded)
        turn = await _keep(files.turn_name, loading.turn, loaded)
        async with _within(LOADING_SECONDS, f"The model {files.vad and files.vad.stem} was not loaded"):
            vad = await loading.vad()
        loaded.pop_all()
        return Engines(vad, stt, llm, tts, turn)


async def try_part(part: Part, files: EngineFiles, options: EngineOptions) -> None:
    """Load what one file is for, run it once and close it. Raises `VoiceError` if that fails."""
    loading = _Loading(files, options)
    if part == "vad":
        noise = np.random.default_rng(0).normal(0, 0.1, WINDOW).astype(np.float32)
        (await loading.vad()).stream()(noise)
        return
    engine = await loading.part(part)
    assert engine is not None  # or there is no such part
    try:
        await engine.warm_up()
    finally:
        await engine.close()


async def warm_up_all(engines: Engines) -> None:
    """Run each engine once. One by one: each has its threads planned for having the cores to itself.

    Raises the engine's `VoiceError`, or one that names it when it takes longer than `WARM_UP_SECONDS`.
    """
    for engine in _with_workers(engines):
        async with _within(WARM_UP_SECONDS, f"The model {engine.name} gave no answer"):
            await engine.warm_up()


async def close_all(engines: Engines) -> None:
    """End all workers."""
    await asyncio.gather(*(engine.close() for engine in _with_workers(engines)))


def _with_workers(engines: Engines) -> list[Engine]:
    turn = () if engines.turn is None else (engines.turn,)
    return [engines.stt, engines.tts, engines.llm, *turn]


async def _keep(name: str, load: Callable[[], Coroutine[Any, Any, E]], loaded: AsyncExitStack) -> E:
    async with _within(LOADING_SECONDS, f"The model {name} was not loaded"):
        engine = await load()
    if engine is not None:
        loaded.push_async_callback(engine.close)  # before loading may be cancelled in what is awaited here
    await asyncio.to_thread(give_all_back)  # what the loading alone took
    return engine


@asynccontextmanager
async def _within(seconds: float, failure: str) -> AsyncIterator[None]:
    """Raises `VoiceError` if what is inside takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        advice = "Close other programs, or choose a profile with smaller models."
        words = f"{failure} within {seconds:g} s. {advice}"
        raise VoiceError(ErrorCode.INTERNAL_ERROR, Component.SERVER, words) from error


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
