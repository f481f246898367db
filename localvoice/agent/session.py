"""A live session: frames in, turns out. Barge-in, the agent's state, and what the client is told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from localvoice.agent.agent import Agent
from localvoice.agent.between import BetweenTurns
from localvoice.agent.director import StageChange
from localvoice.agent.draft import Draft
from localvoice.agent.ears import Ears
from localvoice.agent.reporting import Reporter
from localvoice.agent.sessions import Conversation
from localvoice.agent.stages import Heard
from localvoice.agent.stopwatch import Stopwatch, now, unix_ms
from localvoice.agent.surroundings import AgentState, Surroundings
from localvoice.agent.trace import Trace
from localvoice.agent.turn import Turn
from localvoice.audio.endpointing import EndpointEvent, Paused, Resumed, SpeechEnded, SpeechStarted
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.playout import Playout
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import (
    ServerMessage,
    SpeechEnd,
    SpeechStart,
    StageChangeMessage,
    StateMessage,
)
from localvoice.contract.metrics import Metric
from localvoice.engines.protocols import Transcript
from localvoice.log_context import log_context

log = logging.getLogger(__name__)


class Session:
    """One conversation on one connection, whatever carries its sound and messages."""

    def __init__(
        self,
        agent: Agent,
        conversation: Conversation,
        playout: Playout,
        emit: Callable[[ServerMessage], None],
        save: Callable[[Conversation], Awaitable[None]] | None = None,
    ) -> None:
        """`emit` sends a message to the client and must not block; `playout` is read by the transport.

        `save` puts a conversation away for a restart of the process; it is called between turns.
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
        self._draft = Draft(agent.engines)
        self._transcription: asyncio.Task[Heard] | None = None
        self._turn: Turn | None = None
        self._turn_task: asyncio.Task[None] | None = None
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
            except Exception:
                if not failing:
                    self.report_unforeseen()
                failing = True

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of the user's sound, any length and rate."""
        for event in self._ears.hear(frame):
            self._on_endpoint(event)

    def answer_text(self, text: str) -> None:
        """The user typed instead of speaking; a running turn gives way."""
        self._start_turn(_known(Heard(Transcript(text), None)), now())

    def answer_utterance(self, speech: AudioFrame) -> None:
        """The user sent a whole spoken utterance; a running turn gives way."""
        speech = speech.resampled(SPEECH_RATE)
        self._start_turn(self._transcribe(speech), now(), speech=speech)

    async def settle(self) -> None:
        """Wait until nothing is being answered."""
        while self._turn_task is not None and not self._turn_task.done():
            await asyncio.wait([self._turn_task])

    async def resume(self, conversation: Conversation) -> None:
        """Go on with another conversation's history; a running turn ends first, in its own."""
        await self._end_work()
        self._attach(conversation)
        if not self._ears.speaking:
            self._enter(AgentState.IDLE, "resumed")

    async def close(self) -> None:
        """End all work. History keeps what was heard."""
        await self._end_work()
        await self._reporter.close()

    async def _end_work(self) -> None:
        self._interrupt()
        ending = [task for task in (self._transcription, self._turn_task) if task is not None]
        self._drop_transcription()
        if ending:
            await asyncio.wait(ending)
        await self._draft.close()
        await self._between.close()
        self._agent.quiet.calm(self)
        if self.conversation.on_announcement == self._say_announcements:
            self.conversation.on_announcement = None
        if self._save is not None:
            await self._save(self.conversation)

    def _attach(self, conversation: Conversation) -> None:
        self.conversation = conversation
        conversation.on_announcement = self._say_announcements
        self._between = BetweenTurns(self._surroundings(), self._put_away, self._on_stage_timeout)
        self._between.begin()
        self._say_announcements()

    async def _put_away(self) -> None:
        if self._save is not None:
            await self._save(self.conversation)

    def _on_endpoint(self, event: EndpointEvent) -> None:
        hooks, session_id = self._agent.hooks, self.conversation.id
        match event:
            case SpeechStarted(position):
                self._emit(SpeechStart())
                if self._interrupt():
                    stop_ms = 1000 * self._ears.seconds_since(position)
                    self._agent.metrics.timing(Metric.BARGE_IN_STOP, stop_ms)
                self._agent.quiet.disturb(self)
                self._enter(AgentState.LISTENING, "speech started")
                self._reporter.fire(hooks.on_speech_start, session_id, unix_ms())
            case Paused(speech):
                # Most pauses are the end: the transcript and the first words of the reply are ready, or
                # nearly, when that is certain.
                self._transcription = self._transcribe(speech)
                self._transcription.add_done_callback(self._on_transcribed)
            case Resumed():
                self._drop_transcription()
                self._draft.drop()
            case SpeechEnded(speech, voiced_until):
                self._emit(SpeechEnd())
                self._reporter.fire(hooks.on_speech_end, session_id, unix_ms(), 1000 * speech.seconds)
                transcription = self._transcription or self._transcribe(speech)
                self._transcription = None
                silence = self._ears.seconds_since(voiced_until)
                self._start_turn(transcription, now() - silence, now(), speech)

    def _on_transcribed(self, transcription: asyncio.Task[Heard]) -> None:
        """Begin the reply, if the pause still lasts and nobody knows yet whether it is the end."""
        eager = self._agent.settings.listening.eager and transcription is self._transcription
        if eager and not transcription.cancelled() and transcription.exception() is None:
            request = self._surroundings().foresee(transcription.result().transcript.text)
            if request is not None:
                self._draft.begin(request)

    def _interrupt(self) -> bool:
        """Whether there was a reply to interrupt."""
        if self._turn is not None and self._turn_task is not None and self._turn.interrupt():
            self._turn_task.cancel()
            return True
        return False

    def _start_turn(
        self,
        heard: asyncio.Future[Heard] | None,
        speech_ended: float,
        endpoint: float | None = None,
        speech: AudioFrame | None = None,
        announcement: str = "",
    ) -> None:
        self._interrupt()
        self._agent.quiet.disturb(self)
        self._between.end()
        self._enter(AgentState.THINKING, "announcement due" if announcement else "turn started")
        self._turn = Turn(self._surroundings(), heard, speech_ended, endpoint, speech, announcement)
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
            except Exception:
                self.report_unforeseen(turn.context.turn_id)
            finally:
                if turn is self._turn:
                    self._draft.drop()
                self._agent.quiet.calm(self)
                self._between.begin()  # however it ended: also while the user, who interrupted, still speaks
            if llm.name != model:
                words = f"The language model {model} failed. From now on {llm.name} answers."
                self.report(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, words), turn.context.turn_id)
            if turn is self._turn and not self._ears.speaking:
                self._enter(AgentState.IDLE, "turn ended")
                self._say_announcements()

    def _say_announcements(self) -> None:
        """Say what is due, if nobody is speaking; otherwise it is said when they have finished."""
        if self._state is AgentState.IDLE and self.conversation.announcements:
            text = self.conversation.announcements.popleft()
            self._start_turn(None, now(), announcement=text)

    def _on_stage_timeout(self, change: StageChange) -> None:
        self._emit(StageChangeMessage(change.from_stage, change.to_stage, change.reason))
        if change.clear_history:
            self.conversation.history.clear()
        if change.say:
            self.conversation.announcements.append(change.say)
            self._say_announcements()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._agent,
            self.conversation,
            self._playout,
            self._emit,
            self._enter,
            self.report,
            self._draft,
        )

    def _transcribe(self, speech: AudioFrame) -> asyncio.Task[Heard]:
        return asyncio.create_task(self._timed_transcription(speech), name="transcription")

    def _drop_transcription(self) -> None:
        if self._transcription is not None:
            self._transcription.cancel()
            # It may have failed already; nobody needs to know.
            self._transcription.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._transcription = None

    async def _timed_transcription(self, speech: AudioFrame) -> Heard:
        watch = Stopwatch()
        transcript = await self._agent.engines.stt.transcribe(speech)
        return Heard(transcript, watch.timing(), now())

    def _enter(self, state: AgentState, event: str) -> None:
        if state is not self._state:
            self.trace.add(self._state, event, state)
            self._state = state
            self._emit(StateMessage(state))


def _known(heard: Heard) -> asyncio.Future[Heard]:
    future: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
    future.set_result(heard)
    return future
