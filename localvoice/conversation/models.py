"""What one turn wants of the models, with their hooks and figures. Deadlines and retries are the engines'."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from localvoice.application.hooks import (
    LlmRequest,
    LlmResult,
    StopReason,
    TurnContext,
    consult,
    notify,
)
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.history import History
from localvoice.conversation.moves import Heard
from localvoice.conversation.phrases import asks_about
from localvoice.conversation.sentences import Pieces
from localvoice.engines.types import CutOff, Image, Llm, ReplyItem, ToolCall, unseen
from localvoice.observability.stopwatch import Stopwatch


@dataclass(frozen=True)
class Written:
    """A part of the reply's text, and the pieces that it completed."""

    text: str
    pieces: list[str]


Reply = AsyncGenerator[Written | ToolCall | CutOff, None]
"""What the LLM writes in one pass."""


async def written(reply: AsyncGenerator[ReplyItem, None], splitter: Pieces) -> Reply:
    """What the LLM writes, its text cut into pieces."""
    async with aclosing(reply):
        async for item in reply:
            yield Written(item, splitter.feed(item)) if isinstance(item, str) else item


def as_text(words: str, images: Sequence[Image]) -> str:
    """What the user said, as the model reads it that can't see what came with it."""
    return "\n".join([*(unseen(image.alt) for image in images), words])


def answers_blind(llm: Llm, words: str, images: Sequence[Image]) -> bool:
    """Whether the answer is that this model can't see these pictures."""
    return not llm.sees and asks_about(words, images)


def add_user(llm: Llm, history: History, words: str, images: Sequence[Image]) -> None:
    """Add what the user said to the history; pictures too, if the model can see them."""
    if llm.sees:
        history.add_user(words, images)
    else:
        history.add_user(as_text(words, images))


@dataclass(frozen=True)
class Prepared:
    """A request, tokenised, and where the past begins that it holds."""

    request: LlmRequest
    start: int
    """Index in the history: what is before it is left out from now on (`History.trim`)."""


async def prepare(
    agent: Agent, conversation: Conversation, history: History, calls_left: bool = True
) -> Prepared:
    """The request for the next pass of the LLM, which must talk when it has no calls of tools left.

    `history` is the caller's own copy, because this waits: the template and the tokens are made off the event
    loop. Raises the LLM's `VoiceError`.
    """
    llm, settings = agent.engines.llm, agent.settings.agent
    brief = conversation.director.brief()
    offer = brief.offer(calls_left)
    # The longest reply may be as long as the context; half of it is left for what was said.
    room = llm.context_tokens - min(brief.sampling.max_tokens, llm.context_tokens // 2)
    shorter = history.prompts(brief.system_prompt, settings.history_messages)
    messages, start = next(shorter)
    prompt = await llm.prompt(messages, offer)
    while prompt.tokens > room and (next_one := next(shorter, None)) is not None:
        messages, start = next_one
        prompt = await llm.prompt(messages, offer)
    return Prepared(LlmRequest(prompt, brief.sampling, offer, llm.name), start)


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the reply that is spoken in one go."""

    text: str
    """Its words."""
    sound: AsyncGenerator[AudioFrame, None] | None = None
    """Its sound, where that was begun early."""


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
