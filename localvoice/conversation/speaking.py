"""The voice of one turn: takes the pieces of a reply and has them played."""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from localvoice.application.hooks import Hooks, Rejection, TurnContext, consult, notify
from localvoice.audio.frames import AudioFrame, PieceSound, concatenate
from localvoice.audio.playout import Playout
from localvoice.audio.wav import wav_bytes
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import ServerMessage, TtsCancelled, TtsComplete, TtsMessage, TtsStart
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.manner import Manner, spoken
from localvoice.conversation.sentences import ends_within_sentence
from localvoice.observability.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_PIECES_AHEAD: Final = 16
"""Pieces that may wait to be spoken. The LLM writes faster than the voice speaks; past this it waits, so
that an interrupted reply was not written in full for nothing."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the reply that is spoken in one go."""

    text: str
    sound: AsyncGenerator[AudioFrame, None] | None = None  # where that was begun early


@dataclass(eq=False, repr=False)
class Speaker:
    """Speaks the pieces of one reply, in order, until there are no more."""

    agent: Agent
    playout: Playout
    emit: Callable[[ServerMessage], None]
    context: TurnContext
    on_sound: Callable[[], None]  # called at the first sound of the reply, when `tts-start` has been sent
    manner: Manner = Manner()  # of what is synthesised from now on

    def __post_init__(self) -> None:
        self.pieces: asyncio.Queue[Piece | None] = asyncio.Queue(_PIECES_AHEAD)
        """What is to be spoken; None at its end."""
        self.is_cut = False
        """Whether the reply is cut short: nothing more is added to it, though its tasks may not know yet."""
        self.sounding = False  # whether sound of the reply has been given to the playout
        self.faithful = True
        """Whether all that it was given is spoken as it is: a hook may have rejected a piece."""
        self.failure: VoiceError | None = None  # why the voice fell silent
        self._dropped = 0
        self._told_end = False
        self._within = False  # the piece before ended amid a sentence

    def cut(self) -> None:
        """The reply is cut short: nothing more of it is spoken or told."""
        self.is_cut = True
        self.end(complete=False)

    def end(self, complete: bool) -> None:
        """Tell the end of what was heard, once for each `tts-start`."""
        if self.sounding and not self._told_end:
            self._told_end = True
            self.emit(TtsComplete() if complete else TtsCancelled())

    def drop_unheard(self) -> None:
        """Forget what has not been played; what is added from now on is spoken."""
        while not self.pieces.empty():
            self.pieces.get_nowait()
        self._dropped += 1
        self.faithful = False
        if not self.is_cut:  # else what was heard of it is still to be noted
            self.playout.begin()

    async def speak(self) -> None:
        """Speak until the end. After a failure of the voice the rest is still taken: the LLM waits for it."""
        if self.agent.settings.agent.streaming_speech:
            while (piece := await self.pieces.get()) is not None:
                await self._speak_piece(piece)
        else:
            await self._speak_whole()
        self.playout.complete()
        await self.playout.finished()
        self.end(complete=True)

    async def _speak_piece(self, piece: Piece) -> None:
        dropped = self._dropped
        goes_on, self._within = self._within, ends_within_sentence(piece.text)
        if (said := await self._said(piece)) is None:
            return
        text, frames = said
        # The voice begins with 50 ms of nothing, and amid a sentence its own silence before and after a piece
        # would be heard as a gap.
        sound = PieceSound(self.playout.rate, goes_on or not self.sounding, self._within)
        async with aclosing(frames):
            async for frame in frames:
                if dropped != self._dropped:
                    return
                text = await self._play(text, sound.feed(frame))
        if dropped == self._dropped:
            await self._play(text, sound.end())

    async def _speak_whole(self) -> None:
        """The whole reply in one message, for a client without an audio track, and in the playout."""
        whole: list[tuple[str, AudioFrame]] = []
        while (piece := await self.pieces.get()) is not None:
            dropped = self._dropped
            if (said := await self._said(piece)) is not None:
                async with aclosing(said[1]) as frames:
                    whole.append((said[0], concatenate([frame async for frame in frames])))
            if dropped != self._dropped:
                whole = []
        whole = [(text, frame) for text, frame in whole if len(frame.samples)]
        if whole and not self.is_cut:
            sound = concatenate([frame for _, frame in whole])
            self.emit(TtsMessage(base64.b64encode(wav_bytes(sound)).decode()))
        for text, frame in whole:
            await self._play(text, frame if self.sounding else frame.without_lead_in())

    async def _said(self, piece: Piece) -> tuple[str, AsyncGenerator[AudioFrame, None]] | None:
        """A piece and its sound; where a hook rejects it, what it says instead, if anything."""
        if self.failure is not None:
            return None
        try:
            await consult(self.agent.hooks.on_tts_start, self.context, piece.text)
            return piece.text, self._sound_of(piece)
        except Rejection as no:
            log.info("a piece of the reply was rejected: %s", no.reason)
            self.faithful = False
            # Past the hooks, or they could reject for ever.
            return (no.say, self._sound_of(Piece(no.say), told=False)) if no.say else None

    async def _sound_of(self, piece: Piece, told: bool = True) -> AsyncGenerator[AudioFrame, None]:
        """`told`: whether the hooks and the metrics are told of it."""
        hooks = self.agent.hooks if told else Hooks()
        tts, watch = self.agent.engines.tts, Stopwatch()
        count = 0
        try:
            async with aclosing(piece.sound or spoken(tts, piece.text, self.manner)) as frames:
                async for frame in frames:
                    await notify(hooks.on_tts_chunk, self.context, frame, count)
                    count += 1
                    yield frame
        except VoiceError as error:
            await notify(hooks.on_tts_error, self.context, error)
            self.failure = error
            return
        if told:
            timing = watch.timing()
            self.agent.metrics.timing(Metric.TTS_DURATION, timing.duration_ms, {"model": tts.name})
            await notify(hooks.on_tts_end, self.context, timing)

    async def _play(self, text: str, frame: AudioFrame) -> str:
        """Have the sound played, if there is any; the text that is still to be told with the next one."""
        if not len(frame.samples):
            return text
        if not self.sounding:
            await self.playout.released()
            if self.is_cut:
                return text
            self.sounding = True
            self.emit(TtsStart())
            self.on_sound()
        await self.playout.write(text, frame)
        return ""
