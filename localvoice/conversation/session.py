"""A live session: frames in, turns out. It tells the floor what happens, and does what the floor wants."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.playout import Playout
from localvoice.audio.recordings import too_long
from localvoice.contract.messages import ServerMessage, SpeechEnd, TranscriptMessage
from localvoice.conversation import moves
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.floor import Floor, step
from localvoice.conversation.housekeeping import Housekeeping
from localvoice.conversation.listening import Listening, SpeechEvent
from localvoice.conversation.moves import FloorTransition, Heard, Spoken, State, TurnOpening
from localvoice.conversation.phrases.backchannels import wants_floor
from localvoice.conversation.phrases.forgetting import ForgetRequest
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speculation import Speculation
from localvoice.conversation.turn import Turn
from localvoice.observability.stopwatch import now, unix_ms

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
        subscribers: Sequence[Callable[[FloorTransition], None]] = (),
    ) -> None:
        """`emit` sends a message to the client and must not block; `playout` is read by the transport.

        `save` puts a conversation away for a restart of the process, and says whether it could; it is called
        between turns, and where something is forgotten. `subscribers` are told of each transition of the
        floor before the client is.
        """
        self.conversation = conversation
        self._agent = agent
        self._playout = playout
        self._save = save
        self._subscribers = subscribers
        self._reporter = Reporter(agent, lambda: self.conversation.id, emit)
        self.trace = self._reporter.trace
        self.report = self._reporter.report
        self.report_any = self._reporter.report_any
        interrupt_ms = agent.settings.listening.interrupt_ms
        self._floor = Floor(can_hold=agent.settings.agent.streaming_speech, interrupt_ms=interrupt_ms)
        self._posted: deque[moves.Event] = deque()
        self._stepping = False
        self._listening = Listening(agent, self._reporter, self._on_speech, self._on_words, self._on_partial)
        self.listen = self._listening.listen
        self.hear = self._listening.hear
        self._speculation = Speculation(agent)
        self._new_turn = partial(Turn, agent, playout, self._reporter, self._speculation, self._post)
        self._turn: Turn | None = None  # the latest; it ends after all that came before it
        self._attach(conversation)

    # --- what the user does ---

    def answer_text(self, text: str) -> None:
        """The user typed instead of speaking; a running turn gives way."""
        self._post(moves.Requested(moves.Typed(text, now())))

    def answer_utterance(self, speech: AudioFrame) -> None:
        """The user sent a whole utterance. Raises `VoiceError` INVALID_AUDIO_FORMAT if it is too long."""
        most = self._agent.settings.listening.max_utterance_seconds
        if speech.seconds > most:
            raise too_long(most)
        speech = speech.resampled(SPEECH_RATE)
        self._post(moves.Requested(Spoken(self._listening.transcriber.transcribe(speech), speech, now())))

    def forget(self, everything: bool) -> None:
        """The user wants the last exchange, or everything, forgotten; a running turn gives way."""
        self._post(moves.Requested(moves.Forget(ForgetRequest(everything, said=False), now())))

    def _on_speech(self, event: SpeechEvent) -> None:
        hooks, session_id = self._agent.hooks, self.conversation.id
        match event:
            case moves.SpeechLasts() if self._floor.state is not State.HELD:
                return  # the floor has no use for it, and it comes with each frame
            case moves.SpeechStarted():
                self._reporter.fire(hooks.on_speech_start, session_id, unix_ms())
            case moves.SpeechResumed():
                self._speculation.drop()
                self._listening.transcriber.go_on()
            case moves.SpeechEnded(opening):
                self._reporter.emit(SpeechEnd())
                milliseconds = 1000 * opening.speech.seconds
                self._reporter.fire(hooks.on_speech_end, session_id, unix_ms(), milliseconds)
        self._post(event)

    def _on_partial(self, words: str) -> None:
        """The user has said this, and speaks on."""
        if words and self._floor.user_has_floor:
            self._reporter.emit(TranscriptMessage(words, is_final=False))
            self._speculation.foresee(words, self.conversation)

    def _on_words(self, transcription: asyncio.Task[Heard]) -> None:
        """What was said before the pause that still lasts is known, or that failed: begin the reply."""
        if self._floor.state is State.HELD:
            self._post(moves.PauseUnderstood(self._wants_floor(transcription)))
        eager = self._agent.settings.listening.eager and self._floor.user_has_floor
        if not eager or transcription.exception() is not None:
            return
        if self._turn is None or self._turn.task.done():
            self._speculate(transcription)
        else:  # it was interrupted, and what was heard of it is still to be noted
            self._turn.task.add_done_callback(lambda _: self._speculate(transcription))

    def _speculate(self, transcription: asyncio.Task[Heard]) -> None:
        if self._listening.transcriber.current is transcription:
            words = transcription.result().transcript.text
            self._speculation.begin(transcription, words, self.conversation)

    def _wants_floor(self, transcription: asyncio.Task[Heard]) -> bool:
        if transcription.cancelled() or transcription.exception() is not None:
            return False
        return wants_floor(transcription.result().transcript, self._playout)

    # --- what the floor wants ---

    def _post(self, event: moves.Event) -> None:
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

    def _carry_out(self, effect: moves.Effect) -> None:
        match effect:
            case FloorTransition():
                self._housekeeping.follow(effect)
                for follow in (*self._subscribers, self._reporter.follow):
                    follow(effect)
                self._say_announcements()
            case moves.Hold():
                self._playout.hold()
            case moves.Release():
                self._playout.resume()
            case moves.Cut(_, answering, after_ms):
                if self._turn is not None:
                    self._turn.cut(answering, after_ms)
            case moves.Begin(opening):
                self._begin(opening)
            case moves.Await(opening):
                opening.transcription.add_done_callback(
                    lambda words: self._post(moves.Understood(opening, self._wants_floor(words)))
                )
            case moves.Dismiss(opening):
                self._reporter.report_failed(opening.transcription)

    def _begin(self, opening: TurnOpening) -> None:
        if isinstance(opening, Spoken) and opening.transcription.cancelled():  # with what ended before it
            opening.transcription = self._listening.transcriber.transcribe(opening.speech)
        previous = None if self._turn is None else self._turn.task
        self._turn = self._new_turn(opening, self.conversation, self._housekeeping, previous)

    # --- between turns ---

    def read_ahead(self) -> None:
        """The LLM has lost what it had read: have it read the next prompt again, unless a turn goes on."""
        if self._floor.silent:
            self._housekeeping.begin()

    async def settle(self) -> None:
        """Wait until nothing is being answered."""
        while True:
            tasks = [each.opening.transcription for each in self._floor.undecided]
            if self._turn is not None:
                tasks.append(self._turn.task)
            working = [task for task in tasks if not task.done()]
            if not working:
                return
            await asyncio.wait(working)

    async def resume(self, conversation: Conversation) -> None:
        """End the running turn, and go on with another conversation: what the user says meanwhile is its."""
        await self._end_work()
        self._attach(conversation)
        self._post(moves.Entered())
        self._say_announcements()

    async def close(self) -> None:
        """End all work. History keeps what was heard."""
        await self._end_work()
        await self._reporter.close()

    async def _end_work(self) -> None:
        self._post(moves.Left())
        transcriber = self._listening.transcriber
        transcriber.drop()
        if self._turn is not None:
            await asyncio.wait([self._turn.task], timeout=_LAST_WORDS_SECONDS)
            transcriber.abandon()
            await asyncio.wait([self._turn.task])
        await self._listening.close()
        await self._speculation.close()
        await self._housekeeping.close()
        self.conversation.let_go_of_pictures()
        if self.conversation.on_announcement == self._say_announcements:
            self.conversation.on_announcement = None
        await self._housekeeping.save()

    def _attach(self, conversation: Conversation) -> None:
        self.conversation = conversation
        conversation.confirmation = None  # another person may have heard the question
        conversation.on_announcement = self._say_announcements
        self._housekeeping = Housekeeping(
            self._agent, conversation, self._reporter, self._speculation, self._save
        )
        self._housekeeping.begin()
        if self._floor.state is State.IDLE:
            self._housekeeping.watch()
        self._say_announcements()

    def _say_announcements(self) -> None:
        """Say what is due, if the floor is idle; otherwise it is said when it is."""
        waiting = self.conversation.announcements
        if waiting and self._floor.state is State.IDLE and self._floor.silent:
            text = waiting.pop(0)
            self._post(moves.Requested(moves.Announced(text, now()), "announcement due"))
