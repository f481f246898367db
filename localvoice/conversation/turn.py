"""One turn's life: what the user said, the reply, its sound, and what of it was heard.

Follow a turn from `Turn._run` down: `_hear` takes what it begins with, `_reply` answers, and `_conclude`
remembers what of the answer was heard.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from functools import partial

from localvoice.application.hooks import Rejection, TurnContext, consult, notify
from localvoice.audio.playout import Playout
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ReplyHeard, TranscriptMessage, TurnMetrics
from localvoice.contract.metrics import Metric
from localvoice.conversation import moves
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.housekeeping import Housekeeping
from localvoice.conversation.moves import Announced, Forget, Heard, Spoken, TurnOpening, Typed
from localvoice.conversation.phrases.forgetting import forget_request
from localvoice.conversation.phrases.pictures import BLIND
from localvoice.conversation.phrases.understood import ASIDE, Again, Known, Say, Silence, Understood
from localvoice.conversation.reply import ReplyWriter
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speaking import Speaker
from localvoice.conversation.speculation import Speculation
from localvoice.engines.types import Transcript
from localvoice.observability.log_context import log_context
from localvoice.observability.stopwatch import Stopwatch
from localvoice.tools.confirmation import Confirmation, Consent, Settled

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class Turn:
    """Runs once, in a task of its own."""

    agent: Agent
    playout: Playout
    reporter: Reporter
    speculation: Speculation
    post: Callable[[moves.Event], None]  # tells the floor
    opening: TurnOpening
    conversation: Conversation
    housekeeping: Housekeeping
    previous: InitVar[asyncio.Task[None] | None]
    """The turn before: this one waits until that has put its history in order."""

    def __post_init__(self, previous: asyncio.Task[None] | None) -> None:
        opening = self.opening
        draft = self.speculation.take(opening.transcription) if isinstance(opening, Spoken) else None
        if draft is None:
            self.speculation.drop()  # what was begun answers something else
        self._draft = draft
        self._watch = Stopwatch(opening.at)
        self._context = TurnContext(secrets.token_hex(8), self.conversation.id, self._watch.start_time)
        on_sound = partial(self._tell, moves.SoundStarted)
        conversation = self.conversation
        self._speaker = Speaker(
            self.agent, self.playout, self.reporter.emit, self._context, on_sound, conversation.manner
        )
        self._writer = ReplyWriter(self.agent, self.conversation, self.reporter, self._context, self._speaker)
        self._heard: Heard | None = None
        self._known: Known = None
        self._announcement = ""
        self._keeps_reply = not isinstance(opening, Forget)  # in the history
        self.task = asyncio.create_task(self._run(previous), name="turn")

    def cut(self, answering: bool, after_ms: float | None) -> None:
        """The turn is cut short: nothing more of it is written or spoken.

        Before its reply (not `answering`), what the user said is still noted, in its order. `after_ms`: how
        long the user had been speaking at the silence; None where they did something else.
        """
        if not answering:
            self.playout.resume()  # what the user said is noted, though not answered
        self.playout.stop()
        self._speaker.cut()
        if answering:
            self.task.cancel()
            if after_ms is not None:
                self.agent.metrics.timing(Metric.BARGE_IN_STOP, after_ms)

    async def _run(self, previous: asyncio.Task[None] | None) -> None:
        llm = self.agent.engines.llm
        model, turn_id = llm.name, self._context.turn_id
        with log_context(session_id=self._context.session_id, model=model):
            try:
                if previous is not None:
                    await asyncio.wait([previous])
                with log_context(turn_id=turn_id):
                    await self._take_turn()
            except Exception as error:
                self.reporter.report_any(error, turn_id)
            finally:
                self.speculation.drop_draft(self._draft)
                self.housekeeping.begin()  # also while the user, who interrupted it, still speaks
            if llm.name != model:
                words = f"The language model {model} failed. From now on {llm.name} answers."
                self.reporter.report(VoiceError(ErrorCode.LLM_ERROR, Component.LLM, words), turn_id)
            self._tell(moves.TurnEnded)

    async def _take_turn(self) -> None:
        """Answer. Raises what failed; what was said before that still counts."""
        hooks, opening = self.agent.hooks, self.opening
        speech = opening.speech if isinstance(opening, Spoken) else None
        await notify(hooks.on_turn_start, self._context, speech)
        try:
            words = await self._hear()
            await self.playout.released()  # a user who speaks on has perhaps not finished the question
            if self._speaker.is_cut:
                if isinstance(opening, Announced):
                    self.conversation.announcements.insert(0, opening.text)  # it was not heard
            elif words or self._announcement:  # else silence, a cough, a door: no error, no reply
                await self._reply(words)
        finally:
            self._tell(moves.TurnSpent)
            timing = self._watch.timing()
            self.agent.metrics.timing(Metric.TURN_DURATION, timing.duration_ms)
            await notify(hooks.on_turn_end, self._context, timing)

    def _tell(self, event: Callable[[TurnOpening], moves.Event]) -> None:
        self.post(event(self.opening))

    # --- what the user said ---

    async def _hear(self) -> str:
        """What the user said, noted in the history; empty if nothing, or if a hook would not have it."""
        match self.opening:
            case Spoken():
                self._heard = await self._listen(self.opening)
            case Typed(text):
                self._heard = Heard(Transcript(text), None)
            case Announced(text):
                self._announcement = text
            case Forget(request):
                self._announcement = await self.housekeeping.forget(request)
        if self._heard is None:
            self.conversation.confirmation = None  # a yes to come may be meant for what is said now
            return ""
        return await self._take_words(self._heard)

    async def _listen(self, said: Spoken) -> Heard:
        """Its transcription may have begun before the turn did. Raises `VoiceError`."""
        hooks, stt = self.agent.hooks, self.agent.engines.stt
        await notify(hooks.on_stt_start, self._context, said.speech)
        try:
            heard = await said.transcription
        except VoiceError as error:
            await notify(hooks.on_stt_error, self._context, error)
            raise
        if heard.timing is not None:
            self.agent.metrics.timing(Metric.STT_DURATION, heard.timing.duration_ms, {"model": stt.name})
        return heard

    async def _take_words(self, heard: Heard) -> str:
        conversation, words = self.conversation, heard.transcript.text
        asked = conversation.confirmation
        if words and asked is not None:
            conversation.confirmation = None  # it is not asked about any more, even if this is no answer
            self._known = self._answered(asked, heard.transcript)
        if heard.timing is not None:
            if words:
                self.reporter.emit(TranscriptMessage(words))
            try:
                await consult(self.agent.hooks.on_stt_end, self._context, heard.transcript, heard.timing)
            except Rejection as no:
                log.info("what the user said was rejected: %s", no.reason)
                self._announcement = no.say or ""
                return ""
        if (request := forget_request(words)) is not None:
            self._keeps_reply = False
            self._announcement = await self.housekeeping.forget(request)
            return ""
        if words:
            self._note(heard.transcript)
        return words

    def _answered(self, asked: Confirmation, said: Transcript) -> Known:
        """What the words make of the question about a call. An emergency and silence go before it."""
        answered = asked.answered(said.text)
        if answered is None or (isinstance(answered, Settled) and answered.answer is not Consent.UNCLEAR):
            return answered
        understood = self.conversation.understand(self.agent, said.text, said.language)
        if isinstance(understood, Again):
            return asked  # the whole question: a yes is for what they have understood
        first = isinstance(understood, Silence) or (isinstance(understood, Say) and understood.urgent)
        return understood if first else answered

    def _note(self, said: Transcript) -> None:
        conversation, words = self.conversation, said.text
        if self._known is None:
            self._known = conversation.understand(self.agent, words, said.language)
        if isinstance(self._known, Understood):
            conversation.add_understood(words, self._known)
        else:
            if self._draft is not None and self._draft.revision == conversation.revision:
                self._writer.draft = self._draft
            if not conversation.add_words(words, self.agent.engines.llm.sees):
                self._keeps_reply = False
                self._announcement = BLIND

    # --- the reply, and what was heard of it ---

    async def _reply(self, words: str) -> None:
        self.playout.begin()
        self._tell(moves.ReplyStarted)
        finished = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._writer.write(words, self._announcement, self._known))
                group.create_task(self._speaker.speak())
                group.create_task(self._measure())
            finished = True
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._conclude(finished)
        if failure := self._writer.failure or self._speaker.failure:
            raise failure

    async def _conclude(self, finished: bool) -> None:
        self._tell(moves.TurnSpent)
        self._speaker.end(complete=False)  # without effect on a reply that was heard to its end
        asked = self._asked(finished)
        await self._writer.conclude(self._remember(finished))
        if self._writer.asks is not None:  # no other stage has begun
            self.conversation.confirmation = asked

    def _asked(self, finished: bool) -> Confirmation | None:
        """The question about a call that the reply ends with; None if the user has not heard enough of it."""
        asks, speaker = self._writer.asks, self._speaker
        if asks is None:
            return None
        if finished and not speaker.is_cut and speaker.faithful and speaker.failure is None:
            return asks.heard()
        return asks.heard_in(self.playout.words()[0])

    def _remember(self, finished: bool) -> str:
        """Put into the history what was heard; the words of it.

        A reply that wasn't cut short stays as it was written, so that the LLM's cache still fits it.
        """
        if not self._speaker.is_cut:  # else the playout may be the next turn's already
            self.playout.stop()
        kept = self._writer.text if finished and self._speaker.faithful else self.playout.heard()
        if self._writer.text and not finished:
            self.reporter.emit(ReplyHeard(kept))
        if kept.strip() and self._keeps_reply:
            self.conversation.history.add_assistant(kept)
            if not isinstance(self._known, ASIDE):
                self.conversation.last_reply = self._writer.text
        log.info("turn ended: finished=%s, %d characters kept", finished, len(kept))
        return kept

    # --- what it took ---

    async def _measure(self) -> None:
        first_audio = await self.playout.started()
        if first_audio is None or self._heard is None:
            return
        timing, opening = self._heard.timing, self.opening
        told = TurnMetrics(
            voice_to_voice_ms=self._since_speech(first_audio),
            endpoint_ms=self._since_speech(opening.endpoint if isinstance(opening, Spoken) else None),
            transcript_ms=self._since_speech(self._heard.known),
            first_token_ms=self._since_speech(self._writer.first_token),
            first_piece_ms=self._since_speech(self._writer.first_piece),
            stt_ms=None if timing is None else timing.duration_ms,
        )
        self.reporter.emit(told)
        for metric, ms in (
            (Metric.VOICE_TO_VOICE, told.voice_to_voice_ms),
            (Metric.ENDPOINT_DELAY, told.endpoint_ms),
            (Metric.TRANSCRIPT_DELAY, told.transcript_ms),
            (Metric.FIRST_TOKEN_DELAY, told.first_token_ms),
            (Metric.FIRST_PIECE_DELAY, told.first_piece_ms),
        ):
            if isinstance(opening, Spoken) and ms is not None:
                self.agent.metrics.timing(metric, ms)

    def _since_speech(self, moment: float | None) -> float | None:
        return None if moment is None else round(1000 * (moment - self._watch.begun), 1)
