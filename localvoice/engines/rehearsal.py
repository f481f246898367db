"""A turn before the first user's, which tells how long a turn takes on this machine."""

from contextlib import aclosing
from typing import Final

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.engines.jobs import counted
from localvoice.engines.types import ChatMessage, Engines, Sampling, Tts

_QUESTION: Final = "What should I cook for dinner tonight?"
_REPLY_TOKENS: Final = 20
"""A short sentence or two, as the agent is told to answer. The real turns correct it."""


async def rehearse(engines: Engines) -> float:
    """Seconds that the models, when warm, work for a short question and its answer. Raises `VoiceError`."""
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
