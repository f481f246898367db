"""The models as one turn uses them: with their hooks and figures. Deadlines and retries are the engines'."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass

from localvoice.application.hooks import (
    LlmRequest,
    LlmResult,
    StopReason,
    Timing,
    TurnContext,
    consult,
    notify,
)
from localvoice.application.stopwatch import Stopwatch
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.speculation import Written
from localvoice.engines.types import CutOff, ToolCall, Transcript


@dataclass(frozen=True)
class Heard:
    """What the user said, with the time that it took to know it."""

    transcript: Transcript
    """Its words."""
    timing: Timing | None
    """The transcription alone; None for a typed message."""
    known: float | None = None
    """When its words were known, the event loop's time; None for a typed message."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the reply that is spoken in one go."""

    text: str
    """Its words."""
    sound: AsyncGenerator[AudioFrame, None] | None = None
    """Its sound, where that was begun early."""


Reply = AsyncGenerator[Written | ToolCall | CutOff, None]
"""What the LLM writes in one pass."""


class Models:
    """Transcription, reply and voice within one turn."""

    def __init__(self, agent: Agent, context: TurnContext) -> None:
        self._agent = agent
        self._hooks = agent.hooks
        self._context = context

    async def listen(self, speech: AudioFrame, transcription: Awaitable[Heard]) -> Heard:
        """Await a transcription, which may have begun before its turn did. Raises `VoiceError`."""
        await notify(self._hooks.on_stt_start, self._context, speech)
        try:
            heard = await transcription
        except VoiceError as error:
            await notify(self._hooks.on_stt_error, self._context, error)
            raise
        if heard.timing is not None:
            self._time(Metric.STT_DURATION, heard.timing.duration_ms, self._agent.engines.stt.name)
        return heard

    async def write(self, request: LlmRequest, items: Reply) -> Reply:
        """What the LLM writes at this request. Raises `VoiceError`, and at its end a hook's `Rejection`."""
        llm = self._agent.engines.llm
        await notify(self._hooks.on_llm_start, self._context, request)
        watch = Stopwatch()
        deltas: list[str] = []
        calls: list[ToolCall] = []
        reason: StopReason = "end_turn"
        try:
            async with aclosing(items):
                async for item in items:
                    watch.note_first()
                    if isinstance(item, ToolCall):
                        calls.append(item)
                        reason = "tool_use"
                    elif isinstance(item, CutOff):
                        reason = "max_tokens"
                    else:
                        await notify(self._hooks.on_llm_chunk, self._context, item.text, len(deltas))
                        deltas.append(item.text)
                    yield item
        except VoiceError as error:
            await notify(self._hooks.on_llm_error, self._context, error)
            raise
        timing = watch.timing()  # the name below is that of who answered: a fallback may have taken over
        self._time(Metric.LLM_DURATION, timing.duration_ms, llm.name)
        if timing.ttft_ms is not None:
            self._time(Metric.LLM_TTFT, timing.ttft_ms, llm.name)
        self._agent.metrics.increment(Metric.LLM_TOKENS, len(deltas), {"model": llm.name})
        result = LlmResult("".join(deltas), tuple(calls), reason)
        await consult(self._hooks.on_llm_end, self._context, result, timing)

    async def voice(self, piece: Piece) -> AsyncGenerator[AudioFrame, None]:
        """The sound of a piece of the reply. Raises `VoiceError`, and at its start a hook's `Rejection`."""
        await consult(self._hooks.on_tts_start, self._context, piece.text)
        tts = self._agent.engines.tts
        watch = Stopwatch()
        count = 0
        try:
            async with aclosing(piece.sound or tts.synthesize(piece.text)) as frames:
                async for frame in frames:
                    await notify(self._hooks.on_tts_chunk, self._context, frame, count)
                    count += 1
                    yield frame
        except VoiceError as error:
            await notify(self._hooks.on_tts_error, self._context, error)
            raise
        timing = watch.timing()
        self._time(Metric.TTS_DURATION, timing.duration_ms, tts.name)
        await notify(self._hooks.on_tts_end, self._context, timing)

    def _time(self, metric: Metric, ms: float, model: str) -> None:
        self._agent.metrics.timing(metric, ms, {"model": model})
