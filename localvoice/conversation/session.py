"""A live session: frames in, turns out. It tells the floor what happens, and does what the floor wants."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

from localvoice.application.stopwatch import now, unix_ms
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.playout import Playout
from localvoice.audio.recordings import too_long
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
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.backchannel import wants_floor
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.director import StageChange
from localvoice.conversation.floor import Floor, step
from localvoice.conversation.floor_events import (
    SPEECH_STARTED,
    Await,
    Begin,
    Cut,
    Dismiss,
    Effect,
    Entered,
    Event,
    Hold,
    Left,
    PauseUnderstood,
    Release,
    Requested,
    SpeechEnded,
    SpeechLasts,
    SpeechResumed,
    SpeechStarted,
    State,
    Transition,
    TurnEnded,
    Understood,
)
from localvoice.conversation.forgetting import ForgetRequest, outcome
from localvoice.conversation.housekeeping import Housekeeping
from localvoice.conversation.listening import Listening, SpeechEvent
from localvoice.conversation.models import Heard
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speculation import Speculation
from localvoice.conversation.trace import Trace
from localvoice.conversation.turn import Announced, Forget, Spoken, Turn, TurnOpening, Typed
from localvoice.observability.log_context import log_context

log = logging.getLogger(__name__)

_LAST_WORDS_SECONDS: Final = 0.15
"""For a transcription that is nearly done when its user goes: the words are kept, though unanswered."""


class Session:
    """One conversation on one connection, whatever carries its sound and messages."""

    def __init__(
        self,
        agent: Agent,
        conversation: Conversation,
        playout: Playout,
        emit: Callable[[ServerMessage], None],
        save: Callable[[Conversation], Awaitable[bool]] | None = None,
        subscribers: Sequence[Callable[[Transition], None]] = (),
    ) -> None:
        """`emit` sends a message to the client and must not block; `playout` is read by the transport.

        `save` puts a conversation away for a restart of the process, and says whether it could; it is called
        between turns, and where something is forgotten. `subscribers` are told of each transition of the
        floor before the client is.
        """
        self.conversation = conversation
        self.trace = Trace()
        """The latest transitions of the floor."""
        self._agent = agent
        self._playout = playout
        self._save = save
        self._subscribers = subscribers
        self._reporter = Reporter(agent, lambda: self.conversation.id, emit)
        self.report = self._reporter.report
        self.report_unforeseen = self._reporter.report_unforeseen
        settings = agent.settings
        self._floor = Floor(
            can_hold=settings.agent.streaming_speech, interrupt_ms=settings.listening.interrupt_ms
        )
        self._posted: deque[Event] = deque()
        self._stepping = False
        self._listening = Listening(agent, self.report, self._on_speech, self._on_words, self._on_partial)
        self._speculation = Speculation(agent)
        self._turn: Turn | None = None
        self._turn_task: asyncio.Task[None] | None = None
        self._attach(conversation)

    # --- what the user does ---

    async def listen(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Follow the user's voice until the frames end. Nothing slow is awaited here."""
        failing = False
        async for frame in frames:
            position = self._listening.position
            try:
                self.hear(frame)
                failing = failing and self._listening.position == position  # too short to tell
            except Exception as error:
                if not failing:  # a VAD that stays broken is told once, not thirty times a second
                    self._reporter.report_any(error)
                failing = True

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of the user's sound, any length and rate."""
        self._listening.hear(frame)
        if self._floor.state is State.HELD:
            self._post(SpeechLasts(self._listening.voiced_ms))

    def answer_text(self, text: str) -> None:
        """The user typed instead of speaking; a running turn gives way."""
        self._post(Requested(Typed(text, now())))

    def answer_utterance(self, speech: AudioFrame) -> None:
        """The user sent a whole spoken utterance; a running turn gives way.

        Raises `VoiceError` INVALID_AUDIO_FORMAT if it is longer than one that is spoken may be.
        """
        most = self._agent.settings.listening.max_utterance_seconds
        if speech.seconds > most:
            raise too_long(most)
        speech = speech.resampled(SPEECH_RATE)
        self._post(Requested(Spoken(self._listening.transcriber.transcribe(speech), speech, now())))

    def forget(self, everything: bool) -> None:
        """The user wants the last exchange, or everything, forgotten; a running turn gives way."""
        self._post(Requested(Forget(ForgetRequest(everything, said=False), now())))

    def _on_speech(self, event: SpeechEvent) -> None:
        hooks, session_id = self._agent.hooks, self.conversation.id
        match event:
            case SpeechStarted():
                self._post(event)
                self._reporter.fire(hooks.on_speech_start, session_id, unix_ms())
            case SpeechResumed():
                self._speculation.drop()
                self._listening.transcriber.go_on()
                self._post(event)
            case SpeechEnded(opening):
                self._reporter.emit(SpeechEnd())
                ms = 1000 * opening.speech.seconds
                self._reporter.fire(hooks.on_speech_end, session_id, unix_ms(), ms)
                self._post(event)

    def _on_partial(self, words: str) -> None:
        """The user has said this, and speaks on."""
        if words and self._floor.user_has_floor:
            self._reporter.emit(TranscriptMessage(words, is_final=False))
            self._speculation.foresee(words, self.conversation)

    def _on_words(self, transcription: asyncio.Task[Heard]) -> None:
        """What was said before the pause that still lasts is known, or that failed: begin the reply."""
        self._post(PauseUnderstood(self._wants_floor(transcription)))
        eager = self._agent.settings.listening.eager and self._floor.user_has_floor
        if not eager or transcription.exception() is not None:
            return
        if self._turn_task is None or self._turn_task.done():
            self._speculate(transcription)
        else:  # it was interrupted, and what was heard of it is still to be noted
            self._turn_task.add_done_callback(lambda _: self._speculate(transcription))

    def _speculate(self, transcription: asyncio.Task[Heard]) -> None:
        if self._listening.transcriber.is_current(transcription):
            words = transcription.result().transcript.text
            self._speculation.begin(transcription, words, self.conversation)

    def _wants_floor(self, transcription: asyncio.Task[Heard]) -> bool:
        if transcription.cancelled() or transcription.exception() is not None:
            return False
        return wants_floor(transcription.result().transcript, self._playout)

    def _report_failure(self, transcription: asyncio.Task[Heard]) -> None:
        if transcription.done() and not transcription.cancelled() and (error := transcription.exception()):
            self._reporter.report_any(error)

    # --- what the floor wants ---

    def _post(self, event: Event) -> None:
        """Tell the floor, and do what it wants. What happens on the way is told it afterwards."""
        self._posted.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._posted:
                self._floor, effects = step(self._floor, self._posted.popleft())
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._stepping = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Transition():
                self._tell(effect)
            case Hold():
                self._playout.hold()
            case Release():
                self._playout.resume()
            case Cut():
                self._cut(effect)
            case Begin(opening):
                self._begin(opening)
            case Await(opening):
                opening.transcription.add_done_callback(
                    lambda words: self._post(Understood(opening, self._wants_floor(words)))
                )
            case Dismiss(opening):
                self._report_failure(opening.transcription)

    def _tell(self, transition: Transition) -> None:
        self.trace.add(transition.source, transition.event, transition.target)
        self._agent.quiet.follow(self, transition)
        self._housekeeping.follow(transition)
        for follow in self._subscribers:
            follow(transition)
        if transition.event == SPEECH_STARTED:
            self._reporter.emit(SpeechStart())
        told = transition.target.told
        # A turn may take another's place while that one thinks: the client must know whose words come next.
        if told != transition.source.told or transition.target is State.THINKING:
            self._reporter.emit(StateMessage(told))
        self._say_announcements()

    def _cut(self, cut: Cut) -> None:
        if self._turn is None or self._turn_task is None:
            return
        if not cut.answering:
            self._playout.resume()  # for its question is noted, though not answered
        self._playout.stop()
        self._turn.cut()
        if cut.answering:
            self._turn_task.cancel()
            if cut.after_ms is not None:
                self._agent.metrics.timing(Metric.BARGE_IN_STOP, cut.after_ms)

    def _begin(self, opening: TurnOpening) -> None:
        draft = None
        if isinstance(opening, Spoken):
            if opening.transcription.cancelled():  # with what ended before it
                opening.transcription = self._listening.transcriber.transcribe(opening.speech)
            draft = self._speculation.take(opening.transcription)
        self._speculation.drop()
        self._turn = Turn(
            opening,
            self._agent,
            self.conversation,
            self._playout,
            self._reporter,
            self._post,
            self._forget,
            draft,
        )
        self._turn_task = asyncio.create_task(self._run(self._turn, self._turn_task), name="turn")

    async def _run(self, turn: Turn, previous: asyncio.Task[None] | None) -> None:
        """Run a turn once the one before has put its history in order, and tell what became of it."""
        llm = self._agent.engines.llm
        model = llm.name
        with log_context(session_id=self.conversation.id, model=model):
            try:
                if previous is not None:
                    await asyncio.wait([previous])
                await turn.run()
            except Exception as error:
                self._reporter.report_any(error, turn.context.turn_id)
            finally:
                self._speculation.drop_draft(turn.draft)
                self._housekeeping.begin()  # also while the user, who interrupted it, still speaks
            if llm.name != model:
                words = f"The language model {model} failed. From now on {llm.name} answers."
                self.report(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, words), turn.context.turn_id)
            self._post(TurnEnded(turn.opening))

    # --- between turns ---

    def read_ahead(self) -> None:
        """The LLM has lost what it had read: have it read the next prompt again, unless a turn goes on."""
        if self._floor.silent:
            self._housekeeping.begin()

    async def settle(self) -> None:
        """Wait until nothing is being answered."""
        while working := [task for task in self._at_work() if not task.done()]:
            await asyncio.wait(working)

    async def resume(self, conversation: Conversation) -> None:
        """Go on with another conversation's history; a running turn ends first, in its own.

        What the user says meanwhile belongs to the other one.
        """
        await self._end_work()
        self._attach(conversation)
        self._post(Entered())
        self._say_announcements()

    async def close(self) -> None:
        """End all work. History keeps what was heard."""
        await self._end_work()
        await self._reporter.close()

    def _at_work(self) -> Iterator[asyncio.Task[Any]]:
        if self._turn_task is not None:
            yield self._turn_task
        yield from (each.opening.transcription for each in self._floor.undecided)

    async def _end_work(self) -> None:
        self._post(Left())
        transcriber = self._listening.transcriber
        transcriber.drop()
        if self._turn_task is not None:
            await asyncio.wait([self._turn_task], timeout=_LAST_WORDS_SECONDS)
            transcriber.abandon()
            await asyncio.wait([self._turn_task])
        await self._listening.close()
        await self._speculation.close()
        await self._housekeeping.close()
        self._agent.quiet.calm(self)
        self.conversation.let_go_of_pictures()
        if self.conversation.on_announcement == self._say_announcements:
            self.conversation.on_announcement = None
        await self._put_away()

    def _attach(self, conversation: Conversation) -> None:
        self.conversation = conversation
        conversation.confirmation = None  # another person may have heard the question
        conversation.on_announcement = self._say_announcements
        self._housekeeping = Housekeeping(
            self._agent,
            conversation,
            self._reporter,
            self._speculation,
            self._put_away,
            self._on_stage_timeout,
        )
        self._housekeeping.begin()
        if self._floor.state is State.IDLE:
            self._housekeeping.watch()
        self._say_announcements()

    async def _put_away(self) -> bool:
        return self._save is None or await self._save(self.conversation)

    def _say_announcements(self) -> None:
        """Say what is due, if the floor is idle; otherwise it is said when it is."""
        idle = self._floor.state is State.IDLE and self._floor.silent
        if idle and self.conversation.announcements:
            text = self.conversation.announcements.pop(0)
            self._post(Requested(Announced(text, now()), "announcement due"))

    def _on_stage_timeout(self, change: StageChange) -> None:
        self._reporter.emit(StageChangeMessage(change.from_stage, change.to_stage, change.reason))
        self.conversation.leave_stage(change.clear_history)
        if change.say:
            self.conversation.announce(change.say)

    async def _forget(self, wanted: ForgetRequest) -> str:
        """Forget it in the history, on disk, in recordings and in the LLM; what to say then."""
        count = self.conversation.forget(wanted.everything)
        # What still reads or sums up the past ends first, or it would have the LLM read it again.
        await self._housekeeping.close()
        await self._speculation.close()
        saved = await self._put_away()
        if wanted.everything and self._agent.delete_recordings is not None:
            saved = await self._agent.delete_recordings(self.conversation.id) and saved
        await self._agent.engines.llm.forget()
        self._reporter.emit(Forgotten(count, wanted.everything, wanted.said))
        return outcome(wanted, count, saved, logged=self._agent.settings.monitor.transcripts)
