"""All engines of a process: loaded and warmed up one by one, rehearsed, and closed together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

import numpy as np

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.config import DeadlineSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.deadlines import DeadlineStt, tts_within
from localvoice.engines.fallback import LlmSource, RetryPolicy, load_with_fallback
from localvoice.engines.jobs import counted
from localvoice.engines.llama.cache import KEPT_MB
from localvoice.engines.llama.engine import ALL_LAYERS, KeyBits, LlamaLlm, supports_gpu
from localvoice.engines.piper import PiperTts
from localvoice.engines.silero import WINDOW, SileroVad
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.threads import Device, choose_device, plan_threads
from localvoice.engines.types import Engine, Engines, Llm, OwnEngines, Tts
from localvoice.engines.whisper import ComputeType, WhisperStt, gpu_count
from localvoice.engines.worker import Worker
from localvoice.process.memory import give_all_back

logger = logging.getLogger(__name__)

LOADING_SECONDS: Final = 600.0
"""For one model, from however slow a disk."""
WARM_UP_SECONDS: Final = 300.0
"""For the first, slow run of a model. One that takes longer is stuck, or useless on this machine."""
_QUESTION: Final = "What should I cook for dinner tonight?"
_REPLY_TOKENS: Final = 20
"""A short sentence or two, as the agent is told to answer. The real turns correct it."""

E = TypeVar("E", bound=Engine)

Part = Literal["vad", "turn", "tts", "stt", "llm", "projector", "fallback"]
"""What has a file, or a folder, of its own that native code reads."""


@dataclass(frozen=True)
class EngineFiles:
    """The verified files of a profile, and how its language models pick their tokens unless a request says.

    Each file is in the folder of its model, which has the model's name. None where there is no such model, or
    the application brings its own.
    """

    vad: Path | None = None  # ONNX
    turn: Path | None = None  # ONNX; without it only the length of a silence ends a turn
    tts: Path | None = None  # ONNX of the voice
    tts_config: Path | None = None  # its JSON
    stt: Path | None = None  # folder of the CTranslate2 model
    llm: Path | None = None  # GGUF
    projector: Path | None = None  # GGUF with which the language model sees images
    fallback: Path | None = None  # GGUF of the language model that takes over when the first fails
    sampling: Sampling = Sampling()
    fallback_sampling: Sampling = Sampling()

    def parts(self) -> dict[Part, Path]:
        """The file, or the folder, of each part that there is."""
        return {part: path for part in get_args(Part) if (path := getattr(self, part)) is not None}

    def name(self, part: Part) -> str:
        """The catalogue name of the part's model; empty if there is none."""
        path = self.parts().get(part)
        if path is None:
            return ""
        return path.name if part == "stt" else path.parent.name


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


class _Loader:
    def __init__(self, files: EngineFiles, options: EngineOptions) -> None:
        """Raises `VoiceError` if there is no GPU where one is wanted."""
        self._files = files
        self._paths = files.parts()
        self._options = options
        self._device = choose_device(options.device, gpu_count())
        self._gpu_layers = _gpu_layers(options.gpu_layers, self._device)
        self._plan = plan_threads(device=self._device)
        logger.info("loading on %s with %s", self._device, self._plan)

    async def stt(self) -> WhisperStt:
        return await WhisperStt.load(
            self._files.name("stt"),
            self._paths["stt"],
            self._plan.stt,
            device=self._device,
            compute_type=self._options.compute,
            language=self._options.language,
        )

    async def llm(self, part: Part = "llm", projector: Path | None = None) -> LlamaLlm:
        return await LlamaLlm.load(
            self._files.name(part),
            self._paths[part],
            self._plan,
            gpu_layers=self._gpu_layers,
            context_tokens=self._options.context_tokens,
            projector=projector,
            key_bits=self._options.key_bits,
            kept_mb=self._options.kept_mb,
        )

    async def tts(self) -> PiperTts:
        config = self._files.tts_config
        assert config is not None
        return await PiperTts.load(self._files.name("tts"), self._paths["tts"], config, self._plan.tts)

    async def turn(self) -> SmartTurn:
        return await SmartTurn.load(self._files.name("turn"), self._paths["turn"])

    async def vad(self) -> SileroVad:
        # Later on it needs no worker, since it runs inline.
        worker = Worker("vad")
        try:
            return await worker.run(SileroVad, self._paths["vad"])
        finally:
            await worker.close()


async def load_engines(files: EngineFiles, options: EngineOptions, own: OwnEngines | None = None) -> Engines:
    """Load every model that the application doesn't bring, each in its own worker.

    One after another: loading a model takes up to four times the memory that it needs afterwards. Raises
    `VoiceError` naming the first file that can't be loaded or the model that isn't loaded after
    `LOADING_SECONDS`, or saying that there is no GPU; nothing stays loaded then, nor when the loading task is
    cancelled. Loading Whisper or the language model can't be stopped: after two seconds the thread is left,
    and ends by itself when it has loaded the model.
    """
    own, deadlines = own or OwnEngines(), options.deadlines
    loader = _Loader(files, options)

    async def load_llm() -> Llm:
        return own.llm if own.llm is not None else await loader.llm("llm", files.projector)

    async def load_resilient_llm() -> Llm:
        seconds = deadlines.llm_first_token_seconds, deadlines.llm_seconds
        primary, fallback = LlmSource(files.name("llm"), load_llm, files.sampling), None
        if files.fallback is not None:
            load = partial(loader.llm, "fallback")
            fallback = LlmSource(files.name("fallback"), load, files.fallback_sampling)
        return await load_with_fallback(primary, fallback, RetryPolicy(*seconds, options.llm_retries))

    async with AsyncExitStack() as loaded:

        async def keep(own: E | None, part: Part, load: Callable[[], Awaitable[E]]) -> E:
            engine = own
            if engine is None:
                async with _within(LOADING_SECONDS, f"The model {files.name(part)} was not loaded"):
                    engine = await load()
            loaded.push_async_callback(engine.close)  # before it may be cancelled in what is awaited here
            await asyncio.to_thread(give_all_back)  # what the loading alone took
            return engine

        tts = await keep(own.tts, "tts", loader.tts)
        stt = await keep(own.stt, "stt", loader.stt)
        llm = await keep(None, "llm", load_resilient_llm)
        turn = own.turn
        if turn is not None or files.turn is not None:
            turn = await keep(turn, "turn", loader.turn)
        vad = own.vad
        if vad is None:
            async with _within(LOADING_SECONDS, f"The model {files.name('vad')} was not loaded"):
                vad = await loader.vad()
        timed_stt = DeadlineStt(stt, deadlines.stt_seconds)
        timed_tts = tts_within(tts, deadlines.tts_seconds)
        engines = Engines(vad, timed_stt, llm, timed_tts, turn)
        loaded.pop_all()
    return engines


async def try_part(part: Part, files: EngineFiles, options: EngineOptions) -> None:
    """Load what one file is for, run it once and close it. Raises `VoiceError` if that fails."""
    loader = _Loader(files, options)
    engine: Engine
    match part:
        case "vad":
            noise = np.random.default_rng(0).normal(0, 0.1, WINDOW).astype(np.float32)
            (await loader.vad()).stream()(noise)
            return
        case "turn":
            engine = await loader.turn()
        case "tts":
            engine = await loader.tts()
        case "stt":
            engine = await loader.stt()
        case "llm" | "fallback":
            engine = await loader.llm(part)
        case "projector":
            engine = await loader.llm("llm", files.projector)
    try:
        await engine.warm_up()
    finally:
        await engine.close()


async def load_llm(files: EngineFiles, options: EngineOptions) -> LlamaLlm:
    """The language model alone, with its projector. Raises `VoiceError`."""
    return await _Loader(files, options).llm("llm", files.projector)


async def warm_up_all(engines: Engines) -> None:
    """Run each engine once. One by one: each has its threads planned for having the cores to itself.

    Raises the engine's `VoiceError`, or one that names it when it takes longer than `WARM_UP_SECONDS`.
    """
    for engine in _with_workers(engines):
        async with _within(WARM_UP_SECONDS, f"The model {engine.name} gave no answer"):
            await engine.warm_up()


async def close_all(engines: Engines) -> None:
    await asyncio.gather(*(engine.close() for engine in _with_workers(engines)))


def _with_workers(engines: Engines) -> list[Engine]:
    turn = () if engines.turn is None else (engines.turn,)
    return [engines.stt, engines.tts, engines.llm, *turn]


async def rehearse(engines: Engines) -> float:
    """Seconds that the models, when warm, work for a short question and its answer. Raises `VoiceError`.

    A turn before the first user's, which tells how long a turn takes on this machine.
    """
    question = (await _spoken(engines.tts, _QUESTION)).resampled(SPEECH_RATE)
    with counted() as work:
        if engines.turn is not None:
            await engines.turn.complete(question)
        await engines.stt.transcribe(question)
        messages, sampling = [ChatMessage("user", _QUESTION)], Sampling(max_tokens=_REPLY_TOKENS)
        async with aclosing(engines.llm.reply(messages, sampling, aside=True)) as items:
            reply = "".join([item async for item in items if isinstance(item, str)])
        await _spoken(engines.tts, reply)
        return work.take()


async def _spoken(tts: Tts, text: str) -> AudioFrame:
    async with aclosing(tts.synthesize(text)) as frames:
        return concatenate([frame async for frame in frames])


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
