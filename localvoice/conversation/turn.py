"""One turn's life: what the user said, the reply, its sound, and what of it was heard.

Follow a turn from `Turn.run` down: `_hear` takes what it begins with, `_reply` answers, `_conclude` remembers
what of the answer was heard.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from localvoice.application.hooks import Rejection, TurnContext, consult, notify
from localvoice.audio.playout import Playout
from localvoice.contract.messages import ReplyHeard, TranscriptMessage, TurnMetrics
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.models import Models, add_user, answers_blind
from localvoice.conversation.moves import (
    Announced,
    Event,
    Forget,
    Heard,
    ReplyStarted,
    SoundStarted,
    Spoken,
    TurnOpening,
    TurnSpent,
    Typed,
)
from localvoice.conversation.phrases import BLIND, ForgetRequest, forget_request
from localvoice.conversation.reply import ReplyWriter
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speaking import Speaker
from localvoice.conversation.speculation import Draft
from localvoice.engines.types import Transcript
from localvoice.observability.log_context import log_context
from localvoice.observability.stopwatch import Stopwatch
from localvoice.tools.confirmation import Confirmation, Settled

log = logging.getLogger(__name__)


class Turn:
    """Runs once."""

    def __init__(
        self,
        opening: TurnOpening,
        agent: Agent,
        conversation: Conversation,
        playout: Playout,
        reporter: Reporter,
        post: Callable[[Event], None],
        forget: Callable[[ForgetRequest], Awaitable[str]],
        draft: Draft | None = None,
    ) -> None:
        """`post` tells the floor; `forget` forgets for good and gives the words that say so.

        `draft` is a reply to what the user has said, begun early.
        """
        self.opening = opening
        self._agent = agent
        self._conversation = conversation
        self._playout = playout
        self._reporter = reporter
        self._post = post
        self._forget = forget
        self.draft = draft
        """The reply that was begun early, for whoever drops what is left of it."""
        self._watch = Stopwatch(opening.at)
        self.context = TurnContext(secrets.token_hex(8), conversation.id, self._watch.start_time)
        self._models = Models(agent, self.context)
        self._speaker = Speaker(agent, playout, reporter.emit, self._models, self._on_sound)
        self._writer = ReplyWriter(agent, conversation, reporter, self._models, self._speaker, self.context)
        self._heard: Heard | None = None
        self._answered: Settled | Confirmation | None = None
        self._announcement = ""
        self._forgets = isinstance(opening, Forget)
        self._blind = False
        self._cut = False

    async def run(self) -> None:
        """Answer. Raises `VoiceError` if a part of it failed; what was said before that still counts."""
        hooks = self._agent.hooks
        with log_context(turn_id=self.context.turn_id):
            speech = self.opening.speech if isinstance(self.opening, Spoken) else None
            await notify(hooks.on_turn_start, self.context, speech)
            try:
                words = await self._hear()
                await self._playout.released()  # a user who speaks on has perhaps not finished the question
                if self._cut:
                    self._announce_later()
                elif words or self._announcement:  # else silence, a cough, a door: no error, no reply
                    await self._reply(words)
            finally:
                self._post(TurnSpent(self.opening))
                timing = self._watch.timing()
                self._agent.metrics.timing(Metric.TURN_DURATION, timing.duration_ms)
                await notify(hooks.on_turn_end, self.context, timing)

    def cut(self) -> None:
        """The turn is cut short: nothing more of it is written or spoken.

        Before the reply, what the user said is still noted, in its order. A reply's task is to be cancelled.
        """
        self._cut = True
        self._writer.cut()
        self._speaker.cut()

    # --- what the user said ---

    async def _hear(self) -> str:
        """What the user said, noted in the history; empty if nothing, or if a hook would not have it."""
        match self.opening:
            case Spoken(transcription=transcription, speech=speech):
                self._heard = await self._models.listen(speech, transcription)
            case Typed(text):
                self._heard = Heard(Transcript(text), None)
            case Announced(text):
                self._announcement = text
            case Forget(request):
                self._announcement = await self._forget(request)
        if self._heard is None:
            self._conversation.confirmation = None  # a yes to come may be meant for what is said now
            return ""
        return await self._take_words(self._heard)

    async def _take_words(self, heard: Heard) -> str:
        words = heard.transcript.text
        asked = self._conversation.confirmation
        if words and asked is not None:
            self._conversation.confirmation = None  # whatever they said: it is not asked about any more
            self._answered = asked.answered(words)
        if heard.timing is not None:
            if words:
                self._reporter.emit(TranscriptMessage(words))
            try:
                await consult(self._agent.hooks.on_stt_end, self.context, heard.transcript, heard.timing)
            except Rejection as no:
                log.info("what the user said was rejected: %s", no.reason)
                self._announcement = no.say or ""
                return ""
        if (request := forget_request(words)) is not None:
            self._forgets = True
            self._announcement = await self._forget(request)
            return ""
        if words:
            self._note(words)
        return words

    def _note(self, words: str) -> None:
        """Put into the history what the user said, with the pictures that came with it."""
        conversation, llm = self._conversation, self._agent.engines.llm
        if self.draft is not None and self.draft.revision == conversation.revision:
            self._writer.draft = self.draft
        images = conversation.take_attachments()
        self._blind = answers_blind(llm, words, images)
        if not self._blind:
            add_user(llm, conversation.history, words, images)
        conversation.turns += 1

    def _announce_later(self) -> None:
        if isinstance(self.opening, Announced):
            self._conversation.announcements.insert(0, self.opening.text)  # it was not heard

    # --- the reply ---

    async def _reply(self, words: str) -> None:
        self._playout.begin()
        self._post(ReplyStarted(self.opening))
        if isinstance(self._answered, Settled):
            self._writer.tools.settled = self._answered
        finished = False
        try:
            await self._write_and_speak(words)
            finished = True
        finally:
            await self._conclude(finished)
        if failure := self._writer.failure or self._speaker.failure:
            raise failure

    def _on_sound(self) -> None:
        self._post(SoundStarted(self.opening))

    async def _write_and_speak(self, words: str) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(words))
                group.create_task(self._speak())
                group.create_task(self._measure())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _write(self, words: str) -> None:
        if self._announcement:
            await self._writer.utter(self._announcement)
        elif self._blind:
            await self._writer.utter(BLIND)
        else:
            await self._writer.answer(words, self._answered)
        if not self._cut:  # an LLM may fail while it is cancelled: no piece is taken any more
            await self._writer.finish()

    async def _speak(self) -> None:
        await self._speaker.speak()
        self._speaker.tell_complete()

    # --- what was heard of it ---

    async def _conclude(self, finished: bool) -> None:
        self._post(TurnSpent(self.opening))
        self._speaker.cut()  # without effect on a reply that was heard to its end
        asked = self._asked(finished)
        await self._writer.conclude(self._remember(finished))
        if self._writer.asks is not None:  # no other stage has begun
            self._conversation.confirmation = asked

    def _asked(self, finished: bool) -> Confirmation | None:
        """The question about a call that the reply ends with; None if the user has not heard enough of it."""
        asks = self._writer.asks
        if asks is None:
            return None
        if finished and not self._cut and self._speaker.faithful and self._speaker.failure is None:
            return asks.heard()
        return asks.heard_in(self._playout.words()[0])

    def _remember(self, finished: bool) -> str:
        """Put into the history what was heard; the words of it.

        A reply that wasn't cut short stays as it was written, so that the LLM's cache still fits it.
        """
        if not self._cut:  # else the playout may be the next turn's already
            self._playout.stop()
        kept = self._writer.reply if finished and self._speaker.faithful else self._playout.heard()
        if self._writer.reply and not finished:
            self._reporter.emit(ReplyHeard(kept))
        if kept.strip() and not self._forgets and not self._blind:
            self._conversation.history.add_assistant(kept)
        log.info("turn ended: finished=%s, %d characters kept", finished, len(kept))
        return kept

    # --- what it took ---

    async def _measure(self) -> None:
        first_audio = await self._playout.started()
        if first_audio is None or self._heard is None:
            return
        timing = self._heard.timing
        metrics = TurnMetrics(
            voice_to_voice_ms=self._since_speech(first_audio),
            endpoint_ms=self._since_speech(
                self.opening.endpoint if isinstance(self.opening, Spoken) else None
            ),
            transcript_ms=self._since_speech(self._heard.known),
            first_token_ms=self._since_speech(self._writer.first_token),
            first_piece_ms=self._since_speech(self._writer.first_piece),
            stt_ms=None if timing is None else timing.duration_ms,
        )
        self._reporter.emit(metrics)
        if isinstance(self.opening, Spoken):
            self._report(metrics)

    def _report(self, metrics: TurnMetrics) -> None:
        for metric, ms in (
            (Metric.VOICE_TO_VOICE, metrics.voice_to_voice_ms),
            (Metric.ENDPOINT_DELAY, metrics.endpoint_ms),
            (Metric.TRANSCRIPT_DELAY, metrics.transcript_ms),
            (Metric.FIRST_TOKEN_DELAY, metrics.first_token_ms),
            (Metric.FIRST_PIECE_DELAY, metrics.first_piece_ms),
        ):
            if ms is not None:
                self._agent.metrics.timing(metric, ms)

    def _since_speech(self, moment: float | None) -> float | None:
        return None if moment is None else round(1000 * (moment - self._watch.begun), 1)
