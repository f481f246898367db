"""A WAV file as the microphone and another as the loudspeaker: one turn, as fast as it goes."""

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np

from localvoice.agent.session import Session
from localvoice.agent.sessions import Conversation
from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract.messages import (
    ErrorMessage,
    LlmReply,
    ServerMessage,
    TranscriptMessage,
    TurnMetrics,
)
from localvoice.engines.protocols import Engines

_RATE: Final = 24_000
"""Hz of the reply: above Piper's own 22,050, so that nothing is lost."""
_READ: Final = _RATE // 50


@dataclass(frozen=True, eq=False)
class FileTurn:
    """What became of one turn."""

    transcript: str
    """What was understood; empty for silence."""
    reply: str
    """The whole reply."""
    sound: AudioFrame
    """The reply as speech; empty if nothing was said."""
    metrics: TurnMetrics | None
    """Where the time went; None if nothing was said."""
    errors: tuple[ErrorMessage, ...]
    """What failed."""


async def turn_on_file(engines: Engines, settings: Settings, speech: AudioFrame) -> FileTurn:
    """Answer one utterance of any rate."""
    messages: list[ServerMessage] = []
    playout = Playout(_RATE)
    session = Session(Conversation("file"), engines, playout, messages.append, settings)
    sound: list[AudioFrame] = []
    listener = asyncio.create_task(_collect(playout, sound))
    try:
        session.answer_utterance(speech)
        await session.settle()
    finally:
        await session.close()
        listener.cancel()
        await asyncio.wait([listener])
    return FileTurn(
        transcript=" ".join(each.text for each in messages if isinstance(each, TranscriptMessage)),
        reply=" ".join(each.text for each in messages if isinstance(each, LlmReply)),
        sound=concatenate(sound),
        metrics=next((each for each in messages if isinstance(each, TurnMetrics)), None),
        errors=tuple(each for each in messages if isinstance(each, ErrorMessage)),
    )


async def _collect(playout: Playout, sound: list[AudioFrame]) -> None:
    """Read whatever there is to hear, at once."""
    while True:
        await playout.sounding()
        while playout.playing:
            sound.append(AudioFrame(np.copy(playout.read(_READ)), playout.rate))
