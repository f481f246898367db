"""One turn's life: what the user said, the reply, its sound, and what of it was heard."""

import asyncio
import logging
import secrets
from collections.abc import Sequence

from localvoice.application.hooks import Rejection, TurnContext, consult, notify
from localvoice.application.stopwatch import Stopwatch
from localvoice.audio.frames import AudioFrame
from localvoice.contract.messages import ReplyHeard, TranscriptMessage, TurnMetrics
from localvoice.contract.metrics import Metric
from localvoice.conversation.acting import Actor
from localvoice.conversation.blind import BLIND
from localvoice.conversation.forget_request import ForgetRequest, forget_request
from localvoice.conversation.speaking import Speaker
from localvoice.conversation.stages import Heard, Stages
from localvoice.conversation.surroundings import Surroundings
from localvoice.conversation.thinking import Thinker
from localvoice.engines.types import ToolCall
from localvoice.observability.log_context import log_context
from localvoice.tools.confirmation import Acted, Confirmation, Settled

log = logging.getLogger(__name__)


class Turn:
    """Runs once. Whoever ends it calls `interrupt()` first."""

    def __init__(
        self,
        around: Surroundings,
        heard: asyncio.Future[Heard] | None,
        speech_ended: float,
        endpoint: float | None = None,
        speech: AudioFrame | None = None,
        announcement: str = "",
        forget: ForgetRequest | None = None,
    ) -> None:
        """`heard` may still be under way; without it, the agent says its `announcement` of its own accord.

        With `forget` it forgets that, and says so; the user may ask for it in words as well.
        Times are the event loop's; a typed message has neither end-point nor speech.
        """
        self._around = around
        self._heard = heard
        self._endpoint = endpoint
        self._speech = speech
        self._announcement = announcement
        self._forget = forget
        self._watch = Stopwatch(speech_ended)
        session_id = around.conversation.id
        self.context = TurnContext(secrets.token_hex(8), session_id, self._watch.start_time)
        self._stages = Stages(around.agent, self.context, around.draft)
        self._speaker = Speaker(around, self._stages)
        self._thinker = Thinker(around, self._stages, self._speaker, self._act, self.context.turn_id)
        self._actor = Actor(around, self.context, self._thinker.utter)
        self._known: Heard | None = None
        self._answered: Settled | Confirmation | None = None
        self._answering = False
        self._blind = False
        self._interrupted = False
        self._over = False

    async def run(self) -> None:
        """Answer. Raises `VoiceError` if a part of it failed; what was said before that still counts."""
        hooks = self._around.agent.hooks
        with log_context(turn_id=self.context.turn_id):
            await notify(hooks.on_turn_start, self.context, self._speech)
            try:
                await self._live()
            finally:
                self._over = True
                timing = self._watch.timing()
                self._around.agent.metrics.timing(Metric.TURN_DURATION, timing.duration_ms)
                await notify(hooks.on_turn_end, self.context, timing)

    async def _live(self) -> None:
        words = await self._hear()
        await self._around.playout.released()  # whoever speaks on has perhaps not finished the question
        if self._interrupted and self._heard is None and self._forget is None:
            self._around.conversation.announcements.insert(0, self._announcement)  # nobody has heard it
        if not (words or self._announcement) or self._interrupted:
            return  # silence, a cough, a door: no error, no reply
        self._around.playout.begin()
        self._answering = True
        finished = False
        try:
            await self._think_and_speak(words)
            finished = True
        finally:
            self._answering = False
            self._over = True
            self._speaker.cut()  # without effect on a reply that was heard to its end
            asked = self._asked(finished)
            await self._thinker.conclude(self._remember(finished))
            if self._thinker.asks is not None:  # no other stage has begun
                self._around.conversation.confirmation = asked
        if failure := self._thinker.failure or self._speaker.failure:
            raise failure

    @property
    def interruptible(self) -> bool:
        """Whether something is left to interrupt: it was not yet, and has not been heard to its end."""
        return not (self._interrupted or self._over)

    def hold(self) -> bool:
        """Silence at once, until it is known whether the user interrupts. False if there is nothing left to.

        Whoever finds that they don't lets the playout resume. Until then the LLM goes on writing, but the
        voice doesn't begin and no tool is run.
        """
        if self.interruptible:
            self._around.playout.hold()
        return self.interruptible

    def interrupt(self) -> bool:
        """Silence for good; history keeps what was heard. True if whoever runs the turn must cancel it now.

        Before the answer there is nothing to cancel: what the user said is still noted, in its order.
        """
        cuts_answer = self._answering and not self._interrupted
        if not self._interrupted:
            if not self._answering:
                self._around.playout.resume()  # for its question is noted, though not answered
            self._around.playout.stop()
        self._interrupted = True
        self._thinker.cut()
        self._speaker.cut()
        return cuts_answer

    async def _hear(self) -> str:
        """What the user said, noted in the history; empty if nothing, or if a hook would not have it."""
        around = self._around
        if self._forget is not None:
            self._announcement = await around.forget(self._forget)
        if self._heard is None:
            around.conversation.confirmation = None  # a yes to come may be meant for what is said now
            return ""
        if self._speech is not None:
            heard = await self._stages.listen(self._speech, self._heard)
        else:
            heard = await self._heard
        self._known = heard
        words = heard.transcript.text
        if words and (asked := around.conversation.confirmation) is not None:
            around.conversation.confirmation = None  # whatever they said: it is not asked about any more
            self._answered = asked.answered(words)
        if heard.timing is not None:
            if words:
                around.emit(TranscriptMessage(words))
            try:
                await consult(around.agent.hooks.on_stt_end, self.context, heard.transcript, heard.timing)
            except Rejection as no:
                log.info("what the user said was rejected: %s", no.reason)
                self._announcement = no.say or ""
                return ""
        self._forget = forget_request(words)
        if self._forget is not None:
            self._announcement = await around.forget(self._forget)
            return ""
        if words:
            self._note(words)
        return words

    def _note(self, words: str) -> None:
        """Put into the history what the user said, with the pictures that came with it."""
        around = self._around
        images = around.conversation.take_attachments()
        self._blind = around.answers_blind(words, images)
        if not self._blind:
            around.add_user(around.conversation.history, words, images)
        around.conversation.turns += 1

    async def _think_and_speak(self, words: str) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._think(words))
                group.create_task(self._speak())
                group.create_task(self._measure())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _think(self, words: str) -> None:
        if self._announcement:
            await self._thinker.utter(self._announcement)
        elif self._blind:
            await self._thinker.utter(BLIND)
        else:
            await self._thinker.answer(words, self._answered)
        if not self._interrupted:  # an LLM may fail while it is cancelled; nobody takes pieces any more
            await self._thinker.finish()

    async def _speak(self) -> None:
        await self._speaker.speak()
        self._speaker.tell_complete()

    async def _act(self, calls: Sequence[ToolCall]) -> Acted:
        await self._around.playout.released()  # perhaps the user is about to forbid it
        if isinstance(self._answered, Settled):
            self._actor.settled = self._answered
        return await self._actor.run(self._around.conversation.director.brief(), calls)

    async def _measure(self) -> None:
        first_audio = await self._around.playout.started()
        if first_audio is None or self._known is None:
            return
        timing, draft = self._known.timing, self._around.draft
        metrics = TurnMetrics(
            voice_to_voice_ms=self._since_speech(first_audio),
            endpoint_ms=self._since_speech(self._endpoint),
            transcript_ms=self._since_speech(self._known.known),
            first_token_ms=self._since_speech(draft.first_token),
            first_piece_ms=self._since_speech(draft.first_piece),
            stt_ms=None if timing is None else timing.duration_ms,
        )
        self._around.emit(metrics)
        if self._speech is not None:
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
                self._around.agent.metrics.timing(metric, ms)

    def _since_speech(self, moment: float | None) -> float | None:
        return None if moment is None else round(1000 * (moment - self._watch.begun), 1)

    def _asked(self, finished: bool) -> Confirmation | None:
        """The question about a call that the reply ends with; None if the user has not heard enough of it."""
        asks = self._thinker.asks
        if asks is None:
            return None
        if finished and not self._interrupted and self._speaker.faithful and self._speaker.failure is None:
            return asks.heard()
        return asks.heard_in(self._around.playout.words()[0])

    def _remember(self, finished: bool) -> str:
        """Put into the history what was heard; the words of it.

        A reply that wasn't cut short stays as it was written, so that the LLM's cache still fits it.
        """
        around = self._around
        if not self._interrupted:  # else the playout may be the next turn's already
            around.playout.stop()
        kept = self._thinker.reply if finished and self._speaker.faithful else around.playout.heard()
        if self._thinker.reply and not finished:
            around.emit(ReplyHeard(kept))
        if kept.strip() and self._forget is None and not self._blind:
            around.conversation.history.add_assistant(kept)
        log.info("turn ended: finished=%s, %d characters kept", finished, len(kept))
        return kept
