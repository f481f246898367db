"""A live session: frames in, turns out. Barge-in, the agent's state, and what the client is told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from localvoice.agent.sessions import Conversation
from localvoice.agent.turn import AgentState, Heard, Surroundings, Turn
from localvoice.audio.endpointing import (
    EndpointEvent,
    Endpointing,
    Paused,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    Windows,
    as_model_input,
)
from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Resampler
from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import (
    ErrorMessage,
    ServerMessage,
    SpeechEnd,
    SpeechStart,
    StateMessage,
)
from localvoice.engines.protocols import Engines, Transcript

log = logging.getLogger(__name__)


class Session:
    """One conversation on one connection, whatever carries its sound and messages."""

    def __init__(
        self,
        conversation: Conversation,
        engines: Engines,
        playout: Playout,
        emit: Callable[[ServerMessage], None],
        settings: Settings,
    ) -> None:
        """`emit` sends a message to the client and must not block; `playout` is read by the transport."""
        self.conversation = conversation
        self._engines = engines
        self._playout = playout
        self._emit = emit
        self._settings = settings
        self._state = AgentState.IDLE
        self._vad = engines.vad.stream()
        self._resample = Resampler(SPEECH_RATE)
        self._windows = Windows()
        self._endpointing = Endpointing(settings.listening)
        self._transcription: asyncio.Task[Heard] | None = None
        self._turn: Turn | None = None
        self._turn_task: asyncio.Task[None] | None = None
        self._preparation = asyncio.create_task(self._prepare(), name="preparation")

    async def listen(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Follow the user's voice until the frames end. Nothing slow is awaited here."""
        failing = False
        async for frame in frames:
            position = self._endpointing.position
            try:
                self.hear(frame)
                failing = failing and self._endpointing.position == position  # too short to tell
            except VoiceError as error:
                if not failing:  # a VAD that stays broken is told once, not thirty times a second
                    self.report(error)
                failing = True

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of the user's sound, any length and rate."""
        for window in self._windows(self._resample(frame)):
            event = self._endpointing(window, self._vad(as_model_input(window)))
            if event is not None:
                self._on_endpoint(event)

    def answer_text(self, text: str) -> None:
        """The user typed instead of speaking; a running turn gives way."""
        now = _now()
        self._start_turn(_known(Heard(Transcript(text), None)), now, None)

    def answer_utterance(self, speech: AudioFrame) -> None:
        """The user sent a whole spoken utterance; a running turn gives way."""
        self._start_turn(self._transcribe(speech.resampled(SPEECH_RATE)), _now(), None)

    async def settle(self) -> None:
        """Wait until nothing is being answered."""
        while self._turn_task is not None and not self._turn_task.done():
            await asyncio.wait([self._turn_task])

    async def resume(self, conversation: Conversation) -> None:
        """Go on with another conversation's history; a running turn ends first, in its own."""
        await self.close()
        self.conversation = conversation
        self._prepare_next()
        if not self._endpointing.speaking:
            self._enter(AgentState.IDLE)

    async def close(self) -> None:
        """End all work. History keeps what was heard."""
        self._interrupt()
        ending = [task for task in (self._transcription, self._turn_task) if task is not None]
        self._drop_transcription()
        if ending:
            await asyncio.wait(ending)
        self._preparation.cancel()
        await asyncio.wait([self._preparation])

    def report(self, error: VoiceError) -> None:
        """Tell the client, and the log, what failed."""
        log.warning("session %s: %s", self.conversation.id[:6], error)
        self._emit(ErrorMessage(error.code, error.message))

    def report_unforeseen(self) -> None:
        """To be called where an exception that nobody foresaw is handled: a bug, told and logged as such."""
        log.exception("something failed in a way that nobody foresaw")
        words = "Something went wrong inside the server. Say it again; the server's log has the details."
        self.report(VoiceError(ErrorCode.INTERNAL_ERROR, Component.SERVER, words))

    def _on_endpoint(self, event: EndpointEvent) -> None:
        match event:
            case SpeechStarted():
                self._emit(SpeechStart())
                self._interrupt()
                self._enter(AgentState.LISTENING)
            case Paused(speech):
                # Most pauses are the end: the transcript is ready, or nearly, when that is certain.
                self._transcription = self._transcribe(speech)
            case Resumed():
                self._drop_transcription()
            case SpeechEnded(speech, voiced_until):
                self._emit(SpeechEnd())
                transcription = self._transcription or self._transcribe(speech)
                self._transcription = None
                silence = (self._endpointing.position - voiced_until) / SPEECH_RATE
                self._start_turn(transcription, _now() - silence, _now())

    def _interrupt(self) -> None:
        if self._turn is not None and self._turn_task is not None and self._turn.interrupt():
            self._turn_task.cancel()

    def _start_turn(self, heard: asyncio.Future[Heard], speech_ended: float, endpoint: float | None) -> None:
        self._interrupt()
        self._enter(AgentState.THINKING)
        self._turn = Turn(self._surroundings(), heard, speech_ended, endpoint)
        self._turn_task = asyncio.create_task(self._run_turn(self._turn, self._turn_task), name="turn")

    async def _run_turn(self, turn: Turn, previous: asyncio.Task[None] | None) -> None:
        """Run a turn once the one before has put its history in order, and tell what became of it."""
        try:
            if previous is not None:
                await asyncio.wait([previous])
            await turn.run()
        except VoiceError as error:
            self.report(error)
        except Exception:
            self.report_unforeseen()
        finally:
            self._prepare_next()  # however it ended: also while the user, who interrupted, still speaks
        if turn is self._turn and not self._endpointing.speaking:
            self._enter(AgentState.IDLE)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._engines,
            self._settings.agent,
            self.conversation.history,
            self._playout,
            self._emit,
            self._enter,
        )

    def _prepare_next(self) -> None:
        self._preparation.cancel()
        self._preparation = asyncio.create_task(self._prepare(), name="preparation")

    async def _prepare(self) -> None:
        """Have the LLM read what its next prompt begins with, while nobody waits for it."""
        self.conversation.history.make_room(self._settings.agent.history_messages)
        try:
            await self._engines.llm.prepare(self._surroundings().prompt())
        except VoiceError as error:
            log.debug("the next prompt was not read ahead: %s", error)  # the turn itself will tell

    def _transcribe(self, speech: AudioFrame) -> asyncio.Task[Heard]:
        return asyncio.create_task(self._timed_transcription(speech), name="transcription")

    def _drop_transcription(self) -> None:
        if self._transcription is not None:
            self._transcription.cancel()
            # It may have failed already; nobody needs to know.
            self._transcription.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._transcription = None

    async def _timed_transcription(self, speech: AudioFrame) -> Heard:
        begun = _now()
        transcript = await self._engines.stt.transcribe(speech)
        return Heard(transcript, _now() - begun)

    def _enter(self, state: AgentState) -> None:
        if state is not self._state:
            log.debug("session %s: %s -> %s", self.conversation.id[:6], self._state, state)
            self._state = state
            self._emit(StateMessage(state))


def _known(heard: Heard) -> asyncio.Future[Heard]:
    future: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
    future.set_result(heard)
    return future


def _now() -> float:
    return asyncio.get_running_loop().time()
