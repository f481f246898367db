"""The voice of one turn: takes the pieces of a reply and has them played."""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from localvoice.application.hooks import Rejection
from localvoice.audio.frames import AudioFrame, PieceSound, concatenate
from localvoice.audio.playout import Playout
from localvoice.audio.wav import wav_bytes
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import ServerMessage, Tts, TtsCancelled, TtsComplete, TtsStart
from localvoice.conversation.agent import Agent
from localvoice.conversation.models import Models, Piece
from localvoice.conversation.sentences import ends_within_sentence

log = logging.getLogger(__name__)

_PIECES_AHEAD: Final = 16
"""Pieces that may wait to be spoken. The LLM writes faster than the voice speaks; past this it waits, so
that an interrupted reply was not written in full for nothing."""


class Speaker:
    """Speaks what it is given, in order, until it is told that there is no more."""

    def __init__(
        self,
        agent: Agent,
        playout: Playout,
        emit: Callable[[ServerMessage], None],
        models: Models,
        on_sound: Callable[[], None],
    ) -> None:
        """`on_sound` is called at the first sound of the reply, when `tts-start` has been sent."""
        self._agent = agent
        self._playout = playout
        self._emit = emit
        self._models = models
        self._on_sound = on_sound
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue(_PIECES_AHEAD)
        self._dropped = 0
        self._cut = False
        self._told_end = False
        self._within = False  # the piece before ended amid a sentence
        self.sounding = False
        """Whether sound of the reply has been given to the playout."""
        self.faithful = True
        """Whether all that it was given is spoken as it is: a hook may have rejected a piece."""
        self.failure: VoiceError | None = None
        """Why the voice fell silent."""

    async def say(self, piece: Piece) -> None:
        """Add a piece; waits while many are waiting already."""
        await self._pieces.put(piece)

    async def end(self) -> None:
        """No more pieces."""
        await self._pieces.put(None)

    def cut(self) -> None:
        """The reply is cut short: nothing more of it is spoken or told, though its task may not know yet."""
        self._cut = True
        self._tell_end(TtsCancelled())

    def drop_unheard(self) -> None:
        """Forget what has not been played; what is added from now on is spoken."""
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._dropped += 1
        self.faithful = False
        if not self._cut:  # else what was heard of it is still to be noted
            self._playout.begin()

    @property
    def held(self) -> bool:
        """Whether the user speaks over the reply, and it is not known yet whether they interrupt it."""
        return self._playout.held

    async def released(self) -> None:
        """Wait until the reply is not held any more."""
        await self._playout.released()

    async def speak(self) -> None:
        """Speak until the end. After a failure of the voice the rest is still read, so that nobody waits."""
        if self._agent.settings.agent.streaming_speech:
            while (piece := await self._pieces.get()) is not None:
                await self._speak_piece(piece)
        else:
            await self._speak_whole()
        self._playout.complete()
        await self._playout.finished()

    def tell_complete(self) -> None:
        """The last of the reply has been heard."""
        self._tell_end(TtsComplete())

    def _tell_end(self, end: TtsComplete | TtsCancelled) -> None:
        """Once for each `tts-start`, whatever else happens."""
        if self.sounding and not self._told_end:
            self._told_end = True
            self._emit(end)

    async def _speak_piece(self, piece: Piece) -> None:
        dropped = self._dropped
        goes_on, self._within = self._within, ends_within_sentence(piece.text)
        # The voice begins with 50 ms of nothing, and amid a sentence its own silence before and after a piece
        # would be heard as a gap.
        sound = PieceSound(self._playout.rate, goes_on or not self.sounding, self._within)
        async with aclosing(_played_as(sound, self._sound_of(piece))) as sounds:
            async for text, frame in sounds:
                if dropped != self._dropped:
                    return
                await self._play(text, frame)

    async def _speak_whole(self) -> None:
        """The whole reply in one message, for a client without an audio track, and in the playout."""
        whole: list[tuple[str, AudioFrame]] = []
        while (piece := await self._pieces.get()) is not None:
            dropped = self._dropped
            async with aclosing(self._sound_of(piece)) as sounds:
                new = [sound async for sound in sounds]
            if dropped != self._dropped:
                whole = []
            elif new:
                whole.append((new[0][0], concatenate([frame for _, frame in new])))
        if whole and not self._cut:
            sound = concatenate([frame for _, frame in whole])
            self._emit(Tts(base64.b64encode(wav_bytes(sound)).decode()))
        for text, frame in whole:
            await self._play(text, frame if self.sounding else frame.without_lead_in())

    async def _sound_of(self, piece: Piece) -> AsyncGenerator[tuple[str, AudioFrame], None]:
        """A piece's sound, its text beside the first frame; where a hook rejects it, what it says instead."""
        if self.failure is not None:
            return
        try:
            async for each in _labelled(piece.text, self._models.voice(piece)):
                yield each
        except Rejection as no:
            log.info("a piece of the reply was rejected: %s", no.reason)
            self.faithful = False
            if no.say:  # past the hooks, or they could reject for ever
                async for each in _labelled(no.say, self._agent.engines.tts.synthesize(no.say)):
                    yield each
        except VoiceError as error:
            self.failure = error

    async def _play(self, text: str, frame: AudioFrame) -> None:
        if not self.sounding:
            await self._playout.released()
            if self._cut:
                return
            self.sounding = True
            self._emit(TtsStart())
            self._on_sound()
        await self._playout.write(text, frame)


async def _played_as(
    sound: PieceSound, frames: AsyncGenerator[tuple[str, AudioFrame], None]
) -> AsyncGenerator[tuple[str, AudioFrame], None]:
    """The same as it is to be played: the piece's text stays beside the first frame that there is to play."""
    said = ""
    async with aclosing(frames):
        async for text, frame in frames:
            said = said or text
            ready = sound.feed(frame)
            if len(ready.samples):
                yield said, ready
                said = ""
    ready = sound.end()
    if len(ready.samples):
        yield said, ready


async def _labelled(
    text: str, frames: AsyncGenerator[AudioFrame, None]
) -> AsyncGenerator[tuple[str, AudioFrame], None]:
    async with aclosing(frames):
        async for frame in frames:
            yield text, frame
            text = ""
