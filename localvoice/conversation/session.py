"""A live session: frames in, turns out. Barge-in, the agent's state, and what the client is told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from localvoice.application.hooks import LlmRequest
from localvoice.application.stopwatch import now, unix_ms
from localvoice.audio.endpointing import Continued, EndpointEvent, Paused, Resumed, SpeechEnded, SpeechStarted
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.playout import Playout
from localvoice.audio.sound_file import too_long
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import (
    Forgotten,
    ServerMessage,
    SpeechEnd,
    SpeechStart,
    StageChangeMessage,
    StateMessage,
    TranscriptMessage,
)
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.director import StageChange
from localvoice.conversation.forget_request import ForgetRequest, outcome
from localvoice.conversation.housekeeping import BetweenTurns
from localvoice.conversation.interruption import Conversing, Interruption, Utterance
from localvoice.conversation.listening import Ears
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speculation import Draft
from localvoice.conversation.stages import Heard
from localvoice.conversation.surroundings import AgentState, Surroundings
from localvoice.conversation.trace import Trace
from localvoice.conversation.transcribing import Transcriber, typed
from localvoice.conversation.turn import Turn
from localvoice.conversation.turn_taking import TurnTaking
from localvoice.observability.log_context import log_context

log = logging.getLogger(__name__)

_LAST_WORDS_SECONDS: Final = 0.15
"""For a transcription that is nearly done when its user goes: the words are kept, though nobody answers."""


class Session:
    """One conversation on one connection, whatever carries its sound and messages."""

    def __init__(
        self,
        agent: Agent,
        conversation: Conversation,
        playout: Playout,
        emit: Callable[[ServerMessage], None],
        save: Callable[[Conversation], Awaitable[bool]] | None = None,
    ) -> None:
        """`emit` sends a message to the client and must not block; `playout` is read by the transport.

        `save` puts a conversation away for a restart of the process, and says whether it could; it is called
        between turns, and where something is forgotten.
        """
        self.conversation = conversation
        self.trace = Trace()
        """The latest transitions of the agent's state."""
        self._agent = agent
        self._playout = playout
        self._emit = emit
        self._save = save
        self._reporter = Reporter(agent, lambda: self.conversation.id, emit)
        self.report = self._reporter.report
        self.report_unforeseen = self._reporter.report_unforeseen
        self._state = AgentState.IDLE
        self._ears = Ears(agent.engines.vad, agent.settings.listening)
        self._turn_taking = TurnTaking(agent.engines.turn, self._ears, agent.settings.listening, self.report)
        self._draft = Draft(agent.engines)
        self._transcriber = Transcriber(
            agent.engines.stt,
            self._on_transcribed,
            self._on_partial if agent.settings.listening.partial_ms else None,
        )
        self._turn: Turn | None = None
        self._turn_task: asyncio.Task[None] | None = None
        self._late: list[Callable[[], None]] | None = None  # turns that wait for the other conversation
        conversing = Conversing(
            self._running, lambda: self._state, self._interrupt, self._answer, self._enter, self._rest
        )
        self._interruption = Interruption(conversing, playout, agent, self._ears, self._reporter)
        self._attach(conversation)

    async def listen(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Follow the user's voice until the frames end. Nothing slow is awaited here."""
        failing = False
        async for frame in frames:
            position = self._ears.position
            try:
                self.hear(frame)
                failing = failing and self._ears.position == position  # too short to tell
            except VoiceError as error:
                if not failing:  # a VAD that stays broken is told once, not thirty times a second
                    self.report(error)
                failing = True
            except Exception as error:
                if not failing:
                    self.report_unforeseen(error)
                failing = True

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of the user's sound, any length and rate."""
        for event in self._ears.hear(frame):
            self._on_endpoint(event)
        self._interruption.on_voice(self._ears.voiced_ms)

    def answer_text(self, text: str) -> None:
        """The user typed instead of speaking; a running turn gives way."""
        self._start_turn(typed(text), now())

    def answer_utterance(self, speech: AudioFrame) -> None:
        """The user sent a whole spoken utterance; a running turn gives way.

        Raises `VoiceError` INVALID_AUDIO_FORMAT if it is longer than one that is spoken may be.
        """
        most = self._agent.settings.listening.max_utterance_seconds
        if speech.seconds > most:
            raise too_long(most)
        speech = speech.resampled(SPEECH_RATE)
        self._start_turn(self._transcriber.transcribe(speech), now(), speech=speech)

    def forget(self, everything: bool) -> None:
        """The user wants the last exchange, or everything, forgotten; a running turn gives way."""
        self._start_turn(None, now(), forget=ForgetRequest(everything, said=False))

    def read_ahead(self) -> None:
        """The LLM has lost what it had read: have it read the next prompt again, unless a turn goes on."""
        if self._attached and self._silent:
            self._between.begin()

    async def settle(self) -> None:
        """Wait until nothing is being answered."""
        while working := [task for task in self._at_work() if not task.done()]:
            await asyncio.wait(working)

    async def resume(self, conversation: Conversation) -> None:
        """Go on with another conversation's history; a running turn ends first, in its own.

        What the user says meanwhile belongs to the other one.
        """
        await self._end_work()
        late, self._late = self._late, None
        self._attach(conversation)
        self._rest("resumed")
        for begin in late or ():
            begin()

    async def close(self) -> None:
        """End all work. History keeps what was heard."""
        await self._end_work()
        await self._reporter.close()

    def _at_work(self) -> Iterator[asyncio.Task[Any]]:
        if self._turn_task is not None:
            yield self._turn_task
        yield from self._interruption.undecided

    async def _end_work(self) -> None:
        self._attached = False
        for utterance in self._interruption.take_undecided():
            self._answer(utterance)
        self._interrupt()
        self._late = []
        self._transcriber.drop()
        if self._turn_task is not None:
            await asyncio.wait([self._turn_task], timeout=_LAST_WORDS_SECONDS)
            self._transcriber.abandon()
            await asyncio.wait([self._turn_task])
        await self._transcriber.close()
        await self._turn_taking.close()
        await self._draft.close()
        await self._between.close()
        self._agent.quiet.calm(self)
        self.conversation.let_go_of_pictures()
        if self.conversation.on_announcement == self._say_announcements:
            self.conversation.on_announcement = None
        if self._save is not None:
            await self._save(self.conversation)

    def _attach(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._attached = True
        conversation.confirmation = None  # who has heard the question may not be who speaks now
        conversation.on_announcement = self._say_announcements
        self._between = BetweenTurns(self._surroundings(), self._put_away, self._on_stage_timeout)
        self._between.begin()
        if self._state is AgentState.IDLE:
            self._between.watch()
        self._say_announcements()

    async def _put_away(self) -> None:
        if self._save is not None:
            await self._save(self.conversation)

    def _on_endpoint(self, event: EndpointEvent) -> None:
        hooks, session_id = self._agent.hooks, self.conversation.id
        match event:
            case SpeechStarted(position):
                self._emit(SpeechStart())
                self._interruption.on_speech(0.0, 1000 * self._ears.seconds_since(position))
                self._agent.quiet.disturb(self)
                self._enter(AgentState.LISTENING, "speech started")
                self._reporter.fire(hooks.on_speech_start, session_id, unix_ms())
            case Continued(speech):
                self._transcriber.listen_in(speech)
            case Paused(speech):
                self._turn_taking.on_pause(speech)
                # Most pauses are the end: the transcript and the first words of the reply are ready, or
                # nearly, when that is certain.
                self._transcriber.begin(speech)
            case Resumed():
                self._turn_taking.drop()
                self._draft.drop()
                self._transcriber.go_on()
                self._interruption.on_speech(self._ears.voiced_ms)
                self._enter(AgentState.LISTENING, "speech resumed")
            case SpeechEnded(speech, voiced_until):
                self._turn_taking.end()
                self._emit(SpeechEnd())
                self._reporter.fire(hooks.on_speech_end, session_id, unix_ms(), 1000 * speech.seconds)
                transcription = self._transcriber.take(speech)
                ended = now() - self._ears.seconds_since(voiced_until)
                self._interruption.on_end(Utterance(transcription, speech, ended, now()))

    def _on_partial(self, words: str) -> None:
        """The user has said this, and speaks on."""
        if words and not self._interruption.holding:
            self._emit(TranscriptMessage(words, is_final=False))
            self._foresee(words, self._draft.foresee)

    def _on_transcribed(self, transcription: asyncio.Task[Heard]) -> None:
        """Begin the reply, if the pause still lasts and nobody knows yet whether it is the end."""
        meant = self._interruption.on_words(transcription)
        if transcription.exception() is not None:
            return
        self._turn_taking.on_transcript(transcription.result().transcript)
        if not meant or not self._agent.settings.listening.eager:
            return
        if self._turn_task is None or self._turn_task.done():
            self._begin_draft(transcription)
        else:  # it was interrupted, and what was heard of it is still to be noted
            self._turn_task.add_done_callback(lambda _: self._begin_draft(transcription))

    def _begin_draft(self, transcription: asyncio.Task[Heard]) -> None:
        if self._transcriber.is_current(transcription):
            self._foresee(transcription.result().transcript.text, self._draft.begin)

    def _foresee(self, words: str, prepare: Callable[[LlmRequest], None]) -> None:
        request = self._surroundings().foresee(words)
        if request is not None:
            prepare(request)

    def _interrupt(self) -> bool:
        """Whether there was a reply to interrupt."""
        self._interruption.forget()
        if self._turn is not None and self._turn_task is not None and self._turn.interrupt():
            self._turn_task.cancel()
            return True
        return False

    def _answer(self, said: Utterance) -> None:
        self._start_turn(said.transcription, said.ended, said.endpoint, said.speech)

    def _start_turn(
        self,
        heard: asyncio.Future[Heard] | None,
        speech_ended: float,
        endpoint: float | None = None,
        speech: AudioFrame | None = None,
        announcement: str = "",
        forget: ForgetRequest | None = None,
    ) -> None:
        if self._late is not None:
            begin = partial(self._start_turn, heard, speech_ended, endpoint, speech, announcement, forget)
            self._late.append(begin)
            return
        if speech is not None and heard is not None and heard.cancelled():  # with what ended before it
            heard = self._transcriber.transcribe(speech)
        self._interrupt()
        self._agent.quiet.disturb(self)
        self._enter(AgentState.THINKING, "announcement due" if announcement else "turn started")
        self._turn = Turn(self._surroundings(), heard, speech_ended, endpoint, speech, announcement, forget)
        self._turn_task = asyncio.create_task(self._run_turn(self._turn, self._turn_task), name="turn")

    async def _run_turn(self, turn: Turn, previous: asyncio.Task[None] | None) -> None:
        """Run a turn once the one before has put its history in order, and tell what became of it."""
        llm = self._agent.engines.llm
        model = llm.name
        with log_context(session_id=self.conversation.id, model=model):
            try:
                if previous is not None:
                    await asyncio.wait([previous])
                await turn.run()
            except VoiceError as error:
                self.report(error, turn.context.turn_id)
            except Exception as error:
                self.report_unforeseen(error, turn.context.turn_id)
            finally:
                if turn is self._turn:
                    self._draft.drop()
                    if self._silent:
                        self._agent.quiet.calm(self)
                self._between.begin()  # however it ended: also while the user, who interrupted, still speaks
            if llm.name != model:
                words = f"The language model {model} failed. From now on {llm.name} answers."
                self.report(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, words), turn.context.turn_id)
            if turn is self._turn:
                self._rest("turn ended")

    @property
    def _silent(self) -> bool:
        """Whether nobody speaks, nor is about to."""
        return self._running() is None and not self._ears.speaking and not self._interruption.undecided

    def _rest(self, event: str) -> None:
        """Nobody speaks any more, unless somebody does."""
        if self._silent:
            self._agent.quiet.calm(self)
            self._enter(AgentState.IDLE, event)
            self._say_announcements()

    def _say_announcements(self) -> None:
        """Say what is due, if nobody is speaking; otherwise it is said when they have finished."""
        if self._attached and self._state is AgentState.IDLE and self.conversation.announcements:
            text = self.conversation.announcements.pop(0)
            self._start_turn(None, now(), announcement=text)

    def _on_stage_timeout(self, change: StageChange) -> None:
        self._emit(StageChangeMessage(change.from_stage, change.to_stage, change.reason))
        self.conversation.leave_stage(change.clear_history)
        if change.say:
            self.conversation.announce(change.say)

    async def _forget(self, wanted: ForgetRequest) -> str:
        """Forget it in the history, on disk, in recordings and in the LLM; what to say then."""
        count = self.conversation.forget(wanted.everything)
        # Whatever still reads or sums up the past ends first, or it would have the LLM read it again.
        await self._between.close()
        await self._draft.close()
        saved = self._save is None or await self._save(self.conversation)
        if wanted.everything and self._agent.delete_recordings is not None:
            saved = await self._agent.delete_recordings(self.conversation.id) and saved
        await self._agent.engines.llm.forget()
        self._emit(Forgotten(count, wanted.everything, wanted.said))
        return outcome(wanted, count, saved, logged=self._agent.settings.monitor.transcripts)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._agent,
            self.conversation,
            self._playout,
            self._emit,
            self._enter,
            self.report,
            self._draft,
            self._forget,
        )

    def _running(self) -> Turn | None:
        going_on = self._turn_task is not None and not self._turn_task.done()
        return self._turn if going_on and self._turn is not None and self._turn.interruptible else None

    def _enter(self, state: AgentState, event: str) -> None:
        # A turn may take another's place while that one thinks: told too, or the client would not know whose
        # words come next.
        if state is not self._state or state is AgentState.THINKING:
            self.trace.add(self._state, event, state)
            self._state = state
            self._emit(StateMessage(state))
            if state is AgentState.IDLE and self._attached:
                self._between.watch()
            else:
                self._between.unwatch()
